//! The published algorithm: what a member may do in a guild, and in one of its channels.

use super::Permissions;
use crate::guild::{Channel, GuildState, Member, OverwriteTarget};
use crate::id::{ChannelId, RoleId, UserId};

/// What means nothing where one may not write.
const WRITING: Permissions = Permissions::MENTION_EVERYONE
    .union(Permissions::SEND_TTS_MESSAGES)
    .union(Permissions::ATTACH_FILES)
    .union(Permissions::EMBED_LINKS);

/// What a member may do in the guild as a whole; `None` for who is not a member.
pub fn in_guild(guild: &GuildState, user: UserId) -> Option<Permissions> {
    let member = guild.members.get(&user)?;
    if guild.guild.owner_id == user {
        return Some(Permissions::ALL);
    }
    let everyone = guild.guild.id.everyone();
    let held = std::iter::once(everyone)
        .chain(roles(guild, member))
        .filter_map(|id| guild.roles.get(&id))
        .fold(Permissions::NONE, |held, role| held.union(role.permissions));
    Some(if held.contains(Permissions::ADMINISTRATOR) { Permissions::ALL } else { held })
}

/// What a member may do in a channel; `None` for who is not a member, or without the channel.
///
/// What follows from something missing is missing too: who may not view may do nothing, who may not write may not
/// mention everyone, attach, embed or have read aloud.
pub fn in_channel(guild: &GuildState, user: UserId, channel: ChannelId) -> Option<Permissions> {
    let member = guild.members.get(&user)?;
    let channel = guild.channels.get(&channel)?;
    let base = in_guild(guild, user)?;
    if base.contains(Permissions::ADMINISTRATOR) {
        return Some(Permissions::ALL);
    }
    let roles: Vec<_> = roles(guild, member).collect();
    let explicit = overwritten(channel, guild.guild.id.everyone(), base, &roles, Some(user));
    Some(if !explicit.contains(Permissions::VIEW_CHANNEL) {
        Permissions::NONE
    } else if !explicit.contains(Permissions::SEND_MESSAGES) {
        explicit.difference(WRITING)
    } else {
        explicit
    })
}

/// The roles of a member that still exist, without everyone's.
pub(super) fn roles(guild: &GuildState, member: &Member) -> impl Iterator<Item = RoleId> {
    let everyone = guild.guild.id.everyone();
    member.roles.iter().copied().filter(move |id| *id != everyone && guild.roles.contains_key(id))
}

/// Applies a channel's overwrites: everyone's, then those of all roles together, then the member's own. Each time
/// what is forbidden goes first, so that of two roles the one that permits wins.
pub(super) fn overwritten(
    channel: &Channel,
    everyone: RoleId,
    base: Permissions,
    roles: &[RoleId],
    user: Option<UserId>,
) -> Permissions {
    let steps: [&dyn Fn(OverwriteTarget) -> bool; 3] = [
        &|target| target == OverwriteTarget::Role(everyone),
        &|target| matches!(target, OverwriteTarget::Role(id) if roles.contains(&id)),
        &|target| matches!(target, OverwriteTarget::Member(id) if Some(id) == user),
    ];
    steps.iter().fold(base, |held, applies| {
        let (mut deny, mut allow) = (Permissions::NONE, Permissions::NONE);
        for overwrite in channel.overwrites.iter().filter(|o| applies(o.target)) {
            deny = deny.union(overwrite.deny);
            allow = allow.union(overwrite.allow);
        }
        held.difference(deny).union(allow)
    })
}

#[cfg(test)]
mod tests;
