//! The router as a service: bound, then run until drained.

use std::time::{Duration, Instant};

use clarion_model::key::{Epoch, LEADERSHIP};
use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{MemberKind as Counted, RouterMetrics};
use clarion_proto::MemberKind;
use clarion_proto::router_server::RouterServer;
use clarion_runtime::{Address, Host, Listener};
use clarion_storage::Stores;
use tonic::service::Routes;

use crate::grpc::Grpc;
use crate::leader::{Campaign, Step};
use crate::table::{Lead, TICKS, Table};
use crate::{Admin, Config};

/// What the router is given.
pub struct Deps {
    /// Routes and epochs are read from here.
    pub stores: Stores,
    /// Whether there is no other router over the same stores, and never will be: then this one leads at once.
    pub is_alone: bool,
}

/// A bound router.
pub struct Server {
    host: Host,
    listener: Listener,
    grpc: Grpc,
    admin: Admin,
    is_alone: bool,
}

impl Server {
    /// Binds; serves nothing yet.
    pub async fn bind(config: Config, deps: Deps, host: Host) -> anyhow::Result<Self> {
        config.check()?;
        let listener = host.listen(&config.listen)?;
        let table = Table::new();
        let metrics = RouterMetrics::new(host.telemetry().meter());
        let grpc = Grpc {
            host: host.clone(),
            stores: deps.stores,
            table: table.clone(),
            metrics: metrics.clone(),
            owner_wait: Duration::from_millis(config.owner_wait_ms),
            lease: Duration::from_millis(config.lease_ms.into()),
        };
        let admin = Admin::new(host.clone(), table, metrics);
        Ok(Self { host, listener, grpc, admin, is_alone: deps.is_alone })
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
        log::SERVICE_LISTENING.emit(Fields::detail(self.listener.address().to_string()));
        if self.is_alone {
            self.grpc.table.lead(Some(Lead { term: Epoch::default(), until: None }));
            self.grpc.metrics.leads.set(1.0);
        } else {
            self.host.spawn("leadership", campaign(self.grpc.clone()));
        }
        self.host.spawn("leases", leases(self.grpc.clone()));
        self.host.spawn("router metrics", observe(self.grpc.clone(), self.host.clone()));
        let routes = Routes::new(RouterServer::new(self.grpc));
        self.host.serve_grpc(self.listener, routes).await
    }
}

/// Leads, or sees to it that somebody does.
async fn campaign(grpc: Grpc) {
    let (draining, slots) = (grpc.host.draining(), grpc.stores.slots.clone());
    let mut campaign = Campaign::new(grpc.lease);
    let mut tick = tokio::time::interval(grpc.lease / 3);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut leads_until = None;
    while draining.run_until_cancelled(tick.tick()).await.is_some() {
        if leads_until.is_some_and(|until| until <= Instant::now()) {
            grpc.metrics.leads.set(0.0);
        }
        // Without the store nothing can move, whoever leads.
        let Ok(register) = slots.get(LEADERSHIP).await else { continue };
        let began = Instant::now();
        let led = leads_until.is_some_and(|until| began < until);
        if campaign.look(began, &register) == Step::Wait {
            grpc.table.lead(None);
            grpc.metrics.leads.set(0.0);
            if leads_until.take().is_some() {
                log::LEADER_CHANGED.emit(Fields::detail(format!("{} leads", register.owner)));
            }
            continue;
        }
        let raised = slots.raise(&[LEADERSHIP], grpc.host.instance()).await;
        let Some(term) = raised.ok().and_then(|terms| terms.first().copied()) else { continue };
        let until = campaign.raised(began, term);
        if !led {
            // Members that obeyed somebody else meanwhile are told of the new term.
            grpc.table.lead(None);
            log::LEADER_CHANGED.emit(Fields::detail(format!("{} leads, term {}", grpc.host.instance(), term.0)));
        }
        leads_until = Some(until);
        grpc.table.lead(Some(Lead { term, until: Some(until) }));
        grpc.metrics.leads.set(1.0);
    }
}

/// Takes leave of members that hang.
async fn leases(grpc: Grpc) {
    let draining = grpc.host.draining();
    let mut tick = tokio::time::interval(grpc.lease / TICKS);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while draining.run_until_cancelled(tick.tick()).await.is_some() {
        for member in grpc.table.tick() {
            log::MEMBER_SILENT.emit(Fields::detail(member));
        }
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
        grpc.metrics.members.with(Counted::Voice).set(count(MemberKind::Voice));
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = host.draining().cancelled_owned() => return,
        }
    }
}
