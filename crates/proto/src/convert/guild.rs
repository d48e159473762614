//! Guilds, channels, roles, members.

use std::sync::Arc;

use clarion_model::guild::{
    Ban, Channel, ChannelKind, Guild, GuildState, Member, Overwrite, OverwriteTarget, Role, VoiceSettings,
};
use clarion_model::id::{ChannelId, GuildId, MessageId, RoleId, UserId};
use clarion_model::permission::Permissions;

use super::{Invalid, all, at, each, id, ids, maybe_id, required};
use crate::v1::{self, overwrite::Target};

impl From<&Guild> for v1::Guild {
    fn from(guild: &Guild) -> Self {
        Self { id: guild.id.0, name: guild.name.clone(), owner_id: guild.owner_id.0 }
    }
}

impl TryFrom<v1::Guild> for Guild {
    type Error = Invalid;
    fn try_from(guild: v1::Guild) -> Result<Self, Invalid> {
        Ok(Self {
            id: id(guild.id, GuildId, "guild.id")?,
            name: guild.name,
            owner_id: id(guild.owner_id, UserId, "guild.owner_id")?,
        })
    }
}

impl From<ChannelKind> for v1::ChannelKind {
    fn from(kind: ChannelKind) -> Self {
        match kind {
            ChannelKind::Text => Self::Text,
            ChannelKind::Direct => Self::Direct,
            ChannelKind::Voice => Self::Voice,
            ChannelKind::Category => Self::Category,
        }
    }
}

impl From<v1::ChannelKind> for ChannelKind {
    fn from(kind: v1::ChannelKind) -> Self {
        match kind {
            v1::ChannelKind::Text => Self::Text,
            v1::ChannelKind::Direct => Self::Direct,
            v1::ChannelKind::Voice => Self::Voice,
            v1::ChannelKind::Category => Self::Category,
        }
    }
}

impl From<&Overwrite> for v1::Overwrite {
    fn from(overwrite: &Overwrite) -> Self {
        let target = match overwrite.target {
            OverwriteTarget::Role(role) => Target::Role(role.0),
            OverwriteTarget::Member(user) => Target::Member(user.0),
        };
        Self { target: Some(target), allow: overwrite.allow.0, deny: overwrite.deny.0 }
    }
}

impl TryFrom<v1::Overwrite> for Overwrite {
    type Error = Invalid;
    fn try_from(overwrite: v1::Overwrite) -> Result<Self, Invalid> {
        let target = match required(overwrite.target, "overwrite.target")? {
            Target::Role(role) => OverwriteTarget::Role(id(role, RoleId, "overwrite.role")?),
            Target::Member(user) => OverwriteTarget::Member(id(user, UserId, "overwrite.member")?),
        };
        Ok(Self { target, allow: Permissions(overwrite.allow), deny: Permissions(overwrite.deny) })
    }
}

impl From<&Channel> for v1::GuildChannel {
    fn from(channel: &Channel) -> Self {
        Self {
            id: channel.id.0,
            kind: v1::ChannelKind::from(channel.kind).into(),
            name: channel.name.clone(),
            topic: channel.topic.clone(),
            position: channel.position,
            parent_id: channel.parent_id.map(|parent| parent.0),
            overwrites: each(&channel.overwrites),
            last_message_id: channel.last_message_id.map(|message| message.0),
            user_limit: channel.voice.user_limit,
            bitrate: channel.voice.bitrate,
            rtc_region: channel.voice.rtc_region.clone(),
        }
    }
}

impl TryFrom<v1::GuildChannel> for Channel {
    type Error = Invalid;
    fn try_from(channel: v1::GuildChannel) -> Result<Self, Invalid> {
        let kind = v1::ChannelKind::try_from(channel.kind).map_err(|_| Invalid("channel.kind"))?;
        Ok(Self {
            id: id(channel.id, ChannelId, "channel.id")?,
            kind: kind.into(),
            name: channel.name,
            topic: channel.topic,
            position: channel.position,
            parent_id: maybe_id(channel.parent_id, ChannelId, "channel.parent_id")?,
            overwrites: all(channel.overwrites)?,
            last_message_id: maybe_id(channel.last_message_id, MessageId, "channel.last_message_id")?,
            voice: VoiceSettings {
                user_limit: channel.user_limit,
                bitrate: if channel.bitrate == 0 { VoiceSettings::default().bitrate } else { channel.bitrate },
                rtc_region: channel.rtc_region,
            },
        })
    }
}

impl From<&Role> for v1::Role {
    fn from(role: &Role) -> Self {
        Self {
            id: role.id.0,
            name: role.name.clone(),
            color: role.color,
            hoist: role.hoist,
            position: role.position,
            permissions: role.permissions.0,
            mentionable: role.mentionable,
        }
    }
}

impl TryFrom<v1::Role> for Role {
    type Error = Invalid;
    fn try_from(role: v1::Role) -> Result<Self, Invalid> {
        Ok(Self {
            id: id(role.id, RoleId, "role.id")?,
            name: role.name,
            color: role.color,
            hoist: role.hoist,
            position: role.position,
            permissions: Permissions(role.permissions),
            mentionable: role.mentionable,
        })
    }
}

impl From<&Member> for v1::Member {
    fn from(member: &Member) -> Self {
        Self {
            user: Some((&member.user).into()),
            nick: member.nick.clone(),
            roles: member.roles.iter().map(|role| role.0).collect(),
            joined_at_us: member.joined_at.as_micros(),
            mute: member.mute,
            deaf: member.deaf,
        }
    }
}

impl TryFrom<v1::Member> for Member {
    type Error = Invalid;
    fn try_from(member: v1::Member) -> Result<Self, Invalid> {
        Ok(Self {
            user: required(member.user, "member.user")?.try_into()?,
            nick: member.nick,
            roles: ids(member.roles, RoleId, "member.roles")?,
            joined_at: at(member.joined_at_us),
            mute: member.mute,
            deaf: member.deaf,
        })
    }
}

impl From<&Ban> for v1::Ban {
    fn from(ban: &Ban) -> Self {
        Self { user: Some((&ban.user).into()), reason: ban.reason.clone() }
    }
}

impl TryFrom<v1::Ban> for Ban {
    type Error = Invalid;
    fn try_from(ban: v1::Ban) -> Result<Self, Invalid> {
        Ok(Self { user: required(ban.user, "ban.user")?.try_into()?, reason: ban.reason })
    }
}

impl From<&GuildState> for v1::GuildState {
    fn from(state: &GuildState) -> Self {
        Self {
            guild: Some((&state.guild).into()),
            roles: each(state.roles.values()),
            channels: each(state.channels.values()),
            members: each(state.members.values().map(Arc::as_ref)),
            bans: each(state.bans.values()),
            version: state.version,
        }
    }
}

impl TryFrom<v1::GuildState> for GuildState {
    type Error = Invalid;
    fn try_from(state: v1::GuildState) -> Result<Self, Invalid> {
        let roles: Vec<Role> = all(state.roles)?;
        let channels: Vec<Channel> = all(state.channels)?;
        let members: Vec<Member> = all(state.members)?;
        let bans: Vec<Ban> = all(state.bans)?;
        Ok(Self {
            guild: required(state.guild, "guild_state.guild")?.try_into()?,
            roles: roles.into_iter().map(|role| (role.id, role)).collect(),
            channels: channels.into_iter().map(|channel| (channel.id, channel)).collect(),
            members: members.into_iter().map(|member| (member.user.id, Arc::new(member))).collect(),
            bans: bans.into_iter().map(|ban| (ban.user.id, ban)).collect(),
            version: state.version,
        })
    }
}
