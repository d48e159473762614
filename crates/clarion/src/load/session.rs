//! A client's side of the gateway protocol: what to say to what the gateway says. Pure.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;

use super::payload::{self, Payload};

/// Guilds, messages of guilds, and what they say: with fewer there is nothing to verify.
const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;
/// How long clients wait after a session was refused, at least and at most.
const AFTER_INVALID: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// What follows from a payload.
#[derive(Debug, PartialEq)]
pub(crate) enum Step<'a> {
    /// Nothing.
    Nothing,
    /// HELLO: say this, then send heartbeats.
    Begin(String),
    /// Send a heartbeat at once.
    Heartbeat,
    /// The session is there.
    Ready,
    /// A guild with where its channels stand.
    Guild(Vec<(u64, u64)>),
    /// What was missed has been replayed; whether some of it may have come before, because a gateway died.
    Resumed(bool),
    /// A message: its id, its channel, what it says.
    Message(u64, u64, Cow<'a, str>),
    /// Connect again.
    Reconnect,
    /// The session is over; begin another between the two waits from now, over the same connection.
    Anew(Duration, Duration),
    /// What came is not the protocol.
    Nonsense,
}

/// What to do after a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Connect; the session may be resumed.
    Resume,
    /// Connect; the session is over.
    Anew,
    /// Nothing will help.
    Stop,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Session {
    token: String,
    id: Option<String>,
    sequence: u64,
    /// How often to send a heartbeat.
    pub(crate) heartbeat: Duration,
    /// Whether the last heartbeat was acknowledged.
    pub(crate) alive: bool,
    /// Whether what comes is a replay.
    pub(crate) replaying: bool,
}

#[derive(Deserialize)]
struct Hello {
    heartbeat_interval: u64,
}

#[derive(Deserialize)]
struct Ready<'a> {
    #[serde(borrow)]
    session_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Resumed {
    #[serde(default)]
    replayed: bool,
}

#[derive(Deserialize)]
struct Guild<'a> {
    #[serde(borrow, default)]
    channels: Vec<Channel<'a>>,
}

#[derive(Deserialize)]
struct Channel<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    last_message_id: Option<Cow<'a, str>>,
}

impl Session {
    /// A client with an account's token.
    pub(crate) fn new(token: String) -> Self {
        Self { token, id: None, sequence: 0, heartbeat: Duration::from_secs(45), alive: true, replaying: false }
    }

    /// Whether there is a session that might be resumed.
    pub(crate) fn is_resumable(&self) -> bool {
        self.id.is_some()
    }

