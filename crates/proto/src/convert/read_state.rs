//! How far people have read, and what is unread behind it.

use clarion_model::event::{ReadStatePut, Unread};
use clarion_model::id::{ChannelId, GuildId, MessageId};
use clarion_model::user::ReadState;

use super::{Invalid, id, maybe_id, required};
use crate::v1;

impl From<&ReadState> for v1::ReadState {
    fn from(state: &ReadState) -> Self {
        Self {
            channel_id: state.channel_id.0,
            last_read_id: state.last_read_id.0,
            guild_id: state.guild_id.map(|guild| guild.0),
        }
    }
}

impl TryFrom<v1::ReadState> for ReadState {
    type Error = Invalid;
    fn try_from(state: v1::ReadState) -> Result<Self, Invalid> {
        Ok(Self {
            channel_id: id(state.channel_id, ChannelId, "read_state.channel_id")?,
            guild_id: maybe_id(state.guild_id, GuildId, "read_state.guild_id")?,
            // Zero is before every message.
            last_read_id: MessageId(state.last_read_id),
        })
    }
}

impl From<&Unread> for v1::Unread {
    fn from(unread: &Unread) -> Self {
        Self {
            messages: unread.messages,
            mentions: unread.mentions,
            last_message_id: unread.last_message_id.map(|last| last.0),
        }
    }
}

impl TryFrom<v1::Unread> for Unread {
    type Error = Invalid;
    fn try_from(unread: v1::Unread) -> Result<Self, Invalid> {
        Ok(Self {
            messages: unread.messages,
            mentions: unread.mentions,
            last_message_id: maybe_id(unread.last_message_id, MessageId, "unread.last_message_id")?,
        })
    }
}

impl From<&ReadStatePut> for v1::ReadStatePut {
    fn from(put: &ReadStatePut) -> Self {
        Self { state: Some((&put.state).into()), unread: Some((&put.unread).into()) }
    }
}

impl TryFrom<v1::ReadStatePut> for ReadStatePut {
    type Error = Invalid;
    fn try_from(put: v1::ReadStatePut) -> Result<Self, Invalid> {
        Ok(Self {
            state: required(put.state, "read_state_put.state")?.try_into()?,
            unread: required(put.unread, "read_state_put.unread")?.try_into()?,
        })
    }
}
