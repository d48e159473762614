//! Guilds, accounts and routes, put together from their rows.

use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use clarion_model::guild::{Ban, Channel, GuildState, Member, Role};
use clarion_model::id::{ChannelId, GuildId, MessageId, RoleId, UserId};
use clarion_model::key::Key;
use clarion_model::user::{ReadState, TokenHash, TokenRecord, UserState};
use clarion_observability::metric::Operation;
use clarion_proto::v1;

use super::client::Client;
use super::handle::Handle;
use super::record::value;
use super::schema::{self, guild, user};
use crate::error::ReadError;
use crate::{Guilds, Routes, Users};

const TABLE: &str = "states";

#[async_trait]
impl Guilds for Handle {
    async fn get(&self, id: GuildId) -> Result<Option<GuildState>, ReadError> {
        let read = async {
            let mut state = None;
            parts(&self.client, Key::Guild(id), |part, sub, body| of_guild(&mut state, part, sub, body)).await?;
            Ok(state)
        };
        self.client.query(Operation::ReadState, "range", TABLE, read).await
    }
}

#[async_trait]
impl Users for Handle {
    async fn get(&self, id: UserId) -> Result<Option<UserState>, ReadError> {
        let read = async {
            let mut state = None;
            parts(&self.client, Key::User(id), |part, sub, body| of_user(&mut state, part, sub, body)).await?;
            Ok(state)
        };
        self.client.query(Operation::ReadState, "range", TABLE, read).await
    }
}

#[async_trait]
impl Routes for Handle {
    async fn key_of(&self, channel: ChannelId) -> Result<Option<Key>, ReadError> {
        let read = async {
            let place = (channel.0 as i64,);
            let row: Option<(i8, i64)> =
                self.client.row(self.client.bind(&self.client.statements.route, &place)).await?;
            row.map(|(kind, id)| schema::key_of(kind, id)).transpose()
        };
        self.client.query(Operation::Route, "get", "routes", read).await
    }
}

/// Reads the parts of a state, in order.
async fn parts(
    client: &Client,
    key: Key,
    mut each: impl FnMut(i8, &[u8], &[u8]) -> Result<(), ReadError> + Send,
) -> Result<(), ReadError> {
    let row = |(part, sub, body): (i8, Vec<u8>, Option<Vec<u8>>)| {
        each(part, &sub, &body.unwrap_or_default())?;
        Ok(ControlFlow::Continue(()))
    };
    client.pages(client.bind(&client.statements.state, &schema::key(key)), row).await
}

fn of_guild(state: &mut Option<GuildState>, part: i8, sub: &[u8], body: &[u8]) -> Result<(), ReadError> {
    if part == guild::GUILD {
        let guild = value::<v1::Guild, _>(TABLE, body)?;
        let (roles, channels, members, bans) = Default::default();
        *state = Some(GuildState { guild, roles, channels, members, bans, version: 0 });
        return Ok(());
    }
    // Without its first part there is no guild.
    let Some(state) = state else { return Ok(()) };
    match part {
        guild::VERSION => state.version = number(body)?,
        guild::ROLE => {
            state.roles.insert(RoleId(number(sub)?), value::<v1::Role, Role>(TABLE, body)?);
        }
        guild::CHANNEL => {
            state.channels.insert(ChannelId(number(sub)?), value::<v1::GuildChannel, Channel>(TABLE, body)?);
        }
        guild::LAST_MESSAGE => {
            // A channel that is put again may say less than is known.
            let last = Some(MessageId(number(body)?));
            if let Some(channel) = state.channels.get_mut(&ChannelId(number(sub)?)) {
                channel.last_message_id = channel.last_message_id.max(last);
            }
        }
        guild::MEMBER => {
            let mut member = value::<v1::Member, Member>(TABLE, body)?;
            // A role that was deleted is still in the rows of those who had it.
            member.roles.retain(|role| state.roles.contains_key(role));
            state.members.insert(UserId(number(sub)?), Arc::new(member));
        }
        guild::BAN => {
            state.bans.insert(UserId(number(sub)?), value::<v1::Ban, Ban>(TABLE, body)?);
        }
        other => return Err(ReadError::Damaged(format!("{TABLE}: part {other} of a guild"))),
    }
    Ok(())
}

fn of_user(state: &mut Option<UserState>, part: i8, sub: &[u8], body: &[u8]) -> Result<(), ReadError> {
    if part == user::USER {
        *state = Some(UserState::new(value::<v1::User, _>(TABLE, body)?));
        return Ok(());
    }
    let Some(state) = state else { return Ok(()) };
    match part {
        user::TOKEN => {
            let (hash, kept): (TokenHash, TokenRecord) = value::<v1::TokenRecord, _>(TABLE, body)?;
            state.tokens.insert(hash, kept);
        }
        user::LISTING => {
            state.guilds.insert(GuildId(number(sub)?));
        }
        user::READ_STATE => {
            let read = value::<v1::ReadState, ReadState>(TABLE, body)?;
            state.read_states.insert(read.channel_id, read);
        }
        other => return Err(ReadError::Damaged(format!("{TABLE}: part {other} of an account"))),
    }
    Ok(())
}

fn number(bytes: &[u8]) -> Result<u64, ReadError> {
    let bytes = bytes.try_into().map_err(|_| ReadError::Damaged(format!("{TABLE}: a number")))?;
    Ok(u64::from_be_bytes(bytes))
}
