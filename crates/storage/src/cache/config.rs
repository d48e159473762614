//! The settings of the cache: which one, and how much of it.

use std::fmt;

/// Settings of the cache.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which cache there is.
    pub kind: Kind,
    /// Most bytes of the cache inside the process; what does not fit is refused.
    pub memory_bytes: usize,
    /// Redis, where it is the cache.
    pub redis: RedisConfig,
}

/// Which cache there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Inside the process. For services that are all in one process.
    #[default]
    Memory,
    /// A Redis server. For services in many processes.
    Redis,
}

/// How Redis is reached.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://user:password@host:port/database`.
    pub url: RedisUrl,
    /// Longest wait for an answer, in milliseconds.
    pub timeout_ms: u64,
    /// Calls that may be under way; more are refused.
    pub queue: usize,
    /// Whether a server that does not answer is left alone for moments.
    pub circuit_breaker: bool,
}

/// The address of a Redis server, whose password is shown to nobody.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", from = "String")]
pub struct RedisUrl(String);

/// The settings name no cache that could be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The text is no address.
    #[error(
        "cache.redis.url is {0}: expected redis://user:password@host:port/database, the user, the password, the port and the database as needed"
    )]
    Url(RedisUrl),
}

impl Default for Config {
    fn default() -> Self {
        Self { kind: Kind::default(), memory_bytes: 64 << 20, redis: RedisConfig::default() }
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: RedisUrl("redis://127.0.0.1:6379".to_owned()),
            timeout_ms: 1_000,
            queue: 4_096,
            circuit_breaker: true,
        }
    }
}

impl RedisUrl {
    /// The address with its password.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    fn redacted(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else { return "(not shown)".to_owned() };
        // A password may hold any character; the host holds no @.
        match rest.rsplit_once('@') {
            Some((who, host)) => {
                let user = who.split_once(':').map_or("", |(user, _)| user);
                format!("{scheme}://{user}:***@{host}")
            }
            None => self.0.clone(),
        }
    }
}

impl From<String> for RedisUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl From<RedisUrl> for String {
    fn from(url: RedisUrl) -> String {
        url.redacted()
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.redacted())
    }
}

#[cfg(test)]
mod tests {
    use clarion_observability::capture::Capture;

    use super::*;
    use crate::cache::RedisCache;

    #[test]
    fn a_password_is_shown_nowhere() {
        for (url, shown) in [
            ("redis://10.0.0.1:6379", "redis://10.0.0.1:6379"),
            ("redis://:se@cret@host:1/2", "redis://:***@host:1/2"),
            ("redis://me:secret@host", "redis://me:***@host"),
            ("redis://secret@host", "redis://:***@host"),
            ("secret", "(not shown)"),
        ] {
            let url = RedisUrl(url.to_owned());
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), format!("{shown:?}")));
            assert_eq!(serde_json::to_string(&url).expect("text"), format!("{shown:?}"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        let capture = Capture::new().expect("telemetry");
        let telemetry = capture.process().service("cache-test", "0");
        for url in ["127.0.0.1:6379", "rediss://host", "redis-cluster://host", "redis://"] {
            let redis = RedisConfig { url: RedisUrl(url.to_owned()), ..RedisConfig::default() };
            let refused = RedisCache::new(&redis, &telemetry).err();
            assert!(refused.is_some_and(|e| e.to_string().starts_with("cache.redis.url is ")), "{url}");
        }
        assert!(RedisCache::new(&RedisConfig::default(), &telemetry).is_ok());
    }
}
