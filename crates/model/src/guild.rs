//! Guilds: what they hold, and how an event changes it. The same state is the owner's truth and a follower's replica.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::GuildEvent;
use crate::id::{ChannelId, GuildId, MessageId, RoleId, UserId};
use crate::permission::Permissions;
use crate::time::Timestamp;
use crate::user::User;

/// A guild by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guild {
    /// Which.
    pub id: GuildId,
    /// Its name, 2–100 characters.
    pub name: String,
    /// Who may do everything.
    pub owner_id: UserId,
}

/// The kinds of channel there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    /// Text in a guild (0).
    Text,
    /// Between people (1).
    Direct,
    /// Voice in a guild (2).
    Voice,
    /// A heading over channels (4).
    Category,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Which.
    pub id: ChannelId,
    /// What kind.
    pub kind: ChannelKind,
    /// Its name, 1–100 characters.
    pub name: String,
    /// What it is about.
    pub topic: Option<String>,
    /// Its place in the list.
    pub position: u32,
    /// The category it stands under.
    pub parent_id: Option<ChannelId>,
    /// Exceptions to the roles' permissions.
    pub overwrites: Vec<Overwrite>,
    /// The newest message ever accepted in it, kept or not.
    pub last_message_id: Option<MessageId>,
    /// How people speak in it, if they do.
    pub voice: VoiceSettings,
}

impl Channel {
    /// A channel in which nothing was said yet, without exceptions, at the top of the list.
    pub fn new(id: ChannelId, kind: ChannelKind, name: impl Into<String>) -> Self {
        Self {
            id,
            kind,
            name: name.into(),
            topic: None,
            position: 0,
            parent_id: None,
            overwrites: Vec::new(),
            last_message_id: None,
            voice: VoiceSettings::default(),
        }
    }
}

/// How people speak in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoiceSettings {
    /// Most people in it; zero for no limit.
    pub user_limit: u32,
    /// Bits a second that each may send.
    pub bitrate: u32,
    /// In which region it is; `None` for wherever it is best.
    pub rtc_region: Option<String>,
}

impl Default for VoiceSettings {
    fn default() -> Self {
        Self { user_limit: 0, bitrate: 64_000, rtc_region: None }
    }
}

/// Whom an overwrite is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OverwriteTarget {
    /// All who have a role.
    Role(RoleId),
    /// One member.
    Member(UserId),
}

/// An exception of a channel to what roles permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overwrite {
    /// For whom.
    pub target: OverwriteTarget,
    /// Permitted here.
    pub allow: Permissions,
    /// Forbidden here.
    pub deny: Permissions,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Which; the guild's own id for the role of everyone.
    pub id: RoleId,
    /// Its name.
    pub name: String,
    /// RGB.
    pub color: u32,
    /// Shown apart in the member list.
    pub hoist: bool,
    /// Its rank.
    pub position: u32,
    /// What it permits in the whole guild.
    pub permissions: Permissions,
    /// Anyone may mention it.
    pub mentionable: bool,
}

/// Somebody's membership of a guild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: User,
    /// Their name here.
    pub nick: Option<String>,
    /// Their roles, without everyone's.
    pub roles: Vec<RoleId>,
    /// Since when.
    pub joined_at: Timestamp,
    /// Not heard in voice channels.
    pub mute: bool,
    /// Hears nothing in voice channels.
    pub deaf: bool,
}

/// Somebody who is not to be a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Who.
    pub user: User,
    /// Why, if that was said; at most [`crate::limits::REASON`] characters.
    pub reason: Option<String>,
}

/// Everything under a guild's key but its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuildState {
    /// The guild.
    pub guild: Guild,
    /// Its roles, everyone's among them.
    pub roles: BTreeMap<RoleId, Role>,
    /// Its channels.
    pub channels: BTreeMap<ChannelId, Channel>,
    /// Its members.
    pub members: BTreeMap<UserId, Arc<Member>>,
    /// Who is not to be one.
    pub bans: BTreeMap<UserId, Ban>,
    /// Rises with every change of what decides visibility: roles, channels, memberships. Not with messages.
    pub version: u64,
}

impl GuildState {
    /// An empty guild, with the role of everyone.
    pub fn new(guild: Guild, everyone: Role) -> Self {
        Self {
            roles: BTreeMap::from([(everyone.id, everyone)]),
            guild,
            channels: BTreeMap::new(),
            members: BTreeMap::new(),
            bans: BTreeMap::new(),
            version: 0,
        }
    }

    /// Applies an event of the guild's log. Events about messages only move `last_message_id`.
    pub fn apply(&mut self, event: &GuildEvent) {
        match event {
            GuildEvent::MessageCreate(view) => {
                if let Some(channel) = self.channels.get_mut(&view.message.channel_id) {
                    channel.last_message_id = Some(view.message.id);
                }
                return;
            }
            GuildEvent::MessageUpdate(_)
            | GuildEvent::MessageDelete { .. }
            | GuildEvent::ReactionAdd { .. }
            | GuildEvent::ReactionRemove { .. } => return,
            GuildEvent::BanPut(ban) => {
                self.bans.insert(ban.user.id, ban.clone());
                return;
            }
            GuildEvent::BanRemove(user) => {
                self.bans.remove(&user.id);
                return;
            }
            GuildEvent::GuildPut(guild) => self.guild = guild.clone(),
            GuildEvent::ChannelPut(channel) => {
                self.channels.insert(channel.id, channel.clone());
            }
            GuildEvent::ChannelDelete(id) => {
                self.channels.remove(id);
            }
            GuildEvent::RolePut(role) => {
                self.roles.insert(role.id, role.clone());
            }
            GuildEvent::RoleDelete(id) => {
                self.roles.remove(id);
                for member in self.members.values_mut().filter(|member| member.roles.contains(id)) {
                    Arc::make_mut(member).roles.retain(|role| role != id);
                }
            }
            GuildEvent::MemberPut(member) => {
                self.members.insert(member.user.id, Arc::new(member.clone()));
            }
            GuildEvent::MemberRemove(user) => {
                self.members.remove(&user.id);
            }
        }
        self.version += 1;
    }
}
