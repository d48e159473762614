//! A client as a library would be: connects, says, waits for what it expects. Never sleeps for luck.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) session: String,
    /// The number of the last dispatch.
    pub(crate) seen: u64,
}

/// What a socket brought.
#[derive(Debug)]
pub(crate) enum Got {
    Payload(Value),
    Closed(Option<u16>),
}

impl Client {
    pub(crate) async fn connect(at: SocketAddr) -> Self {
        Self::connect_to(at, "/?v=10&encoding=json").await
    }

    pub(crate) async fn connect_to(at: SocketAddr, path: &str) -> Self {
        let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{at}{path}")).await.expect("a socket");
        Self { socket, session: String::new(), seen: 0 }
    }

    /// A client with a session and its READY.
    pub(crate) async fn identified(at: SocketAddr, token: &str, intents: u64) -> Self {
        let mut client = Self::connect(at).await;
        assert_eq!(client.payload().await["op"], 10);
        client.identify(token, intents).await;
        let ready = client.dispatch("READY").await;
        assert_eq!(ready["s"], 1);
        client
    }

    pub(crate) async fn identify(&mut self, token: &str, intents: u64) {
        self.say(json!({"op": 2, "d": {"token": token, "intents": intents, "properties": {}}})).await;
    }

    pub(crate) async fn resume(&mut self, token: &str, session: &str, seq: u64) {
        self.say(json!({"op": 6, "d": {"token": token, "session_id": session, "seq": seq}})).await;
    }

    pub(crate) async fn say(&mut self, payload: Value) {
        self.send(Message::text(payload.to_string())).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.socket.send(message).await.expect("the socket takes it");
    }

    /// Says all of it in one go.
    pub(crate) async fn burst(&mut self, payloads: impl IntoIterator<Item = String>) {
        for payload in payloads {
            self.socket.feed(Message::text(payload)).await.expect("the socket takes it");
        }
        self.socket.flush().await.expect("the socket takes it");
    }

    pub(crate) async fn got(&mut self) -> Got {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("something in time");
            match next {
                Some(Ok(Message::Text(text))) => {
                    let payload: Value = serde_json::from_str(&text).expect("JSON");
                    if let Some(s) = payload["s"].as_u64() {
                        assert_eq!(payload["op"], 0);
                        assert!(self.seen == 0 || s == self.seen + 1, "{s} after {}", self.seen);
                        self.seen = s;
                        if payload["t"] == "READY" {
                            self.session = payload["d"]["session_id"].as_str().expect("an id").to_owned();
                        }
                    }
                    return Got::Payload(payload);
                }
                Some(Ok(Message::Close(frame))) => return Got::Closed(frame.map(|f| f.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Got::Closed(None),
            }
        }
    }

    pub(crate) async fn payload(&mut self) -> Value {
        match self.got().await {
            Got::Payload(payload) => payload,
            Got::Closed(code) => panic!("closed with {code:?}"),
        }
    }

    /// The next payload, which is this dispatch.
    pub(crate) async fn dispatch(&mut self, name: &str) -> Value {
        let payload = self.payload().await;
        assert_eq!(payload["t"], name, "{payload}");
        payload
    }

    /// The next payload, which has this opcode.
    pub(crate) async fn op(&mut self, op: u64) -> Value {
        let payload = self.payload().await;
        assert_eq!(payload["op"], op, "{payload}");
        payload
    }

    /// The code the socket is closed with; what comes before it is passed over.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Got::Closed(code) = self.got().await {
                return code;
            }
        }
    }

    /// Shows that nothing but the answer is on its way.
    pub(crate) async fn nothing_else(&mut self) {
        self.say(json!({"op": 1, "d": self.seen})).await;
        self.op(11).await;
    }

    /// Closes, and waits for the echo.
    pub(crate) async fn close(mut self, code: u16) -> String {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.socket.close(Some(frame)).await.expect("the socket takes it");
        assert_eq!(self.closed().await, Some(code));
        self.session
    }
}
