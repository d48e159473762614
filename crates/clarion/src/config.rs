//! The settings of the whole process. Each section is a service's or a shared part's own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clarion_runtime::config::{ConfigError, load};

use crate::Topology;

/// The port for metrics, probes, traces and the admin API.
pub(crate) const ADMIN_PORT: u16 = 9_568;

/// All settings. The default is a laptop's.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder of everything that lasts.
    pub data: PathBuf,
    /// Whether a first start makes the demo workspace.
    pub demo: bool,
    /// How long each service may take to end, in seconds.
    pub drain_seconds: u64,
    /// How many of each service.
    pub topology: Topology,
    /// The admin port.
    pub admin: AdminConfig,
    /// Logs, traces, metrics.
    pub telemetry: clarion_observability::Config,
    /// What lasts, and where.
    pub storage: StorageConfig,
    /// The router.
    pub router: clarion_router::Config,
    /// The cache, inside the process or in Redis.
    pub cache: clarion_storage::cache::Config,
    /// The presence server.
    pub presence: clarion_presence::Config,
    /// The channel server.
    pub channel: clarion_channel::Config,
    /// The search service.
    pub search: clarion_search::Config,
    /// The voice server.
    pub voice: clarion_voice::Config,
    /// The gateway.
    pub gateway: clarion_gateway::Config,
}

/// Settings of the store: which one, and each one's own.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Which store it is.
    pub kind: StorageKind,
    /// The store inside the process.
    pub embedded: clarion_storage::embedded::Config,
    /// The store behind CQL.
    pub scylla: clarion_storage::scylla::Config,
}

/// The stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageKind {
    /// Inside the process, on the local disk: one machine.
    #[default]
    Embedded,
    /// A cluster of ScyllaDB or Apache Cassandra.
    Scylla,
}

/// Settings of the admin port.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Where it listens. Unset: 127.0.0.1:9568, or any free port when that one is taken.
    pub listen: Option<SocketAddr>,
    /// What requests to the admin API must bear. Needed when it listens beyond loopback.
    pub token: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data"),
            demo: true,
            drain_seconds: 10,
            topology: Topology::default(),
            admin: AdminConfig::default(),
            telemetry: clarion_observability::Config::default(),
            storage: StorageConfig::default(),
            router: clarion_router::Config::default(),
            cache: clarion_storage::cache::Config::default(),
            presence: clarion_presence::Config::default(),
            channel: clarion_channel::Config::default(),
            search: clarion_search::Config::default(),
            voice: clarion_voice::Config::default(),
            gateway: clarion_gateway::Config::default(),
        }
    }
}

impl Config {
    /// Reads the settings: defaults, file, the names that every operator knows (`LOG_LEVEL`,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, `PROMETHEUS_PORT`, `DB_POOL_SIZE`, `CIRCUIT_BREAKER_ENABLED`), Clarion's own names in the environment, command line; each over
    /// the last.
    pub fn read(file: Option<&Path>, overrides: &[(&str, String)]) -> Result<Self, ConfigError> {
        let mut known = Vec::new();
        if let Some(level) = env("LOG_LEVEL") {
            known.push(("telemetry.log_level", level));
        }
        if let Some(endpoint) = env("OTEL_EXPORTER_OTLP_ENDPOINT") {
            known.push(("telemetry.otlp_endpoint", endpoint));
        }
        if let Some(port) = env("PROMETHEUS_PORT") {
            known.push(("admin.listen", format!("{}:{port}", Ipv4Addr::LOCALHOST)));
        }
        known.extend(env("DB_POOL_SIZE").map(|size| ("storage.scylla.connections", size)));
        known.extend(env("CIRCUIT_BREAKER_ENABLED").map(|on| ("storage.scylla.circuit_breaker", on)));
        let mut config: Self = load(file, &known, overrides)?;
        if config.storage.embedded.path == Self::default().storage.embedded.path {
            config.storage.embedded.path = config.data.join("store");
        }
        if config.search.index.path == Self::default().search.index.path {
            config.search.index.path = config.data.join("search");
        }
        Ok(config)
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
