//! The service: bound, run, drained.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use clarion_observability::log::{self, Fields};
use clarion_observability::metric::VoiceMetrics;
use clarion_proto::v1::voice_server::VoiceServer;
use clarion_runtime::{Address, Host, Listener};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::Config;
use crate::config::{HTTP_PORT, UDP_PORT};
use crate::engine::Event;
use crate::front::Front;
use crate::grpc::Grpc;
use crate::http;
use crate::secure::Identity;
use crate::shard::Bound;
use crate::token::Signer;

/// Events of the shards that wait to be told. Those beyond wait in their shard.
const EVENTS: usize = 8_192;
/// How often a drain looks whether it is over.
const LOOK: Duration = Duration::from_millis(50);

/// What a voice server is given: nothing. All it knows lasts no longer than it does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deps {}

/// A voice server that is bound and serves nothing yet.
pub struct Server {
    host: Host,
    listener: Listener,
    http: TcpListener,
    front: Arc<Front>,
    events: mpsc::Receiver<Event>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Binds the listeners and the media ports, and makes the certificate and the key of the process.
    pub async fn bind(config: Config, _deps: Deps, host: Host) -> anyhow::Result<Self> {
        config.check()?;
        let listener = host.listen(&config.listen)?;
        let http = Config::bind(config.http, HTTP_PORT, std::net::TcpListener::bind).context("voice.http")?;
        http.set_nonblocking(true)?;
        let http = TcpListener::from_std(http)?;
        let url = match &config.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", http.local_addr()?),
        };
        let identity = Arc::new(Identity::new()?);
        let metrics = VoiceMetrics::new(host.telemetry().meter());
        let (tell, events) = mpsc::channel(EVENTS);
        let (mut shards, mut threads) = (Vec::new(), Vec::new());
        for (index, bound) in media_ports(&config)?.into_iter().enumerate() {
            let (identity, metrics) = (identity.clone(), metrics.clone());
            let (shard, thread) = bound.start(index, &host, identity, metrics, config.patience(), tell.clone())?;
            shards.push(shard);
            threads.push(thread);
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).context("no randomness")?;
        let signer = Signer::new(identity.crypto.clone(), key);
        let front = Arc::new(Front::new(config, shards, identity, signer, metrics, url));
        Ok(Self { host, listener, http, front, events, threads })
    }

    /// Where it listens to gateways.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// The base URL of the HTTP endpoint, as clients reach it.
    pub fn url(&self) -> &str {
        &self.front.url
    }

    /// Serves until drained.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { host, listener, http, front, events, threads } = self;
        let detail = format!("{} {}", listener.address(), front.url);
        log::SERVICE_LISTENING.emit(Fields::detail(detail));
        front.metrics.sfu_servers.set(1.0);
        let stop = CancellationToken::new();
        host.spawn("voice http", http::until(stop.clone(), host.clone(), http, http::routes(front.clone())));
        let grpc = Routes::new(VoiceServer::new(Grpc(front.clone())));
        let drained = async {
            host.draining().cancelled_owned().await;
            drain(&front, &stop).await;
        };
        // Events are told until the last shard has ended.
        let told = async {
            front.listen(events).await;
            front.end_watchers();
        };
        let (served, (), ()) = tokio::join!(host.serve_grpc(listener, grpc), drained, told);
        tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join()))).await?;
        served
    }
}

/// Gateways move their participants elsewhere, for as long as they may take. Who is still here then is told to go.
async fn drain(front: &Front, stop: &CancellationToken) {
    front.begin_drain();
    let moved = async {
        while !front.is_drained() {
            tokio::time::sleep(LOOK).await;
        }
    };
    // Not all of them: the rest is cut off.
    let _ = tokio::time::timeout(Duration::from_millis(front.config.drain_ms), moved).await;
    stop.cancel();
    front.end().await;
}

/// The sockets of all shards: where it is set, else the usual ports or any free ones.
fn media_ports(config: &Config) -> anyhow::Result<Vec<Bound>> {
    let bind = |at: SocketAddr| -> std::io::Result<Vec<Bound>> {
        (0..config.shards).map(|n| Bound::new(Config::nth(at, n)?, &config.advertise)).collect()
    };
    let bound = Config::bind(config.udp, UDP_PORT, bind).context("voice.udp")?;
    if config.tcp_connections == 0 {
        return Ok(bound);
    }
    let listening = bound.into_iter().enumerate().map(|(n, bound)| listening(config, n, bound));
    listening.collect::<std::io::Result<_>>().context("voice.tcp (with voice.tcp_connections = 0 there is none)")
}

/// A shard that takes connections, too.
fn listening(config: &Config, n: usize, bound: Bound) -> std::io::Result<Bound> {
    let (udp, limits) = (bound.address()?, config.tcp_limits());
    let (at, else_any) = match config.tcp {
        Some(at) => (Config::nth(at, n)?, false),
        // Where any port would do for datagrams, any does for connections.
        None => (udp, config.udp.is_none_or(|at| at.port() == 0)),
    };
    let listener = match std::net::TcpListener::bind(at) {
        Err(_) if else_any => std::net::TcpListener::bind((at.ip(), 0)),
        bound => bound,
    };
    bound.listen(listener?, limits, &config.advertise)
}