    /// Takes a payload.
    pub(crate) fn hear<'a>(&mut self, text: &'a str) -> Step<'a> {
        match payload::read(text) {
            Some(Payload::Message { sequence, id, channel, content }) => {
                self.sequence = sequence;
                Step::Message(id, channel, content)
            }
            Some(Payload::Dispatch(sequence, name, d)) => {
                self.sequence = sequence;
                self.dispatch(&name, d)
            }
            Some(Payload::Op(1, _)) => Step::Heartbeat,
            Some(Payload::Op(7, _)) => Step::Reconnect,
            Some(Payload::Op(9, d)) => self.refused(d == "true"),
            Some(Payload::Op(10, d)) => self.greeted(d),
            Some(Payload::Op(11, _)) => {
                self.alive = true;
                Step::Nothing
            }
            Some(Payload::Op(..)) => Step::Nothing,
            None => Step::Nonsense,
        }
    }

    /// What to say to begin, or to go on.
    pub(crate) fn opening(&mut self) -> String {
        let token = &self.token;
        self.replaying = self.id.is_some();
        match &self.id {
            Some(id) => format!(r#"{{"op":6,"d":{{"token":"{token}","session_id":"{id}","seq":{}}}}}"#, self.sequence),
            None => format!(
                r#"{{"op":2,"d":{{"token":"{token}","intents":{INTENTS},"properties":{{"os":"linux","browser":"clarion load","device":"clarion load"}}}}}}"#
            ),
        }
    }

    /// What to say now and then; whether the one before was answered stands in `alive` until then.
    pub(crate) fn beat(&mut self) -> String {
        self.alive = false;
        format!(r#"{{"op":1,"d":{}}}"#, self.sequence)
    }

    /// A connection was closed with a code, or without one.
    pub(crate) fn closed(&mut self, code: Option<u16>) -> After {
        match code {
            Some(4004 | 4010..=4014) => After::Stop,
            Some(1000 | 1001 | 4003 | 4005 | 4007 | 4009) => {
                self.forget();
                After::Anew
            }
            _ if self.id.is_some() => After::Resume,
            _ => After::Anew,
        }
    }

    fn greeted(&mut self, d: &str) -> Step<'static> {
        let Ok(Hello { heartbeat_interval }) = serde_json::from_str(d) else { return Step::Nonsense };
        self.heartbeat = Duration::from_millis(heartbeat_interval.max(100));
        self.alive = true;
        Step::Begin(self.opening())
    }

    fn dispatch(&mut self, name: &str, d: &str) -> Step<'static> {
        match name {
            "READY" => {
                let Ok(Ready { session_id }) = serde_json::from_str(d) else { return Step::Nonsense };
                self.id = Some(session_id.into_owned());
                Step::Ready
            }
            "RESUMED" => {
                self.replaying = false;
                Step::Resumed(serde_json::from_str(d).is_ok_and(|resumed: Resumed| resumed.replayed))
            }
            "GUILD_CREATE" => {
                let Ok(Guild { channels }) = serde_json::from_str(d) else { return Step::Nonsense };
                let stand = |channel: Channel<'_>| {
                    let last = channel.last_message_id.and_then(|id| id.parse().ok()).unwrap_or(0);
                    Some((channel.id.parse().ok()?, last))
                };
                Step::Guild(channels.into_iter().filter_map(stand).collect())
            }
            _ => Step::Nothing,
        }
    }

    fn refused(&mut self, resumable: bool) -> Step<'static> {
        if !resumable {
            self.forget();
        }
        Step::Anew(AFTER_INVALID.0, AFTER_INVALID.1)
    }

    fn forget(&mut self) {
        (self.id, self.sequence, self.replaying) = (None, 0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = r#"{"op":10,"d":{"heartbeat_interval":41250},"s":null,"t":null}"#;
    const READY: &str = r#"{"op":0,"s":1,"t":"READY","d":{"session_id":"abc","guilds":[]}}"#;

    fn ready() -> Session {
        let mut session = Session::new("t".into());
        assert!(matches!(session.hear(HELLO), Step::Begin(said) if said.contains(r#""op":2"#)));
        assert_eq!(session.hear(READY), Step::Ready);
        session
    }

    #[test]
    fn a_session_is_resumed_where_it_was() {
        let mut session = ready();
        let message = r#"{"op":0,"s":9,"t":"MESSAGE_CREATE","d":{"id":"5","channel_id":"6","content":"c"}}"#;
        assert_eq!(session.hear(message), Step::Message(5, 6, "c".into()));
        assert_eq!(session.closed(None), After::Resume);
        let Step::Begin(said) = session.hear(HELLO) else { panic!("HELLO begins") };
        assert_eq!(said, r#"{"op":6,"d":{"token":"t","session_id":"abc","seq":9}}"#);
        assert!(session.replaying);
        assert_eq!(session.hear(r#"{"op":0,"s":10,"t":"RESUMED","d":{}}"#), Step::Resumed(false));
        assert!(!session.replaying);
        let again = r#"{"op":0,"s":11,"t":"RESUMED","d":{"replayed":true}}"#;
        assert_eq!(session.hear(again), Step::Resumed(true));
    }

    #[test]
    fn a_refused_session_is_begun_anew() {
        let mut session = ready();
        assert!(matches!(session.hear(r#"{"op":9,"d":true}"#), Step::Anew(..)));
        assert!(session.opening().contains(r#""op":6"#));
        assert!(matches!(session.hear(r#"{"op":9,"d":false}"#), Step::Anew(..)));
        assert!(session.opening().contains(r#""op":2"#));
    }

    #[test]
    fn close_codes_say_how_to_go_on() {
        assert_eq!(ready().closed(Some(4004)), After::Stop);
        assert_eq!(ready().closed(Some(4009)), After::Anew);
        assert_eq!(ready().closed(Some(4000)), After::Resume);
        assert_eq!(ready().closed(Some(1012)), After::Resume);
        assert_eq!(Session::new("t".into()).closed(Some(4000)), After::Anew);
    }

    #[test]
    fn a_guild_says_where_its_channels_stand() {
        let guild = r#"{"op":0,"s":2,"t":"GUILD_CREATE","d":{"id":"1","channels":[{"id":"4","last_message_id":null},{"id":"5","last_message_id":"77"}]}}"#;
        assert_eq!(ready().hear(guild), Step::Guild(vec![(4, 0), (5, 77)]));
    }

    #[test]
    fn heartbeats_are_asked_for_and_acknowledged() {
        let mut session = ready();
        assert_eq!(session.hear(r#"{"op":1,"d":null}"#), Step::Heartbeat);
        assert_eq!(session.beat(), r#"{"op":1,"d":1}"#);
        assert!(!session.alive);
        session.hear(r#"{"op":11}"#);
        assert!(session.alive);
    }
}
