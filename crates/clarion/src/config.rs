//! The settings of the whole process. Each section is a service's or a shared part's own.
//!
//! One file may serve all processes of a cluster: each reads what concerns it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::bail;
use clarion_runtime::config::{ConfigError, load};
use clarion_runtime::{Address, Listen};

use crate::{Service, Topology};

/// Where the services of one machine listen for each other, unless the settings say otherwise.
const ROUTER_PORT: u16 = 7_001;
const CHANNEL_PORT: u16 = 7_002;
const PRESENCE_PORT: u16 = 7_003;
const SEARCH_PORT: u16 = 7_004;
const GATEWAY_PORT: u16 = 7_005;
const VOICE_PORT: u16 = 7_006;
/// The circuit breakers, which one name in the environment switches.
const CIRCUIT_BREAKERS: [&str; 3] =
    ["storage.scylla.circuit_breaker", "cache.redis.circuit_breaker", "peers.circuit_breaker"];
/// The share of traces of separate services that is exported.
const SAMPLE_RATIO: f64 = 0.01;

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
    /// How many of each service, where one process is all of them.
    pub topology: Topology,
    /// What a separate service is called, unlike all others; its kind and the machine's name unless it is set.
    pub instance: Option<String>,
    /// Where a separate service finds the others.
    pub peers: Peers,
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

/// Where the other services are.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Peers {
    /// All routers.
    pub routers: Vec<Address>,
    /// The presence servers: one address or a list of them.
    #[serde(deserialize_with = "one_or_more")]
    pub presence: Vec<Address>,
    /// The search service; without it there is no search.
    pub search: Option<Address>,
    /// Whether a service that does not answer is left alone for moments.
    pub circuit_breaker: bool,
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

impl Default for Peers {
    fn default() -> Self {
        Self { routers: Vec::new(), presence: Vec::new(), search: None, circuit_breaker: true }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data"),
            demo: true,
            drain_seconds: 10,
            topology: Topology::default(),
            instance: None,
            peers: Peers::default(),
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
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, `PROMETHEUS_PORT`, `DB_POOL_SIZE`, `CIRCUIT_BREAKER_ENABLED`), Clarion's own names in
    /// the environment, command line; each over the last.
    pub fn read(file: Option<&Path>, overrides: &[(&str, String)]) -> Result<Self, ConfigError> {
        Self::read_over(&Self::default(), file, overrides)
    }

    /// The same for a process that is one service.
    pub fn read_for(service: Service, file: Option<&Path>, overrides: &[(&str, String)]) -> Result<Self, ConfigError> {
        let mut config = Self::read_over(&Self::separate(), file, overrides)?;
        config.instance.get_or_insert_with(|| format!("{}-{}", service.as_str(), machine()));
        Ok(config)
    }

    /// The defaults of separate services: one of each on this machine, over a store that several may share.
    pub fn separate() -> Self {
        let listen = |port| Listen::Tcp((Ipv4Addr::LOCALHOST, port).into());
        let at = |port| Address::Http(format!("http://{}:{port}", Ipv4Addr::LOCALHOST));
        let mut config = Self { demo: false, ..Self::default() };
        config.telemetry.sample_ratio = SAMPLE_RATIO;
        config.storage.kind = StorageKind::Scylla;
        config.router.listen = listen(ROUTER_PORT);
        config.channel.listen = listen(CHANNEL_PORT);
        config.presence.listen = listen(PRESENCE_PORT);
        config.search.listen = listen(SEARCH_PORT);
        config.gateway.rpc = listen(GATEWAY_PORT);
        config.voice.listen = listen(VOICE_PORT);
        let (routers, presence) = (vec![at(ROUTER_PORT)], vec![at(PRESENCE_PORT)]);
        config.peers = Peers { routers, presence, ..Peers::default() };
        config
    }

    fn read_over(defaults: &Self, file: Option<&Path>, overrides: &[(&str, String)]) -> Result<Self, ConfigError> {
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
        if let Some(on) = env("CIRCUIT_BREAKER_ENABLED") {
            known.extend(CIRCUIT_BREAKERS.map(|setting| (setting, on.clone())));
        }
        let mut config: Self = load(defaults, file, &known, overrides)?;
        if config.storage.embedded.path == defaults.storage.embedded.path {
            config.storage.embedded.path = config.data.join("store");
        }
        if config.search.index.path == defaults.search.index.path {
            config.search.index.path = config.data.join("search");
        }
        Ok(config)
    }

