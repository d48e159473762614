//! The list: a store, a router, the search service, channel servers, presence servers, voice servers, gateways, in one
//! process.
//!
//! The gateways come last, so that they are the first to drain: clients are told to come back while everything behind
//! still works.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clarion_gateway::{Demo, Deps, TracePages};
use clarion_model::key::{Epoch, Slot};
use clarion_observability::Telemetry;
use clarion_router::Admin;
use clarion_runtime::{Address, Process, StopReport, Threads};
use clarion_storage::Stores;
use clarion_storage::cache::{self, Cache, MemoryCache, RedisCache};
use clarion_storage::embedded::Embedded;
use clarion_storage::scylla::Scylla;

use crate::admin::AdminPort;
use crate::{Config, StorageKind};

const ROUTER: &str = "router-0";

/// How often the connections to a store are counted.
const POOL_PERIOD: Duration = Duration::from_secs(5);

/// How many of each service there are in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Topology {
    /// Channel servers, which share the slots.
    pub channel_servers: usize,
    /// Presence servers; of several, two know of each user. Each further one is reached inside the process only.
    pub presence_servers: usize,
    /// Gateways. The first listens where `gateway.listen` says, each other one a port further.
    pub gateways: usize,
    /// Voice servers. Each further one listens on free ports.
    pub voice_servers: usize,
}

/// One process's services, running.
pub struct Clarion {
    process: Process,
    is_new: bool,
    telemetry: Telemetry,
    admin_port: AdminPort,
    admin: Admin,
    gateways: Vec<SocketAddr>,
    voice_servers: Vec<Address>,
    presence: clarion_presence::Config,
    cache: Arc<dyn Cache>,
    demo: Demo,
}

impl Default for Topology {
    fn default() -> Self {
        Self { channel_servers: 1, presence_servers: 1, gateways: 1, voice_servers: 1 }
    }
}

/// Starts everything; returns when all of it is bound.
pub fn start(config: &Config, observability: clarion_observability::Process) -> anyhow::Result<Clarion> {
    let topology = config.topology;
    if topology.channel_servers == 0 || topology.presence_servers == 0 || topology.gateways == 0 {
        bail!("topology: there must be at least one channel server, one presence server and one gateway");
    }
    let mut process = Process::new(observability, Duration::from_secs(config.drain_seconds));
    process.circuit_breakers(config.peers.circuit_breaker);
    let (stores, is_new) = start_store(&mut process, config)?;
    let (router, admin, telemetry) = start_router(&mut process, config, ROUTER, &stores, true)?;
    let (search, operators, _) = start_search(&mut process, config, "search-0", &stores)?;
    for n in 0..topology.channel_servers {
        start_channel_server(&mut process, config, &format!("channel-{n}"), &stores, vec![router.clone()])?;
    }
    let cache = start_cache(&mut process, &config.cache)?;
    let presence = (0..topology.presence_servers).map(|n| {
        Ok(start_presence(&mut process, &nth_presence(&config.presence, n), &format!("presence-{n}"), &cache)?.0)
    });
    let presence = presence.collect::<anyhow::Result<Vec<_>>>()?;
    // The gateways of this process are where its voice servers are.
    let region = &config.gateway.voice_region;
    let voice_servers = (0..topology.voice_servers).map(|n| {
        let (settings, name) = (nth_voice_server(config, n), format!("voice-{n}"));
        let (address, _) = start_voice(&mut process, settings, &name, vec![router.clone()], region)?;
        Ok(address)
    });
    let voice_servers = voice_servers.collect::<anyhow::Result<Vec<_>>>()?;
    let (mut gateways, demo, trace_pages) = (Vec::new(), Demo::default(), TracePages::default());
    for n in 0..topology.gateways {
        let (routers, presence, search) = (vec![router.clone()], presence.clone(), Some(search.clone()));
        let deps = Deps {
            cache: cache.clone(),
            routers,
            presence,
            search,
            demo: demo.clone(),
            trace_pages: trace_pages.clone(),
        };
        let settings = nth_gateway(config, n)?;
        gateways.push(start_gateway(&mut process, settings, &format!("gateway-{n}"), deps)?.0);
    }
    let routes = admin.routes(config.admin.token.clone()).merge(process.probes().routes());
    let routes = routes.merge(clarion_router::for_operators(operators.routes(), config.admin.token.clone()));
    let admin_port = AdminPort::start(&config.admin, telemetry.clone(), routes, true, process.fatal())?;
    admin_port.show_traces(&trace_pages);
    let presence = config.presence.clone();
    Ok(Clarion { process, is_new, telemetry, admin_port, admin, gateways, voice_servers, presence, cache, demo })
}

