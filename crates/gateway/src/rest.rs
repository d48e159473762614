//! The API over HTTP: operations by method and path, each authenticated, limited, measured and answered the same way.
//!
//! What a user may do is for the channel server to decide. This edge finds out who asks and puts requests and answers
//! into the forms of the two sides.

mod answer;
mod ban;
mod call;
mod channel;
mod config;
mod demo;
mod entry;
mod form;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guild;
mod limits;
mod member;
mod message;
mod multipart;
mod operation;
mod origin;
mod reaction;
mod read_state;
mod refusal;
mod role;
mod search;
mod serve;
#[cfg(test)]
mod tests;
mod trace;
mod upload;
mod user;
mod voice;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::routing::{MethodFilter, MethodRouter, on};
use clarion_observability::Telemetry;
use clarion_observability::metric::GatewayMetrics;
use clarion_proto::v1::search_client::SearchClient;
use clarion_runtime::Peer;

use crate::accounts::Accounts;
use crate::demo::Demo;
use crate::directory::Directory;
use crate::starts::Starts;
use crate::trace_pages::TracePages;
use crate::voice::Endpoints;
pub use config::{RateLimits, RestConfig};
pub(crate) use limits::Limits;
pub(crate) use origin::{ClientAddress, address, host};

/// Under what the operations are found. Libraries differ in the version they ask for.
const PREFIXES: [&str; 3] = ["/api/v10", "/api/v9", "/api"];

/// Under what the operations are found that are Clarion's own.
const EXTENSIONS: &str = "/api/x";

/// What the API works with.
pub(crate) struct State {
    pub(crate) directory: Directory,
    pub(crate) accounts: Accounts,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) search: Option<SearchClient<Peer>>,
    pub(crate) telemetry: Telemetry,
    pub(crate) config: RestConfig,
    pub(crate) limits: Arc<Limits>,
    pub(crate) entry: Entry,
    /// Where only this machine can ask.
    pub(crate) demo: Option<Demo>,
    pub(crate) trace_pages: TracePages,
    pub(crate) voice: Endpoints,
    /// The region of this gateway.
    pub(crate) voice_region: String,
}

/// How sockets are opened, for those who ask.
#[derive(Clone)]
pub(crate) struct Entry {
    /// The URL of the gateway. Without it, the host that the client asked.
    pub(crate) public_url: Option<String>,
    /// How often an account may start sessions, and how often it has.
    pub(crate) starts: Arc<Starts>,
}

/// What all requests share.
struct Shared {
    state: State,
    limits: Arc<Limits>,
    sample_ratio: f64,
}

/// The routes of the API, with the answers to unknown paths and methods as the router's fallbacks. A request should carry
/// a [`ClientAddress`] in its extensions.
pub(crate) fn router(state: State) -> Router {
    let shared = Arc::new(Shared {
        limits: state.limits.clone(),
        sample_ratio: state.telemetry.process().config().sample_ratio,
        state,
    });
    let mut router = Router::new();
    for operation in operation::ALL {
        for prefix in PREFIXES {
            router = router.route(&format!("{prefix}{}", operation.path), route(&shared, operation));
        }
    }
    for operation in operation::EXTENSIONS {
        router = router.route(&format!("{EXTENSIONS}{}", operation.path), route(&shared, operation));
    }
    let (unknown, not_allowed) = (shared.clone(), shared);
    router
        .fallback(move |request: Request| serve::unknown(unknown.clone(), request))
        .method_not_allowed_fallback(move |request: Request| serve::not_allowed(not_allowed.clone(), request))
}

fn route(shared: &Arc<Shared>, operation: &'static operation::Operation) -> MethodRouter {
    let shared = shared.clone();
    let filter = match operation.method {
        "POST" => MethodFilter::POST,
        "PUT" => MethodFilter::PUT,
        "PATCH" => MethodFilter::PATCH,
        "DELETE" => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    };
    on(filter, move |request: Request| serve::operation(shared.clone(), operation, request))
}
