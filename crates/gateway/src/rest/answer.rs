//! Answers: what an operation comes to, as HTTP.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

use super::refusal::Refusal;
use crate::api;

/// Exactly this: one library compares it as a whole.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What an operation comes to.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: Option<Bytes>,
}

/// What an operation comes to, or why it does not.
pub(super) type Answered = Result<Answer, Refusal>;

impl Answer {
    /// It is done, and there is nothing to say.
    pub(super) const DONE: Self = Self { status: StatusCode::NO_CONTENT, body: None };

    /// An object.
    pub(super) fn object(object: &impl Serialize) -> Self {
        Self { status: StatusCode::OK, body: Some(api::encode(object)) }
    }

    /// The same, of something that exists only now.
    pub(super) fn created(self) -> Self {
        Self { status: StatusCode::CREATED, ..self }
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn into_response(self) -> Response {
        let json = self.body.is_some();
        let mut response = Response::new(self.body.map_or_else(Body::empty, Body::from));
        *response.status_mut() = self.status;
        if json {
            response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        }
        response
    }
}
