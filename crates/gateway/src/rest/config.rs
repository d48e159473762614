//! Settings of the API over HTTP.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rate_limit::RateLimit;

/// Settings of the API over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestConfig {
    /// How often clients may call.
    pub rate_limits: RateLimits,
    /// Largest body of a request.
    pub body_bytes: usize,
    /// How long a request may take before it is answered with 504.
    pub request_timeout_ms: u64,
    /// Whether a proxy in front puts the client's address last into `X-Forwarded-For`. Only with such a proxy:
    /// otherwise clients name any address they like.
    pub behind_proxy: bool,
}

/// How often clients may call. Each limit counts by user, operation and channel or guild, except where it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// Whether limits are held at all. Answers carry their headers in any case.
    pub enabled: bool,
    /// All requests of a user.
    pub global: RateLimit,
    /// Creating messages.
    pub send: RateLimit,
    /// Changing and deleting messages, and typing.
    pub edit: RateLimit,
    /// Adding and removing reactions.
    pub react: RateLimit,
    /// Saying how far one has read, in all channels together.
    pub read: RateLimit,
    /// Every other operation.
    pub other: RateLimit,
    /// Requests without an account, by address.
    pub open: RateLimit,
    /// Tokens that do not hold, by address. Beyond it only tokens that are known to hold are let in from there.
    pub invalid: RateLimit,
    /// Most windows remembered.
    pub windows: usize,
}

impl Default for RestConfig {
    fn default() -> Self {
        Self {
            rate_limits: RateLimits::default(),
            body_bytes: clarion_model::limits::BODY_BYTES,
            request_timeout_ms: 15_000,
            behind_proxy: false,
        }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        let limit = |limit, window_ms| RateLimit { limit, window_ms };
        Self {
            enabled: true,
            global: limit(50, 1_000),
            send: limit(5, 5_000),
            edit: limit(5, 5_000),
            react: limit(4, 1_000),
            read: limit(20, 10_000),
            other: limit(50, 10_000),
            open: limit(100, 10_000),
            invalid: limit(500, 600_000),
            windows: 200_000,
        }
    }
}

impl RestConfig {
    /// How long a request may take.
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}
