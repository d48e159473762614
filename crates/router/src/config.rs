//! The router's settings.

use clarion_runtime::Listen;

/// Settings of the router. The default is a laptop's.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where channel servers and gateways reach it.
    pub listen: Listen,
    /// How long a look-up waits for a slot that has no owner just now, in milliseconds.
    pub owner_wait_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: Listen::InProcess, owner_wait_ms: 1_000 }
    }
}
