//! The admin port: metrics, probes, recent traces and the admin API, on a thread of its own so that it answers when
//! everything else is busy.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use clarion_gateway::TracePages;
use clarion_observability::log::{self, Fields};
use clarion_observability::{Process as Observability, Telemetry};
use clarion_runtime::is_local_name;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::AdminConfig;
use crate::config::ADMIN_PORT;

/// The running admin port. Stops when dropped.
pub(crate) struct AdminPort {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminPort {
    /// Binds and serves. `routes` are the probes, and the admin API where the process `is_operated` through it.
    pub(crate) fn start(
        config: &AdminConfig,
        telemetry: Telemetry,
        routes: Router,
        is_operated: bool,
        fatal: CancellationToken,
    ) -> anyhow::Result<Self> {
        let listener = bind(config, is_operated)?;
        let address = listener.local_addr()?;
        let pages = Router::new()
            .route("/metrics", get(metrics))
            .route("/metrics/", get(metrics))
            .route("/debug/traces", get(traces))
            .route("/debug/traces/{id}", get(one_trace))
            .with_state(telemetry.process().clone());
        let mut app = routes.merge(pages);
        if address.ip().is_loopback() {
            app = app.layer(axum::middleware::from_fn(only_local_names));
        }
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("clarion-admin".to_owned()).spawn(move || {
            telemetry.adopt_thread();
            if let Err(error) = serve(listener, app, stopped) {
                log::SERVICE_FAILED.emit(Fields::error("admin_port", &error));
                fatal.cancel();
            }
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Says where it shows traces, if that is an address that one can go to.
    pub(crate) fn show_traces(&self, pages: &TracePages) {
        if !self.address.ip().is_unspecified() {
            pages.set(format!("http://{}/debug/traces/{{trace_id}}", self.address));
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminPort {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves until it is stopped. To end otherwise is an error: a process without its admin port cannot be operated.
fn serve(listener: std::net::TcpListener, app: Router, stopped: oneshot::Receiver<()>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::select! {
            ended = axum::serve(listener, app) => ended,
            _ = stopped => Ok(()),
        }
    })
}

fn bind(config: &AdminConfig, is_operated: bool) -> anyhow::Result<std::net::TcpListener> {
    let listener = match config.listen {
        Some(at) if is_operated && !at.ip().is_loopback() && config.token.is_none() => {
            bail!("admin.listen is {at}, beyond this machine, and admin.token is not set")
        }
        Some(at) => std::net::TcpListener::bind(at).with_context(|| format!("admin.listen: cannot listen on {at}"))?,
        None => {
            let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT));
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            std::net::TcpListener::bind(usual).or_else(|_| std::net::TcpListener::bind(any))?
        }
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn only_local_names(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    if is_local_name(host) {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, "this port answers to localhost and to addresses only\n").into_response()
}

async fn metrics(State(process): State<Observability>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], process.render_metrics()).into_response()
}

async fn traces(State(process): State<Observability>, Query(query): Query<HashMap<String, String>>) -> Response {
    if wants_json(&query) {
        return json(serde_json::to_string(&process.recent().list()));
    }
    Html(process.recent().html_list()).into_response()
}

async fn one_trace(
    State(process): State<Observability>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let page = if wants_json(&query) {
        process.recent().get(&id).map(|spans| json(serde_json::to_string(&spans)))
    } else {
        process.recent().html_trace(&id).map(|page| Html(page).into_response())
    };
    page.unwrap_or_else(|| (StatusCode::NOT_FOUND, "no such trace is kept\n").into_response())
}

fn wants_json(query: &HashMap<String, String>) -> bool {
    query.get("format").is_some_and(|f| f == "json")
}

fn json(text: serde_json::Result<String>) -> Response {
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
