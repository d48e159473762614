//! A voice server with nothing around it, for clients to be tried against. It does what a gateway would ask of it, as it is
//! told on its input, a line each, and answers with a line of JSON each:
//!
//! ```text
//! admit <channel> <user>                      the token and the URL
//! allow <channel> <user> <speak> <listen>     true or false each
//! heard <channel>                             who is heard there now
//! left <user>                                 waits until that user's media has ended; why
//! quality <user>                              waits for the next window of that user
//! spans                                       all finished spans
//! metrics                                     what is counted
//! joins <per second> <seconds>                begins to have native clients come and go, in a room of their own
//! joined                                      waits for the end of it: how long they took
//! ```
//!
//! It ends with its input. Settings: `VOICE_ALONE_CONFIG`, TOML.

#[path = "../../tests/calls/bare.rs"]
#[allow(dead_code)]
mod bare;
mod joins;

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use clarion_observability::capture::Capture;
use clarion_observability::recent::SpanRecord;
use clarion_proto::v1::voice_client::VoiceClient;
use clarion_proto::v1::voice_notice::Notice;
use clarion_proto::v1::{self, VoiceNotice};
use clarion_runtime::{Address, Listen, Process};
use clarion_voice::{Config, Deps, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinHandle;
use tonic::Streaming;
use tonic::transport::Channel as GrpcChannel;

/// Longest wait of a command.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> anyhow::Result<()> {
    let local = Some(([127, 0, 0, 1], 0).into());
    let mut config: Config = match std::env::var("VOICE_ALONE_CONFIG") {
        Ok(file) => clarion_runtime::config::load(&Default::default(), Some(file.as_ref()), &[], &[])?,
        Err(_) => Config { http: local, udp: local, ..Config::default() },
    };
    config.listen = Listen::Tcp(([127, 0, 0, 1], 0).into());
    let capture = Capture::new()?;
    let mut process = Process::new(capture.process().clone(), Duration::from_secs(10));
    let address = process.start("voice", "voice-0", 1, |host| async move {
        let server = Server::bind(config, Deps::default(), host).await?;
        Ok((server.address().clone(), server.run()))
    })?;
    let Address::Http(url) = address else { bail!("not a TCP address") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let mut client = VoiceClient::connect(url).await?;
        let attend = v1::AttendVoiceRequest { gateway: "alone".to_owned() };
        let notices = client.attend(attend).await?.into_inner();
        Alone { capture, client, notices, heard: HashMap::new(), left: HashMap::new(), joins: None }.obey().await
    });
    // With it goes the connection to the server, which otherwise waits for its end.
    drop(runtime);
    process.stop();
    done
}

struct Alone {
    capture: Capture,
    client: VoiceClient<GrpcChannel>,
    notices: Streaming<VoiceNotice>,
    heard: HashMap<u64, Vec<Value>>,
    left: HashMap<u64, String>,
    joins: Option<JoinHandle<anyhow::Result<Value>>>,
}

impl Alone {
    async fn obey(mut self) -> anyhow::Result<()> {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        loop {
            let line = tokio::select! {
                line = lines.next_line() => line?,
                notice = self.notices.message() => {
                    self.note(notice?.context("the server ended")?);
                    continue;
                }
            };
            let Some(line) = line else { return Ok(()) };
            let words: Vec<&str> = line.split_whitespace().collect();
            let answer = self.command(&words).await.unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
            let mut out = std::io::stdout().lock();
            writeln!(out, "{answer}")?;
            out.flush()?;
        }
    }

    async fn command(&mut self, words: &[&str]) -> anyhow::Result<Value> {
        match words {
            ["admit", channel, user] => {
                let participant = Some(participant(channel, user)?);
                let permissions = Some(v1::VoicePermissions { speak: true, listen: true, ..Default::default() });
                let request = v1::AdmitRequest { participant, guild_id: 1, permissions, ..Default::default() };
                let admitted = self.client.admit(request).await?.into_inner();
                Ok(json!({ "token": admitted.token, "url": admitted.url, "endpoint": admitted.endpoint }))
            }
            ["allow", channel, user, speak, listen] => {
                let permissions =
                    v1::VoicePermissions { speak: speak.parse()?, listen: listen.parse()?, ..Default::default() };
                let participant = Some(participant(channel, user)?);
                self.client
                    .allow(v1::AllowRequest { participant, permissions: Some(permissions), ..Default::default() })
                    .await?;
                Ok(json!({}))
            }
            ["heard", channel] => Ok(json!(self.heard.get(&channel.parse()?).cloned().unwrap_or_default())),
            ["left", user] => {
                let user = user.parse()?;
                let left = async {
                    loop {
                        if let Some(reason) = self.left.remove(&user) {
                            return Ok(json!({ "reason": reason }));
                        }
                        let notice = self.notices.message().await?.context("the server ended")?;
                        self.note(notice);
                    }
                };
                tokio::time::timeout(PATIENCE, left).await?
            }
            ["quality", user] => self.quality(user).await,
            ["spans"] => {
                let spans = self.capture.spans();
                Ok(json!(spans.iter().map(span).collect::<Vec<_>>()))
            }
            ["joins", rate, seconds] => {
                let (rate, seconds) = (rate.parse()?, seconds.parse()?);
                #[allow(clippy::disallowed_methods, reason = "no service: it ends with the program")]
                let joins = tokio::spawn(joins::run(self.client.clone(), rate, seconds));
                self.joins = Some(joins);
                Ok(json!({}))
            }
            ["joined"] => self.joins.take().context("nobody joins")?.await?,
            ["metrics"] => Ok(json!({ "text": self.capture.process().render_metrics() })),
            _ => bail!("no such command"),
        }
    }

    /// The line of the log that a user's next window makes.
    async fn quality(&self, user: &str) -> anyhow::Result<Value> {
        let is_it = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            let user_id = line["user_id"].as_str().map(str::to_owned).unwrap_or_else(|| line["user_id"].to_string());
            (line["event"] == "voice.quality" && user_id == user).then(|| line["detail"].clone())
        };
        let seen = self.capture.text().lines().filter_map(is_it).count();
        let next = async {
            loop {
                if let Some(detail) = self.capture.text().lines().filter_map(is_it).nth(seen) {
                    return json!({ "detail": detail });
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        Ok(tokio::time::timeout(PATIENCE, next).await?)
    }

    fn note(&mut self, notice: VoiceNotice) {
        match notice.notice {
            Some(Notice::Heard(heard)) => {
                let slots = heard
                    .slots
                    .iter()
                    .map(|slot| json!({ "slot": slot.slot, "user": slot.user_id, "speaking": slot.speaking }));
                self.heard.insert(heard.channel_id, slots.collect());
            }
            Some(Notice::Left(left)) => {
                let user = left.participant.map(|who| who.user_id).unwrap_or_default();
                self.left.insert(user, left.reason);
            }
            _ => {}
        }
    }
}

fn span(span: &SpanRecord) -> Value {
    let transport = span.attributes.iter().find(|attribute| attribute.key.as_str() == "transport");
    let transport = transport.map(|attribute| attribute.value.to_string());
    json!({ "transport": transport, "name": span.name, "trace": span.trace_id.to_string(), "ms": span.duration.as_secs_f64() * 1_000.0 })
}

fn participant(channel: &str, user: &str) -> anyhow::Result<v1::Participant> {
    let (channel_id, user_id) = (channel.parse()?, user.parse()?);
    Ok(v1::Participant { channel_id, user_id, session_id: format!("session-{user}") })
}
