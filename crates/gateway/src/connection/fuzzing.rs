//! What fuzzing has clients say over a socket.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clarion_model::limits::CLIENT_FRAME_BYTES;
use clarion_model::presence::{ACTIVITIES, Presence};
use clarion_model::time::Timestamp;
use clarion_proto::v1;

use super::wire::{Incoming, Wire};
use crate::conversation::{Action, Conversation, Limits, Violation};

const WALL: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const HEARTBEAT: Duration = Duration::from_secs(40);
/// Longest reason that goes into a close frame.
const REASON: usize = 123;

/// Bytes of the WebSocket protocol when the first bit is set, as it is in every frame; otherwise payloads, one a line.
/// Nothing is larger than a frame may be, answers are no longer than what is said and a close, and what is said before a session
/// begins does nothing that needs one.
pub fn frames(data: &[u8]) {
    let mut client = Client::new();
    if data.first().is_some_and(|first| *first >= 0x80) {
        return socket(&mut client, data);
    }
    for line in data.split(|byte| *byte == b'\n').filter(|line| line.len() <= CLIENT_FRAME_BYTES) {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        if !client.says(text) {
            return;
        }
    }
}

/// The longest frame that closes.
const CLOSE: usize = 2 + 125;

fn socket(client: &mut Client, data: &[u8]) {
    let (mut wire, mut rest, mut replied) = (Wire::new(Bytes::new()), data, 0);
    loop {
        let incoming = wire.read_from(|buffer| {
            let length = buffer.len().min(rest.len());
            if length == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let (now, later) = rest.split_at(length);
            buffer[..length].copy_from_slice(now);
            rest = later;
            Ok(length)
        });
        replied += wire.take_replies().len();
        // One close may give a reason where none was given.
        assert!(replied <= data.len() + CLOSE, "the protocol answers with more than it was sent");
        match incoming {
            Incoming::Text(text) => {
                assert!(text.len() <= CLIENT_FRAME_BYTES);
                if !client.says(&text) {
                    return;
                }
            }
            Incoming::Control => {}
            Incoming::Violation(violation) => return may_be_sent(violation),
            Incoming::Nothing | Incoming::Closed(_) | Incoming::End => return,
        }
    }
}

struct Client {
    conversation: Conversation,
    now: Instant,
    live: bool,
}

impl Client {
    fn new() -> Self {
        let now = Instant::now();
        let limits = Limits { heartbeat: HEARTBEAT, frames_per_minute: 120 };
        Self { conversation: Conversation::new(limits, now), now, live: false }
    }

    /// Whether the connection goes on.
    fn says(&mut self, text: &str) -> bool {
        self.now += Duration::from_millis(100);
        if let Err(violation) = self.conversation.count(self.now) {
            may_be_sent(violation);
            return false;
        }
        let (_, action) = self.conversation.receive(self.now, WALL, text);
        assert!(self.conversation.deadline() <= self.now + HEARTBEAT * 3 / 2);
        let begins = matches!(action, Action::Identify(_) | Action::Resume(_));
        let needs = matches!(action, Action::SetPresence(_) | Action::SetVoice(_) | Action::RequestMembers(_));
        assert!(if self.live { !begins } else { !needs }, "{action:?}");
        match action {
            Action::Identify(identify) => {
                assert!(identify.shard.0 < identify.shard.1);
                assert!((50..=250).contains(&identify.large_threshold));
                presence(&identify.presence);
            }
            Action::Resume(resume) => assert!(resume.session_id.len() + resume.token.len() <= text.len()),
            Action::SetPresence(shown) => presence(&shown),
            Action::SetVoice(wish) => {
                assert!(wish.guild_id.0 > 0 && wish.channel_id.is_none_or(|channel| channel.0 > 0));
            }
            Action::RequestMembers(asked) => {
                assert!(asked.guild_id.0 > 0 && asked.query.len() <= text.len());
                assert!(asked.user_ids.is_none_or(|ids| ids.len() <= 100 && ids.iter().all(|id| id.0 > 0)));
                assert!(asked.nonce.is_none_or(|nonce| nonce.len() <= 32));
            }
            Action::Close(violation) => {
                may_be_sent(violation);
                return false;
            }
            Action::Acknowledge(_) | Action::InvalidSession | Action::Ignore => {}
        }
        if begins {
            self.live = true;
            self.conversation.begin(self.now);
        }
        true
    }
}

fn may_be_sent(violation: Violation) {
    assert!(violation.code.is_sendable() && violation.reason.len() <= REASON, "{violation:?}");
}

/// It is told to other services as it is.
fn presence(shown: &Presence) {
    assert!(shown.activities.len() <= ACTIVITIES);
    for activity in &shown.activities {
        let texts = [Some(&activity.name), activity.state.as_ref(), activity.url.as_ref()];
        assert!(texts.into_iter().flatten().all(|text| text.chars().count() <= 128));
    }
    assert_eq!(Presence::try_from(v1::Presence::from(shown)).as_ref(), Ok(shown));
}
