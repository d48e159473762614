//! The router as a service: bound, then run until drained.

use std::time::Duration;

use clarion_observability::metric::{MemberKind as Counted, RouterMetrics};
use clarion_proto::MemberKind;
use clarion_proto::router_server::RouterServer;
use clarion_runtime::{Address, Host, Listener};
use clarion_storage::Stores;
use tonic::service::Routes;

use crate::grpc::Grpc;
use crate::table::Table;
use crate::{Admin, Config};

/// What the router is given.
pub struct Deps {
    /// Routes and epochs are read from here.
    pub stores: Stores,
}

/// A bound router.
pub struct Server {
    host: Host,
    listener: Listener,
    grpc: Grpc,
    admin: Admin,
}

impl Server {
    /// Binds; serves nothing yet.
    pub async fn bind(config: Config, deps: Deps, host: Host) -> anyhow::Result<Self> {
        let listener = host.listen(&config.listen)?;
        let table = Table::new();
        let metrics = RouterMetrics::new(host.telemetry().meter());
        let grpc = Grpc {
            host: host.clone(),
            stores: deps.stores,
            table: table.clone(),
            metrics: metrics.clone(),
            owner_wait: Duration::from_millis(config.owner_wait_ms),
        };
        let admin = Admin::new(host.clone(), table, metrics);
        Ok(Self { host, listener, grpc, admin })
    }

    /// Where it answers.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// What operators do by hand.
    pub fn admin(&self) -> Admin {
        self.admin.clone()
    }

    /// Serves until drained.
    pub async fn run(self) -> anyhow::Result<()> {
        self.host.spawn("router metrics", observe(self.grpc.clone(), self.host.clone()));
        let routes = Routes::new(RouterServer::new(self.grpc));
        self.host.serve_grpc(self.listener, routes).await
    }
}

/// Keeps the gauges at what the table says.
async fn observe(grpc: Grpc, host: Host) {
    let mut changes = grpc.table.changes();
    loop {
        grpc.metrics.slots_unowned.set(grpc.table.unowned() as f64);
        let count = |kind| grpc.table.members(kind).len() as f64;
        grpc.metrics.members.with(Counted::Channel).set(count(MemberKind::Channel));
        grpc.metrics.members.with(Counted::Gateway).set(count(MemberKind::Gateway));
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = host.draining().cancelled_owned() => return,
        }
    }
}
