//! How often an account may start sessions: so many a day, and for each of its buckets one every five seconds, after a few
//! at once. Pure: time is an argument.
//!
//! A bucket is `shard_id % max_concurrency`, as libraries reckon that pace themselves; they come no faster than they may.
//! A person's devices, and a bot that its author restarts, are all in bucket 0: the first few need not wait for each other.
//! One more waits for its turn; it is refused when that is further away than one turn, and then has used up nothing.
//!
//! Gateways that share a cache count there (`shared.rs`), each session in one step; what is here is then what was last seen
//! of it, and holds while the cache does not answer.

mod shared;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clarion_model::id::UserId;
use clarion_observability::metric::AdmissionRefusal;
use clarion_storage::cache::{Cache, Turn};

use crate::bounded::Bounded;
use crate::config::Identify;

/// How long a bucket takes to allow one more.
const EVERY: Duration = Duration::from_secs(5);
/// How long until an account's count begins anew.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// Most accounts remembered. Beyond it, those that came least count anew.
const ACCOUNTS: usize = 200_000;

/// The sessions that accounts have started.
pub(crate) struct Starts {
    rules: Identify,
    accounts: Mutex<Bounded<UserId, Account>>,
    /// Where all gateways keep them.
    shared: Option<Arc<dyn Cache>>,
}

/// What is left to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) remaining: u32,
    /// How long until all are there again.
    pub(crate) reset_after: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    ends: Instant,
    used: u32,
    /// Of each bucket that was used lately, when it will be as if nothing had been.
    buckets: Vec<(u32, Instant)>,
}

impl Starts {
    /// `cache`: where gateways keep accounts together, if it is one that they share.
    pub(crate) fn new(rules: Identify, cache: Arc<dyn Cache>) -> Self {
        let shared = cache.is_shared().then_some(cache);
        Self { rules, accounts: Mutex::new(Bounded::new(ACCOUNTS)), shared }
    }

    /// The rules.
    pub(crate) fn rules(&self) -> &Identify {
        &self.rules
    }

    /// Counts a session that an account starts for one of its shards. Answers how long it has to wait for its turn.
    pub(crate) async fn take(&self, now: Instant, user: UserId, shard: u32) -> Result<Duration, AdmissionRefusal> {
        if !self.rules.enforced {
            return Ok(Duration::ZERO);
        }
        let bucket = shard % self.rules.max_concurrency.max(1);
        if let Some(cache) = &self.shared
            && let Ok(turn) = shared::take(&**cache, &self.rules, user, bucket).await
        {
            self.learn(now, user, bucket, &turn);
            let is_over = turn.count.used >= self.rules.session_start_limit;
            let refused = if is_over { AdmissionRefusal::SessionLimit } else { AdmissionRefusal::Concurrency };
            return turn.wait.ok_or(refused);
        }
        let mut accounts = self.accounts();
        if let Some(account) = accounts.get_mut(&user).filter(|account| account.ends > now) {
            return account.take(&self.rules, now, bucket);
        }
        let mut account = Account::new(now);
        let taken = account.take(&self.rules, now, bucket);
        accounts.insert(user, account);
        taken
    }

    /// What is left to an account.
    pub(crate) async fn left(&self, now: Instant, user: UserId) -> Left {
        if let Some(cache) = &self.shared
            && let Ok(count) = shared::read(&**cache, user).await
        {
            let remaining = self.rules.session_start_limit.saturating_sub(count.used);
            return Left { remaining, reset_after: count.ends_in };
        }
        match self.accounts().peek(&user).filter(|account| account.ends > now) {
            Some(account) => account.left(&self.rules, now),
            None => self.all(),
        }
    }

    /// What the cache says of an account holds here while the cache does not answer.
    fn learn(&self, now: Instant, user: UserId, bucket: u32, turn: &Turn) {
        let mut accounts = self.accounts();
        if let Some(account) = accounts.get_mut(&user) {
            return account.learn(now, bucket, turn);
        }
        let mut account = Account::new(now);
        account.learn(now, bucket, turn);
        accounts.insert(user, account);
    }

    fn all(&self) -> Left {
        Left { remaining: self.rules.session_start_limit, reset_after: DAY }
    }

    fn accounts(&self) -> MutexGuard<'_, Bounded<UserId, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn new(now: Instant) -> Self {
        Self { ends: now + DAY, used: 0, buckets: Vec::new() }
    }

    /// Counts a session. Answers how long it has to wait for its turn; who is refused has used up nothing.
    fn take(&mut self, rules: &Identify, now: Instant, bucket: u32) -> Result<Duration, AdmissionRefusal> {
        if self.used >= rules.session_start_limit {
            return Err(AdmissionRefusal::SessionLimit);
        }
        self.buckets.retain(|(_, clear)| *clear > now);
        let clear = self.buckets.iter().find(|(of, _)| *of == bucket).map_or(now, |(_, clear)| *clear);
        let at_once = EVERY * rules.burst.max(1).saturating_sub(1);
        let wait = clear.saturating_duration_since(now).saturating_sub(at_once);
        if wait > EVERY {
            return Err(AdmissionRefusal::Concurrency);
        }
        self.used += 1;
        self.buckets.retain(|(of, _)| *of != bucket);
        self.buckets.push((bucket, clear + EVERY));
        Ok(wait)
    }

    fn learn(&mut self, now: Instant, bucket: u32, turn: &Turn) {
        (self.used, self.ends) = (turn.count.used, now + turn.count.ends_in);
        self.buckets.retain(|(of, clear)| *of != bucket && *clear > now);
        self.buckets.push((bucket, now + turn.clear_in));
    }

    fn left(&self, rules: &Identify, now: Instant) -> Left {
        let remaining = rules.session_start_limit.saturating_sub(self.used);
        Left { remaining, reset_after: self.ends.saturating_duration_since(now) }
    }
}

#[cfg(test)]
mod tests;
