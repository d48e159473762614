//! The limits of the API: who is counted for what, and how answers say it.
//!
//! Gateways that share a cache with others count there, one call for all windows of a request, so that a limit is one however
//! many gateways a client asks. Who is known to be beyond a limit is refused without asking. Without an answer of the cache
//! each gateway counts for itself, from where it last knew.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use clarion_model::id::UserId;
use clarion_observability::metric::RateScope;
use clarion_storage::cache::{Cache, Window};

use super::config::RateLimits;
use super::operation::{Class, Operation};
use super::refusal::Refusal;
use crate::rate_limit::{Bucket, Caller, RateLimit, RateLimiter, Standing};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RESET_AFTER: HeaderName = HeaderName::from_static("x-ratelimit-reset-after");
const BUCKET: HeaderName = HeaderName::from_static("x-ratelimit-bucket");
const SCOPE: HeaderName = HeaderName::from_static("x-ratelimit-scope");
const GLOBAL: HeaderName = HeaderName::from_static("x-ratelimit-global");

/// The bucket of requests that are no operation, or by nobody.
const OPEN: &str = "open";
const GLOBAL_BUCKET: &str = "global";
const INVALID: &str = "invalid";

/// Callers behind no address that is known.
const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// The limits, with how everybody stands.
pub(crate) struct Limits {
    config: RateLimits,
    limiter: Mutex<RateLimiter>,
    /// Where all gateways count.
    shared: Option<Arc<dyn Cache>>,
}

/// How a request stands, and under which name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) standing: Standing,
    pub(super) bucket: &'static str,
}

/// A request beyond a limit.
pub(super) struct Beyond {
    pub(super) refusal: Refusal,
    pub(super) scope: RateScope,
}

impl Limits {
    /// `cache`: where gateways count together, if it is one that they share.
    pub(crate) fn new(config: RateLimits, cache: Arc<dyn Cache>) -> Self {
        let shared = cache.is_shared().then_some(cache);
        Self { limiter: Mutex::new(RateLimiter::new(config.windows)), config, shared }
    }

    /// How somebody stands who has not been counted yet.
    pub(super) fn nominal(&self) -> Counted {
        Counted { standing: self.config.open.untouched(), bucket: OPEN }
    }

    /// Counts a request by nobody in particular.
    pub(super) async fn open(
        &self,
        now: Instant,
        address: Option<IpAddr>,
        counted: &mut Counted,
    ) -> Result<(), Beyond> {
        let bucket = Bucket { caller: by_address(address), name: OPEN, major: 0 };
        let (_, standing) = self.take(now, &[(bucket, self.config.open)]).await;
        *counted = Counted { standing, bucket: OPEN };
        within(counted.standing, false, RateScope::Address)
    }

    /// Counts a user's request of an operation, about a channel or guild.
    pub(super) async fn user(
        &self,
        now: Instant,
        user: UserId,
        operation: &Operation,
        major: u64,
        counted: &mut Counted,
    ) -> Result<(), Beyond> {
        let caller = Caller::User(user);
        let major = if operation.class == Class::Read { 0 } else { major };
        let global = (Bucket { caller, name: GLOBAL_BUCKET, major: 0 }, self.config.global);
        let own = (Bucket { caller, name: operation.name, major }, self.of(operation.class));
        let (at, standing) = self.take(now, &[global, own]).await;
        if at == 0 {
            *counted = Counted { standing, bucket: GLOBAL_BUCKET };
            return within(standing, true, RateScope::Global);
        }
        *counted = Counted { standing, bucket: operation.name };
        let scope = if major == 0 { RateScope::Route } else { RateScope::Channel };
        within(counted.standing, false, scope)
    }

    /// Whether too many tokens from an address did not hold.
    pub(super) fn is_suspect(&self, now: Instant, address: Option<IpAddr>) -> Result<(), Beyond> {
        if !self.config.enabled {
            return Ok(());
        }
        let standing = self.limiter().look(now, &invalid(address), self.config.invalid);
        within(standing, false, RateScope::Address)
    }

    /// The same, for those who need no refusal in the API's words.
    pub(crate) fn lets_in(&self, now: Instant, address: IpAddr) -> bool {
        self.is_suspect(now, Some(address)).is_ok()
    }

    /// A token from an address did not hold.
    pub(crate) async fn count_invalid(&self, now: Instant, address: Option<IpAddr>) {
        self.take(now, &[(invalid(address), self.config.invalid)]).await;
    }

