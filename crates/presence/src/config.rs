//! The settings of a presence server; the defaults are a laptop's.

use std::time::Duration;

use anyhow::bail;
use clarion_runtime::Listen;

/// What can be set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: Listen,
    /// How long the words of a gateway hold that is not heard of any more, in milliseconds.
    pub lease_ms: u32,
    /// Most words, one a user and gateway. Users beyond are not seen.
    pub words: usize,
    /// Most users that are watched, counted for each gateway. Changes of those beyond are not told.
    pub watched: usize,
    /// Most gateways at a time.
    pub gateways: usize,
    /// Messages that may wait for one gateway; with more it is cut off and attends again.
    pub queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            lease_ms: 10_000,
            words: 200_000,
            watched: 1_000_000,
            gateways: 256,
            queue: 8_192,
        }
    }
}

impl Config {
    /// What cannot work, if anything.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.lease_ms < 100 {
            bail!("presence.lease_ms is {}: it must be at least 100, or heartbeats come too late", self.lease_ms);
        }
        Ok(())
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms.into())
    }
}
