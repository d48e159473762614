//! The router's settings.

use anyhow::bail;
use clarion_runtime::Listen;

/// Settings of the router. The default is a laptop's.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where channel servers and gateways reach it.
    pub listen: Listen,
    /// How long a look-up waits for a slot that has no owner just now, in milliseconds.
    pub owner_wait_ms: u64,
    /// How long a member counts as alive that says nothing, in milliseconds; and a router as the leader that does nothing.
    pub lease_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: Listen::InProcess, owner_wait_ms: 1_000, lease_ms: 3_000 }
    }
}

impl Config {
    /// What cannot work, if anything.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.lease_ms < 300 {
            bail!("router.lease_ms is {}, expected at least 300, or signs of life come too late", self.lease_ms);
        }
        Ok(())
    }
}
