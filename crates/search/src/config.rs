//! The settings of the search service; the defaults are a laptop's.

use std::time::Duration;

use clarion_runtime::Listen;

/// What can be set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: Listen,
    /// The index on the local disk.
    pub index: clarion_storage::index::Config,
    /// At least so long from the begin of one commit to the begin of the next, in milliseconds. A message is found about
    /// this much later; a commit costs a few syncs of the disk.
    pub commit_ms: u64,
    /// Most changes that share one commit.
    pub batch: usize,
    /// Most messages that are read from the stores in a second when a history is indexed anew.
    pub refill_per_s: u32,
    /// Queries that are worked on at a time.
    pub queries: usize,
    /// Queries that may wait for their turn; more are told to come again.
    pub queries_waiting: usize,
    /// Seconds between two comparisons of the index with the store; 0: none.
    pub audit_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            index: clarion_storage::index::Config::default(),
            commit_ms: 200,
            batch: 4_096,
            refill_per_s: 20_000,
            queries: 4,
            queries_waiting: 256,
            audit_s: 900,
        }
    }
}

impl Config {
    pub(crate) fn commit_pause(&self) -> Duration {
        Duration::from_millis(self.commit_ms)
    }
}
