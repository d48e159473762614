//! What an operator can set; the default is a laptop.

use serde::{Deserialize, Serialize};

/// The telemetry section of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the process runs: `development`, `staging`, `production` …
    pub environment: String,
    /// The region, a label of every metric.
    pub region: String,
    /// `trace`, `debug`, `info`, `warn` or `warning`, `error`, `critical` or `fatal`, or filter directives such as
    /// `info,clarion=debug`.
    pub log_level: String,
    /// How much of a client's address a log line shows.
    pub client_ip: ClientIpPolicy,
    /// The share of traces that is exported, from 0 to 1; decided where a trace begins.
    pub sample_ratio: f64,
    /// Where sampled spans go (OTLP over gRPC, `http://host:4317`); nowhere if absent.
    pub otlp_endpoint: Option<String>,
    /// How many traces the process remembers for its debug pages. With 0 unsampled spans are not even recorded.
    pub recent_traces: usize,
}

/// How much of a client's address a log line shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientIpPolicy {
    /// The whole address.
    Full,
    /// The network: /24 of IPv4, /48 of IPv6.
    #[default]
    Truncated,
    /// Nothing.
    None,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            environment: "development".into(),
            region: "local".into(),
            log_level: "info".into(),
            client_ip: ClientIpPolicy::default(),
            sample_ratio: 1.0,
            otlp_endpoint: None,
            recent_traces: 500,
        }
    }
}
