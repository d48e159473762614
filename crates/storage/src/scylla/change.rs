//! From an entry to the rows of the tables that it changes. Pure.
//!
//! Every change bears the entry's timestamp, which is higher than that of all entries before it: the tables come out the
//! same in whatever order changes arrive, and however often.

use std::collections::BTreeMap;

use clarion_model::event::ReactionChange;
use clarion_model::message::Nonce;
use clarion_proto::v1;
use prost::Message as _;

use super::record::Stored;
use super::schema::{self, guild, user};
use crate::row::{self, Row};

/// What becomes of one row, or of one partition's range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A part of a guild or account: there, or not.
    State { key: (i8, i64), part: i8, sub: Vec<u8>, body: Option<Vec<u8>> },
    /// All read states of an account in channels of a guild are gone.
    ReadStates { key: (i8, i64), guild: u64 },
    /// A message: there, or not and its reactions neither.
    Message { channel: i64, id: i64, body: Option<Vec<u8>> },
    /// A reaction: its name and its place among the others, or nothing.
    Reaction { channel: i64, message: i64, emoji: (i64, String), user: i64, put: Option<(String, i64)> },
    /// Where a channel lies.
    Route { channel: i64, key: Option<(i8, i64)> },
    /// A nonce, with its message and when it was used.
    Nonce { channel: i64, author: i64, nonce: String, message: i64, at: i64 },
}

/// The changes of entries, each with its timestamp. Of one part of a state only the last counts, and comes.
pub(super) fn of_all<'a>(entries: impl IntoIterator<Item = &'a Stored>) -> Vec<(i64, Change)> {
    let mut states = BTreeMap::new();
    let mut changes = Vec::new();
    for stored in entries {
        for row in row::rows(&stored.entry) {
            for change in of(stored, row) {
                match change {
                    Change::State { key, part, sub, body } => {
                        states.insert((key, part, sub), (stored.stamp, body));
                    }
                    change => changes.push((stored.stamp, change)),
                }
            }
        }
        if let Some(used) = &stored.nonce {
            changes.push((
                stored.stamp,
                Change::Nonce {
                    channel: used.channel_id.0 as i64,
                    author: used.author_id.0 as i64,
                    nonce: nonce(&used.nonce),
                    message: schema::number(used.message_id.0),
                    at: schema::number(used.at.as_micros()),
                },
            ));
        }
    }
    let states = states.into_iter();
    changes.extend(states.map(|((key, part, sub), (stamp, body))| (stamp, Change::State { key, part, sub, body })));
    changes
}

/// A number is the same nonce as its text.
pub(super) fn nonce(nonce: &Nonce) -> String {
    match nonce {
        Nonce::Text(text) => text.clone(),
        Nonce::Number(number) => number.to_string(),
    }
}

fn of(stored: &Stored, row: Row<'_>) -> Vec<Change> {
    let at = stored.entry.position;
    let key = schema::key(stored.entry.key);
    let state = |part, sub: &[u8], body| Change::State { key, part, sub: sub.to_vec(), body };
    let put = |part, sub: u64, body| state(part, &sub.to_be_bytes(), Some(body));
    let delete = |part, sub: u64| state(part, &sub.to_be_bytes(), None);
    let change = match row {
        Row::PutMessage(message) => {
            let body = Some(v1::Message::from(message).encode_to_vec());
            Change::Message { channel: message.channel_id.0 as i64, id: schema::number(message.id.0), body }
        }
        Row::DeleteMessage { channel, id } => {
            Change::Message { channel: channel.0 as i64, id: schema::number(id.0), body: None }
        }
        Row::LastMessage { channel, id } => put(guild::LAST_MESSAGE, channel.0, id.0.to_be_bytes().to_vec()),
        Row::PutReaction(change) => reaction(change, Some((change.emoji.name.clone(), stored.stamp))),
        Row::DeleteReaction(change) => reaction(change, None),
        Row::PutGuild(of) => state(guild::GUILD, &[], Some(v1::Guild::from(of).encode_to_vec())),
        Row::Version => state(guild::VERSION, &[], Some(row::version(at).to_be_bytes().to_vec())),
        Row::PutChannel(channel) => put(guild::CHANNEL, channel.id.0, v1::GuildChannel::from(channel).encode_to_vec()),
        Row::DeleteChannel(id) => {
            return vec![delete(guild::LAST_MESSAGE, id.0), delete(guild::CHANNEL, id.0)];
        }
        Row::PutRoute(channel) => Change::Route { channel: channel.0 as i64, key: Some(key) },
        Row::DeleteRoute(channel) => Change::Route { channel: channel.0 as i64, key: None },
        Row::PutRole(role) => put(guild::ROLE, role.id.0, v1::Role::from(role).encode_to_vec()),
        Row::DeleteRole(id) => delete(guild::ROLE, id.0),
        Row::PutMember(member) => put(guild::MEMBER, member.user.id.0, v1::Member::from(member).encode_to_vec()),
        Row::DeleteMember(id) => delete(guild::MEMBER, id.0),
        Row::PutBan(ban) => put(guild::BAN, ban.user.id.0, v1::Ban::from(ban).encode_to_vec()),
        Row::DeleteBan(id) => delete(guild::BAN, id.0),
        Row::PutUser(of) => state(user::USER, &[], Some(v1::User::from(of).encode_to_vec())),
        Row::PutToken(hash, record) => {
            state(user::TOKEN, &hash.0, Some(v1::TokenRecord::from((hash, record)).encode_to_vec()))
        }
        Row::DeleteToken(hash) => state(user::TOKEN, &hash.0, None),
        Row::PutListing(guild) => put(user::LISTING, guild.0, Vec::new()),
        Row::DeleteListing(guild) => delete(user::LISTING, guild.0),
        Row::PutReadState(of) => {
            let sub = user::read_state(of.guild_id, of.channel_id);
            state(user::READ_STATE, &sub, Some(v1::ReadState::from(of).encode_to_vec()))
        }
        Row::DeleteReadState { guild, channel } => state(user::READ_STATE, &user::read_state(guild, channel), None),
        Row::DeleteReadStates(guild) => Change::ReadStates { key, guild: guild.0 },
    };
    vec![change]
}

fn reaction(change: &ReactionChange, put: Option<(String, i64)>) -> Change {
    // A guild's own emoji is what its id says, whatever its name.
    let emoji = match change.emoji.id {
        Some(id) => (id as i64, String::new()),
        None => (0, change.emoji.name.clone()),
    };
    let (channel, message) = (change.channel_id.0 as i64, schema::number(change.message_id.0));
    Change::Reaction { channel, message, emoji, user: change.user_id.0 as i64, put }
}
