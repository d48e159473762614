//! What operators see and do: how complete the index is, and building it anew.

use std::time::SystemTime;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clarion_observability::log::{self, Fields};
use clarion_storage::index::Index;
use serde_json::{Value, json};

use crate::standing::{Place, Serving, Standing};

/// What operators ask the search service.
#[derive(Clone)]
pub struct Operators {
    pub(crate) copies: Vec<Place>,
}

impl Operators {
    /// `GET /admin/v1/search` says how the index stands; `POST /admin/v1/search/rebuild` has another one built beside it.
    /// Whoever serves these sees to it that only operators come.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/admin/v1/search", get(show))
            .route("/admin/v1/search/rebuild", post(rebuild))
            .with_state(self.clone())
    }
}

async fn show(State(operators): State<Operators>) -> Json<Value> {
    let of = async |serving: &Serving| match serving.get() {
        Some((index, standing)) => stand(&*index, &standing).await,
        None => Value::Null,
    };
    let mut copies = Vec::with_capacity(operators.copies.len());
    for copy in &operators.copies {
        copies.push(json!({ "serving": of(&copy.serving).await, "building": of(&copy.building).await }));
    }
    Json(json!({ "copies": copies }))
}

async fn stand(index: &dyn Index, standing: &Standing) -> Value {
    let (counts, size) = (standing.counts(), index.size().await.unwrap_or_default());
    json!({
        "keys": counts.keys,
        "complete": counts.complete,
        "pending": standing.pending(),
        "lag_s": standing.lag(SystemTime::now().into()).as_secs_f64(),
        "messages": size.messages,
        "bytes": size.bytes,
    })
}

async fn rebuild(State(operators): State<Operators>) -> Response {
    log::ADMIN_ACTION.emit(Fields::detail("rebuild the search index"));
    // Every copy that does not build one already.
    match operators.copies.iter().filter(|copy| copy.rebuild.try_send(()).is_ok()).count() {
        0 => (StatusCode::CONFLICT, Json(json!({ "error": "one is being built already" }))).into_response(),
        _ => (StatusCode::ACCEPTED, Json(json!({ "building": true }))).into_response(),
    }
}
