//! One client's socket after the upgrade: reads what the client says, and writes while no session does.

mod admitting;
mod beginning;
mod closing;
mod elsewhere;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod wire;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use clarion_model::id::UserId;
use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{EventType, GatewayMetrics, Label, RateScope, SentType, SocketError};
use clarion_observability::{ClientIp, ClientIpPolicy, Instrument, Origin, TraceContext, span};
use tokio::net::TcpStream;
use tokio::time::Instant as Clock;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::admission::Admission;
use crate::adopted::Adopted;
use crate::conversation::{self, Action, Conversation, Violation};
use crate::elsewhere::Elsewhere;
use crate::frame::{CloseCode, Frame, HEARTBEAT_ACK, INVALID_SESSION};
use crate::hub::{HubHandle, Seat};
use crate::rest::Limits;
use crate::shard::{Command, Handback, Inbox, Link, Signal, Then};
use crate::starts::Starts;
use crate::voice::{self, VoiceHandle};
use wire::{Incoming, Wire};

/// Longest wait for the hub or a shard to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// What every connection of a gateway shares.
pub(crate) struct Gate {
    pub(crate) limits: conversation::Limits,
    pub(crate) accounts: Accounts,
    pub(crate) hub: HubHandle,
    pub(crate) elsewhere: Arc<Elsewhere>,
    /// The sessions of other gateways that are here.
    pub(crate) adopted: Adopted,
    pub(crate) voice: VoiceHandle,
    pub(crate) admission: Arc<Admission>,
    pub(crate) starts: Arc<Starts>,
    /// Which addresses have shown too many tokens that do not hold.
    pub(crate) api_limits: Arc<Limits>,
    pub(crate) shards: Vec<Inbox>,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) client_ip: ClientIpPolicy,
    pub(crate) instance: Arc<str>,
    /// The number of this gateway in session ids.
    pub(crate) number: u32,
    pub(crate) links: AtomicU64,
    /// Cancelled when whoever is still there has to go.
    pub(crate) closing: CancellationToken,
}

/// A socket that has just been upgraded.
pub(crate) struct Upgraded {
    pub(crate) stream: TcpStream,
    /// What the client sent right behind its request.
    pub(crate) early: Bytes,
    /// The client's address: behind a proxy, what the proxy says.
    pub(crate) address: IpAddr,
    pub(crate) origin: Origin,
    /// The URL at which the client may resume.
    pub(crate) resume_url: String,
    /// Why the connection is closed at once, if it is.
    pub(crate) refused: Option<Violation>,
}

struct Connection {
    gate: Arc<Gate>,
    link: Arc<Link>,
    wire: Wire,
    conversation: Conversation,
    origin: Origin,
    address: IpAddr,
    resume_url: String,
    seat: Option<Seat>,
    session_id: Option<String>,
    /// Whose session it is, and whether they are a person.
    who: Option<(UserId, bool)>,
    /// The shard waits to hear when the socket can be written.
    blocked: bool,
    received: u64,
}

/// How a connection goes on after a step.
enum Flow {
    Continue,
    End,
}

/// Serves a socket until it is closed.
pub(crate) async fn serve(gate: Arc<Gate>, upgraded: Upgraded) {
    let opened = Instant::now();
    let active = gate.metrics.connections_active.hold();
    let client_ip = ClientIp::new(upgraded.address);
    let id = gate.links.fetch_add(1, Ordering::Relaxed);
    let request_id = upgraded.origin.request_id().to_owned();
    log::CONNECTION_ESTABLISHED.emit(Fields {
        request_id: Some(request_id.clone()),
        client_ip: Some(client_ip),
        ..Fields::default()
    });
    let link = Arc::new(Link::new(id, upgraded.stream, (client_ip, gate.client_ip)));
    let mut connection = Connection {
        conversation: Conversation::new(gate.limits, opened),
        wire: Wire::new(upgraded.early),
        gate: gate.clone(),
        link: link.clone(),
        origin: upgraded.origin,
        address: upgraded.address,
        resume_url: upgraded.resume_url,
        seat: None,
        session_id: None,
        who: None,
        blocked: false,
        received: 0,
    };
    match upgraded.refused {
        Some(violation) => Box::pin(connection.close(violation)).await,
        None => connection.run().await,
    }
    gate.metrics.connection_duration.record_duration(opened.elapsed());
    log::CONNECTION_CLOSED.emit(Fields {
        request_id: Some(request_id),
        session_id: connection.session_id.take(),
        message_count: Some(connection.received + link.sent()),
        duration_ms: Some(opened.elapsed().as_secs_f64() * 1e3),
        client_ip: Some(client_ip),
        ..Fields::default()
    });
    drop(active);
}

