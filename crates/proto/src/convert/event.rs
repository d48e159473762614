//! Events, logged and transient, and the entries of a log.

use bytes::Bytes;
use clarion_model::event::{Event, GuildEvent, LogEntry, ReactionChange, Transient, UserEvent};
use clarion_model::id::{ChannelId, GuildId, MessageId, RoleId, UserId};

use super::user::token_hash;
use super::{Invalid, at, id, maybe_id, required};
use crate::v1::{self, event::Event as Kind, transient::Event as TransientKind};

impl From<&ReactionChange> for v1::ReactionChange {
    fn from(change: &ReactionChange) -> Self {
        Self {
            channel_id: change.channel_id.0,
            message_id: change.message_id.0,
            message_author_id: change.message_author_id.0,
            user_id: change.user_id.0,
            emoji: Some((&change.emoji).into()),
        }
    }
}

impl TryFrom<v1::ReactionChange> for ReactionChange {
    type Error = Invalid;
    fn try_from(change: v1::ReactionChange) -> Result<Self, Invalid> {
        Ok(Self {
            channel_id: id(change.channel_id, ChannelId, "reaction_change.channel_id")?,
            message_id: id(change.message_id, MessageId, "reaction_change.message_id")?,
            message_author_id: id(change.message_author_id, UserId, "reaction_change.message_author_id")?,
            user_id: id(change.user_id, UserId, "reaction_change.user_id")?,
            emoji: required(change.emoji, "reaction_change.emoji")?.try_into()?,
        })
    }
}

impl From<&GuildEvent> for v1::Event {
    fn from(event: &GuildEvent) -> Self {
        let kind = match event {
            GuildEvent::MessageCreate(view) => Kind::MessageCreate(view.into()),
            GuildEvent::MessageUpdate(view) => Kind::MessageUpdate(view.into()),
            GuildEvent::MessageDelete { channel_id, id } => {
                Kind::MessageDelete(v1::MessageDeleted { channel_id: channel_id.0, id: id.0 })
            }
            GuildEvent::ReactionAdd(change) => Kind::ReactionAdd(change.into()),
            GuildEvent::ReactionRemove(change) => Kind::ReactionRemove(change.into()),
            GuildEvent::GuildPut(guild) => Kind::GuildPut(guild.into()),
            GuildEvent::ChannelPut(channel) => Kind::ChannelPut(channel.into()),
            GuildEvent::ChannelDelete(channel) => Kind::ChannelDelete(channel.0),
            GuildEvent::RolePut(role) => Kind::RolePut(role.into()),
            GuildEvent::RoleDelete(role) => Kind::RoleDelete(role.0),
            GuildEvent::MemberPut(member) => Kind::MemberPut(member.into()),
            GuildEvent::MemberRemove(user) => Kind::MemberRemove(user.into()),
            GuildEvent::BanPut(ban) => Kind::BanPut(ban.into()),
            GuildEvent::BanRemove(user) => Kind::BanRemove(user.into()),
        };
        Self { event: Some(kind) }
    }
}

impl From<&UserEvent> for v1::Event {
    fn from(event: &UserEvent) -> Self {
        let kind = match event {
            UserEvent::Put(user) => Kind::UserPut(user.into()),
            UserEvent::TokenIssued { hash, record } => Kind::TokenIssued((hash, record).into()),
            UserEvent::TokenRevoked { hash } => Kind::TokenRevoked(Bytes::copy_from_slice(&hash.0)),
            UserEvent::GuildJoined(guild) => Kind::GuildJoined(guild.0),
            UserEvent::GuildLeft(guild) => Kind::GuildLeft(guild.0),
            UserEvent::ReadStatePut(put) => Kind::ReadStatePut(put.into()),
            UserEvent::ReadStateDrop { channel_id, guild_id } => Kind::ReadStateDrop(v1::ReadStateDropped {
                channel_id: channel_id.0,
                guild_id: guild_id.map(|guild| guild.0),
            }),
        };
        Self { event: Some(kind) }
    }
}