    /// What cannot work in a process that is one service, if anything.
    pub fn check_for(&self, service: Service) -> anyhow::Result<()> {
        let peers = &self.peers;
        match service {
            Service::Router | Service::Channel | Service::Search => match self.storage.kind {
                StorageKind::Embedded => bail!(
                    "storage.kind is embedded, expected scylla: a store inside one process cannot be shared with others"
                ),
                StorageKind::Scylla => {
                    self.storage.scylla.check().map_err(|error| anyhow::anyhow!("storage.scylla.{error}"))?;
                }
            },
            Service::Gateway => check_presence(&peers.presence)?,
            Service::Presence | Service::Voice => {}
        }
        if matches!(service, Service::Gateway | Service::Channel) && peers.routers.is_empty() {
            bail!("peers.routers is [], expected where the routers answer, such as [\"http://host:7001\"]");
        }
        let among = peers.search.iter().chain(&peers.presence).chain(&peers.routers);
        if let Some(pipe) = among.clone().find(|address| matches!(address, Address::InProcess(_))) {
            bail!("peers: {pipe} is inside one process, expected http://host:port");
        }
        let listen = match service {
            Service::Router => ("router.listen", &self.router.listen),
            Service::Channel => ("channel.listen", &self.channel.listen),
            Service::Presence => ("presence.listen", &self.presence.listen),
            Service::Search => ("search.listen", &self.search.listen),
            Service::Voice => ("voice.listen", &self.voice.listen),
            Service::Gateway => ("gateway.rpc", &self.gateway.rpc),
        };
        if let (name, Listen::InProcess) = listen {
            bail!("{name} is in-process, where no other process comes, expected an address with a port");
        }
        match service {
            Service::Router => self.router.check(),
            Service::Presence => self.presence.check(),
            Service::Gateway => self.gateway.check(),
            Service::Channel | Service::Search | Service::Voice => Ok(()),
        }
    }
}

/// Gateways find the servers of a user by the list, in which each must stand once.
fn check_presence(servers: &[Address]) -> anyhow::Result<()> {
    if servers.is_empty() {
        bail!("peers.presence is [], expected where the presence servers answer, such as [\"http://host:7003\"]");
    }
    let again = servers.iter().enumerate().find(|(at, server)| servers[..*at].contains(server));
    if let Some((_, again)) = again {
        bail!("peers.presence has {again} twice, expected each presence server once");
    }
    Ok(())
}

/// One address, or a list of addresses.
fn one_or_more<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Vec<Address>, D::Error> {
    struct OneOrMore;

    impl<'de> serde::de::Visitor<'de> for OneOrMore {
        type Value = Vec<Address>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("http://host:port, or a list of such addresses")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            text.parse().map(|address| vec![address]).map_err(E::custom)
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(address) = list.next_element()? {
                all.push(address);
            }
            Ok(all)
        }
    }

    value.deserialize_any(OneOrMore)
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The name of this machine, or of this container.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "0".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_separate_services_are_whole() {
        for service in Service::ALL {
            Config::separate().check_for(service).expect("a laptop's");
        }
        assert_eq!(Config::separate().telemetry.sample_ratio, 0.01);
        assert_eq!(Config::default().telemetry.sample_ratio, 1.0);
    }

    #[test]
    fn presence_servers_are_one_address_or_a_list() {
        let file = std::env::temp_dir().join(format!("clarion-peers-{}.toml", std::process::id()));
        let read = |presence: &str| {
            std::fs::write(&file, format!("[peers]\npresence = {presence}\n")).expect("written");
            let read = Config::read_over(&Config::separate(), Some(&file), &[]);
            let _ = std::fs::remove_file(&file);
            read.map(|config| config.peers.presence)
        };
        let at = |host: &str| Address::Http(format!("http://{host}:7003"));
        assert_eq!(read("\"http://a:7003\"").expect("one"), [at("a")]);
        assert_eq!(read("[\"http://a:7003\", \"http://b:7003\"]").expect("two"), [at("a"), at("b")]);
        for (wrong, named) in [("\"a:7003\"", "a:7003"), ("[\"a:7003\"]", "a:7003"), ("7003", "http://host:port")] {
            let said = read(wrong).expect_err("refused").to_string();
            assert!(said.contains("peers.presence") && said.contains(named), "{said}");
        }
    }

    #[test]
    fn what_cannot_work_is_named_with_what_was_expected() {
        let said = |service, change: fn(&mut Config)| {
            let mut config = Config::separate();
            change(&mut config);
            config.check_for(service).expect_err("refused").to_string()
        };
        let all = [
            (said(Service::Channel, |c| c.peers.routers.clear()), "peers.routers"),
            (said(Service::Gateway, |c| c.peers.presence.clear()), "peers.presence"),
            (
                said(Service::Gateway, |c| c.peers.presence.extend_from_within(..)),
                "peers.presence has http://127.0.0.1:7003",
            ),
            (
                said(Service::Gateway, |c| c.peers.routers = vec![Address::in_process("router-0")]),
                "in-process:router-0",
            ),
            (said(Service::Router, |c| c.storage.kind = StorageKind::Embedded), "storage.kind is embedded"),
            (said(Service::Router, |c| c.router.lease_ms = 1), "router.lease_ms is 1"),
            (said(Service::Channel, |c| c.channel.listen = Listen::InProcess), "channel.listen is in-process"),
            (said(Service::Channel, |c| c.storage.scylla.hosts = vec!["db".into()]), "storage.scylla.hosts"),
        ];
        for (said, named) in all {
            assert!(said.contains(named) && said.contains("expected") || said.contains("is not host:port"), "{said}");
        }
    }
}
