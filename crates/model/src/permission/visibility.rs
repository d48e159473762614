//! Who sees alike: members of a guild in one class may view the same channels.
//!
//! A class keeps of a member only what can decide visibility. A guild of a hundred thousand has a handful of classes, so
//! an event is matched with classes, not with members. Classes are good for one version of the guild.

use std::collections::BTreeSet;

use super::Permissions;
use super::algorithm::{in_guild, overwritten, roles};
use crate::guild::{GuildState, OverwriteTarget};
use crate::id::{ChannelId, RoleId, UserId};

/// What decides which channels a member may view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Owns or administers the guild: sees every channel.
    Everything,
    /// Sees what roles and overwrites show.
    Selected {
        /// Whether the guild's roles show a channel that says nothing else.
        by_default: bool,
        /// The member's roles that an overwrite shows or hides a channel to, in order.
        roles: Vec<RoleId>,
        /// The member, when an overwrite shows or hides a channel to just them.
        member: Option<UserId>,
    },
}

/// Sorts a guild's members into classes; made once for a version of the guild.
#[derive(Debug)]
pub struct Classes<'a> {
    guild: &'a GuildState,
    targets: BTreeSet<OverwriteTarget>,
}

impl<'a> Classes<'a> {
    /// Finds whom the guild's overwrites show or hide a channel to.
    pub fn new(guild: &'a GuildState) -> Self {
        let targets = guild
            .channels
            .values()
            .flat_map(|channel| &channel.overwrites)
            .filter(|o| o.allow.union(o.deny).contains(Permissions::VIEW_CHANNEL))
            .map(|o| o.target)
            .collect();
        Self { guild, targets }
    }

    /// The class of a member; `None` for who is not one.
    pub fn of(&self, user: UserId) -> Option<Class> {
        let member = self.guild.members.get(&user)?;
        let held = in_guild(self.guild, user)?;
        if held.contains(Permissions::ADMINISTRATOR) {
            return Some(Class::Everything);
        }
        let roles: BTreeSet<_> =
            roles(self.guild, member).filter(|id| self.targets.contains(&OverwriteTarget::Role(*id))).collect();
        Some(Class::Selected {
            by_default: held.contains(Permissions::VIEW_CHANNEL),
            roles: roles.into_iter().collect(),
            member: self.targets.contains(&OverwriteTarget::Member(user)).then_some(user),
        })
    }
}

/// The class of a single member. For many members of one guild, [`Classes`] looks at the overwrites only once.
pub fn class_of(guild: &GuildState, user: UserId) -> Option<Class> {
    Classes::new(guild).of(user)
}

/// Whether members of a class may view a channel: the same answer as [`in_channel`](super::in_channel) gives for each of them.
pub fn can_view(guild: &GuildState, class: &Class, channel: ChannelId) -> bool {
    let Some(channel) = guild.channels.get(&channel) else { return false };
    match class {
        Class::Everything => true,
        Class::Selected { by_default, roles, member } => {
            let base = if *by_default { Permissions::VIEW_CHANNEL } else { Permissions::NONE };
            overwritten(channel, guild.guild.id.everyone(), base, roles, *member).contains(Permissions::VIEW_CHANNEL)
        }
    }
}