impl From<&Event> for v1::Event {
    fn from(event: &Event) -> Self {
        match event {
            Event::Guild(event) => event.into(),
            Event::User(event) => event.into(),
        }
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = Invalid;
    fn try_from(event: v1::Event) -> Result<Self, Invalid> {
        let guild = match required(event.event, "event.event")? {
            Kind::MessageCreate(view) => GuildEvent::MessageCreate(view.try_into()?),
            Kind::MessageUpdate(view) => GuildEvent::MessageUpdate(view.try_into()?),
            Kind::MessageDelete(gone) => GuildEvent::MessageDelete {
                channel_id: id(gone.channel_id, ChannelId, "message_delete.channel_id")?,
                id: id(gone.id, MessageId, "message_delete.id")?,
            },
            Kind::ReactionAdd(change) => GuildEvent::ReactionAdd(change.try_into()?),
            Kind::ReactionRemove(change) => GuildEvent::ReactionRemove(change.try_into()?),
            Kind::GuildPut(guild) => GuildEvent::GuildPut(guild.try_into()?),
            Kind::ChannelPut(channel) => GuildEvent::ChannelPut(channel.try_into()?),
            Kind::ChannelDelete(channel) => GuildEvent::ChannelDelete(id(channel, ChannelId, "channel_delete")?),
            Kind::RolePut(role) => GuildEvent::RolePut(role.try_into()?),
            Kind::RoleDelete(role) => GuildEvent::RoleDelete(id(role, RoleId, "role_delete")?),
            Kind::MemberPut(member) => GuildEvent::MemberPut(member.try_into()?),
            Kind::MemberRemove(user) => GuildEvent::MemberRemove(user.try_into()?),
            Kind::BanPut(ban) => GuildEvent::BanPut(ban.try_into()?),
            Kind::BanRemove(user) => GuildEvent::BanRemove(user.try_into()?),
            Kind::UserPut(user) => return Ok(Event::User(UserEvent::Put(user.try_into()?))),
            Kind::TokenIssued(token) => {
                let (hash, record) = token.try_into()?;
                return Ok(Event::User(UserEvent::TokenIssued { hash, record }));
            }
            Kind::TokenRevoked(hash) => {
                let hash = token_hash(&hash, "token_revoked")?;
                return Ok(Event::User(UserEvent::TokenRevoked { hash }));
            }
            Kind::GuildJoined(guild) => {
                return Ok(Event::User(UserEvent::GuildJoined(id(guild, GuildId, "guild_joined")?)));
            }
            Kind::GuildLeft(guild) => {
                return Ok(Event::User(UserEvent::GuildLeft(id(guild, GuildId, "guild_left")?)));
            }
            Kind::ReadStatePut(put) => return Ok(Event::User(UserEvent::ReadStatePut(put.try_into()?))),
            Kind::ReadStateDrop(gone) => {
                return Ok(Event::User(UserEvent::ReadStateDrop {
                    channel_id: id(gone.channel_id, ChannelId, "read_state_drop.channel_id")?,
                    guild_id: maybe_id(gone.guild_id, GuildId, "read_state_drop.guild_id")?,
                }));
            }
        };
        Ok(Event::Guild(guild))
    }
}

impl From<&LogEntry> for v1::LogEntry {
    fn from(entry: &LogEntry) -> Self {
        Self {
            key: Some(entry.key.into()),
            position: Some(entry.position.into()),
            at_us: entry.at.as_micros(),
            traceparent: entry.traceparent.clone(),
            event: Some((&entry.event).into()),
        }
    }
}

impl TryFrom<v1::LogEntry> for LogEntry {
    type Error = Invalid;
    fn try_from(entry: v1::LogEntry) -> Result<Self, Invalid> {
        Ok(Self {
            key: required(entry.key, "log_entry.key")?.try_into()?,
            position: required(entry.position, "log_entry.position")?.into(),
            at: at(entry.at_us),
            traceparent: entry.traceparent,
            event: required(entry.event, "log_entry.event")?.try_into()?,
        })
    }
}

impl From<&Transient> for v1::Transient {
    fn from(event: &Transient) -> Self {
        let kind = match event {
            Transient::Typing { channel_id, user_id, at } => TransientKind::Typing(v1::Typing {
                channel_id: channel_id.0,
                user_id: user_id.0,
                at_us: at.as_micros(),
            }),
            Transient::Voice { state, traceparent } => {
                TransientKind::Voice(v1::VoiceChange { state: Some(state.into()), traceparent: traceparent.clone() })
            }
        };
        Self { event: Some(kind) }
    }
}

impl TryFrom<v1::Transient> for Transient {
    type Error = Invalid;
    fn try_from(event: v1::Transient) -> Result<Self, Invalid> {
        Ok(match required(event.event, "transient.event")? {
            TransientKind::Typing(typing) => Transient::Typing {
                channel_id: id(typing.channel_id, ChannelId, "typing.channel_id")?,
                user_id: id(typing.user_id, UserId, "typing.user_id")?,
                at: at(typing.at_us),
            },
            TransientKind::Voice(change) => Transient::Voice {
                state: required(change.state, "voice.state")?.try_into()?,
                traceparent: change.traceparent,
            },
        })
    }
}
