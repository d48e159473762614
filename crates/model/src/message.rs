//! Messages, reactions, and pages of history.

use std::fmt;

use crate::id::{ChannelId, GuildId, MessageId, RoleId, UserId};
use crate::time::Timestamp;
use crate::user::User;

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Rises in its key.
    pub id: MessageId,
    /// Where it was said.
    pub channel_id: ChannelId,
    /// The guild of the channel, if it has one.
    pub guild_id: Option<GuildId>,
    /// Who said it, as they were then.
    pub author: User,
    /// What was said. Never logged.
    pub content: String,
    /// When it was accepted.
    pub at: Timestamp,
    /// When it was last changed.
    pub edited_at: Option<Timestamp>,
    /// Text to speech was asked for.
    pub tts: bool,
    /// It says @everyone or @here, and its author may.
    pub mention_everyone: bool,
    /// Users named in the content or by the reply, as they were then.
    pub mentions: Vec<User>,
    /// Roles named in the content.
    pub mention_roles: Vec<RoleId>,
    /// The message this one answers.
    pub reply_to: Option<MessageId>,
    /// Embeds as the client gave them, checked for shape and size: a JSON array, or empty.
    pub embeds_json: String,
    /// The API's bit set.
    pub flags: u64,
    /// The nonce the author gave; shown to the author alone.
    pub nonce: Option<Nonce>,
    /// The trace of the request that made it, when there was one. For operators; no part of the API's message.
    pub trace_id: Option<TraceId>,
}

/// The id of a W3C trace; shown as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

/// A client's own mark of a message, by which a retry is recognised. Keeps whether it was a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nonce {
    /// Up to 25 characters.
    Text(String),
    /// A number, as one library sends it.
    Number(i64),
}

/// What one reacts with: a character of Unicode, or a guild's own emoji by id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Emoji {
    /// The id of a guild's own emoji; `None` for Unicode.
    pub id: Option<u64>,
    /// The Unicode text, or the name.
    pub name: String,
}

/// One kind of reaction on a message, with everybody who gave it, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// With what.
    pub emoji: Emoji,
    /// Who, the earliest first.
    pub users: Vec<UserId>,
}

/// A message with what hangs on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageView {
    /// The message.
    pub message: Message,
    /// Its reactions, the earliest kind first.
    pub reactions: Vec<Reaction>,
    /// The message it answers; `None` when it answers none or that one is gone.
    pub referenced: Option<Box<MessageView>>,
}

/// Which part of a channel's history is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The newest.
    Latest,
    /// The newest of those before an id.
    Before(MessageId),
    /// The oldest of those after an id.
    After(MessageId),
    /// Half before, half after, with the message itself.
    Around(MessageId),
}
