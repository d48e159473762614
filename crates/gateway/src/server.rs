//! The gateway as a service: one public listener for the API and for sockets, one for operators, and the drain.

mod accept;
mod drain;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use clarion_model::rendezvous::Places;
use clarion_observability::Origin;
use clarion_observability::log::{self, Fields};
use clarion_observability::metric::GatewayMetrics;
use clarion_proto::v1::gateway_server::GatewayServer;
use clarion_proto::v1::search_client::SearchClient;
use clarion_runtime::{Address, Host, Listener};
use clarion_storage::cache::{Cache, Observed};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::accounts::Accounts;
use crate::admission::Admission;
use crate::adopted::Adopted;
use crate::config::Config;
use crate::connection::{Gate, Upgraded, serve};
use crate::conversation::Limits;
use crate::demo::Demo;
use crate::directory::Directory;
use crate::elsewhere::Elsewhere;
use crate::grpc::Operators;
use crate::hub::{self, Hub};
use crate::session_id::random_number;
use crate::starts::Starts;
use crate::trace_pages::TracePages;
use crate::{membership, presence, rest, shard, upgrade, voice, web};
use accept::Peer;

/// What the presence servers tell that waits for the hub; their streams wait beyond it.
const PRESENCES: usize = 1_024;
/// Changes of the table of slots that wait for the hub; the stream that brings them waits beyond it.
const MOVES: usize = 64;

/// What a gateway is given.
#[derive(Clone)]
pub struct Deps {
    /// Where sessions are kept for other gateways, and where these count together if they share it.
    pub cache: Arc<dyn Cache>,
    /// Where the routers answer.
    pub routers: Vec<Address>,
    /// Where searches are answered; without it there are none.
    pub search: Option<Address>,
    /// Where the presence servers answer.
    pub presence: Vec<Address>,
    /// The demo workspace, once there is one; shown to this machine alone.
    pub demo: Demo,
    /// Where traces are shown, unless the settings say so.
    pub trace_pages: TracePages,
}

/// A bound gateway.
pub struct Server {
    config: Arc<Config>,
    host: Host,
    routers: Vec<Address>,
    listener: TcpListener,
    rpc: Listener,
    /// Where others reach it.
    rpc_address: Address,
    hub: Hub,
    gate: Arc<Gate>,
    routes: Router,
    threads: Vec<JoinHandle<()>>,
    /// Ends what works until nothing can come any more: the hub and its streams.
    stop: CancellationToken,
    connections: Arc<Semaphore>,
}

/// What the public routes share.
#[derive(Clone)]
struct Door {
    gate: Arc<Gate>,
    host: Host,
    public_url: Option<Arc<str>>,
    behind_proxy: bool,
    sample_ratio: f64,
    web: bool,
}

