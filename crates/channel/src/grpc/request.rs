//! Requests as commands.

use std::collections::BTreeMap;

use clarion_model::event::{Event, GuildEvent, ReadStatePut, UserEvent};
use clarion_model::guild::GuildState;
use clarion_model::id::{ChannelId, MessageId, RoleId, UserId};
use clarion_model::key::Key;
use clarion_model::message::{Anchor, Emoji, Nonce};
use clarion_model::user::{ReadState, User};
use clarion_proto::convert::Invalid;
use clarion_proto::v1::{self, list_messages_request};
use tonic::Status;

use super::status::{invalid, refused};
use crate::owner::{AllowedMentions, Command, EditMessage, NewMessage, React, SetVoice};
use crate::refusal::Refusal;

/// A part of a request that has to be there, in the domain's words.
fn part<P, M: TryFrom<P, Error = Invalid>>(part: Option<P>, name: &'static str) -> Result<M, Status> {
    M::try_from(part.ok_or_else(|| Status::invalid_argument(name))?).map_err(|error| invalid(&error))
}

pub(super) fn key(key: Option<v1::Key>) -> Result<Key, Status> {
    part(key, "key")
}

pub(super) fn emoji(emoji: Option<v1::Emoji>) -> Result<Emoji, Status> {
    // What a client reacts with is not checked before it comes here.
    emoji.and_then(|emoji| emoji.try_into().ok()).ok_or_else(|| refused(&Refusal::UNKNOWN_EMOJI))
}

pub(super) fn guild_state(state: Option<v1::GuildState>) -> Result<GuildState, Status> {
    part(state, "state")
}

pub(super) fn user(user: Option<v1::User>) -> Result<User, Status> {
    part(user, "user")
}

pub(super) fn guild_change(change: Option<v1::Event>) -> Result<GuildEvent, Status> {
    match part(change, "change")? {
        Event::Guild(event) => Ok(event),
        Event::User(_) => Err(Status::invalid_argument("not a guild's event")),
    }
}

pub(super) fn user_change(change: Option<v1::Event>) -> Result<UserEvent, Status> {
    match part(change, "change")? {
        Event::User(event) => Ok(event),
        Event::Guild(_) => Err(Status::invalid_argument("not an account's event")),
    }
}

pub(super) fn read_state_put(put: Option<v1::ReadStatePut>) -> Result<ReadStatePut, Status> {
    part(put, "put")
}

/// How far somebody has read, by channel.
pub(super) fn read_states(states: Vec<v1::ReadState>) -> Result<BTreeMap<ChannelId, MessageId>, Status> {
    let states = states.into_iter().map(|state| {
        let state = ReadState::try_from(state)?;
        Ok((state.channel_id, state.last_read_id))
    });
    states.collect::<Result<_, _>>().map_err(|error| invalid(&error))
}

pub(super) fn anchor(anchor: Option<list_messages_request::Anchor>) -> Anchor {
    use list_messages_request::Anchor as Wire;
    match anchor {
        None => Anchor::Latest,
        Some(Wire::Before(id)) => Anchor::Before(MessageId(id)),
        Some(Wire::After(id)) => Anchor::After(MessageId(id)),
        Some(Wire::Around(id)) => Anchor::Around(MessageId(id)),
    }
}

pub(super) fn create_message(request: v1::CreateMessageRequest) -> Result<Command, Status> {
    let nonce = request.nonce.map(Nonce::try_from).transpose().map_err(|error| invalid(&error))?;
    Ok(Command::CreateMessage(NewMessage {
        channel_id: ChannelId(request.channel_id),
        author: UserId(request.author_id),
        content: request.content,
        nonce,
        enforce_nonce: request.enforce_nonce,
        tts: request.tts,
        reply_to: request.reply_to.map(MessageId),
        reply_must_exist: request.reply_must_exist,
        embeds_json: request.embeds_json,
        flags: request.flags,
        allowed_mentions: request.allowed_mentions.map(allowed_mentions),
        // Known when the command is at its turn.
        trace_id: None,
    }))
}

pub(super) fn edit_message(request: v1::EditMessageRequest) -> Command {
    Command::EditMessage(EditMessage {
        channel_id: ChannelId(request.channel_id),
        id: MessageId(request.message_id),
        editor: UserId(request.editor_id),
        content: request.content,
        embeds_json: request.embeds_json,
        flags: request.flags,
        allowed_mentions: request.allowed_mentions.map(allowed_mentions),
    })
}

pub(super) fn react(request: v1::ReactionRequest, add: bool) -> Result<Command, Status> {
    Ok(Command::React(React {
        add,
        channel_id: ChannelId(request.channel_id),
        id: MessageId(request.message_id),
        actor: UserId(request.actor_id),
        user: UserId(request.user_id),
        emoji: emoji(request.emoji)?,
    }))
}

pub(super) fn set_voice(request: v1::SetVoiceStateRequest) -> Command {
    Command::SetVoice(SetVoice {
        user: UserId(request.user_id),
        session_id: request.session_id,
        gateway: request.gateway.into(),
        channel_id: request.channel_id.map(ChannelId),
        self_mute: request.self_mute,
        self_deaf: request.self_deaf,
        again: request.again,
        if_own: request.if_own,
    })
}

fn allowed_mentions(allowed: v1::AllowedMentions) -> AllowedMentions {
    AllowedMentions {
        everyone: allowed.everyone,
        all_users: allowed.all_users,
        all_roles: allowed.all_roles,
        users: allowed.users.into_iter().map(UserId).collect(),
        roles: allowed.roles.into_iter().map(RoleId).collect(),
        replied_user: allowed.replied_user,
    }
}
