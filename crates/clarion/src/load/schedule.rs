//! When things are due, and chance that can be repeated. Pure.

use std::time::Duration;

/// Repeatable chance: the same seed gives the same numbers (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    /// A source for one purpose of a run.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        let mut chance = Self(seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        chance.number();
        chance
    }

    /// Any number.
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to `below`.
    pub(super) fn below(&mut self, below: usize) -> usize {
        (self.number() % below.max(1) as u64) as usize
    }

    /// A share of a duration, from nothing to all of it.
    pub(super) fn share(&mut self, of: Duration) -> Duration {
        of.mul_f64((self.number() >> 11) as f64 / (1u64 << 53) as f64)
    }
}

/// When messages are due, whether or not those before them have been answered (an open loop).
#[derive(Debug, Clone, Copy)]
pub(super) struct Sends {
    /// Messages a second, over all senders.
    pub(super) rate: f64,
    /// How many are due at the same moment.
    pub(super) burst: usize,
    /// How many take turns.
    pub(super) senders: usize,
    /// Until when messages are due.
    pub(super) duration: Duration,
}

impl Sends {
    /// When a sender's message is due, from the start of sending; `None` after the end.
    pub(super) fn due(&self, sender: usize, number: u32) -> Option<Duration> {
        if self.rate <= 0.0 {
            return None;
        }
        let turn = u64::from(number) * self.senders as u64 + sender as u64;
        let burst = self.burst.max(1) as u64;
        let due = (turn / burst * burst) as f64 / self.rate;
        (due < self.duration.as_secs_f64()).then(|| Duration::from_secs_f64(due))
    }
}

/// How long to wait before trying again: twice as long each time, up to a bound, and never all together.
pub(super) fn backoff(tries: u32, first: Duration, most: Duration, chance: &mut Chance) -> Duration {
    let wait = first.saturating_mul(1 << tries.min(16)).min(most);
    wait / 2 + chance.share(wait / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(sends: Sends) -> Vec<(Duration, usize, u32)> {
        let of = |sender| (0..).map_while(move |n| Some((sends.due(sender, n)?, sender, n)));
        let mut all: Vec<_> = (0..sends.senders).flat_map(of).collect();
        all.sort();
        all
    }

    #[test]
    fn messages_are_due_at_the_rate_whoever_sends_them() {
        for senders in [1, 3, 64] {
            let all = all(Sends { rate: 50.0, burst: 1, senders, duration: Duration::from_secs(2) });
            assert_eq!(all.len(), 100);
            assert!(all.windows(2).all(|w| (w[1].0 - w[0].0).as_millis().abs_diff(20) <= 1));
        }
    }

    #[test]
    fn a_burst_is_due_at_once_and_the_rate_stays() {
        let all = all(Sends { rate: 64.0, burst: 32, senders: 32, duration: Duration::from_secs(2) });
        assert_eq!(all.len(), 128);
        assert!(all.chunks(32).all(|burst| burst.iter().all(|m| m.0 == burst[0].0)));
        assert_eq!(all[32].0, Duration::from_millis(500));
    }

    #[test]
    fn nothing_is_due_at_no_rate() {
        assert_eq!(Sends { rate: 0.0, burst: 1, senders: 1, duration: Duration::MAX }.due(0, 0), None);
    }

    #[test]
    fn waits_grow_up_to_their_bound() {
        let mut chance = Chance::new(1, 2);
        for tries in 0..40 {
            let wait = backoff(tries, Duration::from_millis(100), Duration::from_secs(5), &mut chance);
            assert!(wait >= Duration::from_millis(50) && wait <= Duration::from_secs(5));
        }
    }
}
