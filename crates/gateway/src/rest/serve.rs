//! The way of every request: traced, authenticated, limited, carried out, answered, counted.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use clarion_model::user::User;
use clarion_observability::log::{self, ErrorInfo, Fields};
use clarion_observability::metric::{SendError, Status};
use clarion_observability::{ClientIp, Instrument, Origin, Span, TraceContext, span};

use super::Shared;
use super::answer::Answered;
use super::call::{Call, OpenCall, Path, Query};
use super::limits::{Beyond, Counted, write_retry};
use super::operation::{Class, Handler, Operation};
use super::origin::{self, ClientAddress, REQUEST_ID};
use super::refusal::Refusal;
use super::upload::Upload;
use crate::accounts::AuthError;

const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// What metrics and logs say of a request that is no operation.
const UNKNOWN: &str = "unknown";

/// What a request is for.
#[derive(Clone)]
enum Asked {
    Operation(&'static Operation),
    /// Nothing that there is, and the answer to it.
    Nothing(Refusal),
}

/// A request on its way.
struct Visit {
    shared: Arc<Shared>,
    span: Span,
    began: Instant,
    method: Method,
    address: Option<IpAddr>,
    /// How the caller stands.
    counted: Counted,
}

/// Serves a request of an operation.
pub(super) async fn operation(shared: Arc<Shared>, operation: &'static Operation, request: Request) -> Response {
    serve(shared, Asked::Operation(operation), request).await
}

/// Answers a request for a path that does not exist.
pub(super) async fn unknown(shared: Arc<Shared>, request: Request) -> Response {
    serve(shared, Asked::Nothing(Refusal::NOT_FOUND), request).await
}

/// Answers a request for a path that exists, by a method that it does not have.
pub(super) async fn not_allowed(shared: Arc<Shared>, request: Request) -> Response {
    serve(shared, Asked::Nothing(Refusal::METHOD_NOT_ALLOWED), request).await
}

async fn serve(shared: Arc<Shared>, asked: Asked, request: Request) -> Response {
    let request_id = origin::request_id(request.headers());
    let from = Origin::from_headers(request.headers(), shared.sample_ratio, request_id.as_str());
    let span = span::gateway_receive(&from, asked.name());
    let trace_id = TraceContext::of(&span).trace_id();
    let peer = request.extensions().get::<ClientAddress>().map(|peer| peer.0);
    let visit = Visit {
        began: Instant::now(),
        method: request.method().clone(),
        address: origin::address(request.headers(), peer, shared.state.config.behind_proxy),
        counted: shared.limits.nominal(),
        span: span.clone(),
        shared,
    };
    let mut response = visit.run(asked, request).instrument(span).await;
    for (name, id) in [(REQUEST_ID, Some(request_id)), (TRACE_ID, trace_id)] {
        if let Some(id) = id.and_then(|id| HeaderValue::try_from(id).ok()) {
            response.headers_mut().insert(name, id);
        }
    }
    response
}

impl Asked {
    fn name(&self) -> &'static str {
        self.operation().map_or(UNKNOWN, |operation| operation.name)
    }

    fn operation(&self) -> Option<&'static Operation> {
        match self {
            Self::Operation(operation) => Some(operation),
            Self::Nothing(_) => None,
        }
    }
}

