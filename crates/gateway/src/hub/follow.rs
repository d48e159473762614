//! How far a followed log has been applied, and what to do with the next entry. Pure.

use std::time::Duration;

use clarion_model::key::Position;

const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// Where a key is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The owner is being looked for.
    Routing,
    /// Over this stream.
    On(u64),
}

/// One followed key.
#[derive(Debug)]
pub(super) struct Follow {
    pub(super) phase: Phase,
    position: Option<Position>,
    /// A gap was found; until it is filled, what comes after it is left alone.
    rewinding: bool,
    attempts: u32,
}

/// What to do with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is the next one.
    Apply,
    /// It was applied before, or comes after a gap that is being filled.
    Drop,
    /// Something is missing before it: follow again from where we were.
    Rewind,
}

/// What a snapshot means for sessions that were there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// There was nothing before.
    First,
    /// Nothing happened in between.
    Same,
    /// Events were lost that nobody can repeat.
    Lost,
}

impl Follow {
    /// A key that nothing is known of.
    pub(super) fn new() -> Self {
        Self { phase: Phase::Routing, position: None, rewinding: false, attempts: 0 }
    }

    /// The last applied position.
    pub(super) fn position(&self) -> Option<Position> {
        self.position
    }

    /// Looks at an entry's position; if the entry is to be applied, it counts as applied.
    pub(super) fn step(&mut self, position: Position) -> Step {
        let Some(last) = self.position else { return Step::Drop };
        if position <= last {
            return Step::Drop;
        }
        let first_of_epoch = position.epoch > last.epoch && position.offset == 1;
        if position == last.next() || first_of_epoch {
            (self.position, self.rewinding) = (Some(position), false);
            return Step::Apply;
        }
        if std::mem::replace(&mut self.rewinding, true) { Step::Drop } else { Step::Rewind }
    }

    /// Takes a snapshot's position.
    pub(super) fn arrive(&mut self, position: Position) -> Arrival {
        let before = self.position.replace(position);
        self.caught_up();
        match before {
            None => Arrival::First,
            Some(before) if before == position => Arrival::Same,
            Some(_) => Arrival::Lost,
        }
    }

    /// All that was missed has come.
    pub(super) fn caught_up(&mut self) {
        (self.rewinding, self.attempts) = (false, 0);
    }

    /// Somebody else owns it.
    pub(super) fn move_on(&mut self) {
        (self.phase, self.rewinding) = (Phase::Routing, false);
    }

    /// The owner is not known any more; answers how long to wait before asking. `chance` spreads those who wait.
    pub(super) fn lose(&mut self, chance: u8) -> Duration {
        (self.phase, self.rewinding) = (Phase::Routing, false);
        let delay = FIRST_DELAY * (1 << self.attempts.min(10));
        self.attempts += 1;
        let delay = delay.min(LONGEST_DELAY);
        delay / 2 + delay * u32::from(chance) / 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarion_model::key::Epoch;
    use proptest::prelude::*;

    fn at(epoch: u64, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    proptest! {
        #[test]
        fn every_entry_is_applied_once_and_in_order(
            lengths in proptest::collection::vec(1u64..6, 1..5),
            noise in proptest::collection::vec((0usize..20, 0usize..20), 0..40),
        ) {
            let log: Vec<_> = lengths.iter().enumerate()
                .flat_map(|(e, n)| (1..=*n).map(move |o| at(e as u64 + 1, o))).collect();
            let mut follow = Follow::new();
            follow.arrive(at(1, 0));
            let mut applied = Vec::new();
            // Pieces of the log from anywhere, as broken and repeated streams bring them; at last all of it.
            for (from, count) in noise.into_iter().chain([(0, log.len())]) {
                for position in log.iter().skip(from % log.len()).take(count) {
                    if follow.step(*position) == Step::Apply {
                        applied.push(*position);
                    }
                }
            }
            // A piece that starts an epoch right after another cannot be told from what comes next: sources send in order.
            prop_assert!(applied.windows(2).all(|w| w[0] < w[1]));
            prop_assert_eq!(applied.last(), log.last());
            let in_one_epoch = lengths.len() == 1;
            prop_assert!(!in_one_epoch || applied == log, "nothing is passed over");
        }
    }

    #[test]
    fn a_gap_is_asked_for_once() {
        let mut follow = Follow::new();
        assert_eq!(follow.step(at(1, 1)), Step::Drop);
        assert_eq!(follow.arrive(at(1, 4)), Arrival::First);
        assert_eq!(follow.step(at(1, 4)), Step::Drop);
        assert_eq!(follow.step(at(1, 6)), Step::Rewind);
        assert_eq!(follow.step(at(1, 7)), Step::Drop);
        assert_eq!(follow.step(at(1, 5)), Step::Apply);
        assert_eq!(follow.step(at(1, 6)), Step::Apply);
        assert_eq!(follow.step(at(3, 1)), Step::Apply);
        assert_eq!(follow.step(at(4, 2)), Step::Rewind);
        assert_eq!(follow.arrive(at(3, 1)), Arrival::Same);
        assert_eq!(follow.arrive(at(4, 9)), Arrival::Lost);
    }

    #[test]
    fn waiting_grows_up_to_a_bound() {
        let mut follow = Follow::new();
        let waits: Vec<_> = (0..20).map(|_| follow.lose(128)).collect();
        assert!(waits.windows(2).all(|w| w[0] <= w[1]));
        assert_eq!(waits.last(), Some(&LONGEST_DELAY));
    }
}
