//! `clarion check`: what a user would do, done and timed: is the API there, and does a message that is sent arrive.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::load::{Session, Step};

/// Longest time in which the API may say that it is there.
const HEALTH_WITHIN: Duration = Duration::from_millis(500);
/// Longest time that any other step may take.
const STEP_WITHIN: Duration = Duration::from_secs(10);
/// How often the API is asked, and how often a user's way is gone.
const EVERY: Duration = Duration::from_secs(60);
const FLOW_EVERY: u32 = 5;

/// The flags of `clarion check`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Check once and end; otherwise the API every minute and a user's way every five, until it is interrupted
    #[arg(long)]
    pub once: bool,
    /// Base URL of the public port [default: what the demo workspace says]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The token of an account to check with [default: that of the first bot of the demo workspace]
    #[arg(long, env = "CLARION_CHECK_TOKEN", value_name = "TOKEN", hide_env_values = true, requires = "channel")]
    pub token: Option<String>,
    /// The id of a channel that the account may write to
    #[arg(long, value_name = "ID", requires = "token")]
    pub channel: Option<u64>,
}

/// With what to check.
struct Checked {
    http: reqwest::Client,
    url: String,
    token: String,
    channel: u64,
}

/// Checks, and prints a line a step. Fails when a step failed.
pub async fn run(options: Options, data: &Path) -> anyhow::Result<()> {
    let checked = Checked::new(&options, data)?;
    let stopped = clarion_runtime::stop_requested();
    let mut stopped = std::pin::pin!(stopped);
    let (mut failed, mut turn) = (0, 0u32);
    loop {
        failed += u32::from(!checked.api_health().await);
        if turn.is_multiple_of(FLOW_EVERY) {
            failed += u32::from(!checked.user_flow().await);
        }
        turn = turn.wrapping_add(1);
        let over = options.once || tokio::time::timeout(EVERY, &mut stopped).await.is_ok();
        if over {
            break;
        }
    }
    ensure!(failed == 0, "{failed} checks failed");
    Ok(())
}

impl Checked {
    fn new(options: &Options, data: &Path) -> anyhow::Result<Self> {
        let demo = std::fs::read_to_string(data.join("demo.json")).ok();
        let demo: Option<crate::demo::Demo> = demo.and_then(|text| serde_json::from_str(&text).ok());
        let url = options.url.clone().or_else(|| Some(demo.as_ref()?.api.strip_suffix("/api")?.to_owned()));
        let url = url.context("--url: is missing, and the data folder has no demo workspace (--data)")?;
        let own = options.token.clone().zip(options.channel);
        let account = own.or_else(|| Some((demo.as_ref()?.bots.first()?.token.clone(), demo.as_ref()?.channel_id.0)));
        let (token, channel) = account
            .context("--token and --channel: are missing, and the data folder has no demo workspace (--data)")?;
        let http = reqwest::Client::builder().no_proxy().timeout(STEP_WITHIN).build()?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), token, channel })
    }

    async fn api_health(&self) -> bool {
        let asked = async {
            let answer = self.http.get(format!("{}/health", self.url)).send().await?;
            let (status, body) = (answer.status(), answer.text().await?);
            let body: Value = serde_json::from_str(&body).unwrap_or_default();
            ensure!(status == 200 && body["status"] == "ok", "answered {status}: {body}");
            Ok(())
        };
        step("api_health", HEALTH_WITHIN, asked).await.is_some()
    }

    /// Logs in, sends, receives, reads.
    async fn user_flow(&self) -> bool {
        let Some((mut stream, mut session)) = step("user_flow login", STEP_WITHIN, self.log_in()).await else {
            return false;
        };
        let Some(id) = step("user_flow send", STEP_WITHIN, self.send()).await else { return false };
        let received = async {
            loop {
                let text = next(&mut stream).await?;
                if matches!(session.hear(&text), Step::Message(got, ..) if got == id) {
                    return Ok(());
                }
            }
        };
        if step("user_flow receive", STEP_WITHIN, received).await.is_none() {
            return false;
        }
        let read = async {
            let read = self.api(reqwest::Method::GET, &format!("/{id}"), None).await?;
            let got: Option<u64> = read["id"].as_str().and_then(|id| id.parse().ok());
            ensure!(got == Some(id), "another message");
            // Nobody needs it any more.
            self.api(reqwest::Method::DELETE, &format!("/{id}"), None).await.map(drop)
        };
        let done = step("user_flow history", STEP_WITHIN, read).await.is_some();
        // A client that goes need not wait for the answer.
        let _ = stream.close(None).await;
        done
    }

    async fn log_in(&self) -> anyhow::Result<(Stream, Session)> {
        let url = format!("{}/?v=10&encoding=json", self.url.replacen("http", "ws", 1));
        let (mut stream, _) = tokio_tungstenite::connect_async(url).await?;
        let mut session = Session::new(self.token.clone());
        let mut ready = false;
        loop {
            let text = next(&mut stream).await?;
            match session.hear(&text) {
                Step::Begin(said) => stream.send(Message::text(said)).await?,
                Step::Ready => ready = true,
                Step::Guild(channels) if ready && channels.iter().any(|(id, _)| *id == self.channel) => {
                    return Ok((stream, session));
                }
                Step::Anew(..) => bail!("the session was refused"),
                _ => {}
            }
        }
    }

    async fn send(&self) -> anyhow::Result<u64> {
        let body = json!({ "content": "clarion check" });
        let made = self.api(reqwest::Method::POST, "", Some(body)).await?;
        made["id"].as_str().and_then(|id| id.parse().ok()).context("the answer is not a message")
    }

    async fn api(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let url = format!("{}/api/v10/channels/{}/messages{path}", self.url, self.channel);
        let mut request = self.http.request(method, url).header("authorization", format!("Bot {}", self.token));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "answered {status}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}

type Stream = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// The next text that comes.
async fn next(stream: &mut Stream) -> anyhow::Result<String> {
    loop {
        match stream.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
            Some(Ok(Message::Close(frame))) => bail!("closed: {}", frame.map_or(1005, |f| u16::from(f.code))),
            Some(Ok(_)) => {}
            Some(Err(error)) => bail!("broken: {error}"),
            None => bail!("broken"),
        }
    }
}

/// Does a step, prints how it went and how long it took, and answers what came of it.
async fn step<T>(name: &str, within: Duration, step: impl Future<Output = anyhow::Result<T>>) -> Option<T> {
    let began = Instant::now();
    let done = tokio::time::timeout(within, step).await;
    let done = done.unwrap_or_else(|_| Err(anyhow::anyhow!("took longer than {} ms", within.as_millis())));
    let ms = began.elapsed().as_secs_f64() * 1e3;
    match done {
        Ok(value) => {
            println!("ok      {name:<18} {ms:8.1} ms");
            Some(value)
        }
        Err(error) => {
            println!("FAILED  {name:<18} {ms:8.1} ms  {error:#}");
            None
        }
    }
}
