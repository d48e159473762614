//! The gateway's settings. The defaults are a laptop's.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use clarion_runtime::{Address, Listen};
use serde::{Deserialize, Serialize};

use crate::rest::RestConfig;
use crate::trace_pages;

/// Settings of a gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients connect, for the API and for sockets.
    pub listen: SocketAddr,
    /// Where operators' requests arrive, through the router.
    pub rpc: Listen,
    /// Where routers reach that, when it is not where it listens.
    pub rpc_address: Option<Address>,
    /// The socket URL that clients are given, such as `wss://chat.example`. Without it, the host they asked.
    pub public_url: Option<String>,
    /// The region in which rooms are opened whose channels name none, such as `frankfurt`. Empty: anywhere.
    pub voice_region: String,
    /// Where people find the page of a trace, with `{trace_id}` in it, such as `http://jaeger:16686/trace/{trace_id}`.
    /// Without it, the admin port of the same process.
    pub trace_url: Option<String>,
    /// Threads that own sessions and write to sockets.
    pub shards: usize,
    /// Most open connections, sockets and API requests together. More wait to be accepted.
    pub max_connections: usize,
    /// How often clients send a heartbeat. Libraries drop a connection that is silent for a minute.
    pub heartbeat_interval_ms: u64,
    /// Most frames of a client in a minute.
    pub frames_per_minute: u32,
    /// What one session keeps to replay. At least twice `outbox_bytes`: what a slow client had not been sent when it was
    /// closed must be there when it resumes.
    pub replay_bytes: usize,
    /// What all sessions keep to replay; what many keep counts once. Beyond it, sessions without a socket end early.
    pub replay_total_bytes: usize,
    /// How long a session waits to be resumed.
    pub resume_window_s: u64,
    /// What may wait for one socket before its client counts as too slow.
    pub outbox_bytes: usize,
    /// How often an account may start sessions.
    pub identify: Identify,
    /// How many sessions are opened at once, and how many clients wait for that.
    pub admission: AdmissionConfig,
    /// Whether the web client is served at `/`.
    pub web: bool,
    /// The API over HTTP.
    pub rest: RestConfig,
    /// Over how long the clients are asked to reconnect when the gateway drains.
    pub drain_ms: u64,
}

/// How often an account may start sessions. Clients are told (`GET /gateway/bot`), and libraries pace themselves by it.
/// Gateways that share Redis count together, others each for itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identify {
    /// Whether clients are held to it. They are told in any case.
    pub enforced: bool,
    /// How many shards of an account may identify at once: shards that differ by a multiple of it share a bucket, and a
    /// bucket allows one every five seconds.
    pub max_concurrency: u32,
    /// How many a bucket allows at once before that: a person's devices, or a bot that is restarted by hand.
    pub burst: u32,
    /// Sessions an account may start in a day.
    pub session_start_limit: u32,
}

/// How many sessions are opened at once, and how many clients wait for that. A session that is resumed goes before one that
/// begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionConfig {
    /// Most sessions that are being begun or resumed at once.
    pub concurrency: usize,
    /// Most clients that wait to begin a session, and as many to resume one.
    pub waiting: usize,
    /// How long a client waits before it is sent away, to come back later. Some libraries give up by themselves after 15 s.
    pub wait_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            rpc: Listen::default(),
            rpc_address: None,
            public_url: None,
            voice_region: String::new(),
            trace_url: None,
            shards: 2,
            max_connections: 15_000,
            heartbeat_interval_ms: 41_250,
            frames_per_minute: 120,
            replay_bytes: 4 << 20,
            replay_total_bytes: 256 << 20,
            resume_window_s: 300,
            outbox_bytes: 1 << 20,
            identify: Identify::default(),
            admission: AdmissionConfig::default(),
            web: true,
            rest: RestConfig::default(),
            drain_ms: 2_000,
        }
    }
}

impl Default for Identify {
    fn default() -> Self {
        Self { enforced: true, max_concurrency: 16, burst: 5, session_start_limit: 1_000 }
    }
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self { concurrency: 64, waiting: 8_192, wait_ms: 8_000 }
    }
}

impl Config {
    /// What makes the settings contradict each other, if anything does.
    pub fn check(&self) -> anyhow::Result<()> {
        let (replay, outbox) = (self.replay_bytes, self.outbox_bytes);
        if replay / 2 < outbox {
            bail!(
                "gateway.replay_bytes is {replay}: it must be at least twice gateway.outbox_bytes, which is {outbox}"
            );
        }
        for (setting, least) in [
            ("identify.max_concurrency", self.identify.max_concurrency as usize),
            ("identify.burst", self.identify.burst as usize),
            ("admission.concurrency", self.admission.concurrency),
        ] {
            if least == 0 {
                bail!("gateway.{setting} is 0: no session could begin");
            }
        }
        if let Some(url) = &self.trace_url
            && !url.contains(trace_pages::PLACE)
        {
            bail!("gateway.trace_url is {url}: it must have {} in it", trace_pages::PLACE);
        }
        Ok(())
    }

    /// How often clients send a heartbeat.
    pub fn heartbeat_interval(&self) -> Duration {
        Duration::from_millis(self.heartbeat_interval_ms)
    }

    /// How long a session waits to be resumed.
    pub fn resume_window(&self) -> Duration {
        Duration::from_secs(self.resume_window_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_slow_client_is_owed_can_be_replayed() {
        let usual = Config::default();
        assert!(usual.check().is_ok());
        let contradictory = Config { replay_bytes: usual.outbox_bytes, ..usual };
        let said = contradictory.check().expect_err("refused").to_string();
        assert!(said.contains("replay_bytes") && said.contains("outbox_bytes"), "{said}");
    }

    #[test]
    fn somebody_must_be_let_in() {
        let mut shut = Config::default();
        shut.admission.concurrency = 0;
        let said = shut.check().expect_err("refused").to_string();
        assert!(said.contains("gateway.admission.concurrency"), "{said}");
    }

    #[test]
    fn a_trace_url_says_where_the_id_goes() {
        let with = |url: &str| Config { trace_url: Some(url.into()), ..Config::default() };
        assert!(with("http://jaeger:16686/trace/{trace_id}").check().is_ok());
        let said = with("http://jaeger:16686/trace/").check().expect_err("refused").to_string();
        assert!(said.contains("trace_url") && said.contains("{trace_id}"), "{said}");
    }
}
