//! Accounts in the cache, for all gateways: read, decided upon, and written if nobody else has written meanwhile.
//!
//! An account that is in the cache of no gateway is put there by whoever is first; two that are at the same moment may count
//! one session for two.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clarion_model::id::UserId;
use clarion_observability::metric::AdmissionRefusal;
use clarion_storage::cache::{Cache, CacheError, CacheKey, Hash};
use serde::{Deserialize, Serialize};

use super::Account;
use crate::config::Identify;

/// By a user: how many sessions were started, and when.
const KIND: &str = "starts";
/// The only field.
const FIELD: &str = "account";
/// How often another gateway may have written first.
const TRIES: usize = 5;

/// An account as it is kept: its times are milliseconds since the Unix epoch, by the clock of whoever wrote.
#[derive(Serialize, Deserialize)]
struct Kept {
    ends: u64,
    used: u32,
    buckets: Vec<(u32, u64)>,
}

/// What was decided, and the account as it is then.
type Taken = (Result<Duration, AdmissionRefusal>, Account);

/// Counts a session that an account starts.
pub(super) async fn take(
    cache: &dyn Cache,
    rules: &Identify,
    now: Instant,
    user: UserId,
    shard: u32,
) -> Result<Taken, CacheError> {
    let key = key(user);
    for _ in 0..TRIES {
        let found = cache.read(&key).await?;
        let mut account = found.as_ref().and_then(|hash| account(hash, now)).unwrap_or_else(|| Account::new(now));
        let taken = account.take(rules, now, shard);
        if taken.is_err() {
            return Ok((taken, account));
        }
        let (bytes, ttl) = (bytes(&account, now), account.ends.saturating_duration_since(now));
        let written = match found {
            Some(hash) => cache.change(&key, hash.version, vec![(FIELD.to_owned(), Some(bytes))], ttl).await,
            None => cache.replace(&key, BTreeMap::from([(FIELD.to_owned(), bytes)]), ttl).await,
        };
        match written {
            Ok(_) => return Ok((taken, account)),
            Err(CacheError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Err(CacheError::Conflict)
}

/// An account, if it has started anything.
pub(super) async fn read(cache: &dyn Cache, now: Instant, user: UserId) -> Result<Option<Account>, CacheError> {
    Ok(cache.read(&key(user)).await?.and_then(|hash| account(&hash, now)))
}

fn key(user: UserId) -> CacheKey {
    CacheKey::new(KIND, user.to_string())
}

/// What cannot be read, or is over, is none.
fn account(hash: &Hash, now: Instant) -> Option<Account> {
    let kept: Kept = serde_json::from_slice(hash.fields.get(FIELD)?).ok()?;
    let wall = wall();
    let here = |ms: u64| now + Duration::from_millis(ms.saturating_sub(wall));
    let buckets = kept.buckets.iter().map(|(bucket, clear)| (*bucket, here(*clear))).collect();
    (kept.ends > wall).then(|| Account { ends: here(kept.ends), used: kept.used, buckets })
}

fn bytes(account: &Account, now: Instant) -> Bytes {
    let wall = wall();
    let there = |at: Instant| wall + u64::try_from(at.saturating_duration_since(now).as_millis()).unwrap_or(0);
    let buckets = account.buckets.iter().map(|(bucket, clear)| (*bucket, there(*clear))).collect();
    let kept = Kept { ends: there(account.ends), used: account.used, buckets };
    // A number is always text.
    Bytes::from(serde_json::to_vec(&kept).unwrap_or_default())
}

fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use clarion_storage::cache::{Config, MemoryCache};

    use super::*;

    #[tokio::test]
    async fn a_day_has_so_many_sessions_at_all_gateways_together() {
        let (cache, now, user) = (MemoryCache::new(&Config::default()), Instant::now(), UserId(1));
        let rules = Identify { session_start_limit: 3, burst: 100, ..Identify::default() };
        for used in 1..=3 {
            let (taken, account) = take(&cache, &rules, now, user, 0).await.expect("a cache");
            assert_eq!((taken, account.used), (Ok(Duration::ZERO), used));
        }
        let (refused, _) = take(&cache, &rules, now, user, 0).await.expect("a cache");
        assert_eq!(refused, Err(AdmissionRefusal::SessionLimit));
        let read = read(&cache, now, user).await.expect("a cache").expect("an account");
        assert_eq!((read.used, read.buckets.len()), (3, 1));
        let day = read.ends.saturating_duration_since(now);
        assert!(day <= super::super::DAY && day > super::super::DAY - Duration::from_secs(60), "{day:?}");
    }

    #[test]
    fn an_account_is_the_same_after_it_was_kept() {
        let now = Instant::now();
        let account = Account {
            ends: now + Duration::from_secs(1_000),
            used: 7,
            buckets: vec![(3, now + Duration::from_secs(12))],
        };
        let hash = Hash {
            version: clarion_storage::cache::Version(1),
            fields: BTreeMap::from([(FIELD.to_owned(), bytes(&account, now))]),
        };
        let again = super::account(&hash, now).expect("an account");
        let off = |a: Instant, b: Instant| a.max(b) - a.min(b);
        assert_eq!(again.used, 7);
        assert!(off(again.ends, account.ends) < Duration::from_secs(1));
        assert!(off(again.buckets[0].1, account.buckets[0].1) < Duration::from_secs(1));
        assert_eq!(super::account(&Hash { version: hash.version, fields: BTreeMap::new() }, now), None);
    }
}
