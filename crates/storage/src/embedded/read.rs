//! The nouns that are only read: messages, guilds, accounts, routes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use clarion_model::guild::{Ban, Channel, GuildState, Member, Role};
use clarion_model::id::{ChannelId, GuildId, MessageId, UserId};
use clarion_model::key::{Epoch, Key, Position};
use clarion_model::limits::NONCE_TTL;
use clarion_model::message::{Anchor, Emoji, Message, MessageView, Nonce, Reaction};
use clarion_model::time::Timestamp;
use clarion_model::user::{ReadState, TokenHash, TokenRecord, UserState};
use clarion_observability::metric::Operation;
use clarion_proto::v1;

use super::db::{View, record, value};
use super::handle::Handle;
use super::schema::{self, GuildPart, NonceRow, ReactionRow, Table, TailRow, UserPart};
use crate::error::ReadError;
use crate::{Grown, Guilds, Keys, Messages, Routes, Users};

#[async_trait]
impl Messages for Handle {
    async fn get(&self, channel: ChannelId, id: MessageId) -> Result<Option<MessageView>, ReadError> {
        self.read(Operation::ReadMessage, "get", Table::Messages, move |view| {
            let Some(row) = view.get(Table::Messages, &schema::message(channel, id))? else { return Ok(None) };
            Ok(views(view, channel, vec![value::<v1::Message, _>(Table::Messages, &row)?])?.pop())
        })
        .await
    }

    async fn page(&self, channel: ChannelId, anchor: Anchor, limit: usize) -> Result<Vec<MessageView>, ReadError> {
        self.scan(Operation::ReadHistory, "range", Table::Messages, move |view| {
            let messages = match anchor {
                Anchor::Latest => older(view, channel, Bound::Included(MessageId(u64::MAX)), limit)?,
                Anchor::Before(id) => older(view, channel, Bound::Excluded(id), limit)?,
                Anchor::After(id) => newer(view, channel, id, limit)?,
                Anchor::Around(id) => {
                    let mut around = newer(view, channel, id, limit / 2)?;
                    around.extend(older(view, channel, Bound::Included(id), limit - limit / 2)?);
                    around
                }
            };
            views(view, channel, messages)
        })
        .await
    }

    async fn by_nonce(
        &self,
        channel: ChannelId,
        author: UserId,
        nonce: &Nonce,
    ) -> Result<Option<MessageId>, ReadError> {
        let key = schema::nonce(channel, author, nonce);
        let now = Timestamp::from(SystemTime::now());
        self.read(Operation::ReadNonce, "get", Table::Nonces, move |view| {
            let row: Option<NonceRow> = view.record(Table::Nonces, &key)?;
            let remembered = row.filter(|row| now.since(Timestamp::from_micros(row.at_us)) < NONCE_TTL);
            Ok(remembered.map(|row| MessageId(row.message_id)))
        })
        .await
    }

    async fn count(&self, channel: ChannelId, upto: MessageId) -> Result<u64, ReadError> {
        self.scan(Operation::ReadHistory, "count", Table::Messages, move |view| {
            let (start, end) = (schema::message(channel, MessageId(0)), schema::message(channel, upto));
            let range = (Bound::Included(start.as_slice()), Bound::Included(end.as_slice()));
            view.range(Table::Messages, range).try_fold(0, |count, row| row.map(|_| count + 1))
        })
        .await
    }
}

#[async_trait]
impl Keys for Handle {
    async fn grown(&self, since: u64) -> Result<Grown, ReadError> {
        if let Some((keys, mark)) = self.growth.since(since) {
            return self
                .read(Operation::ReadLog, "tails", Table::Tails, move |view| {
                    let tail = |key| view.record::<TailRow>(Table::Tails, &schema::key(key));
                    let tails = keys.into_iter().map(|key| Ok((key, tail(key)?.unwrap_or_default().tail())));
                    Ok(Grown { keys: tails.collect::<Result<_, ReadError>>()?, mark })
                })
                .await;
        }
        // Before the look: what grows in the meantime is named again.
        let mark = self.growth.mark();
        self.scan(Operation::ReadLog, "tails", Table::Tails, move |view| {
            let mut keys = Vec::new();
            for row in view.prefix(Table::Tails, &[]) {
                let (key, row) = row?;
                let key = schema::log_key(&key).ok_or_else(|| ReadError::Damaged("tails: key".into()))?;
                if !matches!(key, Key::User(_)) {
                    keys.push((key, record::<TailRow>(Table::Tails, &row)?.tail()));
                }
            }
            Ok(Grown { keys, mark })
        })
        .await
    }

