//! How rows lie on the disk: the tables, their keys (big-endian, so that bytes sort as numbers do), and the records that
//! are the store's own. What the domain knows is kept in the encodings of the contract.

use clarion_model::id::{ChannelId, GuildId, MessageId, RoleId, UserId};
use clarion_model::key::{Epoch, Key, Position, Slot};
use clarion_model::message::{Emoji, Nonce};
use clarion_model::time::Timestamp;
use clarion_model::user::TokenHash;

use crate::Tail;

/// The version of everything in this file. A change that old programs cannot read raises it, with a migration.
pub(super) const VERSION: u32 = 2;

/// The key of the version in [`Table::Meta`].
pub(super) const VERSION_KEY: &[u8] = b"schema";

/// The tables. Their names and the shape of their keys are part of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// The schema's version.
    Meta,
    /// slot → [`SlotRow`].
    Slots,
    /// key, position → `LogEntry`.
    Logs,
    /// key → [`TailRow`].
    Tails,
    /// channel, message → `Message`.
    Messages,
    /// channel, message, emoji, user → [`ReactionRow`].
    Reactions,
    /// channel, author, nonce → [`NonceRow`].
    Nonces,
    /// instant, key of [`Table::Nonces`] → nothing: the order in which nonces are forgotten.
    NonceAges,
    /// key, part → the part of a guild or of a channel between people.
    Guilds,
    /// user, part → the part of an account.
    Users,
    /// channel → `Key`.
    Routes,
}

impl Table {
    /// All of them, each at the place of its number.
    pub(super) const ALL: [Table; 11] = [
        Table::Meta,
        Table::Slots,
        Table::Logs,
        Table::Tails,
        Table::Messages,
        Table::Reactions,
        Table::Nonces,
        Table::NonceAges,
        Table::Guilds,
        Table::Users,
        Table::Routes,
    ];

    /// Its name on the disk.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Slots => "slots",
            Table::Logs => "logs",
            Table::Tails => "tails",
            Table::Messages => "messages",
            Table::Reactions => "reactions",
            Table::Nonces => "nonces",
            Table::NonceAges => "nonce_ages",
            Table::Guilds => "guilds",
            Table::Users => "users",
            Table::Routes => "routes",
        }
    }
}

/// The parts of a guild: the byte after the key. `Guild` comes first, for without it there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GuildPart {
    Guild,
    Version,
    Role(RoleId),
    Channel(ChannelId),
    LastMessage(ChannelId),
    Member(UserId),
    Ban(UserId),
}

/// The parts of an account: the byte after the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UserPart {
    User,
    Token(TokenHash),
    Listing(GuildId),
    ReadState(Option<GuildId>, ChannelId),
}

/// A slot's epoch and who raised it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct SlotRow {
    #[prost(uint64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(string, tag = "2")]
    pub(super) owner: String,
}

/// Where a log ends, and where what is kept of it begins.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct TailRow {
    #[prost(uint64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(uint64, tag = "2")]
    pub(super) offset: u64,
    #[prost(uint64, tag = "3")]
    pub(super) last_id: u64,
    #[prost(uint64, tag = "4")]
    pub(super) entries: u64,
    #[prost(uint64, tag = "5")]
    pub(super) trimmed_epoch: u64,
    #[prost(uint64, tag = "6")]
    pub(super) trimmed_offset: u64,
}

/// A reaction and its place among the others of its message.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReactionRow {
    #[prost(message, optional, tag = "1")]
    pub(super) emoji: Option<clarion_proto::Emoji>,
    #[prost(uint64, tag = "2")]
    pub(super) epoch: u64,
    #[prost(uint64, tag = "3")]
    pub(super) offset: u64,
}

/// The message of a nonce, and since when.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct NonceRow {
    #[prost(fixed64, tag = "1")]
    pub(super) message_id: u64,
    #[prost(uint64, tag = "2")]
    pub(super) at_us: u64,
}

impl TailRow {
    pub(super) fn position(&self) -> Position {
        Position { epoch: Epoch(self.epoch), offset: self.offset }
    }

    /// The last entry that was forgotten; the start when none was.
    pub(super) fn trimmed(&self) -> Position {
        Position { epoch: Epoch(self.trimmed_epoch), offset: self.trimmed_offset }
    }

    pub(super) fn tail(&self) -> Tail {
        Tail { position: self.position(), last_id: self.last_id, entries: self.entries }
    }
}

/// Builds a key from its parts.
struct Bytes(Vec<u8>);

impl Bytes {
    fn new() -> Self {
        Self(Vec::with_capacity(32))
    }

    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn raw(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }
}

pub(super) fn slot(slot: Slot) -> Vec<u8> {
    slot.0.to_be_bytes().to_vec()
}

