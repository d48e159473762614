//! One connection's side of the protocol: what a client says, in which state, and what follows from it. Pure.

mod request;

use std::time::{Duration, Instant};

use clarion_model::presence::Presence;
use clarion_model::time::Timestamp;
use clarion_observability::metric::EventType;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::frame::{CloseCode, opcode};
pub(crate) use request::{Identify, MembersRequest, Resume, VoiceRequest};

/// How long a client may take to identify itself or to resume.
const IDENTIFY_WITHIN: Duration = Duration::from_secs(30);
const FRAME_WINDOW: Duration = Duration::from_secs(60);

/// The bounds a client is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How often a client is asked to send a heartbeat.
    pub(crate) heartbeat: Duration,
    /// Most frames a minute.
    pub(crate) frames_per_minute: u32,
}

/// What a client's frame asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Nothing that is served.
    Ignore,
    /// Op 1: answer op 11.
    /// With the number of the latest dispatch that the client says it has seen.
    Acknowledge(Option<u64>),
    /// Op 2.
    Identify(Box<Identify>),
    /// Op 6.
    Resume(Box<Resume>),
    /// Op 3.
    SetPresence(Presence),
    /// Op 4.
    SetVoice(VoiceRequest),
    /// Op 8.
    RequestMembers(Box<MembersRequest>),
    /// Answer op 9, `d:false`, and stay: the client starts over.
    InvalidSession,
    /// The client broke the protocol.
    Close(Violation),
}

/// Why a connection is closed: the code and a short text for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) code: CloseCode,
    pub(crate) reason: &'static str,
}

/// Where a connection stands.
#[derive(Debug)]
pub(crate) struct Conversation {
    limits: Limits,
    live: bool,
    deadline: Instant,
    window_began: Instant,
    frames: u32,
}

#[derive(Deserialize)]
struct Payload<'a> {
    op: i64,
    #[serde(borrow, default)]
    d: Option<&'a RawValue>,
}

impl Conversation {
    /// A connection that has just been opened.
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, live: false, deadline: now + IDENTIFY_WITHIN, window_began: now, frames: 0 }
    }

    /// When the client will have been silent for too long.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What to close with once the deadline has passed.
    pub(crate) fn overdue(&self) -> Violation {
        let reason = if self.live { "missed heartbeat" } else { "not identified in time" };
        Violation { code: CloseCode::UNKNOWN_ERROR, reason }
    }

    /// The connection has a session now.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.live = true;
        self.deadline = now + self.patience();
    }

    /// The connection has no session any more and may start another one.
    pub(crate) fn begin_anew(&mut self, now: Instant) {
        self.live = false;
        self.deadline = now + IDENTIFY_WITHIN;
    }

    /// Counts a frame of any kind. Too many of them end the connection.
    pub(crate) fn count(&mut self, now: Instant) -> Result<(), Violation> {
        if now.saturating_duration_since(self.window_began) >= FRAME_WINDOW {
            (self.window_began, self.frames) = (now, 0);
        }
        self.frames += 1;
        if self.frames > self.limits.frames_per_minute {
            return Err(Violation { code: CloseCode::RATE_LIMITED, reason: "too many frames" });
        }
        Ok(())
    }

    /// Takes a client's payload.
    pub(crate) fn receive(&mut self, now: Instant, wall: Timestamp, text: &str) -> (EventType, Action) {
        // An array of the fields would be read as one too.
        let is_object = text.trim_start().starts_with('{');
        let Some(payload) = is_object.then(|| serde_json::from_str::<Payload<'_>>(text).ok()).flatten() else {
            return (EventType::Unknown, close(CloseCode::DECODE_ERROR, "not a payload"));
        };
        let d = payload.d.map_or("null", RawValue::get);
        let kind = event_type(payload.op);
        let action = match u64::try_from(payload.op) {
            Ok(opcode::HEARTBEAT) => {
                if self.live {
                    self.deadline = now + self.patience();
                }
                Action::Acknowledge(serde_json::from_str(d).ok())
            }
            Ok(opcode::IDENTIFY | opcode::RESUME) if self.live => {
                close(CloseCode::ALREADY_AUTHENTICATED, "already identified")
            }
            Ok(opcode::IDENTIFY) => match request::identify(d, wall) {
                Ok(identify) => Action::Identify(Box::new(identify)),
                Err(violation) => Action::Close(violation),
            },
            Ok(opcode::RESUME) => match request::resume(d) {
                Ok(Some(resume)) => Action::Resume(Box::new(resume)),
                Ok(None) => Action::InvalidSession,
                Err(violation) => Action::Close(violation),
            },
            Ok(opcode::PRESENCE_UPDATE | opcode::VOICE_STATE_UPDATE | opcode::REQUEST_GUILD_MEMBERS) if !self.live => {
                close(CloseCode::NOT_AUTHENTICATED, "not identified")
            }
            Ok(opcode::PRESENCE_UPDATE) => Action::SetPresence(request::presence(d, wall)),
            Ok(opcode::VOICE_STATE_UPDATE) => match request::voice(d) {
                Some(request) => Action::SetVoice(request),
                None => Action::Ignore,
            },
            Ok(opcode::REQUEST_GUILD_MEMBERS) => match request::members(d) {
                Some(request) => Action::RequestMembers(Box::new(request)),
                None => Action::Ignore,
            },
            _ => close(CloseCode::UNKNOWN_OPCODE, "unknown opcode"),
        };
        (kind, action)
    }

    /// How long after a heartbeat the next one must have come.
    fn patience(&self) -> Duration {
        self.limits.heartbeat * 3 / 2
    }
}