impl Connection {
    async fn run(&mut self) {
        let hello = format!(
            r#"{{"op":10,"d":{{"heartbeat_interval":{},"_trace":["{}"]}},"s":null,"t":null}}"#,
            self.gate.limits.heartbeat.as_millis(),
            self.gate.instance,
        );
        if !Box::pin(self.say(Frame::text(hello.into()), SentType::Hello)).await {
            return;
        }
        loop {
            let flow = match self.wire.read(&self.link) {
                Incoming::Nothing => self.wait().await,
                // Boxed, so that a connection that waits holds no room for what it does when it need not.
                Incoming::Text(text) => Box::pin(self.hear(&text)).await,
                Incoming::Control => match self.conversation.count(Instant::now()) {
                    Ok(()) => Box::pin(self.reply_control()).await,
                    Err(violation) => Box::pin(self.end_with(violation)).await,
                },
                Incoming::Closed(code) => Box::pin(self.answer_close(code)).await,
                Incoming::Violation(violation) => Box::pin(self.end_with(violation)).await,
                Incoming::End => Box::pin(self.lose()).await,
            };
            if matches!(flow, Flow::End) {
                return;
            }
        }
    }

    /// Waits for whatever comes first: bytes, the shard, or the client's deadline.
    async fn wait(&mut self) -> Flow {
        let deadline = tokio::time::sleep_until(Clock::from_std(self.conversation.deadline()));
        let stream = self.link.stream();
        tokio::select! {
            readable = stream.readable() => match readable {
                Ok(()) => Flow::Continue,
                Err(_) => Box::pin(self.lose()).await,
            },
            signal = self.link.signal(), if self.seat.is_some() => match signal {
                Signal::Blocked => {
                    self.blocked = true;
                    Flow::Continue
                }
                Signal::Handback(handback) => Box::pin(self.take_back(handback)).await,
            },
            writable = stream.writable(), if self.blocked => match writable {
                Ok(()) => {
                    self.blocked = false;
                    Box::pin(self.tell(|seat, link| Command::Writable { seat, link })).await;
                    Flow::Continue
                }
                Err(_) => Box::pin(self.lose()).await,
            },
            // Those with a session are closed by its shard.
            () = self.gate.closing.cancelled(), if self.seat.is_none() => {
                Box::pin(self.close(Violation { code: CloseCode::RESTARTING, reason: "restarting" })).await;
                Flow::End
            }
            () = deadline => {
                self.gate.metrics.errors.with(SocketError::Timeout).increment(1);
                let violation = self.conversation.overdue();
                Box::pin(self.close(violation)).await;
                Flow::End
            }
        }
    }

    async fn hear(&mut self, text: &str) -> Flow {
        let now = Instant::now();
        self.received += 1;
        if let Err(violation) = self.conversation.count(now) {
            return self.end_with(violation).await;
        }
        let (kind, action) = self.conversation.receive(now, SystemTime::now().into(), text);
        self.gate.metrics.messages_received.with(kind).increment(1);
        let flow = self.act(action).await;
        self.gate.metrics.message_latency.with(kind).record_duration(now.elapsed());
        flow
    }