pub(super) fn key(key: Key) -> Vec<u8> {
    let (kind, id) = key.parts();
    Bytes::new().u8(kind).u64(id).0
}

/// The key that a row of [`Table::Tails`] is of.
pub(super) fn log_key(key: &[u8]) -> Option<Key> {
    Key::from_parts(*key.first()?, number(key, 1)?)
}

pub(super) fn log(of: Key, at: Position) -> Vec<u8> {
    Bytes(key(of)).u64(at.epoch.0).u64(at.offset).0
}

pub(super) fn message(channel: ChannelId, id: MessageId) -> Vec<u8> {
    Bytes::new().u64(channel.0).u64(id.0).0
}

/// The reactions of a message lie under its own key, each ending with the user's id.
pub(super) fn reaction(channel: ChannelId, message_id: MessageId, emoji: &Emoji, user: UserId) -> Vec<u8> {
    let key = Bytes(message(channel, message_id));
    match emoji.id {
        None => key.u8(0).raw(emoji.name.as_bytes()),
        Some(id) => key.u8(1).u64(id),
    }
    .u64(user.0)
    .0
}

/// After every reaction of a message: no reaction's key goes on with this byte.
pub(super) fn after_reactions(channel: ChannelId, id: MessageId) -> Vec<u8> {
    Bytes(message(channel, id)).u8(u8::MAX).0
}

pub(super) fn nonce(channel: ChannelId, author: UserId, nonce: &Nonce) -> Vec<u8> {
    let key = Bytes::new().u64(channel.0).u64(author.0);
    match nonce {
        Nonce::Text(text) => key.raw(text.as_bytes()),
        Nonce::Number(number) => key.raw(number.to_string().as_bytes()),
    }
    .0
}

pub(super) fn nonce_age(at: Timestamp, nonce_key: &[u8]) -> Vec<u8> {
    Bytes::new().u64(at.as_micros()).raw(nonce_key).0
}

pub(super) fn guild(of: Key, part: GuildPart) -> Vec<u8> {
    let key = Bytes(key(of));
    match part {
        GuildPart::Guild => key.u8(0),
        GuildPart::Version => key.u8(1),
        GuildPart::Role(id) => key.u8(2).u64(id.0),
        GuildPart::Channel(id) => key.u8(3).u64(id.0),
        GuildPart::LastMessage(id) => key.u8(4).u64(id.0),
        GuildPart::Member(id) => key.u8(5).u64(id.0),
        GuildPart::Ban(id) => key.u8(6).u64(id.0),
    }
    .0
}

/// The part that a guild's row holds.
pub(super) fn guild_part(key: &[u8]) -> Option<GuildPart> {
    let id = || number(key, 10);
    Some(match key.get(9)? {
        0 => GuildPart::Guild,
        1 => GuildPart::Version,
        2 => GuildPart::Role(RoleId(id()?)),
        3 => GuildPart::Channel(ChannelId(id()?)),
        4 => GuildPart::LastMessage(ChannelId(id()?)),
        5 => GuildPart::Member(UserId(id()?)),
        6 => GuildPart::Ban(UserId(id()?)),
        _ => return None,
    })
}

/// Where all parts of an account begin.
pub(super) fn account(id: UserId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

pub(super) fn user(id: UserId, part: UserPart) -> Vec<u8> {
    let key = Bytes(account(id));
    match part {
        UserPart::User => key.u8(0),
        UserPart::Token(hash) => key.u8(1).raw(&hash.0),
        UserPart::Listing(guild) => key.u8(2).u64(guild.0),
        UserPart::ReadState(guild, channel) => return Bytes(read_states(id, guild)).u64(channel.0).0,
    }
    .0
}

/// Where the read states of an account begin: those in a guild's channels, or in channels without a guild.
pub(super) fn read_states(id: UserId, guild: Option<GuildId>) -> Vec<u8> {
    Bytes(account(id)).u8(3).u64(guild.map_or(0, |guild| guild.0)).0
}

/// The part that an account's row holds.
pub(super) fn user_part(key: &[u8]) -> Option<UserPart> {
    Some(match key.get(8)? {
        0 => UserPart::User,
        1 => UserPart::Token(TokenHash(key.get(9..)?.try_into().ok()?)),
        2 => UserPart::Listing(GuildId(number(key, 9)?)),
        3 => {
            let guild = number(key, 9).map(|guild| (guild != 0).then_some(GuildId(guild)))?;
            UserPart::ReadState(guild, ChannelId(number(key, 17)?))
        }
        _ => return None,
    })
}

pub(super) fn route(channel: ChannelId) -> Vec<u8> {
    channel.0.to_be_bytes().to_vec()
}

/// The number that starts at `at` in a key, if there is one.
pub(super) fn number(key: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(at..at + 8)?.try_into().ok()?))
}
