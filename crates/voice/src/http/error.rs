//! How it is said over HTTP that something is refused: a JSON object with the message, in the API's shape, and a word for
//! programs.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::entry::Refusal;

/// When to come again, in seconds.
const AGAIN: &str = "5";

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NoToken | Refusal::Token(_) | Refusal::OtherSession | Refusal::Shut(_) => StatusCode::UNAUTHORIZED,
        Refusal::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::Body => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Text | Refusal::Offer(_) => StatusCode::BAD_REQUEST,
        Refusal::Precondition => StatusCode::PRECONDITION_FAILED,
        Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = status(&self);
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