/// The store is a service like any other: first to start and last to stop. Its spans are those of whoever calls it.
pub(crate) fn start_store(process: &mut Process, config: &Config) -> anyhow::Result<(Stores, bool)> {
    match config.storage.kind {
        StorageKind::Embedded => start_embedded(process, config.storage.embedded.clone()),
        StorageKind::Scylla => {
            process.knows_schema(clarion_storage::scylla::SCHEMA);
            start_scylla(process, config.storage.scylla.clone())
        }
    }
}

fn start_embedded(
    process: &mut Process,
    settings: clarion_storage::embedded::Config,
) -> anyhow::Result<(Stores, bool)> {
    process.start("storage", "storage-0", 1, |host| async move {
        let store = Embedded::open(&settings, host.telemetry())?;
        let stores = store.stores();
        let is_new = is_new(&stores).await?;
        let run = async move {
            tokio::select! {
                _ = store.failure().wait() => host.fail(),
                () = host.draining().cancelled_owned() => {}
            }
            // Closing waits for what is queued.
            tokio::task::spawn_blocking(move || drop(store)).await?;
            Ok(())
        };
        Ok(((stores, is_new), run))
    })
}

fn start_scylla(process: &mut Process, settings: clarion_storage::scylla::Config) -> anyhow::Result<(Stores, bool)> {
    settings.check().map_err(|error| anyhow::anyhow!("storage.scylla.{error}"))?;
    process.start("storage", "storage-0", 2, |host| async move {
        let store = Scylla::open(&settings, host.telemetry()).await?;
        let stores = store.stores();
        let is_new = is_new(&stores).await?;
        let run = async move {
            let draining = host.draining();
            while draining.run_until_cancelled(tokio::time::sleep(POOL_PERIOD)).await.is_some() {
                store.measure();
            }
            store.close().await;
            Ok(())
        };
        Ok(((stores, is_new), run))
    })
}

/// Nobody has ever taken a slot of a new store.
async fn is_new(stores: &Stores) -> anyhow::Result<bool> {
    Ok(stores.slots.get(Slot(0)).await?.epoch == Epoch(0))
}

/// Where the cache is a server, its connection is a service like any other. One that is away at the start is waited for
/// briefly, and found later.
pub(crate) fn start_cache(process: &mut Process, config: &cache::Config) -> anyhow::Result<Arc<dyn Cache>> {
    let settings = match config.kind {
        cache::Kind::Memory => return Ok(Arc::new(MemoryCache::new(config))),
        cache::Kind::Redis => config.redis.clone(),
    };
    process.start("cache", "cache-0", 1, |host| async move {
        let redis = Arc::new(RedisCache::new(&settings, host.telemetry())?);
        redis.connect().await;
        let cache: Arc<dyn Cache> = redis.clone();
        let run = async move {
            redis.run(host.draining().cancelled_owned()).await;
            Ok(())
        };
        Ok((cache, run))
    })
}

/// `is_alone`: nobody else runs a router over the same store.
pub(crate) fn start_router(
    process: &mut Process,
    config: &Config,
    name: &str,
    stores: &Stores,
    is_alone: bool,
) -> anyhow::Result<(Address, Admin, Telemetry)> {
    let deps = clarion_router::Deps { stores: stores.clone(), is_alone };
    let settings = config.router.clone();
    process.start("router", name, 1, |host| async move {
        let server = clarion_router::Server::bind(settings, deps, host.clone()).await?;
        Ok(((server.address().clone(), server.admin(), host.telemetry().clone()), server.run()))
    })
}

pub(crate) fn start_channel_server(
    process: &mut Process,
    config: &Config,
    name: &str,
    stores: &Stores,
    routers: Vec<Address>,
) -> anyhow::Result<(Address, Telemetry)> {
    let deps = clarion_channel::Deps { stores: stores.clone(), routers };
    let settings = config.channel.clone();
    process.start("channel", name, 1, |host| async move {
        let server = clarion_channel::Server::bind(settings, deps, host.clone()).await?;
        Ok(((server.address().clone(), host.telemetry().clone()), server.run()))
    })
}

/// After the router and before the channel servers: it stops after them and sees the last of what they wrote.
pub(crate) fn start_search(
    process: &mut Process,
    config: &Config,
    name: &str,
    stores: &Stores,
) -> anyhow::Result<(Address, clarion_search::Operators, Telemetry)> {
    let deps = clarion_search::Deps { stores: stores.clone() };
    let settings = config.search.clone();
    // What is sent comes before what is found.
    process.start("search", name, Threads::giving_way(1), |host| async move {
        let server = clarion_search::Server::bind(settings, deps, host.clone()).await?;
        Ok(((server.address().clone(), server.operators(), host.telemetry().clone()), server.run()))
    })
}

