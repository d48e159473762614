//! The service: bound, run, drained.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use clarion_observability::log::{self, Fields};
use clarion_observability::metric::PresenceMetrics;
use clarion_proto::v1::presences_server::PresencesServer;
use clarion_runtime::{Address, Host, Listener};
use clarion_storage::cache::{Cache, Observed};
use tokio::sync::mpsc;
use tonic::service::Routes;

use crate::Config;
use crate::actor::Actor;
use crate::grpc::Grpc;
use crate::keeper::{self, Keeper};

/// What gateways said that waits for the actor; their streams wait beyond it.
const COMMANDS: usize = 4_096;
/// What waits to be kept in the cache. What finds no room is missing there until its gateway's next sign of life.
const JOBS: usize = 16_384;

/// What a presence server is given.
#[derive(Clone)]
pub struct Deps {
    /// Where words are kept, so that a server that begins anew knows them.
    pub cache: Arc<dyn Cache>,
}

/// A presence server that is bound and serves nothing yet.
pub struct Server {
    config: Config,
    host: Host,
    listener: Listener,
    cache: Arc<Observed>,
}

impl Server {
    /// Binds the listener.
    pub async fn bind(config: Config, deps: Deps, host: Host) -> anyhow::Result<Self> {
        config.check()?;
        let listener = host.listen(&config.listen)?;
        let cache = Arc::new(Observed::new(deps.cache, host.telemetry()));
        Ok(Self { config, host, listener, cache })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// Serves until drained.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { config, host, listener, cache } = self;
        log::SERVICE_LISTENING.emit(Fields::detail(listener.address().to_string()));
        let metrics = PresenceMetrics::new(host.telemetry().meter());
        let (actor, commands) = mpsc::channel(COMMANDS);
        let (jobs, waiting) = mpsc::channel(JOBS);
        let server: Arc<str> = host.instance().into();
        let keeper = Keeper::new(server.clone(), cache.clone(), config.lease(), metrics.clone(), actor.downgrade());
        host.spawn("presence keeper", keeper.run(waiting));
        let queue = config.queue;
        let mut board = Actor::new(config, jobs, metrics);
        restore(&mut board, &cache, &server).await;
        host.spawn("presence", board.run(commands, host.draining()));
        let grpc = Grpc { host: host.clone(), actor, cache, queue, streams: AtomicU64::new(1) };
        host.serve_grpc(listener, Routes::new(PresencesServer::new(grpc))).await
    }
}

/// Takes what the cache has. Without it, gateways say everything again.
async fn restore(board: &mut Actor, cache: &Observed, server: &str) {
    for gateway in keeper::gateways(cache, server).await.unwrap_or_default() {
        if let Ok(words) = keeper::found(cache, server, &gateway).await {
            board.restore(&gateway.into(), words);
        }
    }
}
