//! How often an account may start sessions: so many a day, and for each of its buckets one every five seconds, after a few
//! at once. Pure: time is an argument.
//!
//! A bucket is `shard_id % max_concurrency`, as libraries reckon that pace themselves; they come no faster than they may.
//! A person's devices, and a bot that its author restarts, are all in bucket 0: the first few need not wait for each other.
//! One more waits for its turn; it is refused when that is further away than one turn, and then has used up nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clarion_model::id::UserId;
use clarion_observability::metric::AdmissionRefusal;

use crate::bounded::Bounded;
use crate::config::Identify;

/// How long a bucket takes to allow one more.
const EVERY: Duration = Duration::from_secs(5);
/// How long until an account's count begins anew.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// Most accounts remembered. Beyond it, those that came least count anew.
const ACCOUNTS: usize = 200_000;

/// The sessions that accounts have started here.
pub(crate) struct Starts {
    rules: Identify,
    accounts: Mutex<Bounded<UserId, Account>>,
}

/// What is left to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) remaining: u32,
    /// How long until all are there again.
    pub(crate) reset_after: Duration,
}

#[derive(Debug)]
struct Account {
    ends: Instant,
    used: u32,
    /// Of each bucket that was used lately, when it will be as if nothing had been.
    buckets: Vec<(u32, Instant)>,
}

impl Starts {
    pub(crate) fn new(rules: Identify) -> Self {
        Self { rules, accounts: Mutex::new(Bounded::new(ACCOUNTS)) }
    }

    /// The rules.
    pub(crate) fn rules(&self) -> &Identify {
        &self.rules
    }

    /// Counts a session that an account starts for one of its shards. Answers how long it has to wait for its turn.
    pub(crate) fn take(&self, now: Instant, user: UserId, shard: u32) -> Result<Duration, AdmissionRefusal> {
        if !self.rules.enforced {
            return Ok(Duration::ZERO);
        }
        let mut accounts = self.accounts();
        if accounts.get_mut(&user).is_none_or(|account| account.ends <= now) {
            accounts.insert(user, Account { ends: now + DAY, used: 0, buckets: Vec::new() });
        }
        let Some(account) = accounts.get_mut(&user) else { return Ok(Duration::ZERO) };
        if account.used >= self.rules.session_start_limit {
            return Err(AdmissionRefusal::SessionLimit);
        }
        let bucket = shard % self.rules.max_concurrency.max(1);
        account.buckets.retain(|(_, clear)| *clear > now);
        let clear = account.buckets.iter().find(|(of, _)| *of == bucket).map_or(now, |(_, clear)| *clear);
        let at_once = EVERY * self.rules.burst.max(1).saturating_sub(1);
        let wait = clear.saturating_duration_since(now).saturating_sub(at_once);
        if wait > EVERY {
            return Err(AdmissionRefusal::Concurrency);
        }
        account.used += 1;
        account.buckets.retain(|(of, _)| *of != bucket);
        account.buckets.push((bucket, clear + EVERY));
        Ok(wait)
    }

    /// What is left to an account.
    pub(crate) fn left(&self, now: Instant, user: UserId) -> Left {
        let limit = self.rules.session_start_limit;
        match self.accounts().peek(&user).filter(|account| account.ends > now) {
            Some(account) => Left { remaining: limit.saturating_sub(account.used), reset_after: account.ends - now },
            None => Left { remaining: limit, reset_after: DAY },
        }
    }

    fn accounts(&self) -> MutexGuard<'_, Bounded<UserId, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOT: UserId = UserId(1);

    fn starts(change: impl FnOnce(&mut Identify)) -> Starts {
        let mut rules = Identify::default();
        change(&mut rules);
        Starts::new(rules)
    }

    #[test]
    fn the_devices_of_a_person_do_not_wait_for_each_other() {
        let (starts, now) = (starts(|_| {}), Instant::now());
        for _ in 0..5 {
            assert_eq!(starts.take(now, BOT, 0), Ok(Duration::ZERO));
        }
        assert_eq!(starts.take(now, BOT, 0), Ok(EVERY), "one more waits for its turn");
        assert_eq!(starts.take(now, BOT, 0), Err(AdmissionRefusal::Concurrency));
        assert_eq!(starts.left(now, BOT).remaining, 1_000 - 6, "who was refused has used up nothing");
        assert_eq!(starts.take(now, UserId(2), 0), Ok(Duration::ZERO));
        assert_eq!(starts.take(now, BOT, 1), Ok(Duration::ZERO), "a bucket of its own");
        assert_eq!(
            starts.take(now, BOT, 16),
            Err(AdmissionRefusal::Concurrency),
            "shard 16 is in the bucket of shard 0"
        );
    }

    #[test]
    fn a_bot_that_paces_itself_never_waits() {
        let starts = starts(|rules| rules.burst = 1);
        let mut now = Instant::now();
        for _ in 0..4 {
            for shard in 0..16 {
                assert_eq!(starts.take(now, BOT, shard), Ok(Duration::ZERO));
            }
            now += EVERY;
        }
    }

    #[test]
    fn a_day_has_so_many_and_then_none() {
        let starts = starts(|rules| (rules.session_start_limit, rules.burst) = (3, 100));
        let now = Instant::now();
        assert_eq!(starts.left(now, BOT), Left { remaining: 3, reset_after: DAY });
        for left in [2, 1, 0] {
            assert!(starts.take(now, BOT, 0).is_ok());
            assert_eq!(starts.left(now + EVERY, BOT), Left { remaining: left, reset_after: DAY - EVERY });
        }
        let last = now + DAY - Duration::from_millis(1);
        assert_eq!(starts.take(last, BOT, 0), Err(AdmissionRefusal::SessionLimit));
        assert!(starts.take(now + DAY, BOT, 0).is_ok());
        assert_eq!(starts.left(now + DAY, BOT).remaining, 2);
    }

    #[test]
    fn nothing_is_held_where_it_is_not_wanted() {
        let starts = starts(|rules| (rules.enforced, rules.session_start_limit) = (false, 1));
        for _ in 0..100 {
            assert_eq!(starts.take(Instant::now(), BOT, 0), Ok(Duration::ZERO));
        }
    }

    proptest! {
        #[test]
        fn in_the_long_run_a_bucket_has_one_every_five_seconds(
            steps in prop::collection::vec(0u64..4_000, 1..300), burst in 1u32..6,
        ) {
            let starts = starts(|rules| rules.burst = burst);
            let begun = Instant::now();
            let (mut now, mut through, mut last) = (begun, 0u32, begun);
            for step in steps {
                now += Duration::from_millis(step);
                if let Ok(wait) = starts.take(now, BOT, 0) {
                    prop_assert!(wait <= EVERY);
                    through += 1;
                    last = last.max(now + wait);
                }
                let most = burst + (last - begun).as_secs() as u32 / 5;
                prop_assert!(through <= most, "{} of {}", through, most);
            }
        }
    }
}