fn close(code: CloseCode, reason: &'static str) -> Action {
    Action::Close(Violation { code, reason })
}

fn event_type(op: i64) -> EventType {
    match u64::try_from(op) {
        Ok(opcode::HEARTBEAT) => EventType::Heartbeat,
        Ok(opcode::IDENTIFY) => EventType::Identify,
        Ok(opcode::RESUME) => EventType::Resume,
        Ok(opcode::PRESENCE_UPDATE) => EventType::PresenceUpdate,
        Ok(opcode::VOICE_STATE_UPDATE) => EventType::VoiceStateUpdate,
        Ok(opcode::REQUEST_GUILD_MEMBERS) => EventType::RequestGuildMembers,
        _ => EventType::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WALL: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn conversation(now: Instant) -> Conversation {
        Conversation::new(Limits { heartbeat: Duration::from_secs(40), frames_per_minute: 120 }, now)
    }

    fn said(text: &str) -> Action {
        let now = Instant::now();
        conversation(now).receive(now, WALL, text).1
    }

    fn code(action: &Action) -> Option<u16> {
        match action {
            Action::Close(v) => Some(v.code.0),
            _ => None,
        }
    }

    #[test]
    fn before_a_session_only_heartbeat_identify_and_resume_are_taken() {
        assert_eq!(said(r#"{"op":1,"d":null}"#), Action::Acknowledge(None));
        assert_eq!(said(r#"{"op":1,"d":251}"#), Action::Acknowledge(Some(251)));
        for op in [3, 4, 8] {
            assert_eq!(code(&said(&format!(r#"{{"op":{op},"d":{{}}}}"#))), Some(4003), "op {op}");
        }
        assert_eq!(code(&said(r#"{"op":99}"#)), Some(4001));
        assert_eq!(code(&said(r#"{"op":-1}"#)), Some(4001));
        for bad in ["", "{", "[]", "null", r#"{"d":1}"#, r#"{"op":"1"}"#, r#"{"op":1.5}"#] {
            assert_eq!(code(&said(bad)), Some(4002), "{bad}");
        }
    }

    #[test]
    fn a_session_is_started_once() {
        let now = Instant::now();
        let mut c = conversation(now);
        c.begin(now);
        for op in [2, 6] {
            let (_, action) = c.receive(now, WALL, &format!(r#"{{"op":{op},"d":{{"token":"t","intents":1}}}}"#));
            assert_eq!(code(&action), Some(4005));
        }
    }

    #[test]
    fn a_resume_that_cannot_be_is_answered_not_closed() {
        assert_eq!(said(r#"{"op":6,"d":{"token":"t","session_id":"s","seq":null}}"#), Action::InvalidSession);
        assert_eq!(said(r#"{"op":6,"d":{"token":"t","session_id":"s","seq":-1}}"#), Action::InvalidSession);
        assert!(matches!(said(r#"{"op":6,"d":{"token":"Bot t","session_id":"s","seq":4}}"#), Action::Resume(_)));
        assert_eq!(code(&said(r#"{"op":6,"d":null}"#)), Some(4002));
    }

    #[test]
    fn heartbeats_move_the_deadline() {
        let now = Instant::now();
        let mut c = conversation(now);
        assert_eq!(c.deadline(), now + IDENTIFY_WITHIN);
        c.receive(now, WALL, r#"{"op":1,"d":null}"#);
        assert_eq!(c.deadline(), now + IDENTIFY_WITHIN);
        c.begin(now);
        assert_eq!(c.deadline(), now + Duration::from_secs(60));
        c.receive(now + Duration::from_secs(50), WALL, r#"{"op":1,"d":3}"#);
        assert_eq!(c.deadline(), now + Duration::from_secs(110));
    }

    #[test]
    fn frames_are_counted_by_the_minute() {
        let now = Instant::now();
        let mut c = conversation(now);
        assert!((0..120).all(|_| c.count(now).is_ok()));
        assert_eq!(c.count(now).map_err(|v| v.code), Err(CloseCode::RATE_LIMITED));
        assert!(c.count(now + FRAME_WINDOW).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_a_client_says_breaks_it(text in ".{0,200}", op in -2i64..12, d in ".{0,80}") {
            let now = Instant::now();
            let mut c = conversation(now);
            c.receive(now, WALL, &text);
            c.receive(now, WALL, &format!(r#"{{"op":{op},"d":{}}}"#, serde_json::json!(d)));
            c.begin(now);
            c.receive(now, WALL, &format!(r#"{{"op":{op},"d":{{"guild_id":{}}}}}"#, serde_json::json!(d)));
        }
    }
}
