//! From an HTTP request to a socket: the handshake, and what the query says about the protocol.

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::conversation::Violation;
use crate::frame::CloseCode;

const PAGE: &str =
    "This is a Clarion gateway. The API is under /api/v10; sockets connect here with ?v=10&encoding=json.\n";

/// Whether a request asks for a socket.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    has_word(headers, header::CONNECTION, "upgrade") && has_word(headers, header::UPGRADE, "websocket")
}

/// The answer to who asks for no socket.
pub(crate) fn page() -> Response<Body> {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], PAGE).into_response()
}

/// The answer that switches protocols, or says why not.
pub(crate) fn answer(request: &Request<Body>) -> Response<Body> {
    let headers = request.headers();
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
        let version = [(header::SEC_WEBSOCKET_VERSION, "13")];
        return (StatusCode::UPGRADE_REQUIRED, version, "WebSocket version 13 only\n").into_response();
    }
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
        return (StatusCode::BAD_REQUEST, "no Sec-WebSocket-Key\n").into_response();
    };
    let accept = derive_accept_key(key.as_bytes());
    let headers = [
        (header::CONNECTION, "upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_ACCEPT, accept.as_str()),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// What is wrong with the protocol that the query asks for. Compression is offered to nobody, so asking for it is fine.
pub(crate) fn refusal(query: Option<&str>) -> Option<Violation> {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    for (name, value) in pairs {
        let reason = match (name, value) {
            ("v", "9" | "10") | ("encoding", "json") => continue,
            ("v", _) => "version not served",
            ("encoding", _) => "encoding not served",
            _ => continue,
        };
        return Some(Violation { code: CloseCode::INVALID_VERSION, reason });
    }
    None
}

fn has_word(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_nine_and_ten_in_json_are_served() {
        for fine in
            [None, Some(""), Some("v=10"), Some("v=9&encoding=json"), Some("v=10&encoding=json&compress=zlib-stream")]
        {
            assert_eq!(refusal(fine), None, "{fine:?}");
        }
        for other in ["v=8&encoding=json", "v=", "v=10&encoding=etf"] {
            assert_eq!(refusal(Some(other)).map(|v| v.code), Some(CloseCode::INVALID_VERSION), "{other}");
        }
    }

    #[test]
    fn an_upgrade_is_known_by_its_words() {
        let mut headers = HeaderMap::new();
        assert!(!is_wanted(&headers));
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(header::UPGRADE, header::HeaderValue::from_static("WebSocket"));
        assert!(is_wanted(&headers));
    }
}
