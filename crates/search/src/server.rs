//! The service: bound, run, drained.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clarion_observability::metric::SearchMetrics;
use clarion_observability::{Fields, log};
use clarion_proto::v1::search_server::SearchServer;
use clarion_runtime::{Address, Host, Listener};
use clarion_storage::Stores;
use clarion_storage::index::{self, Indexes, Size};
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tonic::service::Routes;

use crate::cpu::Cpu;
use crate::grpc::Grpc;
use crate::standing::Place;
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
    supervisors: Vec<Supervisor>,
    operators: Operators,
}

impl Server {
    /// Binds the listener. The index is opened once it runs: a large one takes its time.
    pub async fn bind(config: Config, deps: Deps, host: Host) -> anyhow::Result<Self> {
        let places = index::places(&config.index)?;
        Self::over(places, config, deps, host)
    }

    /// Binds over places of indexes. Each of them is filled and served on its own: one is enough to answer.
    pub(crate) fn over(places: Vec<Arc<dyn Indexes>>, config: Config, deps: Deps, host: Host) -> anyhow::Result<Self> {
        let listener = host.listen(&config.listen)?;
        let metrics = SearchMetrics::new(host.telemetry().meter());
        let (mut supervisors, mut copies) = (Vec::new(), Vec::new());
        for indexes in places {
            let (ask, rebuild) = mpsc::channel(1);
            let copy = Place::new(ask);
            supervisors.push(Supervisor {
                host: host.clone(),
                stores: deps.stores.clone(),
                indexes,
                config: config.clone(),
                metrics: metrics.clone(),
                serving: copy.serving.clone(),
                building: copy.building.clone(),
                rebuild,
            });
            copies.push(copy);
        }
        let operators = Operators { copies };
        let grpc = Grpc::new(operators.copies.clone(), metrics, &config);
        Ok(Self { host, listener, grpc, supervisors, operators })
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
        let indexing = join_all(self.supervisors.into_iter().map(Supervisor::run));
        let (served, _) = tokio::join!(self.host.serve_grpc(self.listener, routes), indexing);
        served
    }
}

/// Keeps the gauges at what is so. On its own, so that it says how far the index is behind also when that does not move.
/// Of several copies the one that is behind most counts: what it costs is the one that would be left.
async fn observe(host: Host, operators: Operators, metrics: SearchMetrics) {
    let (draining, mut cpu) = (host.draining(), Cpu::new());
    for look in 0u32.. {
        let now = SystemTime::now().into();
        let copies = &operators.copies;
        metrics.lag.set(copies.iter().map(|copy| copy.lag(now)).max().unwrap_or_default().as_secs_f64());
        let serving = copies.iter().filter_map(|copy| copy.serving.get());
        let pending = serving.map(|(_, standing)| standing.pending()).max();
        metrics.pending.set(pending.unwrap_or_default() as f64);
        let complete = copies.iter().map(Place::complete).min_by(f64::total_cmp);
        metrics.complete.set(complete.unwrap_or_default());
        if look % SELDOM == 0 {
            if let Some(size) = size(copies).await {
                metrics.documents.set(size.messages as f64);
                metrics.bytes.set(size.bytes as f64);
            }
            if let Some(share) = cpu.share() {
                metrics.cpu.set(share);
            }
        }
        if draining.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
            return;
        }
    }
}

/// What is in the fullest copy.
async fn size(copies: &[Place]) -> Option<Size> {
    let serving = copies.iter().filter_map(|copy| copy.serving.get());
    let sizes = join_all(serving.map(|(index, _)| async move { index.size().await.ok() })).await;
    sizes.into_iter().flatten().max_by_key(|size| size.messages)
}