    /// Counts one in each bucket up to the first that is full. Answers the last that was looked at: which, and how it stands.
    async fn take(&self, now: Instant, asked: &[(Bucket, RateLimit)]) -> (usize, Standing) {
        if !self.config.enabled {
            let at = asked.len() - 1;
            return (at, asked[at].1.untouched());
        }
        let here = self.take_here(now, asked);
        let Some(shared) = self.shared.as_ref().filter(|_| here.1.allowed) else { return here };
        let windows: Vec<Window> = asked.iter().map(|(bucket, limit)| bucket.shared(*limit)).collect();
        // Without an answer, what was counted here holds.
        let Ok(counts) = shared.count(&windows).await else { return here };
        let (mut limiter, now) = (self.limiter(), Instant::now());
        let learnt =
            asked.iter().zip(counts).map(|((bucket, limit), count)| limiter.learn(now, *bucket, *limit, count));
        learnt.enumerate().last().unwrap_or(here)
    }

    fn take_here(&self, now: Instant, asked: &[(Bucket, RateLimit)]) -> (usize, Standing) {
        let mut limiter = self.limiter();
        let mut last = (0, asked[0].1.untouched());
        for (at, (bucket, limit)) in asked.iter().enumerate() {
            last = (at, limiter.take(now, *bucket, *limit));
            if !last.1.allowed {
                break;
            }
        }
        last
    }

    fn of(&self, class: Class) -> RateLimit {
        match class {
            Class::Send => self.config.send,
            Class::Edit => self.config.edit,
            Class::React => self.config.react,
            Class::Read => self.config.read,
            Class::Other => self.config.other,
        }
    }

    fn limiter(&self) -> MutexGuard<'_, RateLimiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// Writes it as headers, the same on every answer: libraries that miss one of them stop pacing themselves.
    pub(super) fn write(&self, wall: SystemTime, global: bool, headers: &mut HeaderMap) {
        let Standing { limit, remaining, reset_after, .. } = self.standing;
        let reset = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + reset_after;
        headers.insert(LIMIT, limit.into());
        headers.insert(REMAINING, remaining.into());
        headers.insert(RESET, seconds(reset));
        headers.insert(RESET_AFTER, seconds(reset_after));
        headers.insert(BUCKET, HeaderValue::from_static(self.bucket));
        headers.insert(SCOPE, HeaderValue::from_static(if global { "global" } else { "user" }));
        if global {
            headers.insert(GLOBAL, HeaderValue::from_static("true"));
        }
    }
}

/// When to come back. One library gives up on a 429 that passed no proxy.
pub(super) fn write_retry(after: u64, limited: bool, headers: &mut HeaderMap) {
    headers.insert(header::RETRY_AFTER, after.into());
    if limited {
        headers.insert(header::VIA, HeaderValue::from_static("1.1 clarion"));
    }
}

fn within(standing: Standing, global: bool, scope: RateScope) -> Result<(), Beyond> {
    if standing.allowed { Ok(()) } else { Err(Beyond { refusal: Refusal::limited(standing, global), scope }) }
}

fn by_address(address: Option<IpAddr>) -> Caller {
    Caller::Address(address.unwrap_or(NOWHERE))
}

fn invalid(address: Option<IpAddr>) -> Bucket {
    Bucket { caller: by_address(address), name: INVALID, major: 0 }
}

/// Seconds with three decimals; rounded up, so that nobody comes too early.
fn seconds(duration: Duration) -> HeaderValue {
    let ms = duration.as_micros().div_ceil(1_000);
    let text = format!("{}.{:03}", ms / 1_000, ms % 1_000);
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0.000"))
}

#[cfg(test)]
mod tests {
    use clarion_storage::cache::MemoryCache;

    use super::*;

    #[test]
    fn seconds_have_three_decimals_and_are_not_short() {
        assert_eq!(seconds(Duration::from_micros(1_234_001)), "1.235");
        assert_eq!(seconds(Duration::ZERO), "0.000");
    }

    #[tokio::test]
    async fn every_header_is_there_whether_limits_are_held_or_not() {
        for enabled in [true, false] {
            let cache = Arc::new(MemoryCache::new(&clarion_storage::cache::Config::default()));
            let limits = Limits::new(RateLimits { enabled, ..RateLimits::default() }, cache);
            let mut counted = limits.nominal();
            for _ in 0..3 {
                assert!(limits.open(Instant::now(), None, &mut counted).await.is_ok());
            }
            let mut headers = HeaderMap::new();
            counted.write(SystemTime::now(), false, &mut headers);
            for name in [LIMIT, REMAINING, RESET, RESET_AFTER, BUCKET, SCOPE] {
                assert!(headers.contains_key(&name), "{name}");
            }
            assert_eq!(headers[REMAINING], if enabled { "97" } else { "99" });
        }
    }
}
