//! The audio slots of a room: which publisher is heard in which. With no more publishers than slots each keeps its own;
//! with more, those who speak have them.

use std::time::{Duration, Instant};

/// Slots of a room, and streams a listener has at most.
pub(crate) const SLOTS: usize = 8;
/// A slot is not taken from somebody who has had it for less, but by one with priority.
const HOLD: Duration = Duration::from_secs(2);

/// Who may be heard in a slot: what is known of a publisher when a packet of it comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) publisher: u64,
    pub(crate) loudness: f32,
    pub(crate) speaks: bool,
    pub(crate) priority: bool,
}

/// The slots of a room.
#[derive(Debug, Default)]
pub(crate) struct Slots([Option<Holder>; SLOTS]);

#[derive(Debug, Clone, Copy)]
struct Holder {
    is: Candidate,
    since: Instant,
    heard: Instant,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is heard in this slot, as before.
    Kept(usize),
    /// From now on it is heard in this slot.
    Taken(usize),
    /// Others are heard.
    Nowhere,
}

impl Slots {
    /// Where a packet is heard.
    pub(crate) fn place(&mut self, now: Instant, is: Candidate) -> Place {
        let held = |slot: &Option<Holder>| slot.is_some_and(|holder| holder.is.publisher == is.publisher);
        if let Some(at) = self.0.iter().position(held) {
            if let Some(holder) = &mut self.0[at] {
                (holder.is, holder.heard) = (is, now);
            }
            return Place::Kept(at);
        }
        let free = self.0.iter().position(Option::is_none);
        let Some(at) = free.or_else(|| self.weakest(now, is)) else { return Place::Nowhere };
        self.0[at] = Some(Holder { is, since: now, heard: now });
        Place::Taken(at)
    }

    /// The slot that a publisher may take from another.
    fn weakest(&self, now: Instant, is: Candidate) -> Option<usize> {
        let strength = |holder: &Holder| {
            let quiet = now.saturating_duration_since(holder.heard) >= HOLD;
            (holder.is.priority, !quiet && holder.is.speaks, if quiet { 0.0 } else { holder.is.loudness })
        };
        let may = |holder: &Holder| {
            let held = now.saturating_duration_since(holder.since) >= HOLD || (is.priority && !holder.is.priority);
            let weaker = strength(holder) < (is.priority, is.speaks, is.loudness);
            held && weaker
        };
        let slots = self.0.iter().enumerate().filter_map(|(at, slot)| slot.map(|holder| (at, holder)));
        slots
            .filter(|(_, holder)| may(holder))
            .min_by(|a, b| strength(&a.1).partial_cmp(&strength(&b.1)).unwrap_or(std::cmp::Ordering::Equal))
            .map(|(at, _)| at)
    }

    /// A publisher is heard no more.
    pub(crate) fn release(&mut self, publisher: u64) -> bool {
        let mut released = false;
        for slot in &mut self.0 {
            if slot.is_some_and(|holder| holder.is.publisher == publisher) {
                *slot = None;
                released = true;
            }
        }
        released
    }

    /// Who is heard in which slot.
    pub(crate) fn held(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().enumerate().filter_map(|(at, slot)| slot.map(|holder| (at, holder.is.publisher)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(publisher: u64, loudness: f32) -> Candidate {
        Candidate { publisher, loudness, speaks: loudness > 0.02, priority: false }
    }

    #[test]
    fn each_keeps_its_own_while_there_are_enough() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        for publisher in 0..SLOTS as u64 {
            assert_eq!(slots.place(now, one(publisher, 0.0)), Place::Taken(publisher as usize));
        }
        let later = now + Duration::from_secs(60);
        for publisher in 0..SLOTS as u64 {
            assert_eq!(slots.place(later, one(publisher, 0.5)), Place::Kept(publisher as usize));
        }
        assert!(slots.release(3) && !slots.release(3));
        assert_eq!(slots.place(later, one(99, 0.0)), Place::Taken(3));
    }

    #[test]
    fn who_speaks_takes_the_quietest_slot_that_was_held_long_enough() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        for publisher in 0..SLOTS as u64 {
            slots.place(now, one(publisher, if publisher == 5 { 0.0 } else { 0.5 }));
        }
        assert_eq!(slots.place(now + Duration::from_secs(1), one(50, 0.6)), Place::Nowhere);
        let later = now + Duration::from_secs(3);
        for publisher in 0..SLOTS as u64 {
            slots.place(later, one(publisher, if publisher == 5 { 0.0 } else { 0.5 }));
        }
        // Not for silence.
        assert_eq!(slots.place(later, one(50, 0.0)), Place::Nowhere);
        assert_eq!(slots.place(later, one(50, 0.3)), Place::Taken(5));
        // It has it for two seconds, whoever is louder.
        assert_eq!(slots.held().find(|(slot, _)| *slot == 5), Some((5, 50)));
    }

    #[test]
    fn a_holder_that_sends_nothing_any_more_is_the_first_to_go() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        for publisher in 0..SLOTS as u64 {
            slots.place(now, one(publisher, 0.5));
        }
        let later = now + Duration::from_secs(3);
        for publisher in 1..SLOTS as u64 {
            slots.place(later, one(publisher, 0.5));
        }
        assert_eq!(slots.place(later, one(50, 0.1)), Place::Taken(0));
    }

    #[test]
    fn priority_does_not_wait() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        for publisher in 0..SLOTS as u64 {
            slots.place(now, one(publisher, 0.9));
        }
        let chief = Candidate { publisher: 50, loudness: 0.1, speaks: true, priority: true };
        assert!(matches!(slots.place(now, chief), Place::Taken(_)));
    }
}
