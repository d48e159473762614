//! Is the process alive, is it ready: `/healthz`, `/readyz` and `/health`, with and without a final slash.
//!
//! Liveness depends on nothing outside the process. Readiness is true from when all services are bound until a drain
//! begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

/// The state of the process. A clone is the same state.
#[derive(Clone)]
pub struct Probes(Arc<State>);

struct State {
    started: Instant,
    ready: AtomicBool,
    shutting_down: AtomicBool,
}

impl Default for Probes {
    fn default() -> Self {
        let state =
            State { started: Instant::now(), ready: AtomicBool::new(false), shutting_down: AtomicBool::new(false) };
        Self(Arc::new(state))
    }
}

impl Probes {
    /// All services are bound.
    pub fn set_ready(&self) {
        self.0.ready.store(true, Ordering::Release);
    }

    /// A drain has begun.
    pub fn set_shutting_down(&self) {
        self.0.shutting_down.store(true, Ordering::Release);
    }

    /// Whether new work is welcome.
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire) && !self.is_shutting_down()
    }

    /// Whether a drain has begun.
    pub fn is_shutting_down(&self) -> bool {
        self.0.shutting_down.load(Ordering::Acquire)
    }

    /// The routes that answer for this state.
    pub fn routes(&self) -> Router {
        let mut router = Router::new();
        for slash in ["", "/"] {
            let (alive, ready) = (self.clone(), self.clone());
            router = router
                .route(&format!("/healthz{slash}"), get(move || async move { alive.healthz() }))
                .route(&format!("/readyz{slash}"), get(move || async move { ready.readyz() }))
                .route(&format!("/health{slash}"), get(async || answer(StatusCode::OK, &json!({"status": "ok"}))));
        }
        router
    }

    fn healthz(&self) -> Response {
        let uptime = self.0.started.elapsed().as_secs_f64();
        answer(StatusCode::OK, &json!({"status": "healthy", "timestamp": now(), "uptime": uptime}))
    }

    fn readyz(&self) -> Response {
        let ready = self.is_ready();
        let (code, status) =
            if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
        let shutting_down = self.is_shutting_down();
        answer(code, &json!({"status": status, "timestamp": now(), "ready": ready, "shutting_down": shutting_down}))
    }
}

fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

fn answer(code: StatusCode, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (code, headers, body.to_string()).into_response()
}
