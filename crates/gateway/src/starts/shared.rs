//! Sessions counted in the cache, for all gateways together: each in one step, so that two that come at the same moment are
//! two.

use clarion_model::id::UserId;
use clarion_storage::cache::{Cache, CacheError, CacheKey, Count, Row, Turn, Window};

use super::{DAY, EVERY};
use crate::config::Identify;

/// By a user: how many sessions were started in a day.
const COUNT: &str = "started";
/// By a user and a bucket: whose turn it is.
const TURNS: &str = "turns";

/// Counts a session that an account starts in a bucket.
pub(super) async fn take(cache: &dyn Cache, rules: &Identify, user: UserId, bucket: u32) -> Result<Turn, CacheError> {
    let key = CacheKey::new(TURNS, format!("{user}:{bucket}"));
    let row = Row { key, every: EVERY, at_once: rules.burst, longest: EVERY };
    cache.turn(&day(user, rules.session_start_limit), &row).await
}

/// How many an account has started.
pub(super) async fn read(cache: &dyn Cache, user: UserId) -> Result<Count, CacheError> {
    // Where there is no room nothing is counted.
    let counts = cache.count(&[day(user, 0)]).await?;
    counts.first().copied().ok_or_else(|| CacheError::Failed("no answer".to_owned()))
}

fn day(user: UserId, limit: u32) -> Window {
    Window { key: CacheKey::new(COUNT, user.to_string()), limit, length: DAY }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clarion_storage::cache::{Config, MemoryCache};

    use super::*;

    #[tokio::test]
    async fn a_day_has_so_many_sessions_at_all_gateways_together() {
        let (cache, user) = (MemoryCache::new(&Config::default()), UserId(1));
        let rules = Identify { session_start_limit: 3, burst: 100, ..Identify::default() };
        assert_eq!(read(&cache, user).await.map(|count| count.used), Ok(0));
        for used in 1..=3 {
            let turn = take(&cache, &rules, user, 0).await.expect("a cache");
            assert_eq!((turn.wait, turn.count.used), (Some(Duration::ZERO), used));
        }
        let refused = take(&cache, &rules, user, 1).await.expect("a cache");
        assert_eq!((refused.wait, refused.count.used), (None, 3));
        let read = read(&cache, user).await.expect("a cache");
        assert!(read.used == 3 && read.ends_in <= DAY && read.ends_in > DAY - Duration::from_secs(60), "{read:?}");
    }

    #[tokio::test]
    async fn each_bucket_has_turns_of_its_own() {
        let (cache, user) = (MemoryCache::new(&Config::default()), UserId(1));
        let rules = Identify { burst: 1, ..Identify::default() };
        for bucket in [0, 1] {
            let waits = [take(&cache, &rules, user, bucket).await, take(&cache, &rules, user, bucket).await];
            let waits = waits.map(|turn| turn.expect("a cache").wait.expect("a turn"));
            assert!(waits[0].is_zero() && waits[1] > EVERY / 2 && waits[1] <= EVERY, "{waits:?}");
            assert_eq!(take(&cache, &rules, user, bucket).await.expect("a cache").wait, None);
        }
    }
}