    fn growth(&self) -> tokio::sync::watch::Receiver<u64> {
        self.growth.watch()
    }
}

#[async_trait]
impl Guilds for Handle {
    async fn get(&self, id: GuildId) -> Result<Option<GuildState>, ReadError> {
        self.scan(Operation::ReadState, "range", Table::Guilds, move |view| guild(view, Key::Guild(id))).await
    }
}

#[async_trait]
impl Users for Handle {
    async fn get(&self, id: UserId) -> Result<Option<UserState>, ReadError> {
        self.scan(Operation::ReadState, "range", Table::Users, move |view| user(view, id)).await
    }
}

#[async_trait]
impl Routes for Handle {
    async fn key_of(&self, channel: ChannelId) -> Result<Option<Key>, ReadError> {
        self.read(Operation::Route, "get", Table::Routes, move |view| {
            let row = view.get(Table::Routes, &schema::route(channel))?;
            row.map(|row| value::<v1::Key, _>(Table::Routes, &row)).transpose()
        })
        .await
    }
}

/// The newest messages up to an id, newest first.
fn older(view: &View<'_>, channel: ChannelId, upto: Bound<MessageId>, limit: usize) -> Result<Vec<Message>, ReadError> {
    let start = schema::message(channel, MessageId(0));
    let end = upto.map(|id| schema::message(channel, id));
    let range = (Bound::Included(start.as_slice()), end.as_ref().map(Vec::as_slice));
    let rows = view.range(Table::Messages, range).rev().take(limit);
    rows.map(|row| value::<v1::Message, _>(Table::Messages, &row?.1)).collect()
}

/// The oldest messages after an id, newest first.
fn newer(view: &View<'_>, channel: ChannelId, after: MessageId, limit: usize) -> Result<Vec<Message>, ReadError> {
    let start = schema::message(channel, after);
    let end = schema::message(channel, MessageId(u64::MAX));
    let range = (Bound::Excluded(start.as_slice()), Bound::Included(end.as_slice()));
    let rows = view.range(Table::Messages, range).take(limit);
    let mut found: Vec<Message> =
        rows.map(|row| value::<v1::Message, _>(Table::Messages, &row?.1)).collect::<Result<_, _>>()?;
    found.reverse();
    Ok(found)
}

/// Messages, newest first, with their reactions: one look for all of them.
fn views(view: &View<'_>, channel: ChannelId, messages: Vec<Message>) -> Result<Vec<MessageView>, ReadError> {
    let (Some(newest), Some(oldest)) = (messages.first(), messages.last()) else { return Ok(Vec::new()) };
    let start = schema::message(channel, oldest.id);
    let end = schema::after_reactions(channel, newest.id);
    let mut given: BTreeMap<MessageId, Vec<(Position, Emoji, UserId)>> = BTreeMap::new();
    for row in view.range(Table::Reactions, (Bound::Included(&start), Bound::Excluded(&end))) {
        let (key, row) = row?;
        let (message, order, emoji, user) = reaction(&key, &row)?;
        given.entry(message).or_default().push((order, emoji, user));
    }
    let view = |message: Message| {
        let reactions = given.remove(&message.id).map(in_order).unwrap_or_default();
        MessageView { message, reactions, referenced: None }
    };
    Ok(messages.into_iter().map(view).collect())
}

