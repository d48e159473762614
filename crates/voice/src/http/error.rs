//! What is refused, and how it is said: a JSON object with the message, in the API's shape, and a word for programs.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use clarion_observability::metric::{JoinResult, Label};
use serde_json::json;

use crate::desk::Shut;
use crate::sdp::OfferError;
use crate::token::NotOurs;

/// When to come again, in seconds.
const AGAIN: &str = "5";

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Authorization: Bearer with the token of the admission is missing")]
    NoToken,
    #[error(transparent)]
    Token(#[from] NotOurs),
    #[error("the token is for another session than the path names")]
    OtherSession,
    #[error(transparent)]
    Shut(#[from] Shut),
    #[error("Content-Type must be {0}")]
    ContentType(&'static str),
    #[error("the body is longer than 64 KiB or did not arrive")]
    Body,
    #[error("the body is not text in UTF-8")]
    Text,
    #[error("offer: {0}")]
    Offer(#[from] OfferError),
    #[error("If-Match names another ICE session than the present one")]
    Precondition,
    #[error("the server takes nobody just now: come again, or join the channel anew for another server")]
    Busy,
    #[error("the server failed")]
    Failed,
}

impl Refusal {
    /// How it counts as an end of a join.
    pub(super) fn result(&self) -> JoinResult {
        match self {
            Self::NoToken | Self::Token(_) | Self::OtherSession | Self::Shut(_) => JoinResult::BadToken,
            Self::ContentType(_) | Self::Body | Self::Text | Self::Offer(_) | Self::Precondition => {
                JoinResult::BadOffer
            }
            Self::Busy => JoinResult::Full,
            Self::Failed => JoinResult::NotConnected,
        }
    }

    /// For programs.
    pub(super) fn word(&self) -> &'static str {
        self.result().as_str()
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::Token(_) | Self::OtherSession | Self::Shut(_) => StatusCode::UNAUTHORIZED,
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Text | Self::Offer(_) => StatusCode::BAD_REQUEST,
            Self::Precondition => StatusCode::PRECONDITION_FAILED,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = Json(json!({ "message": self.to_string(), "code": 0, "error": self.word() }));
        let mut response = (status, body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(AGAIN));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}
