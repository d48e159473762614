//! Connections that serve one request after the other, whatever was sent along with them.

use clarion_runtime::Host;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::peer::CHANNEL;
use super::*;
use crate::rate_limit::RateLimit;

const PATIENCE: Duration = Duration::from_secs(20);
/// More than the system keeps for a connection, less than what is read of a body.
const LARGE: usize = 150_000;

/// A client's end of a connection.
struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Wire {
    /// A connection to the edge, which serves it as long as it lasts.
    async fn to(edge: &Edge) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        let (accepted, _) = listener.accept().await.expect("a connection");
        let service = edge.router.clone().map_request(|mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(ClientAddress(ADDRESS));
            request.map(Body::new)
        });
        let serving = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(accepted), TowerToHyperService::new(service));
        let host: &Host = &edge.host;
        host.spawn("http", async move {
            // Errors are the client's.
            let _ = serving.await;
        });
        Self { stream, received: Vec::new() }
    }

    async fn send(&mut self, head: &str, body: &[u8]) {
        let sending = async {
            self.stream.write_all(format!("{head}\r\nHost: chat.example\r\n").as_bytes()).await?;
            self.stream.write_all(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes()).await?;
            self.stream.write_all(body).await
        };
        tokio::time::timeout(PATIENCE, sending).await.expect("in time").expect("all is taken");
    }

    /// The status of the next answer, and whether the connection ends with it.
    async fn answer(&mut self) -> (u16, bool) {
        let answering = async {
            loop {
                let text = String::from_utf8_lossy(&self.received).to_lowercase();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
                    if body.len() >= length {
                        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
                        let closes = head.contains("connection: close");
                        self.received.drain(..head.len() + 4 + length);
                        return (status, closes);
                    }
                }
                let read = self.stream.read_buf(&mut self.received).await.expect("an answer");
                assert!(read > 0, "closed after {text:?}");
            }
        };
        tokio::time::timeout(PATIENCE, answering).await.expect("in time")
    }
}

fn head(method: &str, path: &str, token: &str) -> String {
    format!("{method} /api/v10{path} HTTP/1.1\r\nAuthorization: Bot {token}")
}

fn messages() -> String {
    format!("/channels/{CHANNEL}/messages")
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_ready_for_the_next_request() {
    let mut config = RestConfig::default();
    config.rate_limits.send = RateLimit { limit: 1, window_ms: 600_000 };
    let edge = Edge::with(config).await;
    let mut wire = Wire::to(&edge).await;
    let (token, body) = (my_token(), vec![b' '; LARGE]);
    for (head, status) in [
        (head("POST", &messages(), "nobody"), 401),
        (head("POST", "/nowhere", &token), 404),
        (head("POST", "/users/@me", &token), 405),
        // The one that the limit allows.
        (head("POST", &messages(), &token), 400),
        (head("POST", &messages(), &token), 429),
        (head("GET", "/users/@me", &token), 200),
        (head("GET", "/gateway", ""), 200),
        (head("DELETE", &format!("{}/7", messages()), &token), 204),
    ] {
        wire.send(&head, &body).await;
        assert_eq!(wire.answer().await, (status, false), "{head}");
    }
    wire.send(&head("GET", "/users/@me", &token), b"").await;
    assert_eq!(wire.answer().await, (200, false));
}

#[tokio::test]
async fn who_sends_far_too_much_is_told_so_and_then_left() {
    let edge = Edge::new().await;
    for token in [my_token(), "nobody".to_owned()] {
        let mut wire = Wire::to(&edge).await;
        wire.send(&head("POST", &messages(), &token), &vec![b' '; 30 << 20]).await;
        let expected = if token == "nobody" { (401, false) } else { (413, true) };
        assert_eq!(wire.answer().await, expected);
    }
}

#[tokio::test]
async fn who_stops_sending_is_answered_and_left() {
    let mut config = RestConfig { request_timeout_ms: 1_000, ..RestConfig::default() };
    config.rate_limits.enabled = false;
    let edge = Edge::with(config).await;
    for (head, status) in [
        (head("POST", &messages(), &my_token()), 408),
        (head("POST", &messages(), "nobody"), 401),
        (head("GET", "/users/@me", &my_token()), 200),
        (head("POST", "/nowhere", ""), 404),
    ] {
        let mut wire = Wire::to(&edge).await;
        let unfinished = format!("{head}\r\nHost: chat.example\r\nContent-Length: 1000\r\n\r\nsome");
        wire.stream.write_all(unfinished.as_bytes()).await.expect("sent");
        assert_eq!(wire.answer().await, (status, true), "{head}");
    }
}