fn reaction(key: &[u8], row: &[u8]) -> Result<(MessageId, Position, Emoji, UserId), ReadError> {
    let damaged = || ReadError::Damaged("reactions".into());
    let message = schema::number(key, 8).map(MessageId).ok_or_else(damaged)?;
    let user = key.len().checked_sub(8).and_then(|at| schema::number(key, at)).map(UserId).ok_or_else(damaged)?;
    let row: ReactionRow = record(Table::Reactions, row)?;
    let order = Position { epoch: Epoch(row.epoch), offset: row.offset };
    let emoji = row.emoji.ok_or_else(damaged)?.try_into().map_err(|_| damaged())?;
    Ok((message, order, emoji, user))
}

/// By kind, the kind whose first is the earliest first; the users of a kind in the order in which they came.
fn in_order(mut given: Vec<(Position, Emoji, UserId)>) -> Vec<Reaction> {
    given.sort_by_key(|(order, ..)| *order);

    let mut kinds: Vec<Reaction> = Vec::new();
    for (_, emoji, user) in given {
        match kinds.iter_mut().find(|kind| kind.emoji == emoji) {
            Some(kind) => kind.users.push(user),
            None => kinds.push(Reaction { emoji, users: vec![user] }),
        }
    }
    kinds
}

fn guild(view: &View<'_>, key: Key) -> Result<Option<GuildState>, ReadError> {
    const TABLE: Table = Table::Guilds;
    let header = view.get(TABLE, &schema::guild(key, GuildPart::Guild))?;
    let Some(header) = header else { return Ok(None) };
    let mut state = GuildState {
        guild: value::<v1::Guild, _>(TABLE, &header)?,
        roles: BTreeMap::new(),
        channels: BTreeMap::new(),
        members: BTreeMap::new(),
        bans: BTreeMap::new(),
        version: 0,
    };
    for row in view.prefix(TABLE, &schema::key(key)) {
        let (key, row) = row?;
        match schema::guild_part(&key).ok_or_else(|| ReadError::Damaged("guilds: key".into()))? {
            GuildPart::Guild => {}
            GuildPart::Version => state.version = record(TABLE, &row)?,
            GuildPart::Role(id) => {
                state.roles.insert(id, value::<v1::Role, Role>(TABLE, &row)?);
            }
            GuildPart::Channel(id) => {
                state.channels.insert(id, value::<v1::GuildChannel, Channel>(TABLE, &row)?);
            }
            GuildPart::LastMessage(id) => {
                // Comes after the channels. A channel that is put again may say less than is known.
                let last = Some(MessageId(record(TABLE, &row)?));
                if let Some(channel) = state.channels.get_mut(&id) {
                    channel.last_message_id = channel.last_message_id.max(last);
                }
            }
            GuildPart::Member(id) => {
                let mut member = value::<v1::Member, Member>(TABLE, &row)?;
                // Roles come before the members. One that was deleted is still in the rows of those who had it.
                member.roles.retain(|role| state.roles.contains_key(role));
                state.members.insert(id, Arc::new(member));
            }
            GuildPart::Ban(id) => {
                state.bans.insert(id, value::<v1::Ban, Ban>(TABLE, &row)?);
            }
        }
    }
    Ok(Some(state))
}

fn user(view: &View<'_>, id: UserId) -> Result<Option<UserState>, ReadError> {
    const TABLE: Table = Table::Users;
    let Some(header) = view.get(TABLE, &schema::user(id, UserPart::User))? else { return Ok(None) };
    let mut state = UserState::new(value::<v1::User, _>(TABLE, &header)?);
    for row in view.prefix(TABLE, &schema::account(id)) {
        let (key, row) = row?;
        match schema::user_part(&key).ok_or_else(|| ReadError::Damaged("users: key".into()))? {
            UserPart::User => {}
            UserPart::Token(_) => {
                let (hash, kept): (TokenHash, TokenRecord) = value::<v1::TokenRecord, _>(TABLE, &row)?;
                state.tokens.insert(hash, kept);
            }
            UserPart::Listing(guild) => {
                state.guilds.insert(guild);
            }
            UserPart::ReadState(_, channel) => {
                state.read_states.insert(channel, value::<v1::ReadState, ReadState>(TABLE, &row)?);
            }
        }
    }
    Ok(Some(state))
}
