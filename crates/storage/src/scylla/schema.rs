//! The tables, their versions, and how numbers of the domain lie in them.
//!
//! CQL knows signed numbers only. Ids that are compared are below 2⁶³ (snowflakes are until the year 2084); others are
//! stored bit by bit.

use clarion_model::id::{EPOCH_MS, MessageId, SEQUENCE_BITS};
use clarion_model::key::{Epoch, Key, Position, Slot};

use crate::error::ReadError;

/// The version of the schema that this program knows: of everything in this file.
pub const VERSION: u32 = MIGRATIONS.len() as u32;

/// How long a partition of a channel's history is. Part of the schema.
const BUCKET_MS: u64 = 10 * 24 * 3_600 * 1_000;

/// How many slots a partition of their table has. Part of the schema.
const SLOTS_PER_PART: u16 = 32;

/// Where the schema's own version is kept.
pub(super) const VERSION_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_version (part text PRIMARY KEY, version int)";

/// What brings a keyspace from one version to the next; the first makes it from nothing. Each may be run again.
pub(super) const MIGRATIONS: &[&[&str]] = &[&[
    // Who may write: changed by compare-and-set only. Slots of one part are taken by one of them.
    "CREATE TABLE IF NOT EXISTS slots (part int, slot int, epoch bigint, owner text, PRIMARY KEY (part, slot))",
    // What a key's log holds on to: see the pure model of ownership.
    "CREATE TABLE IF NOT EXISTS seals (kind tinyint, id bigint, epoch bigint, after_epoch bigint, after_offset bigint, \
     last_id bigint, stamp bigint, trimmed_epoch bigint static, trimmed_offset bigint static, \
     PRIMARY KEY ((kind, id), epoch))",
    // A row is what was written under a key at a time: the entries up to its offset, whole or not at all.
    "CREATE TABLE IF NOT EXISTS logs (kind tinyint, id bigint, epoch bigint, offset bigint, stamp bigint, \
     last_id bigint, applied_epoch bigint, applied_offset bigint, body blob, PRIMARY KEY ((kind, id), epoch, offset))",
    "CREATE TABLE IF NOT EXISTS messages (channel bigint, bucket int, id bigint, body blob, \
     PRIMARY KEY ((channel, bucket), id)) WITH CLUSTERING ORDER BY (id DESC)",
    // Which buckets of a channel hold anything.
    "CREATE TABLE IF NOT EXISTS buckets (channel bigint, bucket int, PRIMARY KEY (channel, bucket)) \
     WITH CLUSTERING ORDER BY (bucket DESC)",
    "CREATE TABLE IF NOT EXISTS reactions (channel bigint, bucket int, message bigint, emoji_id bigint, \
     emoji_text text, user bigint, name text, place bigint, \
     PRIMARY KEY ((channel, bucket), message, emoji_id, emoji_text, user))",
    "CREATE TABLE IF NOT EXISTS nonces (channel bigint, author bigint, nonce text, message bigint, at bigint, \
     PRIMARY KEY ((channel, author, nonce)))",
    // Guilds, channels between people, accounts: the parts of each, in the order in which they are put together.
    "CREATE TABLE IF NOT EXISTS states (kind tinyint, id bigint, part tinyint, sub blob, body blob, \
     PRIMARY KEY ((kind, id), part, sub))",
    "CREATE TABLE IF NOT EXISTS routes (channel bigint PRIMARY KEY, kind tinyint, id bigint)",
    // Which logs have grown in the last minutes, and when, in milliseconds: for processes that follow all of them.
    "CREATE TABLE IF NOT EXISTS growth (part tinyint, minute int, at bigint, kind tinyint, id bigint, \
     PRIMARY KEY ((part, minute), at, kind, id)) WITH default_time_to_live = 600 AND gc_grace_seconds = 600",
]];

/// The parts of a guild or of a channel between people. A role comes before the members who have it, a channel before its
/// newest message.
pub(super) mod guild {
    pub(in super::super) const GUILD: i8 = 0;
    pub(in super::super) const VERSION: i8 = 1;
    pub(in super::super) const ROLE: i8 = 2;
    pub(in super::super) const CHANNEL: i8 = 3;
    pub(in super::super) const LAST_MESSAGE: i8 = 4;
    pub(in super::super) const MEMBER: i8 = 5;
    pub(in super::super) const BAN: i8 = 6;
}

/// The parts of an account.
pub(super) mod user {
    use clarion_model::id::{ChannelId, GuildId};

    pub(in super::super) const USER: i8 = 0;
    pub(in super::super) const TOKEN: i8 = 1;
    pub(in super::super) const LISTING: i8 = 2;
    pub(in super::super) const READ_STATE: i8 = 3;

    /// Which read state: by guild, 0 for none, so that those of a guild lie side by side; then by channel.
    pub(in super::super) fn read_state(guild: Option<GuildId>, channel: ChannelId) -> Vec<u8> {
        let guild = guild.map_or(0, |guild| guild.0);
        [guild.to_be_bytes(), channel.0.to_be_bytes()].concat()
    }
}

/// A slot as the columns that name it.
pub(super) fn slot(slot: Slot) -> (i32, i32) {
    (i32::from(slot.0 / SLOTS_PER_PART), i32::from(slot.0))
}

/// A key as the first columns of its tables.
pub(super) fn key(key: Key) -> (i8, i64) {
    let (kind, id) = key.parts();
    (kind as i8, id as i64)
}

pub(super) fn key_of(kind: i8, id: i64) -> Result<Key, ReadError> {
    let key = u8::try_from(kind).ok().and_then(|kind| Key::from_parts(kind, id as u64));
    key.ok_or_else(|| ReadError::Damaged(format!("key of kind {kind}")))
}

/// A place as two columns. Epochs and offsets count from zero and never come near 2⁶³.
pub(super) fn position(at: Position) -> (i64, i64) {
    (number(at.epoch.0), number(at.offset))
}

pub(super) fn position_of(epoch: i64, offset: i64) -> Position {
    Position { epoch: Epoch(epoch as u64), offset: offset as u64 }
}

/// A number that is compared.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The part of a channel's history in which a message lies.
pub(super) fn bucket(id: MessageId) -> i32 {
    bucket_of(number(id.0))
}

/// The same, of the number that is stored.
pub(super) fn bucket_of(id: i64) -> i32 {
    let milliseconds = (id >> SEQUENCE_BITS) as u64;
    i32::try_from(milliseconds / BUCKET_MS).unwrap_or(i32::MAX)
}

const _: () = assert!(EPOCH_MS > 0, "buckets count from the first instant a snowflake can name");

#[cfg(test)]
mod tests {
    use clarion_model::id;
    use clarion_model::time::Timestamp;

    use super::*;

    #[test]
    fn buckets_rise_with_ids() {
        let at = |ms| MessageId(id::first_of(Timestamp::from_millis(EPOCH_MS + ms)));
        assert_eq!((bucket(at(0)), bucket(at(BUCKET_MS - 1)), bucket(at(BUCKET_MS))), (0, 0, 1));
        assert_eq!(bucket(MessageId(0)), 0);
        assert!(bucket(MessageId(u64::MAX)) > 2_000);
    }

    #[test]
    fn keys_come_back() {
        for parts in [(1, u64::MAX), (2, 7), (3, 1)] {
            let of = Key::from_parts(parts.0, parts.1).unwrap();
            let (kind, id) = key(of);
            assert_eq!(key_of(kind, id), Ok(of));
        }
        assert!(key_of(9, 1).is_err() && key_of(-1, 1).is_err());
    }
}