impl Visit {
    /// The answer is made first and given when the body is read: only then is the connection free for the next request.
    async fn run(mut self, asked: Asked, request: Request) -> Response {
        let until = tokio::time::Instant::now() + self.shared.state.config.request_timeout();
        let (parts, body) = request.into_parts();
        let mut upload = Upload::new(body);
        let answered = match &asked {
            Asked::Operation(operation) => {
                let carried_out = tokio::time::timeout_at(until, self.carry_out(operation, parts, &mut upload)).await;
                carried_out.unwrap_or(Err(Refusal::TIMED_OUT))
            }
            Asked::Nothing(refusal) => self.count_open().await.and(Err(refusal.clone())),
        };
        let mut response = self.finish(asked.operation(), answered);
        let is_read = upload.discard(until).await;
        if !is_read || response.status() == StatusCode::PAYLOAD_TOO_LARGE {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn carry_out(&mut self, operation: &'static Operation, mut parts: Parts, upload: &mut Upload) -> Answered {
        let handler = match operation.handler {
            Handler::Known(handler) => handler,
            Handler::Open(handler) => {
                self.count_open().await?;
                let peer = parts.extensions.get::<ClientAddress>().map(|peer| peer.0);
                return handler(OpenCall { shared: self.shared.clone(), headers: parts.headers, peer });
            }
        };
        let user = self.authenticate(&parts.headers).await?;
        let path = path(&mut parts).await?;
        let limits = &self.shared.limits;
        let standing = limits.user(Instant::now(), user.id, operation, path.major(), &mut self.counted).await;
        standing.map_err(|beyond| self.beyond(beyond))?;
        let config = &self.shared.state.config;
        let body = match operation.method {
            "GET" | "DELETE" => Bytes::new(),
            // A client that is slow to say what it wants has not been served slowly.
            _ => upload.read(config.body_bytes, config.request_timeout() / 2).await?,
        };
        let call = Call {
            shared: self.shared.clone(),
            user,
            path,
            query: Query::read(parts.uri.query().unwrap_or_default()),
            headers: parts.headers,
            body,
            began: self.began,
        };
        handler(call).await
    }

    async fn authenticate(&self, headers: &HeaderMap) -> Result<User, Refusal> {
        let (accounts, limits) = (&self.shared.state.accounts, &self.shared.limits);
        let token = headers.get(header::AUTHORIZATION).and_then(|token| token.to_str().ok()).unwrap_or_default();
        let now = Instant::now();
        if let Err(beyond) = limits.is_suspect(now, self.address)
            && !accounts.knows(token)
        {
            return Err(self.beyond(beyond));
        }
        match accounts.authenticate(token).await {
            Ok(account) => {
                span::record_user(&self.span, account.user.id);
                Ok(account.user)
            }
            Err(AuthError::Invalid) => {
                limits.count_invalid(now, self.address).await;
                Err(Refusal::UNAUTHORIZED)
            }
            Err(error @ AuthError::Unavailable) => Err(Refusal::unavailable(error.to_string())),
        }
    }

    async fn count_open(&mut self) -> Result<(), Refusal> {
        let standing = self.shared.limits.open(Instant::now(), self.address, &mut self.counted).await;
        standing.map_err(|beyond| self.beyond(beyond))
    }

    fn beyond(&self, beyond: Beyond) -> Refusal {
        self.shared.state.metrics.rate_limited.with(beyond.scope).increment(1);
        beyond.refusal
    }

    /// Makes the response, and tells operators how it went.
    fn finish(self, operation: Option<&'static Operation>, answered: Answered) -> Response {
        let refusal = answered.as_ref().err();
        let status = refusal.map_or(StatusCode::OK, |refusal| refusal.status);
        let (limited, retry_after) = (refusal.and_then(Refusal::standing), refusal.and_then(Refusal::retry_after));
        let cause = refusal.and_then(Refusal::cause).map(str::to_owned);
        let mut response = answered.unwrap_or_else(Refusal::into_answer).into_response();
        let status = if status == StatusCode::OK { response.status() } else { status };

        let counted = limited.map_or(self.counted, |limited| Counted { standing: limited.standing, ..self.counted });
        let global = limited.is_some_and(|limited| limited.global);
        counted.write(SystemTime::now(), global, response.headers_mut());
        if let Some(after) = retry_after {
            write_retry(after, limited.is_some(), response.headers_mut());
        }
        self.tell(operation, status, cause);
        response
    }

    fn tell(&self, operation: Option<&'static Operation>, status: StatusCode, cause: Option<String>) {
        let (metrics, took) = (&self.shared.state.metrics, self.began.elapsed());
        let template = operation.map_or(UNKNOWN, |operation| operation.template);
        metrics.request_duration.record(&self.method, template, status.as_u16(), took);
        if operation.is_some_and(|operation| operation.class == Class::Send) {
            metrics.sends.increment(1);
            match send_error(status) {
                None => metrics.send_latency.record_duration(took),
                Some(error) => metrics.send_failures.with(error).increment(1),
            }
        }
        let fields = Fields {
            endpoint: Some(operation.map_or(UNKNOWN, |operation| operation.endpoint)),
            client_ip: self.address.map(ClientIp::new),
            success: Some(status.is_success()),
            duration_ms: Some(took.as_secs_f64() * 1e3),
            latency_ms: Some(took.as_secs_f64() * 1e3),
            detail: Some(status.as_u16().to_string()),
            ..Fields::default()
        };
        if !status.is_server_error() {
            return log::REQUEST_COMPLETED.emit(fields);
        }
        metrics.api_errors.with(Status::of(status.as_u16())).increment(1);
        let kind = error_type(status);
        span::fail(&self.span, kind);
        let error = ErrorInfo { kind, detail: cause.unwrap_or_else(|| status.to_string()) };
        log::REQUEST_FAILED.emit(Fields { error: Some(error), ..fields });
    }
}

/// The parts of a path that vary.
async fn path(parts: &mut Parts) -> Result<Path, Refusal> {
    // What does not decode to text names nothing.
    let params = RawPathParams::from_request_parts(parts, &()).await.map_err(|_| Refusal::NOT_FOUND)?;
    Ok(Path(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
}

fn error_type(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        StatusCode::GATEWAY_TIMEOUT => "timeout",
        _ => "server",
    }
}

/// Why a message was not accepted; `None` if it was.
fn send_error(status: StatusCode) -> Option<SendError> {
    Some(match status {
        status if status.is_success() => return None,
        StatusCode::UNAUTHORIZED => SendError::Unauthorized,
        StatusCode::FORBIDDEN => SendError::Forbidden,
        StatusCode::NOT_FOUND => SendError::NotFound,
        StatusCode::TOO_MANY_REQUESTS => SendError::RateLimited,
        StatusCode::SERVICE_UNAVAILABLE => SendError::Unavailable,
        StatusCode::GATEWAY_TIMEOUT => SendError::Timeout,
        status if status.is_client_error() => SendError::Invalid,
        _ => SendError::Server,
    })
}