impl Server {
    /// Binds both listeners and starts the shards; serves nothing yet.
    pub async fn bind(config: Config, deps: Deps, host: Host) -> anyhow::Result<Self> {
        config.check()?;
        let config = Arc::new(config);
        let listener = accept::listen(config.listen);
        let listener = listener.with_context(|| format!("cannot listen on {}", config.listen))?;
        let rpc = host.listen(&config.rpc)?;
        let rpc_address = rpc.advertised("gateway.rpc_address", config.rpc_address.as_ref())?;
        let metrics = GatewayMetrics::new(host.telemetry().meter());
        let shards = config.shards.max(1);
        let limits = shard::Limits {
            replay_bytes: config.replay_bytes,
            replay_total: config.replay_total_bytes,
            outbox_bytes: config.outbox_bytes,
            waiting: config.max_connections / shards,
            resume_window: config.resume_window(),
        };
        let shards = shard::start(shards, limits, &host, &metrics).context("cannot start a shard")?;
        let number = random_number().context("no randomness")?;
        let adopted = Adopted::default();
        let cache: Arc<dyn Cache> = Arc::new(Observed::new(deps.cache, host.telemetry()));
        let elsewhere = Elsewhere::new(host.clone(), cache.clone(), number, config.resume_window(), &metrics);
        let elsewhere = Arc::new(elsewhere);
        let stop = CancellationToken::new();
        let (hub_handle, commands) = hub::handle();
        let (voice, voice_commands, rooms) = voice::handle();
        // A gateway of the same name that was here before had other sessions.
        let life = format!("{}/{number:08x}", host.instance());
        let directory = Directory::new(host.clone(), &deps.routers);
        let accounts = Accounts::new(directory.clone(), Box::new(hub_handle.clone()), metrics.clone());
        let starts = Arc::new(Starts::new(config.identify.clone(), cache.clone()));
        let limits = Arc::new(rest::Limits::new(config.rest.rate_limits.clone(), cache));
        let api = rest::router(rest::State {
            directory: directory.clone(),
            accounts: accounts.clone(),
            metrics: metrics.clone(),
            search: deps.search.as_ref().map(|address| SearchClient::new(host.peer(address))),
            telemetry: host.telemetry().clone(),
            config: config.rest.clone(),
            limits: limits.clone(),
            demo: is_local(&config, &listener).then_some(deps.demo),
            voice: voice.endpoints(),
            voice_region: config.voice_region.clone(),
            trace_pages: config.trace_url.clone().map_or(deps.trace_pages, TracePages::at),
            entry: rest::Entry { public_url: config.public_url.clone(), starts: starts.clone() },
        });
        let (hears, heard) = mpsc::channel(PRESENCES);
        for (server, address) in deps.presence.iter().enumerate() {
            let (instance, peer, address) = (host.instance().to_owned(), host.peer(address), address.clone());
            let to = presence::Attendance { instance, server, address, peer, out: hears.clone() };
            host.spawn("presence", presence::attend(to));
        }
        let names: Vec<String> = deps.presence.iter().map(ToString::to_string).collect();
        let places = Places::new(names.iter().map(String::as_str));
        let (moves, moved) = mpsc::channel(MOVES);
        host.spawn("slots", directory.clone().follow(moves, stop.clone()));
        host.spawn(
            "voice",
            voice::run(voice::Parts {
                host: host.clone(),
                directory: directory.clone(),
                routers: deps.routers.clone(),
                hub: hub_handle.clone(),
                region: config.voice_region.clone(),
                commands: voice_commands,
                endpoints: voice.endpoints(),
                rooms,
                gateway: life.clone(),
                stop: stop.clone(),
            }),
        );
        let hub = Hub::new(hub::Parts {
            host: host.clone(),
            directory,
            accounts: accounts.clone(),
            metrics: metrics.clone(),
            commands,
            shards: shards.inboxes.clone(),
            ledger: shards.ledger.clone(),
            ended: shards.ended,
            heard,
            places,
            moved,
            voice: voice.clone(),
            life,
            number,
            adopted: adopted.clone(),
            stop: stop.clone(),
        });
        let gate = Arc::new(Gate {
            limits: Limits { heartbeat: config.heartbeat_interval(), frames_per_minute: config.frames_per_minute },
            accounts,
            hub: hub_handle,
            elsewhere,
            adopted,
            voice,
            admission: Admission::new(&config.admission, metrics.clone()),
            starts,
            api_limits: limits,
            shards: shards.inboxes,
            metrics,
            client_ip: host.telemetry().process().config().client_ip,
            instance: host.instance().into(),
            number,
            links: AtomicU64::new(0),
            closing: CancellationToken::new(),
        });
        let door = Door {
            gate: gate.clone(),
            public_url: config.public_url.as_deref().map(|url| url.trim_end_matches('/').into()),
            sample_ratio: host.telemetry().process().config().sample_ratio,
            behind_proxy: config.rest.behind_proxy,
            host: host.clone(),
            web: config.web,
        };
        let pages = if config.web { web::routes() } else { Router::new() };
        let sockets = Router::new()
            .route("/", get(enter))
            .route("/gateway", get(enter))
            .route("/gateway/", get(enter))
            .with_state(door);
        Ok(Self {
            connections: Arc::new(Semaphore::new(config.max_connections)),
            routes: host.probes().routes().merge(sockets).merge(pages).merge(api),
            routers: deps.routers,
            threads: shards.threads,
            config,
            host,
            listener,
            rpc,
            rpc_address,
            hub,
            gate,
            stop,
        })
    }

