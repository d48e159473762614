//! Which router orders: the one that keeps raising the register of leadership. Pure.
//!
//! Every router knows who is there and who owns what, and answers. One of them orders, the leader, so that two do not order
//! different things. It raises a register in the store, over and over; the others look, and when it has stood still for a
//! lease, one of them raises it and leads. The epoch that a router has raised the register to is its term, and members obey
//! nobody of an earlier term than they have heard of. If two lead for a moment, it costs slots that move and move back:
//! what is written is safe with the slots' own epochs.

use std::time::{Duration, Instant};

use clarion_model::key::Epoch;
use clarion_storage::SlotRecord;

/// What a router knows of the leadership.
#[derive(Debug)]
pub(crate) struct Campaign {
    lease: Duration,
    /// The register as it was found last, and since when it has been so.
    seen: Option<(Epoch, Instant)>,
    /// The term that this router led in last.
    mine: Option<Epoch>,
}

/// What to do after a look at the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Somebody else leads, or may yet show that they do.
    Wait,
    /// Raise the register: to go on leading, or because nobody does.
    Raise,
}

impl Campaign {
    /// A router that has begun. It waits for a lease, in which all members that live join it too.
    pub(crate) fn new(lease: Duration) -> Self {
        Self { lease, seen: None, mine: None }
    }

    /// Looks at the register.
    pub(crate) fn look(&mut self, now: Instant, register: &SlotRecord) -> Step {
        if self.mine == Some(register.epoch) {
            return Step::Raise;
        }
        let since = match self.seen {
            Some((epoch, since)) if epoch == register.epoch => since,
            _ => now,
        };
        self.seen = Some((register.epoch, since));
        if now.saturating_duration_since(since) >= self.lease { Step::Raise } else { Step::Wait }
    }

    /// The register was raised by this router, which began to at an instant. Answers until when it leads unless it raises
    /// it again: others look for a lease from when they saw it.
    pub(crate) fn raised(&mut self, began: Instant, term: Epoch) -> Instant {
        self.mine = Some(term);
        self.seen = Some((term, began));
        began + self.lease
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEASE: Duration = Duration::from_secs(3);

    fn record(epoch: u64) -> SlotRecord {
        SlotRecord { epoch: Epoch(epoch), owner: String::new() }
    }

    #[test]
    fn a_router_that_begins_waits_for_a_lease() {
        let (mut campaign, start) = (Campaign::new(LEASE), Instant::now());
        assert_eq!(campaign.look(start, &record(0)), Step::Wait);
        assert_eq!(campaign.look(start + LEASE / 2, &record(0)), Step::Wait);
        assert_eq!(campaign.look(start + LEASE, &record(0)), Step::Raise);
        let until = campaign.raised(start + LEASE, Epoch(1));
        assert_eq!(until, start + 2 * LEASE);
        assert_eq!(campaign.look(start + LEASE, &record(1)), Step::Raise, "the leader goes on");
        assert_eq!(campaign.look(start + LEASE, &record(2)), Step::Wait, "until another one leads");
    }

    proptest! {
        /// Routers of which some stop for a while. Whoever leads by its own clock is the only one, unless two raised the
        /// register between looks of each other; then the later term is the one that members obey.
        #[test]
        fn one_leads_and_somebody_does(stops in proptest::collection::vec((0usize..3, 1u64..40), 0..12)) {
            let start = Instant::now();
            let mut routers: Vec<_> = (0..3).map(|_| (Campaign::new(LEASE), None, 0)).collect();
            let (mut register, mut stops, mut idle) = (0, stops.into_iter(), 0);
            for tick in 0..600u64 {
                let now = start + LEASE * tick as u32 / 6;
                if tick % 50 == 25 && let Some((who, ticks)) = stops.next() {
                    routers[who].2 = tick + ticks;
                }
                for (campaign, until, asleep) in &mut routers {
                    if *asleep > tick {
                        continue;
                    }
                    if campaign.look(now, &record(register)) == Step::Raise {
                        register += 1;
                        *until = Some(campaign.raised(now, Epoch(register)));
                    }
                }
                let leads = |(_, until, _): &&(Campaign, Option<Instant>, u64)| until.is_some_and(|until| until > now);
                let leaders = routers.iter().filter(leads).count();
                prop_assert!(leaders <= 1, "{leaders} lead at tick {tick}");
                let awake = routers.iter().any(|(_, _, asleep)| *asleep <= tick);
                idle = if leaders == 0 && awake { idle + 1 } else { 0 };
                prop_assert!(idle <= 14, "nobody has led for {idle} ticks");
            }
        }
    }
}
