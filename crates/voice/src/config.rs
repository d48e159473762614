//! The settings of a voice server; the defaults are a laptop's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::bail;
use clarion_runtime::Listen;

use crate::engine::Patience;
use crate::shard::Limits;

/// The port of the HTTP endpoint.
pub(crate) const HTTP_PORT: u16 = 8_790;
/// The port of the first shard's media.
pub(crate) const UDP_PORT: u16 = 8_791;

/// What can be set.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where gRPC is served, to gateways.
    pub listen: Listen,
    /// Where clients post their offers. Unset: 127.0.0.1:8790, or any free port when that one is taken.
    pub http: Option<SocketAddr>,
    /// Where the first shard's media goes; each other shard is one port further. `[::]` is IPv4 and IPv6. Unset:
    /// 127.0.0.1:8791, or any free ports when those are taken.
    pub udp: Option<SocketAddr>,
    /// Where the first shard takes media over TCP, for clients whose network lets no UDP through; each other shard is one
    /// port further. Unset: the address and port of `udp`, with any free port where that was a free one.
    pub tcp: Option<SocketAddr>,
    /// TCP connections for media at a time, in a shard. 0: there is no TCP, and no port for it.
    pub tcp_connections: usize,
    /// TCP connections for media at a time from one address (IPv6: from 64 bits of one), in a shard. All who sit behind one
    /// translation of addresses have one.
    pub tcp_per_address: usize,
    /// Threads that forward media, each with a port of its own. A room lies in one of them.
    pub shards: usize,
    /// The addresses at which clients reach the media ports, the best first. Needed where `udp` or `tcp` is not an address
    /// of its own, such as 0.0.0.0, or lies behind a translation of addresses.
    pub advertise: Vec<IpAddr>,
    /// The base URL of the HTTP endpoint as clients reach it, such as `https://voice.example`. Unset: the address it
    /// listens on.
    pub public_url: Option<String>,
    /// Most participants.
    pub sessions: usize,
    /// Beyond this utilization, from 0 to 1, nobody new is let in.
    pub load_limit: f64,
    /// How long a token waits for its first use, in seconds.
    pub token_s: u64,
    /// How long a participant may take from its answer to its keys, in seconds.
    pub connect_s: u64,
    /// After so much silence a participant's slots are free, in milliseconds. Clients give a sign of life every 2 to 6
    /// seconds.
    pub quiet_ms: u64,
    /// After so much silence a participant is gone, in milliseconds.
    pub vanish_ms: u64,
    /// How long a participant stays whose gateway attends no more and has handed it to no other, in seconds.
    pub alone_s: u64,
    /// Whether clients that can are asked to send each frame twice, against loss.
    pub redundancy: bool,
    /// How long a drain waits for gateways to move their participants, in milliseconds.
    pub drain_ms: u64,
    /// Gateways at a time.
    pub gateways: usize,
    /// Notices that may wait for one gateway; with more it is cut off and attends again.
    pub queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            http: None,
            udp: None,
            tcp: None,
            tcp_connections: 2_048,
            tcp_per_address: 256,
            shards: 1,
            advertise: Vec::new(),
            public_url: None,
            sessions: 2_000,
            load_limit: 0.8,
            token_s: 60,
            connect_s: 15,
            quiet_ms: 5_000,
            vanish_ms: 9_000,
            alone_s: 60,
            redundancy: true,
            drain_ms: 5_000,
            gateways: 256,
            queue: 4_096,
        }
    }
}

impl Config {
    /// What cannot work, if anything.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.shards == 0 || self.shards > 64 {
            bail!("voice.shards is {}: it must be from 1 to 64", self.shards);
        }
        for (name, at) in [("udp", self.udp), ("tcp", self.tcp)] {
            if at.is_some_and(|at| at.ip().is_unspecified()) && self.advertise.is_empty() {
                bail!("voice.{name} has no address that clients could be told: set voice.advertise");
            }
        }
        if let Some(url) = &self.public_url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            bail!("voice.public_url is {url}: it must begin with http:// or https://");
        }
        if self.quiet_ms > self.vanish_ms || self.quiet_ms < 1_000 {
            bail!("voice.quiet_ms is {}: it must be at least 1000 and at most voice.vanish_ms", self.quiet_ms);
        }
        if self.load_limit.is_nan() || self.load_limit <= 0.0 {
            bail!("voice.load_limit is {}: it must be above 0", self.load_limit);
        }
        Ok(())
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience {
            connect: Duration::from_secs(self.connect_s),
            quiet: Duration::from_millis(self.quiet_ms),
            vanish: Duration::from_millis(self.vanish_ms),
        }
    }

    pub(crate) fn tcp_limits(&self) -> Limits {
        Limits { connections: self.tcp_connections, per_address: self.tcp_per_address }
    }

    pub(crate) fn token(&self) -> Duration {
        Duration::from_secs(self.token_s)
    }

    /// The address of the nth shard's port. Port 0 is a free one for each.
    pub(crate) fn nth(mut at: SocketAddr, n: usize) -> std::io::Result<SocketAddr> {
        if at.port() != 0 {
            let port = u16::try_from(n).ok().and_then(|n| at.port().checked_add(n));
            at.set_port(port.ok_or(std::io::ErrorKind::AddrNotAvailable)?);
        }
        Ok(at)
    }

    /// Where an endpoint is bound: where it is set, else the usual port or any free one.
    pub(crate) fn bind<T>(
        set: Option<SocketAddr>,
        usual: u16,
        bind: impl Fn(SocketAddr) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match set {
            Some(at) => bind(at),
            None => bind(local(usual)).or_else(|_| bind(local(0))),
        }
    }
}
