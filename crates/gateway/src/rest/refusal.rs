//! Why a request is not carried out, in the words of the API: an HTTP status, a code, a sentence, the fields at fault.

use std::borrow::Cow;

use axum::http::StatusCode;
use clarion_proto::v1;

use super::answer::Answer;
use crate::api::error::{ErrorBody, Fault, Faults, RateLimited};
use crate::directory::CallError;
use crate::rate_limit::Standing;

/// A request that is not carried out, and why.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    code: u32,
    message: Cow<'static, str>,
    more: Option<Box<More>>,
}

/// What some refusals have.
#[derive(Debug, Clone, Default)]
struct More {
    faults: Faults,
    /// In seconds.
    retry_after: Option<u64>,
    limited: Option<Limited>,
    /// What went wrong behind the edge; for the log, not for the client.
    cause: Option<String>,
}

/// How a caller who asks too often stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limited {
    pub(super) standing: Standing,
    pub(super) global: bool,
}

/// When to come back after an interruption, in seconds.
const SOON: u64 = 1;
const TOO_MANY: &str = "Too many requests; wait before the next one.";

impl Refusal {
    pub(super) const UNAUTHORIZED: Self = Self::plain(StatusCode::UNAUTHORIZED, 0, "401: Unauthorized");
    pub(super) const NOT_FOUND: Self = Self::plain(StatusCode::NOT_FOUND, 0, "404: Not Found");
    pub(super) const METHOD_NOT_ALLOWED: Self =
        Self::plain(StatusCode::METHOD_NOT_ALLOWED, 0, "405: Method Not Allowed");
    pub(super) const BODY_TOO_SLOW: Self = Self::plain(StatusCode::REQUEST_TIMEOUT, 0, "408: Request Timeout");
    pub(super) const TOO_LARGE: Self = Self::plain(StatusCode::PAYLOAD_TOO_LARGE, 40_005, "Request entity too large");
    pub(super) const TIMED_OUT: Self = Self::plain(StatusCode::GATEWAY_TIMEOUT, 0, "504: Gateway Timeout");
    pub(super) const BROKEN_OFF: Self = Self::plain(StatusCode::BAD_REQUEST, 0, "The body is not complete");
    pub(super) const NOT_JSON: Self =
        Self::plain(StatusCode::BAD_REQUEST, 50_109, "The request body contains invalid JSON.");
    pub(super) const UNKNOWN_CHANNEL: Self = Self::plain(StatusCode::NOT_FOUND, 10_003, "Unknown Channel");
    pub(super) const UNKNOWN_MEMBER: Self = Self::plain(StatusCode::NOT_FOUND, 10_007, "Unknown Member");
    pub(super) const UNKNOWN_MESSAGE: Self = Self::plain(StatusCode::NOT_FOUND, 10_008, "Unknown Message");
    pub(super) const UNKNOWN_OVERWRITE: Self = Self::plain(StatusCode::NOT_FOUND, 10_009, "Unknown Overwrite");
    pub(super) const UNKNOWN_ROLE: Self = Self::plain(StatusCode::NOT_FOUND, 10_011, "Unknown Role");
    pub(super) const UNKNOWN_EMOJI: Self = Self::plain(StatusCode::BAD_REQUEST, 10_014, "Unknown Emoji");
    pub(super) const UNKNOWN_BAN: Self = Self::plain(StatusCode::NOT_FOUND, 10_026, "Unknown Ban");
    pub(super) const MISSING_PERMISSIONS: Self = Self::plain(StatusCode::FORBIDDEN, 50_013, "Missing Permissions");
    pub(super) const MISSING_ACCESS: Self = Self::plain(StatusCode::FORBIDDEN, 50_001, "Missing Access");
    pub(super) const NOT_FOR_BOTS: Self = Self::plain(StatusCode::FORBIDDEN, 20_001, "Bots cannot use this endpoint");
    pub(super) const UNKNOWN_TRACE: Self = Self::plain(StatusCode::NOT_FOUND, 0, "No trace of this message is known");
    pub(super) const EMPTY_MESSAGE: Self = Self::plain(StatusCode::BAD_REQUEST, 50_006, "Cannot send an empty message");