    async fn act(&mut self, action: Action) -> Flow {
        match action {
            Action::Ignore => Flow::Continue,
            Action::Acknowledge(seen) => {
                if let Some(sequence) = seen {
                    self.tell(|seat, link| Command::Seen { seat, link, sequence }).await;
                }
                self.flow(HEARTBEAT_ACK, SentType::HeartbeatAck).await
            }
            Action::InvalidSession => self.flow(INVALID_SESSION, SentType::InvalidSession).await,
            Action::Close(violation) => self.end_with(violation).await,
            Action::SetPresence(presence) => {
                if let Some(seat) = self.seat {
                    let span = span::gateway_receive(&self.origin, EventType::PresenceUpdate.as_str());
                    span::record_session(&span, self.session_id.as_deref().unwrap_or_default());
                    let traceparent = TraceContext::of(&span).traceparent();
                    let set = self.gate.hub.set_presence(seat, presence, traceparent);
                    Box::pin(set.instrument(span)).await;
                }
                Flow::Continue
            }
            Action::SetVoice(request) => {
                if let (Some(session), Some((user, person))) = (self.session_id.clone(), self.who) {
                    let span = span::gateway_receive(&self.origin, EventType::VoiceStateUpdate.as_str());
                    span::record_user(&span, user);
                    span::record_session(&span, &session);
                    let ask = voice::Command::Ask { session, user, person, request, span };
                    Box::pin(self.gate.voice.tell(ask)).await;
                }
                Flow::Continue
            }
            Action::RequestMembers(request) => {
                if let Some(seat) = self.seat {
                    // The answer comes before that to whatever the client says next, be it a close.
                    let answered = self.gate.hub.request_members(seat, *request);
                    let _ = tokio::time::timeout(ANSWER_WITHIN, Box::pin(answered)).await;
                }
                Flow::Continue
            }
            Action::Identify(identify) => {
                let span = span::gateway_receive(&self.origin, EventType::Identify.as_str());
                self.identify(*identify, span.clone()).instrument(span).await
            }
            Action::Resume(resume) => {
                let span = span::gateway_receive(&self.origin, EventType::Resume.as_str());
                self.resume(*resume, span.clone()).instrument(span).await
            }
        }
    }

    /// Sends the session's shard a command.
    async fn tell(&self, command: impl FnOnce(u32, u64) -> Command) {
        if let Some(seat) = self.seat {
            // A shard that is gone takes the process with it.
            let _ = self.gate.shards[usize::from(seat.shard)].send(command(seat.seat, self.link.id)).await;
        }
    }

    /// Answers what the socket's own protocol asks for.
    async fn reply_control(&mut self) -> Flow {
        let bytes = self.wire.take_replies();
        if bytes.is_empty() {
            return Flow::Continue;
        }
        if self.seat.is_some() {
            self.tell(|seat, link| Command::Write { seat, link, bytes, kind: None }).await;
            return Flow::Continue;
        }
        if self.write(&bytes).await { Flow::Continue } else { Flow::End }
    }

    /// Says something that is no dispatch, over the shard if there is a session.
    async fn flow(&mut self, payload: &'static [u8], kind: SentType) -> Flow {
        if self.seat.is_some() {
            let bytes = Frame::text_bytes(payload);
            self.tell(|seat, link| Command::Write { seat, link, bytes, kind: Some(kind) }).await;
            return Flow::Continue;
        }
        if self.say(Frame::text(Bytes::from_static(payload)), kind).await { Flow::Continue } else { Flow::End }
    }

    /// Writes a frame to a socket that no session owns. False: the socket is gone.
    async fn say(&mut self, frame: Frame, kind: SentType) -> bool {
        let mut bytes = Vec::with_capacity(frame.len());
        frame.copy_to(0, &mut bytes);
        self.gate.metrics.messages_sent.with(kind).increment(1);
        self.link.count_sent(1);
        self.write(&bytes).await
    }

    /// The socket is this connection's again.
    async fn take_back(&mut self, handback: Handback) -> Flow {
        let Handback { outbox, then } = handback;
        self.seat = None;
        self.blocked = false;
        match then {
            Then::Yours | Then::Drop => Flow::End,
            Then::Close(violation) | Then::LetGo(violation) => {
                if self.write_waiting(outbox).await {
                    self.close(violation).await;
                }
                Flow::End
            }
            Then::StartOver(payload) => {
                self.conversation.begin_anew(Instant::now());
                let written = self.write_waiting(outbox).await;
                if written { self.flow(payload, SentType::InvalidSession).await } else { Flow::End }
            }
        }
    }

    /// Closes because the client broke the protocol, and counts that.
    async fn end_with(&mut self, violation: Violation) -> Flow {
        let metrics = &self.gate.metrics;
        let kind = match violation.code {
            CloseCode::AUTHENTICATION_FAILED => SocketError::AuthFailed,
            CloseCode::RATE_LIMITED => {
                metrics.rate_limited.with(RateScope::Socket).increment(1);
                SocketError::RateLimited
            }
            CloseCode::UNKNOWN_ERROR => SocketError::Server,
            _ => SocketError::Decode,
        };
        metrics.errors.with(kind).increment(1);
        self.close(violation).await;
        Flow::End
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_waiting_connection_is_small() {
        let size = size(serve);
        assert!(size <= 2_048, "{size}");
    }
}
