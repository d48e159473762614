//! Settings of the store behind CQL.

use std::time::Duration;

/// Settings of the ScyllaDB store. The defaults are a cluster of three or more nodes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Nodes to ask for the others, `host:port` each.
    pub hosts: Vec<String>,
    /// The keyspace all tables lie in.
    pub keyspace: String,
    /// How a new keyspace is spread over the nodes.
    pub strategy: Strategy,
    /// The data centre whose nodes hold a new keyspace and are asked first. Unset: all data centres.
    pub datacenter: Option<String>,
    /// How many nodes hold a row of a new keyspace. Reads and writes are done by a majority of them.
    pub replication_factor: u32,
    /// The name to log in with, if the cluster asks for one.
    pub user: Option<String>,
    /// The password to log in with.
    pub password: Option<String>,
    /// Connections to each node; `DB_POOL_SIZE`.
    pub connections: usize,
    /// Requests on their way at a time; who comes after them waits for a place.
    pub in_flight: usize,
    /// Whether a cluster that does not answer is left alone for moments; `CIRCUIT_BREAKER_ENABLED`.
    pub circuit_breaker: bool,
    /// How long a connection may take to be made, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long a request may take, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long a write whose fate is unknown is tried again before the slot is given up, in milliseconds.
    pub write_deadline_ms: u64,
    /// Most entries of one slot that are written at a time.
    pub group_entries: usize,
    /// Most bytes of one slot that are written at a time, but for a batch that is larger alone.
    pub group_bytes: usize,
    /// Most batches of one slot that wait; who comes after them waits for a place.
    pub queue: usize,
}

/// How a keyspace is spread over nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// So many nodes in each data centre, on different racks where there are.
    #[default]
    NetworkTopology,
    /// So many nodes, wherever they are.
    Simple,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hosts: vec!["127.0.0.1:9042".into()],
            keyspace: "clarion".into(),
            strategy: Strategy::default(),
            datacenter: None,
            replication_factor: 3,
            user: None,
            password: None,
            connections: 2,
            in_flight: 1_024,
            circuit_breaker: true,
            connect_timeout_ms: 5_000,
            request_timeout_ms: 2_000,
            write_deadline_ms: 10_000,
            group_entries: 256,
            group_bytes: 1 << 20,
            queue: 256,
        }
    }
}

impl Config {
    /// Says which setting cannot be used, what it is and what was expected.
    pub fn check(&self) -> Result<(), String> {
        if self.hosts.is_empty() {
            return Err("hosts: [] is empty, expected at least one host:port".into());
        }
        for host in &self.hosts {
            let port = host.rsplit_once(':').filter(|(name, _)| !name.is_empty()).map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                return Err(format!("hosts: {host:?} is not host:port"));
            }
        }
        is_name("keyspace", &self.keyspace)?;
        if let Some(datacenter) = &self.datacenter {
            if datacenter.is_empty() || datacenter.contains('\'') {
                return Err(format!("datacenter: {datacenter:?} is not the name of a data centre"));
            }
            if self.strategy == Strategy::Simple {
                return Err(format!(
                    "datacenter: {datacenter:?} needs strategy network_topology, and strategy is simple"
                ));
            }
        }
        if self.user.is_some() != self.password.is_some() {
            return Err("user, password: one is set and the other is not, expected both or neither".into());
        }
        let positive = [
            ("replication_factor", u64::from(self.replication_factor)),
            ("connections", self.connections as u64),
            ("in_flight", self.in_flight as u64),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("write_deadline_ms", self.write_deadline_ms),
            ("group_entries", self.group_entries as u64),
            ("queue", self.queue as u64),
        ];
        match positive.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("{name}: 0 is too small, expected at least 1")),
            None => Ok(()),
        }
    }

    /// The replication of a new keyspace, as CQL.
    pub(super) fn replication(&self) -> String {
        let factor = self.replication_factor;
        match (self.strategy, &self.datacenter) {
            (Strategy::Simple, _) => format!("{{'class': 'SimpleStrategy', 'replication_factor': {factor}}}"),
            (Strategy::NetworkTopology, None) => {
                format!("{{'class': 'NetworkTopologyStrategy', 'replication_factor': {factor}}}")
            }
            (Strategy::NetworkTopology, Some(datacenter)) => {
                format!("{{'class': 'NetworkTopologyStrategy', '{datacenter}': {factor}}}")
            }
        }
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(super) fn write_deadline(&self) -> Duration {
        Duration::from_millis(self.write_deadline_ms)
    }
}

/// Names go into statements as they are, so they are of characters that mean nothing there.
fn is_name(setting: &str, name: &str) -> Result<(), String> {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && (1..=48).contains(&name.len()) && name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(());
    }
    Err(format!(
        "{setting}: {name:?} is no name, expected a letter and up to 47 letters, digits and underscores, lower case"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check().expect_err("refused")
        };
        assert_eq!(Config::default().check(), Ok(()));
        assert!(refused(|c| c.hosts = vec!["db-1".into()]).contains("hosts: \"db-1\" is not host:port"));
        assert!(refused(|c| c.hosts.clear()).contains("hosts"));
        assert!(refused(|c| c.keyspace = "clarion; DROP".into()).contains("keyspace: \"clarion; DROP\""));
        assert!(refused(|c| c.replication_factor = 0).contains("replication_factor: 0"));
        assert!(refused(|c| c.user = Some("ann".into())).contains("user, password"));
        assert!(refused(|c| c.datacenter = Some("a'b".into())).contains("datacenter"));
    }

    #[test]
    fn replication_follows_the_settings() {
        let mut config = Config::default();
        assert_eq!(config.replication(), "{'class': 'NetworkTopologyStrategy', 'replication_factor': 3}");
        config.datacenter = Some("eu-1".into());
        assert_eq!(config.replication(), "{'class': 'NetworkTopologyStrategy', 'eu-1': 3}");
        config.strategy = Strategy::Simple;
        assert!(config.check().is_err());
    }
}
