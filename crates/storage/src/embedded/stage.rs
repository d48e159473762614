//! From a batch to the changes of rows that it makes, encoded: the work that needs no turn and is done by the caller.

use clarion_model::event::{LogEntry, ReactionChange};
use clarion_model::id::UserId;
use clarion_model::key::{Epoch, Key, Position, Slot};
use clarion_model::time::Timestamp;
use clarion_proto::v1;
use prost::Message as _;

use super::pending::Change;
use super::schema::{self, GuildPart, NonceRow, ReactionRow, Table, UserPart};
use crate::Batch;
use crate::row::{self, Row};

/// A batch, ready to be written.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) key: Key,
    pub(super) epoch: Epoch,
    /// Where its entries lie.
    pub(super) positions: Vec<Position>,
    /// The highest message id it gives out; zero when it gives out none.
    pub(super) last_id: u64,
    /// Its rows, those of the log among them.
    pub(super) changes: Vec<Change>,
    /// When its nonce was used, if it has one: a sign that older ones may be forgotten.
    pub(super) nonce_at: Option<Timestamp>,
    pub(super) bytes: usize,
}

impl Staged {
    pub(super) fn new(batch: &Batch) -> Self {
        let mut changes = Vec::with_capacity(batch.entries.len() * 3 + 2);
        let mut last_id = 0;
        for entry in &batch.entries {
            let encoded = v1::LogEntry::from(entry).encode_to_vec();
            changes.push(Change::Put(Table::Logs, schema::log(batch.key, entry.position), encoded));
            for row in row::rows(entry) {
                stage(entry, row, &mut changes);
            }
            last_id = last_id.max(row::new_message(entry).map_or(0, |id| id.0));
        }
        if let Some(used) = &batch.nonce {
            let key = schema::nonce(used.channel_id, used.author_id, &used.nonce);
            changes.push(Change::Put(Table::NonceAges, schema::nonce_age(used.at, &key), Vec::new()));
            changes.push(put(
                Table::Nonces,
                key,
                &NonceRow { message_id: used.message_id.0, at_us: used.at.as_micros() },
            ));
        }
        Self {
            key: batch.key,
            epoch: batch.epoch,
            positions: batch.entries.iter().map(|entry| entry.position).collect(),
            last_id,
            bytes: changes.iter().map(Change::bytes).sum(),
            changes,
            nonce_at: batch.nonce.as_ref().map(|used| used.at),
        }
    }

    pub(super) fn slot(&self) -> Slot {
        self.key.slot()
    }
}

fn put<R: prost::Message>(table: Table, key: Vec<u8>, record: &R) -> Change {
    Change::Put(table, key, record.encode_to_vec())
}

fn stage(entry: &LogEntry, row: Row<'_>, changes: &mut Vec<Change>) {
    let (of, at) = (entry.key, entry.position);
    let part = |part| schema::guild(of, part);
    let account = |part| {
        let (_, id) = of.parts();
        schema::user(UserId(id), part)
    };
    let change = match row {
        Row::PutMessage(message) => {
            put(Table::Messages, schema::message(message.channel_id, message.id), &v1::Message::from(message))
        }
        Row::DeleteMessage { channel, id } => {
            changes.push(Change::DeletePrefix(Table::Reactions, schema::message(channel, id)));
            Change::Delete(Table::Messages, schema::message(channel, id))
        }
        Row::LastMessage { channel, id } => put(Table::Guilds, part(GuildPart::LastMessage(channel)), &id.0),
        Row::PutReaction(change) => {
            let emoji = Some((&change.emoji).into());
            put(Table::Reactions, reaction(change), &ReactionRow { emoji, epoch: at.epoch.0, offset: at.offset })
        }
        Row::DeleteReaction(change) => Change::Delete(Table::Reactions, reaction(change)),
        Row::PutGuild(guild) => put(Table::Guilds, part(GuildPart::Guild), &v1::Guild::from(guild)),
        Row::Version => put(Table::Guilds, part(GuildPart::Version), &row::version(at)),
        Row::PutChannel(channel) => {
            put(Table::Guilds, part(GuildPart::Channel(channel.id)), &v1::GuildChannel::from(channel))
        }
        Row::DeleteChannel(id) => {
            changes.push(Change::Delete(Table::Guilds, part(GuildPart::LastMessage(id))));
            Change::Delete(Table::Guilds, part(GuildPart::Channel(id)))
        }
        Row::PutRoute(channel) => put(Table::Routes, schema::route(channel), &v1::Key::from(of)),
        Row::DeleteRoute(channel) => Change::Delete(Table::Routes, schema::route(channel)),
        Row::PutRole(role) => put(Table::Guilds, part(GuildPart::Role(role.id)), &v1::Role::from(role)),
        Row::DeleteRole(id) => Change::Delete(Table::Guilds, part(GuildPart::Role(id))),
        Row::PutMember(member) => {
            put(Table::Guilds, part(GuildPart::Member(member.user.id)), &v1::Member::from(member))
        }
        Row::DeleteMember(id) => Change::Delete(Table::Guilds, part(GuildPart::Member(id))),
        Row::PutBan(ban) => put(Table::Guilds, part(GuildPart::Ban(ban.user.id)), &v1::Ban::from(ban)),
        Row::DeleteBan(id) => Change::Delete(Table::Guilds, part(GuildPart::Ban(id))),
        Row::PutUser(user) => put(Table::Users, account(UserPart::User), &v1::User::from(user)),
        Row::PutToken(hash, record) => {
            put(Table::Users, account(UserPart::Token(*hash)), &v1::TokenRecord::from((hash, record)))
        }
        Row::DeleteToken(hash) => Change::Delete(Table::Users, account(UserPart::Token(*hash))),
        Row::PutListing(guild) => Change::Put(Table::Users, account(UserPart::Listing(guild)), Vec::new()),
        Row::DeleteListing(guild) => Change::Delete(Table::Users, account(UserPart::Listing(guild))),
        Row::PutReadState(state) => {
            let part = UserPart::ReadState(state.guild_id, state.channel_id);
            put(Table::Users, account(part), &v1::ReadState::from(state))
        }
        Row::DeleteReadState { guild, channel } => {
            Change::Delete(Table::Users, account(UserPart::ReadState(guild, channel)))
        }
        Row::DeleteReadStates(guild) => {
            let (_, id) = of.parts();
            Change::DeletePrefix(Table::Users, schema::read_states(UserId(id), Some(guild)))
        }
    };
    changes.push(change);
}

fn reaction(change: &ReactionChange) -> Vec<u8> {
    schema::reaction(change.channel_id, change.message_id, &change.emoji, change.user_id)
}