    const fn plain(status: StatusCode, code: u32, message: &'static str) -> Self {
        Self { status, code, message: Cow::Borrowed(message), more: None }
    }

    /// Whether it says the same to the client.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.status, self.code) == (other.status, other.code)
    }

    fn with(self, more: More) -> Self {
        Self { more: Some(Box::new(more)), ..self }
    }

    /// Fields of the request are wrong.
    pub(super) fn form(faults: Faults) -> Self {
        let invalid = Self::plain(StatusCode::BAD_REQUEST, 50_035, "Invalid Form Body");
        invalid.with(More { faults, ..More::default() })
    }

    /// One field of the request is wrong.
    pub(super) fn field(path: &str, fault: Fault) -> Self {
        let mut faults = Faults::default();
        faults.add(path, fault);
        Self::form(faults)
    }

    /// It cannot be carried out just now.
    pub(super) fn unavailable(cause: impl Into<String>) -> Self {
        let unavailable = Self::plain(StatusCode::SERVICE_UNAVAILABLE, 0, "503: Service Unavailable");
        unavailable.with(More { retry_after: Some(SOON), cause: Some(cause.into()), ..More::default() })
    }

    /// Something is wrong with this server.
    pub(super) fn internal(cause: impl Into<String>) -> Self {
        let plain = Self::plain(StatusCode::INTERNAL_SERVER_ERROR, 0, "500: Internal Server Error");
        plain.with(More { cause: Some(cause.into()), ..More::default() })
    }

    /// The caller asks too often.
    pub(super) fn limited(standing: Standing, global: bool) -> Self {
        let seconds = standing.reset_after.as_millis().div_ceil(1_000).max(1);
        let (retry_after, limited) = (u64::try_from(seconds).ok(), Some(Limited { standing, global }));
        let too_many = Self::plain(StatusCode::TOO_MANY_REQUESTS, 0, TOO_MANY);
        too_many.with(More { retry_after, limited, ..More::default() })
    }

    /// When to come back, in seconds.
    pub(super) fn retry_after(&self) -> Option<u64> {
        self.more.as_ref()?.retry_after
    }

    /// How a caller stands who asks too often.
    pub(super) fn standing(&self) -> Option<Limited> {
        self.more.as_ref()?.limited
    }

    /// What went wrong behind the edge; for the log, not for the client.
    pub(super) fn cause(&self) -> Option<&str> {
        self.more.as_ref()?.cause.as_deref()
    }

    pub(super) fn into_answer(self) -> Answer {
        if let Some(limited) = self.standing() {
            let retry_after = limited.standing.reset_after.as_millis().max(1) as f64 / 1e3;
            let body = RateLimited { message: TOO_MANY, retry_after, global: limited.global, code: 0 };
            return Answer::object(&body).with_status(self.status);
        }
        let status = self.status;
        Answer::object(&self.body()).with_status(status)
    }

    /// What the client reads.
    pub(super) fn body(self) -> ErrorBody {
        let errors = self.more.map(|more| more.faults).unwrap_or_default();
        ErrorBody { message: self.message, code: self.code, errors }
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        match error {
            CallError::UnknownChannel => Self::UNKNOWN_CHANNEL,
            CallError::Refused(refusal) => refusal.into(),
            CallError::Unavailable(why) => Self::unavailable(why),
            CallError::Broken(why) => Self::internal(why),
        }
    }
}

/// The channel server's refusals are in the API's words already.
impl From<v1::Refusal> for Refusal {
    fn from(refusal: v1::Refusal) -> Self {
        let status = u16::try_from(refusal.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let Some(status) = status.filter(|status| status.is_client_error()) else {
            return Self::internal(format!("refused with status {}: {}", refusal.status, refusal.message));
        };
        let mut faults = Faults::default();
        for wrong in refusal.fields {
            faults.add(&wrong.field, Fault::new(wrong.code, wrong.message));
        }
        let more = Some(Box::new(More { faults, ..More::default() }));
        Self { status, code: refusal.code, message: refusal.message.into(), more }
    }
}

/// An answer of a channel server that the contract does not allow.
impl From<clarion_proto::convert::Invalid> for Refusal {
    fn from(invalid: clarion_proto::convert::Invalid) -> Self {
        Self::internal(invalid.to_string())
    }
}