    /// Where clients connect.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or(self.config.listen)
    }

    /// Serves until drained.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { config, host, routers, listener, rpc, rpc_address, hub, gate, routes, threads, stop, connections } =
            self;
        let metrics = &gate.metrics;
        metrics.connections_capacity.set(config.max_connections as f64);
        metrics.health_status.set(1.0);
        let address = listener.local_addr().context("listener has no address")?;
        log::SERVICE_LISTENING.emit(Fields::detail(address.to_string()));
        host.spawn("hub", hub.run());
        for router in &routers {
            host.spawn(
                "membership",
                membership::keep(host.clone(), router.clone(), rpc_address.clone(), gate.voice.clone()),
            );
        }
        let (hub, adopted) = (gate.hub.clone(), gate.adopted.clone());
        let keeping = gate.elsewhere.clone().keep(hub.clone(), adopted.clone(), rpc_address.clone(), stop.clone());
        host.spawn("checkpoints", keeping);
        let operators = Operators { hub, shards: gate.shards.clone(), number: gate.number, adopted };
        let serving = host.clone();
        host.spawn("operators", async move {
            // A gateway that operators cannot reach is not one to serve on with.
            if let Err(e) = serving.serve_grpc(rpc, Routes::new(GatewayServer::new(operators))).await {
                log::SERVICE_FAILED.emit(Fields::detail(format!("operators' listener: {e:#}")));
                serving.fail();
            }
        });
        accept::until_drained(&host, listener, routes, connections.clone()).await;
        metrics.health_status.set(0.0);
        drain::sessions(&config, &gate, &connections).await;
        stop.cancel();
        drain::shards(&gate, threads).await;
        Ok(())
    }
}

/// Whether only this machine can reach the listener: neither its address nor a proxy opens it to others.
fn is_local(config: &Config, listener: &TcpListener) -> bool {
    let on_loopback = listener.local_addr().is_ok_and(|at| at.ip().is_loopback());
    on_loopback && config.public_url.is_none() && !config.rest.behind_proxy
}

/// A socket, or a page for whoever looks.
async fn enter(State(door): State<Door>, mut request: Request) -> Response {
    if !upgrade::is_wanted(request.headers()) {
        // The page is for people at `/`; elsewhere a socket is all there is.
        let is_page = door.web && request.uri().path() == "/";
        return if is_page { web::page(request.headers()) } else { upgrade::page() };
    }
    let answer = upgrade::answer(&request);
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return answer;
    }
    let Some(peer) = request.extensions_mut().remove::<Peer>() else { return upgrade::page() };
    let resume_url = door.public_url.as_deref().map_or_else(
        || rest::host(request.headers()).map_or_else(|| format!("ws://{}", peer.local), |host| format!("ws://{host}")),
        str::to_owned,
    );
    let origin = Origin::from_headers(request.headers(), door.sample_ratio, request_id());
    let address = rest::address(request.headers(), Some(peer.address.ip()), door.behind_proxy);
    let refused = upgrade::refusal(request.uri().query());
    let upgraded = hyper::upgrade::on(&mut request);
    door.host.spawn("connection", async move {
        // The client may be gone before the protocol is switched; then there is nobody to serve.
        let Ok(upgraded) = upgraded.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else { return };
        let upgraded = Upgraded {
            stream: parts.io.into_inner(),
            early: parts.read_buf,
            address: address.unwrap_or(peer.address.ip()),
            origin,
            resume_url,
            refused,
        };
        serve(door.gate, upgraded).await;
        drop(peer.permit);
    });
    answer
}

/// Names a connection in logs and traces.
fn request_id() -> String {
    let mut chance = [0; 8];
    // Without chance the name is not unique, which harms nothing but the look-up.
    let _ = getrandom::fill(&mut chance);
    format!("{:016x}", u64::from_be_bytes(chance))
}
