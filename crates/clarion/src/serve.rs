//! A list of one: a process that is a single service, and speaks with the others over TCP.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use clarion_gateway::{Demo, TracePages};
use clarion_observability::Telemetry;
use clarion_router::for_operators;
use clarion_runtime::{Address, Process, StopReport};
use clarion_storage::Stores;

use crate::Config;
use crate::admin::AdminPort;
use crate::start::{
    start_cache, start_channel_server, start_gateway, start_presence, start_router, start_search, start_store,
    start_voice,
};

/// What a process can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Service {
    /// Where clients connect.
    Gateway,
    /// Owns keys, orders and keeps what happens.
    Channel,
    /// Knows who owns what; the operators' door.
    Router,
    /// Knows who is there.
    Presence,
    /// Finds messages by what they say.
    Search,
    /// Carries voices.
    Voice,
}

/// A process that is one service, running.
pub struct One {
    process: Process,
    telemetry: Telemetry,
    admin_port: AdminPort,
    /// Where clients, or else other services, reach it.
    address: Address,
}

/// What a started service says of itself.
struct Started {
    telemetry: Telemetry,
    address: Address,
    /// What operators may ask of it.
    operators: Option<Router>,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Gateway, Self::Channel, Self::Router, Self::Presence, Self::Search, Self::Voice];

    /// Its name, in telemetry too.
    pub fn as_str(self) -> &'static str {
        match self {
            Service::Gateway => "gateway",
            Service::Channel => "channel",
            Service::Router => "router",
            Service::Presence => "presence",
            Service::Search => "search",
            Service::Voice => "voice",
        }
    }
}

impl One {
    /// Starts a service; returns when it is bound. The stores are opened where it needs them, unless they are `given`.
    pub fn start(
        service: Service,
        config: &Config,
        observability: clarion_observability::Process,
        given: Option<Stores>,
    ) -> anyhow::Result<Self> {
        if given.is_none() {
            config.check_for(service)?;
        }
        let mut process = Process::new(observability, Duration::from_secs(config.drain_seconds));
        process.circuit_breakers(config.peers.circuit_breaker);
        let name = config.instance.clone().unwrap_or_else(|| service.as_str().to_owned());
        let stores = |process: &mut Process| match given {
            Some(stores) => Ok(stores),
            None => start_store(process, config).map(|(stores, _)| stores),
        };
        let trace_pages = TracePages::default();
        let started = match service {
            Service::Router => {
                let stores = stores(&mut process)?;
                let (address, admin, telemetry) = start_router(&mut process, config, &name, &stores, false)?;
                Started { telemetry, address, operators: Some(admin.routes(config.admin.token.clone())) }
            }
            Service::Channel => {
                let stores = stores(&mut process)?;
                let routers = config.peers.routers.clone();
                let (address, telemetry) = start_channel_server(&mut process, config, &name, &stores, routers)?;
                Started { telemetry, address, operators: None }
            }
            Service::Presence => {
                let cache = start_cache(&mut process, &config.cache)?;
                let (address, telemetry) = start_presence(&mut process, &config.presence, &name, &cache)?;
                Started { telemetry, address, operators: None }
            }
            Service::Search => {
                let stores = stores(&mut process)?;
                let (address, operators, telemetry) = start_search(&mut process, config, &name, &stores)?;
                let operators = for_operators(operators.routes(), config.admin.token.clone());
                Started { telemetry, address, operators: Some(operators) }
            }
            Service::Voice => {
                let (address, telemetry) = start_voice(
                    &mut process,
                    config.voice.clone(),
                    &name,
                    config.peers.routers.clone(),
                    &config.gateway.voice_region,
                )?;
                Started { telemetry, address, operators: None }
            }
            Service::Gateway => {
                let peers = config.peers.clone();
                let cache = start_cache(&mut process, &config.cache)?;
                let deps = clarion_gateway::Deps {
                    cache,
                    routers: peers.routers,
                    presence: peers.presence,
                    search: peers.search,
                    demo: Demo::default(),
                    trace_pages: trace_pages.clone(),
                };
                let (public, telemetry) = start_gateway(&mut process, config.gateway.clone(), &name, deps)?;
                Started { telemetry, address: Address::Http(format!("http://{public}")), operators: None }
            }
        };
        let Started { telemetry, address, operators } = started;
        let is_operated = operators.is_some();
        let routes = process.probes().routes().merge(operators.unwrap_or_default());
        let admin_port = AdminPort::start(&config.admin, telemetry.clone(), routes, is_operated, process.fatal())?;
        admin_port.show_traces(&trace_pages);
        Ok(Self { process, telemetry, admin_port, address })
    }

    /// Where clients, or else other services, reach it.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Where metrics, probes and traces are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_port.address()
    }

    /// What the process says of itself.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// The service.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Stops it.
    pub fn stop(self) -> StopReport {
        let Self { process, admin_port, .. } = self;
        let report = process.stop();
        drop(admin_port);
        report
    }
}
