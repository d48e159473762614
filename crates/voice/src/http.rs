//! The HTTP endpoint of a session: WHIP, WHEP, and both in one, on one path. What an offer's sections say decides which.

mod accept;
mod error;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use clarion_observability::metric::LeaveReason;

pub(crate) use accept::until;

use crate::engine::Command;
use crate::entry::{self, DESCRIPTION, Entered, Refusal};
use crate::front::Front;
use crate::ice::Credentials;
use crate::leg::Who;
use crate::sdp::{self, Fragment};
use crate::token::Claims;

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

type Shared = State<Arc<Front>>;

/// The routes.
pub(crate) fn routes(front: Arc<Front>) -> Router {
    let session = post(offer).patch(patch).delete(leave).options(options);
    Router::new()
        .route("/v1/voice/{session}", session)
        .layer(DefaultBodyLimit::max(DESCRIPTION))
        .layer(map_response(cors))
        .with_state(front)
}

/// Pages of any origin may ask: who is let in is decided by the token.
async fn cors(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, PATCH, DELETE, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Location, ETag, Accept-Patch, Accept-Post, Retry-After"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn options() -> Response {
    (StatusCode::NO_CONTENT, [(HeaderName::from_static("accept-post"), SDP), (ACCEPT_PATCH, FRAGMENT)]).into_response()
}

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// An offer: the session begins.
async fn offer(
    State(front): Shared,
    Path(session): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let began = Instant::now();
    let read = claims(&front, &session, &headers).and_then(|claims| Ok((claims, text(&headers, SDP, body)?)));
    let answered = match read {
        Ok((claims, offer)) => entry::enter(&front, &claims, &offer, began).await,
        Err(refusal) => Err(refusal),
    };
    let Entered { leg, sdp } = entry::told(&front, answered)?;
    let location = format!("{}/v1/voice/{session}", front.url);
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, location),
        (header::ETAG, etag(leg, 0)),
        (ACCEPT_PATCH, FRAGMENT.to_owned()),
    ];
    Ok((StatusCode::CREATED, headers, sdp).into_response())
}

/// Trickled candidates, which the server does not need; or a new ICE session.
async fn patch(
    State(front): Shared,
    Path(session): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let claims = claims(&front, &session, &headers)?;
    let text = text(&headers, FRAGMENT, body)?;
    let (leg, restarts) = front.lock().desk.leg(&claims)?;
    let matched = headers.get(header::IF_MATCH).and_then(|tag| tag.to_str().ok());
    if matched.is_some_and(|tag| tag != "*" && tag != etag(leg, restarts)) {
        return Err(Refusal::Precondition);
    }
    // Browsers name their session in each fragment; only those that match any version want another.
    let restart = sdp::fragment(&text).is_some() && matched == Some("*");
    if !restart {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let credentials = Credentials::random().map_err(|_| Refusal::Failed)?;
    let restarts = front.lock().desk.restarted(&claims)?;
    let shard = front.shard(claims.channel).ok_or(Refusal::Busy)?;
    let fragment = Fragment { ufrag: &credentials.ufrag, pwd: &credentials.pwd, candidates: &shard.candidates }.text();
    front.tell(claims.channel, Command::Restart { leg, credentials }).await;
    let headers = [(header::CONTENT_TYPE, FRAGMENT.to_owned()), (header::ETAG, etag(leg, restarts))];
    Ok((StatusCode::OK, headers, fragment).into_response())
}

/// The session is over.
async fn leave(State(front): Shared, Path(session): Path<String>, headers: HeaderMap) -> Result<Response, Refusal> {
    let claims = claims(&front, &session, &headers)?;
    front.lock().desk.leg(&claims)?;
    let who = Who { channel: claims.channel, user: claims.user, session };
    front.dismiss(&who, LeaveReason::Left).await;
    Ok(StatusCode::OK.into_response())
}

/// What the bearer's token says, if it is for this session.
fn claims(front: &Front, session: &str, headers: &HeaderMap) -> Result<Claims, Refusal> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|value| value.strip_prefix("Bearer ")).ok_or(Refusal::NoToken)?;
    entry::claims(front, session, token)
}

fn text(headers: &HeaderMap, kind: &'static str, body: Result<Bytes, BytesRejection>) -> Result<String, Refusal> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !said.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind) {
        return Err(Refusal::ContentType(kind));
    }
    let body = body.map_err(|_| Refusal::Body)?;
    String::from_utf8(body.into()).map_err(|_| Refusal::Text)
}

fn etag(leg: u64, restarts: u32) -> String {
    format!("\"{leg}-{restarts}\"")
}
