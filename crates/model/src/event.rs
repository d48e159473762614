//! What happens under a key. Logged events are numbered and durable; transient ones ride the stream beside them.

use crate::guild::{Ban, Channel, Guild, Member, Role};
use crate::id::{ChannelId, GuildId, MessageId, RoleId, UserId};
use crate::key::{Key, Position};
use crate::message::{Emoji, MessageView};
use crate::time::Timestamp;
use crate::user::{ReadState, TokenHash, TokenRecord, User};
use crate::voice::VoiceState;

/// A change of a guild or of a channel between people. The `Put` events create or replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuildEvent {
    /// A message was accepted.
    MessageCreate(MessageView),
    /// A message was changed; the whole of it.
    MessageUpdate(MessageView),
    /// A message is gone.
    MessageDelete {
        /// Where.
        channel_id: ChannelId,
        /// Which.
        id: MessageId,
    },
    /// Somebody reacted.
    ReactionAdd(ReactionChange),
    /// A reaction was taken back.
    ReactionRemove(ReactionChange),
    /// The guild's own fields.
    GuildPut(Guild),
    /// A channel.
    ChannelPut(Channel),
    /// A channel is gone.
    ChannelDelete(ChannelId),
    /// A role.
    RolePut(Role),
    /// A role is gone.
    RoleDelete(RoleId),
    /// A member joined or changed.
    MemberPut(Member),
    /// A member left.
    MemberRemove(User),
    /// Somebody is not to be a member.
    BanPut(Ban),
    /// Somebody may be one again.
    BanRemove(User),
}

/// One reaction, come or gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReactionChange {
    /// Where.
    pub channel_id: ChannelId,
    /// On which message.
    pub message_id: MessageId,
    /// Whose message that is.
    pub message_author_id: UserId,
    /// Who reacted.
    pub user_id: UserId,
    /// With what.
    pub emoji: Emoji,
}

/// A change of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserEvent {
    /// The account's own fields.
    Put(User),
    /// A token was issued.
    TokenIssued {
        /// Its hash.
        hash: TokenHash,
        /// What is kept of it.
        record: TokenRecord,
    },
    /// A token holds no longer.
    TokenRevoked {
        /// Its hash.
        hash: TokenHash,
    },
    /// The account lists a guild.
    GuildJoined(GuildId),
    /// The account lists a guild no longer.
    GuildLeft(GuildId),
    /// The person has read so far in a channel, or marked it unread from there on.
    ReadStatePut(ReadStatePut),
    /// What was read of a channel is forgotten: the channel is gone, or the account has read in too many.
    ReadStateDrop {
        /// Where.
        channel_id: ChannelId,
        /// The guild of the channel, if it has one.
        guild_id: Option<GuildId>,
    },
}

/// A read state with what was unread when it was put, so that every device is told the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadStatePut {
    /// The state.
    pub state: ReadState,
    /// What was unread behind it.
    pub unread: Unread,
}

/// What is unread in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unread {
    /// Messages of others, at most [`crate::limits::UNREAD`]; so many mean "so many or more".
    pub messages: u32,
    /// Those among them that mention the reader: by name, by a role, or with everyone.
    pub mentions: u32,
    /// The newest message that was looked at; later ones are not counted.
    pub last_message_id: Option<MessageId>,
}

/// A logged event.
#[expect(clippy::large_enum_variant, reason = "nearly all events are a guild's; a box would be paid for by each")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Under a guild's or direct channel's key.
    Guild(GuildEvent),
    /// Under a user's key.
    User(UserEvent),
}

/// An event that is neither numbered nor kept: who misses it, misses nothing that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transient {
    /// Somebody types.
    Typing {
        /// Where.
        channel_id: ChannelId,
        /// Who.
        user_id: UserId,
        /// Since when.
        at: Timestamp,
    },
    /// Somebody entered a voice channel, is there differently, or left.
    Voice {
        /// As it is now.
        state: VoiceState,
        /// The W3C `traceparent` of the span that tells it, or empty.
        traceparent: String,
    },
}

/// An event at its place in a key's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Under which key.
    pub key: Key,
    /// At which place.
    pub position: Position,
    /// When it was accepted.
    pub at: Timestamp,
    /// The W3C `traceparent` of the span that fanned it out, or empty.
    pub traceparent: String,
    /// What happened.
    pub event: Event,
}

impl GuildEvent {
    /// The channel whose viewers may know of the event; `None` when all members may.
    pub fn channel(&self) -> Option<ChannelId> {
        match self {
            GuildEvent::MessageCreate(v) | GuildEvent::MessageUpdate(v) => Some(v.message.channel_id),
            GuildEvent::MessageDelete { channel_id, .. } => Some(*channel_id),
            GuildEvent::ReactionAdd(r) | GuildEvent::ReactionRemove(r) => Some(r.channel_id),
            GuildEvent::ChannelPut(c) => Some(c.id),
            _ => None,
        }
    }
}
