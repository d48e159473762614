//! Who may do what: the checks that every command and every read begins with.

use clarion_model::guild::{Channel, ChannelKind, GuildState};
use clarion_model::id::{ChannelId, UserId};
use clarion_model::permission::{Permissions, in_channel, in_guild};

use crate::refusal::Refusal;

/// In whose name something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actor {
    /// Whoever runs the platform: may do everything.
    Operator,
    /// A user.
    User(UserId),
}

impl Actor {
    /// As requests say it: zero is the operator.
    pub(crate) fn from_wire(id: u64) -> Self {
        if id == 0 { Actor::Operator } else { Actor::User(UserId(id)) }
    }

    /// The user; an operator is none.
    pub(crate) fn user(self) -> Option<UserId> {
        match self {
            Actor::Operator => None,
            Actor::User(id) => Some(id),
        }
    }
}

/// A channel that the user may know of, and what they may do in it.
pub(crate) fn visible(
    guild: &GuildState,
    user: UserId,
    channel: ChannelId,
) -> Result<(&Channel, Permissions), Refusal> {
    let found = guild.channels.get(&channel).ok_or(Refusal::UNKNOWN_CHANNEL)?;
    match in_channel(guild, user, channel) {
        Some(held) if held.contains(Permissions::VIEW_CHANNEL) => Ok((found, held)),
        _ => Err(Refusal::MISSING_ACCESS),
    }
}

/// The same, of a channel that holds messages.
pub(crate) fn readable(guild: &GuildState, user: UserId, channel: ChannelId) -> Result<Permissions, Refusal> {
    let (channel, held) = visible(guild, user, channel)?;
    if channel.kind == ChannelKind::Category { Err(Refusal::NOT_A_TEXT_CHANNEL) } else { Ok(held) }
}

/// The channels whose history a member may read.
pub(crate) fn history(guild: &GuildState, user: UserId) -> Result<impl Iterator<Item = ChannelId>, Refusal> {
    guild_wide(guild, Actor::User(user))?;
    let readable = move |id: &ChannelId| {
        readable(guild, user, *id).is_ok_and(|held| held.contains(Permissions::READ_MESSAGE_HISTORY))
    };
    Ok(guild.channels.keys().copied().filter(readable))
}

/// What an actor may do in the guild as a whole.
pub(crate) fn guild_wide(guild: &GuildState, actor: Actor) -> Result<Permissions, Refusal> {
    match actor {
        Actor::Operator => Ok(Permissions::ALL),
        Actor::User(id) => in_guild(guild, id).ok_or(Refusal::MISSING_ACCESS),
    }
}

/// Refuses who may not take back what somebody said in a channel: it is for who may ban, and of who is banned.
pub(crate) fn purge(guild: &GuildState, actor: Actor, author: UserId, channel: ChannelId) -> Result<(), Refusal> {
    require(guild_wide(guild, actor)?, Permissions::BAN_MEMBERS)?;
    if !guild.bans.contains_key(&author) {
        return Err(Refusal::UNKNOWN_BAN);
    }
    match guild.channels.get(&channel).map(|channel| channel.kind) {
        None => Err(Refusal::UNKNOWN_CHANNEL),
        Some(ChannelKind::Category) => Err(Refusal::NOT_A_TEXT_CHANNEL),
        Some(_) => Ok(()),
    }
}

/// Refuses who lacks a permission.
pub(crate) fn require(held: Permissions, needed: Permissions) -> Result<(), Refusal> {
    if held.contains(needed) { Ok(()) } else { Err(Refusal::MISSING_PERMISSIONS) }
}

/// The rank of an actor: the place of their highest role. Owners and operators stand above all.
pub(crate) fn rank(guild: &GuildState, actor: Actor) -> Rank {
    match actor {
        Actor::Operator => Rank::Top,
        Actor::User(id) if id == guild.guild.owner_id => Rank::Top,
        Actor::User(id) => {
            let roles = guild.members.get(&id).map_or(&[][..], |member| &member.roles);
            Rank::At(roles.iter().filter_map(|id| guild.roles.get(id)).map(|role| role.position).max().unwrap_or(0))
        }
    }
}

/// How high somebody stands; only who is lower can be acted upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// At the place of a role.
    At(u32),
    /// Above every role.
    Top,
}

/// Refuses to act upon who does not stand lower.
pub(crate) fn require_above(actor: Rank, target: Rank) -> Result<(), Refusal> {
    if actor > target || actor == Rank::Top { Ok(()) } else { Err(Refusal::MISSING_PERMISSIONS) }
}
