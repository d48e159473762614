//! What is ordered belongs to a key; a key lies in one of 1,024 slots; a slot has one owner at a time.

use std::fmt;

use crate::id::{ChannelId, GuildId, UserId};
use crate::rendezvous::mix;

/// How many slots there are. Fixed for the life of a store.
pub const SLOTS: u16 = 1_024;

/// The register after those of the slots: its epoch is the term of the router that orders who holds which slot. Nothing is
/// written in its name.
pub const LEADERSHIP: Slot = Slot(SLOTS);

/// The unit of order: everything under one key happens one after another, in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A guild with all its channels.
    Guild(GuildId),
    /// A channel between people, outside a guild.
    Direct(ChannelId),
    /// A person's or bot's account: tokens, settings, guilds.
    User(UserId),
}

/// One of the [`SLOTS`] parts of the key space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

/// How often a slot has changed hands. Only the owner of the highest epoch may acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

/// A place in a key's log. Positions of later epochs are later, whatever their offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The epoch in which the entry was written.
    pub epoch: Epoch,
    /// Counts from 1 in each epoch of the key.
    pub offset: u64,
}

impl Key {
    /// The slot the key lies in: a multiplicative hash of its id, mixed with its kind, so that neighbours spread.
    pub fn slot(self) -> Slot {
        let (kind, id) = self.parts();
        Slot((mix(id ^ (u64::from(kind) << 56)) % u64::from(SLOTS)) as u16)
    }

    /// A stable number for the kind, and the id. Stores build their row keys from it.
    pub fn parts(self) -> (u8, u64) {
        match self {
            Key::Guild(id) => (1, id.0),
            Key::Direct(id) => (2, id.0),
            Key::User(id) => (3, id.0),
        }
    }

    /// The inverse of [`Key::parts`]; `None` for a kind that does not exist.
    pub fn from_parts(kind: u8, id: u64) -> Option<Self> {
        match kind {
            1 => Some(Key::Guild(GuildId(id))),
            2 => Some(Key::Direct(ChannelId(id))),
            3 => Some(Key::User(UserId(id))),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Guild(id) => write!(f, "guild/{id}"),
            Key::Direct(id) => write!(f, "direct/{id}"),
            Key::User(id) => write!(f, "user/{id}"),
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch.0, self.offset)
    }
}

impl Position {
    /// Before every entry.
    pub const START: Position = Position { epoch: Epoch(0), offset: 0 };

    /// The place after this one in the same epoch.
    pub fn next(self) -> Self {
        Self { epoch: self.epoch, offset: self.offset + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_over_the_slots() {
        let mut hits = vec![0u32; usize::from(SLOTS)];
        for i in 0..100_000u64 {
            hits[usize::from(Key::Guild(GuildId(i << 22)).slot().0)] += 1;
        }
        let (least, most) = (hits.iter().min().copied(), hits.iter().max().copied());
        assert!(least > Some(50) && most < Some(160), "{least:?}..{most:?}");
    }

    #[test]
    fn parts_name_the_key() {
        for key in [Key::Guild(GuildId(7)), Key::Direct(ChannelId(7)), Key::User(UserId(7))] {
            let (kind, id) = key.parts();
            assert_eq!(Key::from_parts(kind, id), Some(key));
        }
        assert_eq!(Key::from_parts(9, 1), None);
    }
}
