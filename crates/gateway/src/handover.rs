//! A session between two gateways, as it travels and as the cache keeps it. Pure.

use std::collections::BTreeMap;

use clarion_model::id::UserId;
use clarion_model::key::{Epoch, Key, Position};
use clarion_model::presence::{Device, Presence};
use clarion_proto::v1;

use crate::frame::Dispatch;
use crate::intents::Intents;

/// A session without its socket.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) user: UserId,
    pub(crate) intents: Intents,
    pub(crate) shard: (u32, u32),
    pub(crate) large_threshold: u8,
    pub(crate) presence: Presence,
    pub(crate) device: Device,
    /// The number of the latest dispatch.
    pub(crate) sequence: u64,
    /// The latest dispatches.
    pub(crate) replay: Vec<Dispatch>,
    /// How far the session has been told of each key that it hears of.
    pub(crate) positions: BTreeMap<Key, Position>,
    /// At a gateway: its shard and its seat there, in one number.
    pub(crate) seat: u64,
    /// The first checkpoint that may have it.
    pub(crate) since: u64,
}

/// How far a gateway had told its sessions, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// One more than in the one before.
    pub(crate) turn: u64,
    pub(crate) positions: BTreeMap<Key, Position>,
    /// The number of the latest dispatch, by seat.
    pub(crate) sequences: BTreeMap<u64, u64>,
}

/// What was kept cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what was kept of a session cannot be read")]
pub(crate) struct Unreadable;

impl From<&Kept> for v1::KeptSession {
    fn from(kept: &Kept) -> Self {
        Self {
            id: kept.id.clone(),
            user_id: kept.user.0,
            intents: kept.intents.0,
            shard_id: kept.shard.0,
            shard_count: kept.shard.1,
            large_threshold: kept.large_threshold.into(),
            presence: Some((&kept.presence).into()),
            device: match kept.device {
                Device::Desktop => 0,
                Device::Mobile => 1,
                Device::Web => 2,
            },
            sequence: kept.sequence,
            replay: kept.replay.iter().map(|dispatch| dispatch.body.clone()).collect(),
            positions: kept
                .positions
                .iter()
                .map(|(key, position)| v1::KeyPosition { key: Some((*key).into()), position: Some((*position).into()) })
                .collect(),
            seat: kept.seat,
            since: kept.since,
        }
    }
}

impl TryFrom<v1::KeptSession> for Kept {
    type Error = Unreadable;

    fn try_from(kept: v1::KeptSession) -> Result<Self, Unreadable> {
        let position = |at: v1::KeyPosition| {
            let key = at.key.and_then(|key| Key::try_from(key).ok()).ok_or(Unreadable)?;
            Ok((key, at.position.map(Position::from).ok_or(Unreadable)?))
        };
        Ok(Self {
            id: kept.id,
            user: UserId(kept.user_id),
            intents: Intents(kept.intents),
            shard: Some((kept.shard_id, kept.shard_count)).filter(|(_, of)| *of > 0).ok_or(Unreadable)?,
            large_threshold: kept.large_threshold.try_into().map_err(|_| Unreadable)?,
            presence: Presence::try_from(kept.presence.unwrap_or_default()).map_err(|_| Unreadable)?,
            device: match kept.device {
                0 => Device::Desktop,
                1 => Device::Mobile,
                2 => Device::Web,
                _ => return Err(Unreadable),
            },
            sequence: kept.sequence,
            replay: kept.replay.into_iter().map(Dispatch::of_body).collect::<Option<_>>().ok_or(Unreadable)?,
            positions: kept.positions.into_iter().map(position).collect::<Result<_, _>>()?,
            seat: kept.seat,
            since: kept.since,
        })
    }
}

impl From<&Checkpoint> for v1::Checkpoint {
    fn from(at: &Checkpoint) -> Self {
        Self {
            turn: at.turn,
            keys: at.positions.keys().map(|key| (*key).into()).collect(),
            epochs: at.positions.values().map(|position| position.epoch.0).collect(),
            offsets: at.positions.values().map(|position| position.offset).collect(),
            seats: at.sequences.keys().copied().collect(),
            sequences: at.sequences.values().copied().collect(),
        }
    }
}

impl TryFrom<v1::Checkpoint> for Checkpoint {
    type Error = Unreadable;

    fn try_from(at: v1::Checkpoint) -> Result<Self, Unreadable> {
        if at.keys.len() != at.epochs.len() || at.keys.len() != at.offsets.len() || at.seats.len() != at.sequences.len()
        {
            return Err(Unreadable);
        }
        let positions = at.epochs.into_iter().zip(at.offsets);
        let positions = positions.map(|(epoch, offset)| Position { epoch: Epoch(epoch), offset });
        let keys = at.keys.into_iter().map(|key| Key::try_from(key).map_err(|_| Unreadable));
        Ok(Self {
            turn: at.turn,
            positions: keys.zip(positions).map(|(key, position)| Ok((key?, position))).collect::<Result<_, _>>()?,
            sequences: at.seats.into_iter().zip(at.sequences).collect(),
        })
    }
}

impl Checkpoint {
    /// The number of a session's latest dispatch then, if it was there.
    pub(crate) fn number_of(&self, kept: &Kept) -> Option<u64> {
        self.sequences.get(&kept.seat).copied().filter(|_| self.turn >= kept.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use clarion_model::id::GuildId;
    use prost::Message;

    fn positions() -> BTreeMap<Key, Position> {
        let at = |epoch, offset| Position { epoch: Epoch(epoch), offset };
        BTreeMap::from([(Key::User(UserId(7)), at(1, 2)), (Key::Guild(GuildId(9)), at(3, 400))])
    }

    fn kept() -> Kept {
        Kept {
            id: "0".repeat(32),
            user: UserId(7),
            intents: Intents(513),
            shard: (1, 4),
            large_threshold: 250,
            presence: Presence::default(),
            device: Device::Mobile,
            sequence: 12,
            replay: vec![Dispatch::new("RESUMED", Bytes::from_static(br#""t":"RESUMED","d":{}"#))],
            positions: positions(),
            seat: 1 << 32 | 5,
            since: 3,
        }
    }

    #[test]
    fn a_session_arrives_as_it_left() {
        let sent = v1::KeptSession::from(&kept());
        let arrived = Kept::try_from(v1::KeptSession::decode(&sent.encode_to_vec()[..]).expect("bytes")).expect("kept");
        assert_eq!(v1::KeptSession::from(&arrived), sent);
        assert!(arrived.replay[0].is_resumed());
        assert!(Kept::try_from(v1::KeptSession { shard_count: 0, ..sent.clone() }).is_err());
        assert!(Kept::try_from(v1::KeptSession { replay: vec![Bytes::from_static(b"{}")], ..sent }).is_err());
    }

    #[test]
    fn a_checkpoint_has_the_sessions_of_its_time() {
        let at = Checkpoint { turn: 3, positions: positions(), sequences: BTreeMap::from([(kept().seat, 11)]) };
        let read = Checkpoint::try_from(v1::Checkpoint::from(&at)).expect("a checkpoint");
        assert_eq!(read, at);
        assert_eq!(at.number_of(&kept()), Some(11));
        let earlier = Checkpoint { turn: 2, ..at.clone() };
        assert_eq!(earlier.number_of(&kept()), None, "the seat was somebody else's");
        let torn = v1::Checkpoint { epochs: Vec::new(), ..v1::Checkpoint::from(&at) };
        assert!(Checkpoint::try_from(torn).is_err());
    }
}
