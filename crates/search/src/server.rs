//! The service: bound, run, drained.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clarion_observability::metric::SearchMetrics;
use clarion_observability::{Fields, log};
use clarion_proto::v1::search_server::SearchServer;
use clarion_runtime::{Address, Host, Listener};
use clarion_storage::Stores;
use clarion_storage::index::{Folder, Indexes};
use tokio::sync::mpsc;
use tonic::service::Routes;

use crate::cpu::Cpu;
use crate::grpc::Grpc;
use crate::standing::Serving;
use crate::supervisor::Supervisor;
use crate::{Config, Operators};

/// Between two looks at what the metrics say.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two at what costs more to find out.
const SELDOM: u32 = 5;

/// What a search service is given.
#[derive(Clone)]
pub struct Deps {
    /// What it follows and reads.
    pub stores: Stores,
}

/// A search service that is bound and serves nothing yet.
pub struct Server {
    host: Host,
    listener: Listener,
    grpc: Grpc,
    supervisor: Supervisor,
    operators: Operators,
}

impl Server {
    /// Binds the listener. The index is opened once it runs: a large one takes its time.
    pub async fn bind(config: Config, deps: Deps, host: Host) -> anyhow::Result<Self> {
        let indexes = Arc::new(Folder::new(config.index.clone()));
        Self::over(indexes, config, deps, host)
    }

    /// Binds over a place of indexes.
    pub(crate) fn over(indexes: Arc<dyn Indexes>, config: Config, deps: Deps, host: Host) -> anyhow::Result<Self> {
        let listener = host.listen(&config.listen)?;
        let metrics = SearchMetrics::new(host.telemetry().meter());
        let (serving, building) = (Serving::default(), Serving::default());
        let (ask, rebuild) = mpsc::channel(1);
        let grpc = Grpc::new(serving.clone(), metrics.clone(), &config);
        let supervisor = Supervisor {
            host: host.clone(),
            stores: deps.stores,
            indexes,
            config,
            metrics,
            serving: serving.clone(),
            building: building.clone(),
            rebuild,
        };
        let operators = Operators { serving, building, rebuild: ask };
        Ok(Self { host, listener, grpc, supervisor, operators })
    }

    /// Where it answers.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// What operators ask.
    pub fn operators(&self) -> Operators {
        self.operators.clone()
    }

    /// Serves until drained.
    pub async fn run(self) -> anyhow::Result<()> {
        log::SERVICE_LISTENING.emit(Fields::detail(self.listener.address().to_string()));
        self.host.spawn("search metrics", observe(self.host.clone(), self.operators, self.grpc.metrics.clone()));
        let routes = Routes::new(SearchServer::new(self.grpc));
        let (served, ()) = tokio::join!(self.host.serve_grpc(self.listener, routes), self.supervisor.run());
        served
    }
}

/// Keeps the gauges at what is so. On its own, so that it says how far the index is behind also when that does not move.
async fn observe(host: Host, operators: Operators, metrics: SearchMetrics) {
    let (draining, mut cpu) = (host.draining(), Cpu::new());
    for look in 0u32.. {
        let now = SystemTime::now().into();
        let serving = operators.serving.get();
        if let Some((index, standing)) = &serving {
            metrics.lag.set(standing.lag(now).as_secs_f64());
            metrics.pending.set(standing.pending() as f64);
            if look % SELDOM == 0
                && let Ok(size) = index.size().await
            {
                metrics.documents.set(size.messages as f64);
                metrics.bytes.set(size.bytes as f64);
            }
        }
        let counts = operators.building.get().or(serving).map(|(_, standing)| standing.counts()).unwrap_or_default();
        metrics.complete.set(counts.complete as f64 / counts.keys.max(1) as f64);
        if look % SELDOM == 0
            && let Some(share) = cpu.share()
        {
            metrics.cpu.set(share);
        }
        if draining.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
            return;
        }
    }
}
