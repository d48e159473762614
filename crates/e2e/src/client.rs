//! A plain client of the API: requests and sockets, with nothing hidden.

use std::collections::VecDeque;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::PATIENCE;

const READ_BUFFER: usize = 4 << 10;

/// The REST API as one account sees it.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// A socket to the gateway.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    passed: VecDeque<Frame>,
    /// The last sequence number seen.
    pub sequence: u64,
    /// The session, once READY has come.
    pub session_id: String,
}

/// What came over a socket.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// An opcode with its data; dispatches have a name and a number.
    Op {
        /// The opcode.
        op: u64,
        /// The data.
        d: Value,
        /// The sequence number.
        s: Option<u64>,
        /// The event's name.
        t: Option<String>,
    },
    /// The server closed, with this code.
    Close(u16),
    /// The connection broke.
    Broken,
}

impl Api {
    /// An account's view of the API at `base` (with the version).
    pub fn new(base: &str, token: &str) -> Self {
        Self { http: reqwest::Client::new(), base: base.to_owned(), token: token.to_owned() }
    }

    /// A request that can be added to.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base)).timeout(PATIENCE);
        request.header("authorization", format!("Bot {}", self.token))
    }

    /// Sends a request and reads its status and JSON body; `null` for an empty one.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<(StatusCode, Value)> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        read(request.send().await?).await
    }

    /// Sends a message and expects it to be accepted.
    pub async fn send(&self, channel: impl std::fmt::Display, content: &str) -> anyhow::Result<Value> {
        let path = format!("/channels/{channel}/messages");
        let (status, body) = self.call(Method::POST, &path, Some(json!({ "content": content }))).await?;
        if status != StatusCode::OK {
            bail!("{status}: {body}");
        }
        Ok(body)
    }

    /// Reads something that must be there.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = self.call(Method::GET, path, None).await?;
        if status != StatusCode::OK {
            bail!("{path}: {status}: {body}");
        }
        Ok(body)
    }
}

/// The status and the JSON body of an answer.
pub(crate) async fn read(answer: reqwest::Response) -> anyhow::Result<(StatusCode, Value)> {
    let status = answer.status();
    let text = answer.text().await?;
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).context(text)? };
    Ok((status, body))
}

impl Socket {
    /// Connects and waits for HELLO.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let mut socket = Self::open(url).await?;
        match socket.next().await? {
            Frame::Op { op: 10, .. } => Ok(socket),
            other => bail!("expected HELLO, got {other:?}"),
        }
    }

    /// Connects and waits for nothing.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        // A test may have thousands; the usual buffers take 128 KiB each.
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let url = format!("{url}/?v=10&encoding=json");
        let (stream, _) = tokio_tungstenite::connect_async_with_config(url, Some(config), true).await?;
        Ok(Self { stream, passed: VecDeque::new(), sequence: 0, session_id: String::new() })
    }

    /// Says who one is.
    pub async fn identify(&mut self, token: &str, intents: u64) -> anyhow::Result<()> {
        let d = json!({ "token": token, "intents": intents, "properties": {} });
        self.send(json!({ "op": 2, "d": d })).await
    }

    /// Goes on with a session.
    pub async fn resume(&mut self, token: &str, session_id: &str, seq: u64) -> anyhow::Result<()> {
        let d = json!({ "token": token, "session_id": session_id, "seq": seq });
        self.send(json!({ "op": 6, "d": d })).await
    }

    /// Cuts the connection, without a word.
    pub async fn abandon(&mut self) {
        // A socket that is closed already needs no cut.
        let _ = self.stream.get_mut().shutdown().await;
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: Value) -> anyhow::Result<()> {
        Ok(self.stream.send(Message::text(frame.to_string())).await?)
    }

    /// Sends anything.
    pub async fn send_raw(&mut self, message: Message) -> anyhow::Result<()> {
        Ok(self.stream.send(message).await?)
    }

    /// The next frame, whatever it is.
    pub async fn next(&mut self) -> anyhow::Result<Frame> {
        if let Some(frame) = self.passed.pop_front() {
            return Ok(frame);
        }
        self.read().await
    }

    /// The data of the next dispatch of a name; what comes before it is kept for later.
    pub async fn dispatch(&mut self, name: &str) -> anyhow::Result<Value> {
        let is = |t: &Option<String>| t.as_deref() == Some(name);
        let at = self.passed.iter().position(|f| matches!(f, Frame::Op { t, .. } if is(t)));
        if let Some(Frame::Op { d, .. }) = at.and_then(|at| self.passed.remove(at)) {
            return Ok(d);
        }
        loop {
            match self.read().await.with_context(|| format!("waiting for {name}"))? {
                Frame::Op { t, d, .. } if is(&t) => return Ok(d),
                frame @ Frame::Op { .. } => self.passed.push_back(frame),
                end => bail!("waiting for {name}: {end:?}"),
            }
        }
    }

    /// The data of the next frame of an opcode; what comes before it is dropped.
    pub async fn op(&mut self, wanted: u64) -> anyhow::Result<Value> {
        loop {
            match self.next().await? {
                Frame::Op { op, d, .. } if op == wanted => return Ok(d),
                Frame::Op { .. } => {}
                end => bail!("waiting for op {wanted}: {end:?}"),
            }
        }
    }

    /// The code with which the server closes; what comes before it is dropped.
    pub async fn closed(&mut self) -> anyhow::Result<Frame> {
        loop {
            match self.next().await? {
                Frame::Op { .. } => {}
                end => return Ok(end),
            }
        }
    }

    async fn read(&mut self) -> anyhow::Result<Frame> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.stream.next()).await.context("nothing came")?;
            return Ok(match message {
                Some(Ok(Message::Text(text))) => self.seen(serde_json::from_str(&text)?),
                Some(Ok(Message::Close(frame))) => Frame::Close(frame.map_or(1005, |f| match f.code {
                    CloseCode::Library(code) => code,
                    code => code.into(),
                })),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Frame::Broken,
            });
        }
    }

    fn seen(&mut self, frame: Value) -> Frame {
        let s = frame["s"].as_u64();
        self.sequence = s.unwrap_or(self.sequence);
        let t = frame["t"].as_str().map(str::to_owned);
        if t.as_deref() == Some("READY") {
            self.session_id = frame["d"]["session_id"].as_str().unwrap_or_default().to_owned();
        }
        Frame::Op { op: frame["op"].as_u64().unwrap_or(u64::MAX), d: frame["d"].clone(), s, t }
    }
}
