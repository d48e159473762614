//! Keys and positions.

use clarion_model::id::{ChannelId, GuildId, UserId};
use clarion_model::key::{Epoch, Key, Position};

use super::{Invalid, id, required};
use crate::v1::{self, key::Kind};

impl From<Key> for v1::Key {
    fn from(key: Key) -> Self {
        let kind = match key {
            Key::Guild(id) => Kind::Guild(id.0),
            Key::Direct(id) => Kind::Direct(id.0),
            Key::User(id) => Kind::User(id.0),
        };
        Self { kind: Some(kind) }
    }
}

impl From<&Key> for v1::Key {
    fn from(key: &Key) -> Self {
        (*key).into()
    }
}

impl TryFrom<v1::Key> for Key {
    type Error = Invalid;
    fn try_from(key: v1::Key) -> Result<Self, Invalid> {
        Ok(match required(key.kind, "key.kind")? {
            Kind::Guild(guild) => Key::Guild(id(guild, GuildId, "key.guild")?),
            Kind::Direct(channel) => Key::Direct(id(channel, ChannelId, "key.direct")?),
            Kind::User(user) => Key::User(id(user, UserId, "key.user")?),
        })
    }
}

impl From<Position> for v1::Position {
    fn from(position: Position) -> Self {
        Self { epoch: position.epoch.0, offset: position.offset }
    }
}

impl From<&Position> for v1::Position {
    fn from(position: &Position) -> Self {
        (*position).into()
    }
}

/// Every pair of numbers is a position, the start too.
impl From<v1::Position> for Position {
    fn from(position: v1::Position) -> Self {
        Self { epoch: Epoch(position.epoch), offset: position.offset }
    }
}
