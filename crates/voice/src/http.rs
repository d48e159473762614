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
use clarion_model::id::{ChannelId, UserId};
use clarion_observability::log::{self, ErrorInfo, Fields};
use clarion_observability::metric::LeaveReason;
use clarion_observability::{TraceContext, span};

pub(crate) use accept::until;
use error::Refusal;

use crate::engine::Command;
use crate::front::{Front, fields};
use crate::ice::Credentials;
use crate::leg::{Join, Spec, Voice, Who};
use crate::sdp::{self, Fragment, Local, Plan};
use crate::secure::Secure;
use crate::token::Claims;

/// Longest description.
const BODY: usize = 64 << 10;
const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

type Shared = State<Arc<Front>>;

/// The routes.
pub(crate) fn routes(front: Arc<Front>) -> Router {
    let session = post(offer).patch(patch).delete(leave).options(options);
    Router::new()
        .route("/v1/voice/{session}", session)
        .layer(DefaultBodyLimit::max(BODY))
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
    let answered = answer(&front, &session, &headers, body).await;
    if let Err(refusal) = &answered {
        front.metrics.joins.with(refusal.result()).increment(1);
        let error = ErrorInfo { kind: refusal.word(), detail: refusal.to_string() };
        log::VOICE_REFUSED.emit(Fields { error: Some(error), ..Fields::default() });
    }
    answered
}

async fn answer(
    front: &Front,
    session: &str,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let began = Instant::now();
    let claims = claims(front, session, headers)?;
    let text = text(headers, SDP, body)?;
    let admission = TraceContext::parse(&claims.traceparent).unwrap_or_default();
    let (channel, user) = (ChannelId(claims.channel), UserId(claims.user));
    let whole = span::voice_join(&admission, channel, user, session);
    let stage = span::voice_answer(&whole);
    // A bad offer does not cost the token.
    let offer = sdp::parse(&text).inspect_err(|_| span::fail(&whole, "bad_offer"))?;
    let plan = Plan::of(&offer, random_ssrc);
    let credentials = Credentials::random().map_err(|_| Refusal::Failed)?;
    let secure = Secure::new(&front.identity, offer.fingerprint).map_err(|_| Refusal::Failed)?;
    let shard = front.shard(claims.channel).ok_or(Refusal::Busy)?;
    let entry = {
        let mut state = front.lock();
        if !state.desk.has_room() {
            return Err(Refusal::Busy);
        }
        state.desk.enter(began, &claims)?
    };
    let voice = plan.publishes.and_then(|n| Voice::new(began, offer.media.get(n)?, random_ssrc()));
    let local = Local {
        ufrag: &credentials.ufrag,
        pwd: &credentials.pwd,
        fingerprint: &front.identity.fingerprint,
        candidates: &shard.candidates,
        id: entry.leg,
        red: front.config.redundancy,
    };
    let sdp = sdp::answer(&offer, &plan, &local);
    if let Some(replaced) = entry.replaces {
        front.tell(claims.channel, Command::End { leg: replaced, reason: LeaveReason::Left }).await;
    }
    let leg = entry.leg;
    let spec = Spec {
        id: leg,
        who: entry.who.clone(),
        permissions: entry.permissions,
        credentials,
        secure,
        voice,
        streams: plan.streams,
        join: Join { began, whole, stage },
    };
    front.tell(claims.channel, Command::Join(Box::new(spec))).await;
    settle(front, &entry.who, leg).await;
    log::VOICE_JOINED.emit(fields(&entry.who));
    let location = format!("{}/v1/voice/{session}", front.url);
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, location),
        (header::ETAG, etag(leg, 0)),
        (ACCEPT_PATCH, FRAGMENT.to_owned()),
    ];
    Ok((StatusCode::CREATED, headers, sdp).into_response())
}

/// What was decided between the entry and the shard's knowing of it is said again.
async fn settle(front: &Front, who: &Who, leg: u64) {
    let standing = front.lock().desk.standing(leg);
    let command = match standing {
        Some(permissions) => Command::Permit { leg, permissions },
        None => Command::End { leg, reason: LeaveReason::Dismissed },
    };
    front.tell(who.channel, command).await;
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
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).ok_or(Refusal::NoToken)?;
    let claims = front.signer.read(bearer.trim())?;
    if claims.session == session { Ok(claims) } else { Err(Refusal::OtherSession) }
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

/// A name of a stream. Zero and one are what some receivers call themselves.
fn random_ssrc() -> u32 {
    getrandom::u32().unwrap_or(0x5EED_0001).max(2)
}
