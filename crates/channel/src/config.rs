//! The settings of a channel server; the defaults are a laptop's.

use clarion_runtime::{Address, Listen};

/// What can be set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: Listen,
    /// Where others reach it, when that is not where it listens.
    pub address: Option<Address>,
    /// Commands that may wait for one key; more are told to come again.
    pub inbox: usize,
    /// Events that may wait for one follower; with more it is cut off and follows again.
    pub follower_queue: usize,
    /// Keys that may be in memory at a time.
    pub active_keys: usize,
    /// Seconds that a key nobody uses stays in memory.
    pub idle_s: u64,
    /// Seconds a drain may take to hand the slots over.
    pub drain_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            address: None,
            inbox: 512,
            follower_queue: 8_192,
            active_keys: 65_536,
            idle_s: 120,
            drain_s: 5,
        }
    }
}