/// The settings of one of several presence servers of a process: what is set is where the first one listens.
fn nth_presence(config: &clarion_presence::Config, n: usize) -> clarion_presence::Config {
    let mut settings = config.clone();
    if n > 0 {
        settings.listen = clarion_runtime::Listen::InProcess;
    }
    settings
}

pub(crate) fn start_presence(
    process: &mut Process,
    config: &clarion_presence::Config,
    name: &str,
    cache: &Arc<dyn Cache>,
) -> anyhow::Result<(Address, Telemetry)> {
    let deps = clarion_presence::Deps { cache: cache.clone() };
    let settings = config.clone();
    process.start("presence", name, 1, |host| async move {
        let server = clarion_presence::Server::bind(settings, deps, host.clone()).await?;
        Ok(((server.address().clone(), host.telemetry().clone()), server.run()))
    })
}

/// The settings of one of several voice servers of a process.
fn nth_voice_server(config: &Config, n: usize) -> clarion_voice::Config {
    let mut settings = config.voice.clone();
    if n > 0 {
        // What is set is the first one's.
        let free = Some((std::net::Ipv4Addr::LOCALHOST, 0).into());
        (settings.http, settings.udp, settings.tcp, settings.public_url) = (free, free, None, None);
    }
    settings
}

/// Before the gateways, so that these have ended when the voice servers drain.
pub(crate) fn start_voice(
    process: &mut Process,
    settings: clarion_voice::Config,
    name: &str,
    routers: Vec<Address>,
    region: &str,
) -> anyhow::Result<(Address, Telemetry)> {
    let region = region.to_owned();
    process.start("voice", name, 1, |host| async move {
        let server = clarion_voice::Server::bind(settings, clarion_voice::Deps::default(), host.clone()).await?;
        let (address, url) = (server.address().clone(), server.url().to_owned());
        let membership = clarion_voice::Membership { routers, address: address.clone(), region, url };
        let telemetry = host.telemetry().clone();
        let run = async move {
            tokio::select! {
                served = server.run() => served,
                never = membership.keep(host) => match never {},
            }
        };
        Ok(((address, telemetry), run))
    })
}

/// The settings of one of several gateways of a process.
fn nth_gateway(config: &Config, n: usize) -> anyhow::Result<clarion_gateway::Config> {
    let mut settings = config.gateway.clone();
    // Port 0 is a free one for each.
    if settings.listen.port() != 0 {
        let port = u16::try_from(n).ok().and_then(|n| settings.listen.port().checked_add(n));
        settings.listen.set_port(port.with_context(|| format!("topology.gateways: no port is left for gateway {n}"))?);
    }
    Ok(settings)
}

pub(crate) fn start_gateway(
    process: &mut Process,
    settings: clarion_gateway::Config,
    name: &str,
    deps: Deps,
) -> anyhow::Result<(SocketAddr, Telemetry)> {
    process.start("gateway", name, 2, |host| async move {
        let server = clarion_gateway::Server::bind(settings, deps, host.clone()).await?;
        Ok(((server.local_addr(), host.telemetry().clone()), server.run()))
    })
}

impl Clarion {
    /// Everything is as it should be for the first client.
    pub fn ready(&self) {
        self.process.ready();
    }

    /// Where clients connect, one address a gateway.
    pub fn gateways(&self) -> &[SocketAddr] {
        &self.gateways
    }

    /// Where gateways reach the voice servers.
    pub fn voice_servers(&self) -> &[Address] {
        &self.voice_servers
    }

    /// Where metrics, probes, traces and the admin API are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_port.address()
    }

    /// Where the gateways look for the demo workspace.
    pub fn demo(&self) -> &Demo {
        &self.demo
    }

    /// What operators do by hand.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// What the process itself says, it says in the router's name.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Whether the store was made by this start.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Starts a presence server anew after [`Process::stop_one`], over the same cache; for tests of what comes back.
    pub fn restart_presence(&mut self, n: usize) -> anyhow::Result<()> {
        let settings = nth_presence(&self.presence, n);
        start_presence(&mut self.process, &settings, &format!("presence-{n}"), &self.cache).map(drop)
    }

    /// The services.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Stops everything, in reverse order; what was acknowledged is on the disk before and after.
    pub fn stop(self) -> StopReport {
        let Self { process, admin_port, .. } = self;
        let report = process.stop();
        drop(admin_port);
        report
    }
}
