//! Messages, reactions, nonces.

use bytes::Bytes;
use clarion_model::id::{ChannelId, GuildId, MessageId, RoleId, UserId};
use clarion_model::message::{Emoji, Message, MessageView, Nonce, Reaction, TraceId};

use super::{Invalid, all, at, each, id, ids, maybe_id, required};
use crate::v1::{self, nonce::Kind};

impl From<&Nonce> for v1::Nonce {
    fn from(nonce: &Nonce) -> Self {
        let kind = match nonce {
            Nonce::Text(text) => Kind::Text(text.clone()),
            Nonce::Number(number) => Kind::Number(*number),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Nonce> for Nonce {
    type Error = Invalid;
    fn try_from(nonce: v1::Nonce) -> Result<Self, Invalid> {
        Ok(match required(nonce.kind, "nonce.kind")? {
            Kind::Text(text) => Nonce::Text(text),
            Kind::Number(number) => Nonce::Number(number),
        })
    }
}

/// A trace's id, from its 16 bytes.
fn trace_id(bytes: Bytes) -> Result<TraceId, Invalid> {
    bytes.as_ref().try_into().map(TraceId).map_err(|_| Invalid("message.trace_id"))
}

impl From<&Message> for v1::Message {
    fn from(message: &Message) -> Self {
        Self {
            id: message.id.0,
            channel_id: message.channel_id.0,
            guild_id: message.guild_id.map(|guild| guild.0),
            author: Some((&message.author).into()),
            content: message.content.clone(),
            at_us: message.at.as_micros(),
            edited_at_us: message.edited_at.map(|edited| edited.as_micros()),
            tts: message.tts,
            mention_everyone: message.mention_everyone,
            mentions: each(&message.mentions),
            mention_roles: message.mention_roles.iter().map(|role| role.0).collect(),
            reply_to: message.reply_to.map(|id| id.0),
            embeds_json: message.embeds_json.clone(),
            flags: message.flags,
            nonce: message.nonce.as_ref().map(Into::into),
            trace_id: message.trace_id.map(|trace| Bytes::copy_from_slice(&trace.0)),
        }
    }
}

impl TryFrom<v1::Message> for Message {
    type Error = Invalid;
    fn try_from(message: v1::Message) -> Result<Self, Invalid> {
        Ok(Self {
            id: id(message.id, MessageId, "message.id")?,
            channel_id: id(message.channel_id, ChannelId, "message.channel_id")?,
            guild_id: maybe_id(message.guild_id, GuildId, "message.guild_id")?,
            author: required(message.author, "message.author")?.try_into()?,
            content: message.content,
            at: at(message.at_us),
            edited_at: message.edited_at_us.map(at),
            tts: message.tts,
            mention_everyone: message.mention_everyone,
            mentions: all(message.mentions)?,
            mention_roles: ids(message.mention_roles, RoleId, "message.mention_roles")?,
            reply_to: maybe_id(message.reply_to, MessageId, "message.reply_to")?,
            embeds_json: message.embeds_json,
            flags: message.flags,
            nonce: message.nonce.map(TryInto::try_into).transpose()?,
            trace_id: message.trace_id.map(trace_id).transpose()?,
        })
    }
}

impl From<&Emoji> for v1::Emoji {
    fn from(emoji: &Emoji) -> Self {
        Self { id: emoji.id, name: emoji.name.clone() }
    }
}

impl TryFrom<v1::Emoji> for Emoji {
    type Error = Invalid;
    fn try_from(emoji: v1::Emoji) -> Result<Self, Invalid> {
        Ok(Self { id: maybe_id(emoji.id, |id| id, "emoji.id")?, name: emoji.name })
    }
}

impl From<&Reaction> for v1::Reaction {
    fn from(reaction: &Reaction) -> Self {
        Self { emoji: Some((&reaction.emoji).into()), users: reaction.users.iter().map(|user| user.0).collect() }
    }
}

impl TryFrom<v1::Reaction> for Reaction {
    type Error = Invalid;
    fn try_from(reaction: v1::Reaction) -> Result<Self, Invalid> {
        Ok(Self {
            emoji: required(reaction.emoji, "reaction.emoji")?.try_into()?,
            users: ids(reaction.users, UserId, "reaction.users")?,
        })
    }
}

impl From<&MessageView> for v1::MessageView {
    fn from(view: &MessageView) -> Self {
        Self {
            message: Some((&view.message).into()),
            reactions: each(&view.reactions),
            referenced: view.referenced.as_deref().map(|referenced| Box::new(referenced.into())),
        }
    }
}

impl TryFrom<v1::MessageView> for MessageView {
    type Error = Invalid;
    fn try_from(view: v1::MessageView) -> Result<Self, Invalid> {
        Ok(Self {
            message: required(view.message, "message_view.message")?.try_into()?,
            reactions: all(view.reactions)?,
            // No deeper than the decoder lets a message nest.
            referenced: view.referenced.map(|r| MessageView::try_from(*r).map(Box::new)).transpose()?,
        })
    }
}
