//! How often clients may call: fixed windows, one a caller and route and thing it is about. Pure: time is an argument.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use clarion_model::id::UserId;
use clarion_storage::cache::{CacheKey, Count, Window as SharedWindow};
use serde::{Deserialize, Serialize};

use crate::bounded::Bounded;

/// So many requests in a window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many.
    pub limit: u32,
    /// In how many milliseconds.
    pub window_ms: u64,
}

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    User(UserId),
    /// Before it is known who asks, or when that was wrong.
    Address(IpAddr),
}

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bucket {
    pub(crate) caller: Caller,
    /// Shown to clients.
    pub(crate) name: &'static str,
    /// The channel or guild it is about; zero for routes that are about neither.
    pub(crate) major: u64,
}

/// Under what windows are counted that gateways share.
const KIND: &str = "limits";

/// How a caller stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether the request may go on.
    pub(crate) allowed: bool,
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    pub(crate) reset_after: Duration,
}

/// The windows of all callers.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    windows: Bounded<Bucket, Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    ends: Instant,
    used: u32,
}

impl RateLimit {
    fn window(self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    /// How a caller stands whom nobody counts.
    pub(crate) fn untouched(self) -> Standing {
        Standing {
            allowed: true,
            limit: self.limit,
            remaining: self.limit.saturating_sub(1),
            reset_after: self.window(),
        }
    }
}

impl Bucket {
    /// The window of this bucket that all gateways count in.
    pub(crate) fn shared(&self, limit: RateLimit) -> SharedWindow {
        let caller = match self.caller {
            Caller::User(user) => format!("user:{user}"),
            Caller::Address(address) => format!("address:{address}"),
        };
        let key = CacheKey::new(KIND, format!("{caller}:{}:{}", self.name, self.major));
        SharedWindow { key, limit: limit.limit, length: limit.window() }
    }
}

impl RateLimiter {
    /// Remembers at most `most` windows. When there are more, those unused for longest count anew.
    pub(crate) fn new(most: usize) -> Self {
        Self { windows: Bounded::new(most) }
    }

    /// Counts a request.
    pub(crate) fn take(&mut self, now: Instant, bucket: Bucket, limit: RateLimit) -> Standing {
        let fresh = Window { ends: now + limit.window(), used: 0 };
        let window = match self.windows.get_mut(&bucket) {
            Some(window) if now < window.ends => window,
            Some(window) => {
                *window = fresh;
                window
            }
            None => {
                let first = Window { used: 1.min(limit.limit), ..fresh };
                self.windows.insert(bucket, first);
                return standing(now, first, limit, limit.limit > 0);
            }
        };
        let allowed = window.used < limit.limit;
        if allowed {
            window.used += 1;
        }
        standing(now, *window, limit, allowed)
    }

    /// Takes over how full a window is that all gateways count in.
    pub(crate) fn learn(&mut self, now: Instant, bucket: Bucket, limit: RateLimit, count: Count) -> Standing {
        let window = Window { ends: now + count.ends_in, used: count.used };
        self.windows.insert(bucket, window);
        standing(now, window, limit, count.counted)
    }

    /// How a caller stands, without counting anything.
    pub(crate) fn look(&self, now: Instant, bucket: &Bucket, limit: RateLimit) -> Standing {
        match self.windows.peek(bucket) {
            Some(window) if now < window.ends => standing(now, *window, limit, window.used < limit.limit),
            _ => standing(now, Window { ends: now + limit.window(), used: 0 }, limit, limit.limit > 0),
        }
    }
}

fn standing(now: Instant, window: Window, limit: RateLimit, allowed: bool) -> Standing {
    Standing {
        allowed,
        limit: limit.limit,
        remaining: limit.limit.saturating_sub(window.used),
        reset_after: window.ends.saturating_duration_since(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: RateLimit = RateLimit { limit: 3, window_ms: 1_000 };

    fn bucket(user: u64, major: u64) -> Bucket {
        Bucket { caller: Caller::User(UserId(user)), name: "b", major }
    }

    #[test]
    fn a_window_lets_so_many_through_and_then_none_until_it_ends() {
        let (mut limiter, now) = (RateLimiter::new(100), Instant::now());
        let remaining: Vec<_> = (0..3).map(|_| limiter.take(now, bucket(1, 1), LIMIT).remaining).collect();
        assert_eq!(remaining, [2, 1, 0]);
        let later = now + Duration::from_millis(400);
        let refused = limiter.take(later, bucket(1, 1), LIMIT);
        assert_eq!((refused.allowed, refused.reset_after), (false, Duration::from_millis(600)));
        assert!(!limiter.look(later, &bucket(1, 1), LIMIT).allowed);
        let anew = limiter.take(now + Duration::from_secs(1), bucket(1, 1), LIMIT);
        assert_eq!((anew.allowed, anew.remaining), (true, 2));
    }

    #[test]
    fn callers_and_channels_do_not_disturb_each_other() {
        let (mut limiter, now) = (RateLimiter::new(100), Instant::now());
        for _ in 0..4 {
            limiter.take(now, bucket(1, 1), LIMIT);
        }
        for other in [bucket(2, 1), bucket(1, 2), Bucket { name: "c", ..bucket(1, 1) }] {
            assert!(limiter.take(now, other, LIMIT).allowed);
        }
        let address = Bucket { caller: Caller::Address(IpAddr::from([127, 0, 0, 1])), ..bucket(1, 1) };
        assert!(limiter.look(now, &address, LIMIT).allowed);
    }

    #[test]
    fn what_others_counted_is_beyond_a_limit_here_too() {
        let (mut limiter, now) = (RateLimiter::new(100), Instant::now());
        assert!(limiter.take(now, bucket(1, 1), LIMIT).allowed);
        let ends_in = Duration::from_millis(300);
        let learnt = limiter.learn(now, bucket(1, 1), LIMIT, Count { counted: true, used: 3, ends_in });
        assert_eq!((learnt.allowed, learnt.remaining, learnt.reset_after), (true, 0, ends_in));
        assert!(!limiter.take(now, bucket(1, 1), LIMIT).allowed);
        assert!(limiter.take(now + ends_in, bucket(1, 1), LIMIT).allowed);
    }

    proptest! {
        #[test]
        fn no_window_lets_more_through_than_its_limit(
            steps in prop::collection::vec(0u64..400, 1..200), limit in 0u32..6, window_ms in 1u64..2_000,
        ) {
            let limit = RateLimit { limit, window_ms };
            let (mut limiter, start) = (RateLimiter::new(8), Instant::now());
            let (mut now, mut ends, mut through) = (start, start, 0);
            for step in steps {
                now += Duration::from_millis(step);
                if now >= ends {
                    (ends, through) = (now + limit.window(), 0);
                }
                let standing = limiter.take(now, bucket(1, 1), limit);
                through += u32::from(standing.allowed);
                prop_assert!(through <= limit.limit);
                prop_assert_eq!(standing.remaining, limit.limit - through);
                prop_assert_eq!(standing.reset_after, ends - now);
            }
        }
    }
}
