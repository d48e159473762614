//! Requests through the whole edge, to a router and a channel server of the test's own.

mod demo;
mod error;
mod extension;
mod journey;
mod peer;
mod read;
mod search;
mod structure;
mod telemetry;
mod wire;

use std::net::IpAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use clarion_model::id::UserId;
use clarion_observability::capture::Capture;
use clarion_proto::v1::channel_server::ChannelServer;
use clarion_proto::v1::router_server::RouterServer;
use clarion_proto::v1::search_server::SearchServer;
use clarion_runtime::{Host, Listen, Process};
use clarion_storage::cache::MemoryCache;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tonic::service::Routes;
use tower::ServiceExt;

use super::*;
use crate::accounts::Watch;
use peer::{Fake, my_token};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));

/// The edge with what is behind it.
struct Edge {
    router: Router,
    demo: Demo,
    fake: Fake,
    capture: Capture,
    host: Host,
    process: Option<Process>,
}

/// What came back.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

/// Everything is followed.
struct Followed;

impl Watch for Followed {
    fn watch_user(&self, _: UserId) -> BoxFuture<'_, bool> {
        Box::pin(async { true })
    }
}

impl Edge {
    /// Without limits, so that tests are not in each other's way.
    async fn new() -> Self {
        let mut config = RestConfig::default();
        config.rate_limits.enabled = false;
        Self::with(config).await
    }

    async fn with(config: RestConfig) -> Self {
        let capture = Capture::new().expect("telemetry");
        // The connections to it stay open as long as the test's runtime: nobody waits for them.
        let mut process = Process::new(capture.process().clone(), Duration::ZERO);
        let fake = Fake::default();
        let served = fake.clone();
        process
            .start("peer", "peer-0", 1, |host: Host| async move {
                let listener = host.listen(&Listen::InProcess)?;
                let mut routes = Routes::new(RouterServer::new(served.clone()));
                routes = routes.add_service(ChannelServer::new(served.clone()));
                routes = routes.add_service(SearchServer::new(served));
                Ok(((), async move { host.serve_grpc(listener, routes).await }))
            })
            .expect("a peer");
        let host = process
            .start("gateway", "gateway-0", 1, |host: Host| async move {
                let draining = host.draining();
                Ok((host, async move {
                    draining.cancelled().await;
                    Ok(())
                }))
            })
            .expect("a gateway");
        // The test's own thread does the gateway's work.
        host.telemetry().adopt_thread();
        let metrics = GatewayMetrics::new(host.telemetry().meter());
        let directory = Directory::new(host.clone(), &["in-process:peer-0".parse().expect("an address")]);
        let accounts = Accounts::new(directory.clone(), Box::new(Followed), metrics.clone());
        let cache = Arc::new(MemoryCache::new(&clarion_storage::cache::Config::default()));
        let starts = Starts::new(crate::Identify::default(), cache.clone());
        let entry = Entry { public_url: None, starts: Arc::new(starts) };
        let telemetry = host.telemetry().clone();
        let search = Some(SearchClient::new(host.peer(&"in-process:peer-0".parse().expect("an address"))));
        let limits = Arc::new(Limits::new(config.rate_limits.clone(), cache));
        let demo = Demo::default();
        let served = Some(demo.clone());
        let trace_pages = TracePages::at("http://traces/{trace_id}");
        let router = router(State {
            directory,
            accounts,
            metrics,
            search,
            telemetry,
            config,
            limits,
            entry,
            demo: served,
            trace_pages,
            voice: crate::voice::Endpoints::default(),
            voice_region: String::new(),
        });
        Self { router, demo, fake, capture, host, process: Some(process) }
    }

    /// Sends a request as it is.
    async fn send(&self, request: Request<Body>) -> Got {
        self.send_from(ADDRESS, request).await
    }

    /// Sends a request from an address.
    async fn send_from(&self, address: IpAddr, mut request: Request<Body>) -> Got {
        request.extensions_mut().insert(ClientAddress(address));
        let response = self.router.clone().oneshot(request).await.expect("a response");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a body");
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("JSON") };
        Got { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request as the bot.
    async fn call(&self, method: Method, path: &str, body: impl Into<Body>) -> Got {
        let token = format!("Bot {}", my_token());
        let version = if path.starts_with("/x/") { "" } else { "/v10" };
        let request = Request::builder().method(method).uri(format!("/api{version}{path}"));
        let request = request.header(header::AUTHORIZATION, token).header(header::HOST, "chat.example:8080");
        self.send(request.body(body.into()).expect("a request")).await
    }

    async fn get(&self, path: &str) -> Got {
        self.call(Method::GET, path, "").await
    }

    async fn post(&self, path: &str, body: &Value) -> Got {
        self.call(Method::POST, path, body.to_string()).await
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop();
        }
    }
}

impl Got {
    /// The text of a header; empty without it.
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Status and API code.
    fn error(&self) -> (u16, u64) {
        (self.status.as_u16(), self.body["code"].as_u64().unwrap_or(u64::MAX))
    }
}
