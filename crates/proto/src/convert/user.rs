//! Accounts and their tokens.

use bytes::Bytes;
use clarion_model::id::{GuildId, UserId};
use clarion_model::user::{ReadState, TokenHash, TokenRecord, User, UserState};

use super::{Invalid, all, at, each, id, ids, required};
use crate::v1;

/// The state of an account. `with_tokens` for the store; without them for followers, who must never see even a hash.
pub fn user_state(state: &UserState, with_tokens: bool) -> v1::UserState {
    let tokens = if with_tokens { state.tokens.iter().map(v1::TokenRecord::from).collect() } else { Vec::new() };
    v1::UserState {
        user: Some((&state.user).into()),
        tokens,
        guilds: state.guilds.iter().map(|guild| guild.0).collect(),
        read_states: each(state.read_states.values()),
    }
}

/// A token's hash, from its 32 bytes.
pub(super) fn token_hash(hash: &Bytes, field: &'static str) -> Result<TokenHash, Invalid> {
    hash.as_ref().try_into().map(TokenHash).map_err(|_| Invalid(field))
}

impl From<&User> for v1::User {
    fn from(user: &User) -> Self {
        Self { id: user.id.0, username: user.username.clone(), global_name: user.global_name.clone(), bot: user.bot }
    }
}

impl TryFrom<v1::User> for User {
    type Error = Invalid;
    fn try_from(user: v1::User) -> Result<Self, Invalid> {
        Ok(Self {
            id: id(user.id, UserId, "user.id")?,
            username: user.username,
            global_name: user.global_name,
            bot: user.bot,
        })
    }
}

impl From<(&TokenHash, &TokenRecord)> for v1::TokenRecord {
    fn from((hash, record): (&TokenHash, &TokenRecord)) -> Self {
        Self {
            hash: Bytes::copy_from_slice(&hash.0),
            label: record.label.clone(),
            issued_at_us: record.issued_at.as_micros(),
        }
    }
}

impl TryFrom<v1::TokenRecord> for (TokenHash, TokenRecord) {
    type Error = Invalid;
    fn try_from(token: v1::TokenRecord) -> Result<Self, Invalid> {
        let hash = token_hash(&token.hash, "token_record.hash")?;
        Ok((hash, TokenRecord { label: token.label, issued_at: at(token.issued_at_us) }))
    }
}

impl TryFrom<v1::UserState> for UserState {
    type Error = Invalid;
    fn try_from(state: v1::UserState) -> Result<Self, Invalid> {
        Ok(Self {
            user: required(state.user, "user_state.user")?.try_into()?,
            tokens: state.tokens.into_iter().map(TryInto::try_into).collect::<Result<_, Invalid>>()?,
            guilds: ids(state.guilds, GuildId, "user_state.guilds")?,
            read_states: all::<_, ReadState>(state.read_states)?.into_iter().map(|s| (s.channel_id, s)).collect(),
        })
    }
}
