//! The structure of a guild: itself, its channels, roles and members. One event at a time, after checking who asks.

use std::collections::BTreeMap;

use clarion_model::event::{Event, GuildEvent};
use clarion_model::guild::{Ban, Channel, ChannelKind, Guild, GuildState, Member, OverwriteTarget, Role};
use clarion_model::id::{ChannelId, RoleId};
use clarion_model::key::Key;
use clarion_model::limits;
use clarion_model::permission::Permissions;
use clarion_model::time::Timestamp;
use clarion_model::user::User;

use super::access::{self, Actor, Rank, rank, require, require_above};
use super::{Answer, Found, Outcome, Owner, State};
use crate::refusal::Refusal;

const TOPIC: usize = 1_024;
const NICK: usize = 32;

/// A guild of which nothing is known but itself.
pub(super) fn bare(guild: Guild) -> GuildState {
    GuildState {
        guild,
        roles: BTreeMap::new(),
        channels: BTreeMap::new(),
        members: BTreeMap::new(),
        bans: BTreeMap::new(),
        // The event that makes a guild is its first change.
        version: 1,
    }
}

impl Owner {
    pub(super) fn create_guild(&mut self, now: Timestamp, new: GuildState, found: Found) -> Result<Outcome, Refusal> {
        if let State::Guild(there) = &self.truth.read().state {
            return Ok(Outcome::Answer(Answer::Guild(there.clone())));
        }
        check_new(self.key, &new, &found)?;
        let mut events = vec![GuildEvent::GuildPut(new.guild)];
        events.extend(new.roles.into_values().map(GuildEvent::RolePut));
        // Categories first: a channel stands under one that exists.
        let (categories, others): (Vec<_>, Vec<_>) =
            new.channels.into_values().partition(|channel| channel.kind == ChannelKind::Category);
        events.extend(categories.into_iter().chain(others).map(GuildEvent::ChannelPut));
        events.extend(new.members.into_values().map(|member| GuildEvent::MemberPut((*member).clone())));
        let mut made = State::Absent;
        let events: Vec<Event> = events.into_iter().map(Event::Guild).collect();
        events.iter().for_each(|event| made.apply(event));
        let answer = match made {
            State::Guild(guild) => Answer::Guild(guild),
            _ => Answer::Done,
        };
        Ok(self.write(now, events, None, answer))
    }

    pub(super) fn change_guild(
        &mut self,
        now: Timestamp,
        actor: Actor,
        change: GuildEvent,
        found: Found,
    ) -> Result<Outcome, Refusal> {
        let (change, leaver) = {
            let truth = self.truth.read();
            let guild = truth.state.guild()?;
            if let GuildEvent::MemberPut(new) = &change
                && let Some(old) = guild.members.get(&new.user.id)
            {
                self.check_silence(guild, actor, old, new)?;
            }
            let change = check_change(guild, actor, change, &found)?;
            let leaver = change.as_ref().and_then(|change| leaver(guild, change));
            (change, leaver)
        };
        Ok(match change {
            Some(change) => {
                let events = leaver.into_iter().chain([change]).map(Event::Guild);
                self.write(now, events.collect(), None, Answer::Done)
            }
            None => Outcome::Answer(Answer::Done),
        })
    }
}

/// Who is banned is no member any more, in the same write.
fn leaver(guild: &GuildState, change: &GuildEvent) -> Option<GuildEvent> {
    let GuildEvent::BanPut(ban) = change else { return None };
    guild.members.get(&ban.user.id).map(|member| GuildEvent::MemberRemove(member.user.clone()))
}

fn check_new(key: Key, new: &GuildState, found: &Found) -> Result<(), Refusal> {
    let guild = &new.guild;
    if key != Key::Guild(guild.id) {
        return Err(Refusal::UNKNOWN_GUILD);
    }
    check_name("name", &guild.name, 2)?;
    if found.foreign_channel {
        return Err(Refusal::field("channels", "ID_TAKEN", "A channel with this id exists elsewhere."));
    }
    if new.channels.len() > limits::CHANNELS_PER_GUILD {
        return Err(Refusal::TOO_MANY_CHANNELS);
    }
    if new.roles.len() > limits::ROLES_PER_GUILD {
        return Err(Refusal::TOO_MANY_ROLES);
    }
    if !new.members.contains_key(&guild.owner_id) {
        return Err(Refusal::field("owner_id", "NOT_A_MEMBER", "The owner must be a member."));
    }
    if !new.roles.contains_key(&guild.id.everyone()) {
        return Err(Refusal::field("roles", "EVERYONE_MISSING", "The role of everyone must be there."));
    }
    new.roles.values().try_for_each(|role| check_name("roles.name", &role.name, 1))?;
    new.channels.values().try_for_each(|channel| check_channel(new, channel))
}

/// The event that is to be written, or nothing when it would change nothing.
fn check_change(
    guild: &GuildState,
    actor: Actor,
    change: GuildEvent,
    found: &Found,
) -> Result<Option<GuildEvent>, Refusal> {
    let held = access::guild_wide(guild, actor)?;
    match change {
        GuildEvent::GuildPut(new) => put_guild(guild, actor, held, new),
        GuildEvent::ChannelPut(new) => put_channel(guild, actor, held, new, found),
        GuildEvent::ChannelDelete(id) => delete_channel(guild, actor, held, id),
        GuildEvent::RolePut(new) => put_role(guild, actor, held, new),
        GuildEvent::RoleDelete(id) => delete_role(guild, actor, held, id),
        GuildEvent::MemberPut(new) => put_member(guild, actor, held, new),
        GuildEvent::MemberRemove(user) => remove_member(guild, actor, held, &user),
        GuildEvent::BanPut(ban) => put_ban(guild, actor, held, ban),
        GuildEvent::BanRemove(user) => {
            require(held, Permissions::BAN_MEMBERS)?;
            let ban = guild.bans.get(&user.id).ok_or(Refusal::UNKNOWN_BAN)?;
            Ok(Some(GuildEvent::BanRemove(ban.user.clone())))
        }
        GuildEvent::MessageCreate(_)
        | GuildEvent::MessageUpdate(_)
        | GuildEvent::MessageDelete { .. }
        | GuildEvent::ReactionAdd(_)
        | GuildEvent::ReactionRemove(_) => {
            Err(Refusal::field("change", "BASE_TYPE_CHOICES", "Messages and reactions are no structure of a guild."))
        }
    }
}

fn put_guild(guild: &GuildState, actor: Actor, held: Permissions, new: Guild) -> Result<Option<GuildEvent>, Refusal> {
    if new.id != guild.guild.id {
        return Err(Refusal::UNKNOWN_GUILD);
    }
    require(held, Permissions::MANAGE_GUILD)?;
    check_name("name", &new.name, 2)?;
    if new.owner_id != guild.guild.owner_id {
        if rank(guild, actor) != Rank::Top {
            return Err(Refusal::MISSING_PERMISSIONS);
        }
        if !guild.members.contains_key(&new.owner_id) {
            return Err(Refusal::field("owner_id", "NOT_A_MEMBER", "The owner must be a member."));
        }
    }
    Ok((new != guild.guild).then_some(GuildEvent::GuildPut(new)))
}

fn put_channel(
    guild: &GuildState,
    actor: Actor,
    held: Permissions,
    mut new: Channel,
    found: &Found,
) -> Result<Option<GuildEvent>, Refusal> {
    let old = guild.channels.get(&new.id);
    let held = match (old, actor) {
        (Some(old), Actor::User(user)) => access::visible(guild, user, old.id)?.1,
        _ => held,
    };
    require(held, Permissions::MANAGE_CHANNELS)?;
    match old {
        Some(old) if old.kind != new.kind => {
            return Err(Refusal::field("type", "BASE_TYPE_CHOICES", "The type of a channel cannot change."));
        }
        Some(old) => new.last_message_id = old.last_message_id,
        None if found.foreign_channel => {
            return Err(Refusal::field("id", "ID_TAKEN", "A channel with this id exists elsewhere."));
        }
        None if guild.channels.len() >= limits::CHANNELS_PER_GUILD => return Err(Refusal::TOO_MANY_CHANNELS),
        None => new.last_message_id = None,
    }
    check_channel(guild, &new)?;
    // Who may set overwrites can give and take only what they have.
    for overwrite in &new.overwrites {
        let before = old.and_then(|old| old.overwrites.iter().find(|o| o.target == overwrite.target));
        let (allow, deny) = before.map_or_else(Default::default, |before| (before.allow, before.deny));
        let touched = Permissions(((allow.0 ^ overwrite.allow.0) | (deny.0 ^ overwrite.deny.0)) & Permissions::ALL.0);
        if touched != Permissions::NONE {
            require(held, Permissions::MANAGE_ROLES.union(touched))?;
        }
    }
    let dropped = |old: &Channel| old.overwrites.iter().any(|o| !new.overwrites.iter().any(|n| n.target == o.target));
    if old.is_some_and(dropped) {
        require(held, Permissions::MANAGE_ROLES)?;
    }
    Ok((old != Some(&new)).then_some(GuildEvent::ChannelPut(new)))
}

fn check_channel(guild: &GuildState, channel: &Channel) -> Result<(), Refusal> {
    check_name("name", &channel.name, 1)?;
    if channel.kind == ChannelKind::Direct {
        return Err(Refusal::field("type", "BASE_TYPE_CHOICES", "Not a type of guild channels."));
    }
    if channel.topic.as_ref().is_some_and(|topic| topic.chars().count() > TOPIC) {
        return Err(Refusal::too_long("topic", TOPIC));
    }
    if let Some(parent) = channel.parent_id {
        let is_category = guild.channels.get(&parent).is_some_and(|parent| parent.kind == ChannelKind::Category);
        if !is_category || channel.kind == ChannelKind::Category {
            return Err(Refusal::field(
                "parent_id",
                "CHANNEL_PARENT_INVALID_TYPE",
                "Not a category that this channel can stand under.",
            ));
        }
    }
    if channel.overwrites.len() > limits::OVERWRITES_PER_CHANNEL {
        return Err(Refusal::TOO_MANY_OVERWRITES);
    }
    let mut targets: Vec<OverwriteTarget> = channel.overwrites.iter().map(|o| o.target).collect();
    targets.sort_unstable();
    if targets.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::field("permission_overwrites", "DUPLICATE", "Two overwrites have the same target."));
    }
    Ok(())
}

fn delete_channel(
    guild: &GuildState,
    actor: Actor,
    held: Permissions,
    id: ChannelId,
) -> Result<Option<GuildEvent>, Refusal> {
    let held = match actor {
        Actor::Operator if guild.channels.contains_key(&id) => held,
        Actor::Operator => return Err(Refusal::UNKNOWN_CHANNEL),
        Actor::User(user) => access::visible(guild, user, id)?.1,
    };
    require(held, Permissions::MANAGE_CHANNELS)?;
    Ok(Some(GuildEvent::ChannelDelete(id)))
}

fn put_role(guild: &GuildState, actor: Actor, held: Permissions, new: Role) -> Result<Option<GuildEvent>, Refusal> {
    require(held, Permissions::MANAGE_ROLES)?;
    check_name("name", &new.name, 1)?;
    let (top, old) = (rank(guild, actor), guild.roles.get(&new.id));
    if new.id == guild.guild.id.everyone() {
        if new.position != 0 {
            return Err(Refusal::field("position", "BASE_TYPE_CHOICES", "The role of everyone stands lowest."));
        }
    } else {
        require_above(top, Rank::At(new.position))?;
        if let Some(old) = old {
            require_above(top, Rank::At(old.position))?;
        }
    }
    if old.is_none() && guild.roles.len() >= limits::ROLES_PER_GUILD {
        return Err(Refusal::TOO_MANY_ROLES);
    }
    let before = old.map_or(Permissions::NONE, |old| old.permissions);
    if top != Rank::Top {
        require(held, Permissions(before.0 ^ new.permissions.0))?;
    }
    Ok((old != Some(&new)).then_some(GuildEvent::RolePut(new)))
}

fn delete_role(guild: &GuildState, actor: Actor, held: Permissions, id: RoleId) -> Result<Option<GuildEvent>, Refusal> {
    let role = guild.roles.get(&id).ok_or(Refusal::UNKNOWN_ROLE)?;
    require(held, Permissions::MANAGE_ROLES)?;
    if id == guild.guild.id.everyone() {
        return Err(Refusal::MISSING_PERMISSIONS);
    }
    require_above(rank(guild, actor), Rank::At(role.position))?;
    Ok(Some(GuildEvent::RoleDelete(id)))
}

fn put_member(
    guild: &GuildState,
    actor: Actor,
    held: Permissions,
    mut new: Member,
) -> Result<Option<GuildEvent>, Refusal> {
    let id = new.user.id;
    if new.nick.as_ref().is_some_and(|nick| nick.chars().count() > NICK) {
        return Err(Refusal::too_long("nick", NICK));
    }
    if let Some(unknown) = new.roles.iter().find(|role| !guild.roles.contains_key(role)) {
        return Err(Refusal::field("roles", "UNKNOWN_ROLE", format!("Role {unknown} does not exist.")));
    }
    new.roles.sort_unstable();
    new.roles.dedup();
    let Some(old) = guild.members.get(&id) else {
        require(held, Permissions::CREATE_INSTANT_INVITE)?;
        if guild.bans.contains_key(&id) {
            return Err(Refusal::BANNED);
        }
        if !new.roles.is_empty() {
            require_roles(guild, actor, held, &new.roles)?;
        }
        return Ok(Some(GuildEvent::MemberPut(new)));
    };
    new.joined_at = old.joined_at;
    if let Actor::User(actor_id) = actor {
        new.user = old.user.clone();
        if new.nick != old.nick {
            if actor_id == id {
                let either = Permissions::CHANGE_NICKNAME.union(Permissions::MANAGE_NICKNAMES);
                if !held.intersects(either) {
                    return Err(Refusal::MISSING_PERMISSIONS);
                }
            } else {
                require(held, Permissions::MANAGE_NICKNAMES)?;
                require_above(rank(guild, actor), rank(guild, Actor::User(id)))?;
            }
        }
        let come = new.roles.iter().filter(|role| !old.roles.contains(role));
        let gone = old.roles.iter().filter(|role| !new.roles.contains(role));
        let changed: Vec<RoleId> = come.chain(gone).copied().collect();
        if !changed.is_empty() {
            require_roles(guild, actor, held, &changed)?;
        }
    }
    Ok((**old != new).then_some(GuildEvent::MemberPut(new)))
}

/// Roles are given and taken by those who stand above them.
fn require_roles(guild: &GuildState, actor: Actor, held: Permissions, roles: &[RoleId]) -> Result<(), Refusal> {
    require(held, Permissions::MANAGE_ROLES)?;
    let top = rank(guild, actor);
    roles.iter().filter_map(|id| guild.roles.get(id)).try_for_each(|role| require_above(top, Rank::At(role.position)))
}

fn remove_member(
    guild: &GuildState,
    actor: Actor,
    held: Permissions,
    user: &User,
) -> Result<Option<GuildEvent>, Refusal> {
    let member = guild.members.get(&user.id).ok_or(Refusal::UNKNOWN_MEMBER)?;
    if user.id == guild.guild.owner_id {
        return Err(Refusal::MISSING_PERMISSIONS);
    }
    if actor.user() != Some(user.id) {
        require(held, Permissions::KICK_MEMBERS)?;
        require_above(rank(guild, actor), rank(guild, Actor::User(user.id)))?;
    }
    Ok(Some(GuildEvent::MemberRemove(member.user.clone())))
}

/// Somebody is banned by those above them. Who is no member stands below everybody.
fn put_ban(guild: &GuildState, actor: Actor, held: Permissions, ban: Ban) -> Result<Option<GuildEvent>, Refusal> {
    require(held, Permissions::BAN_MEMBERS)?;
    let id = ban.user.id;
    if id == guild.guild.owner_id {
        return Err(Refusal::MISSING_PERMISSIONS);
    }
    if guild.members.contains_key(&id) {
        require_above(rank(guild, actor), rank(guild, Actor::User(id)))?;
    }
    if ban.reason.as_ref().is_some_and(|reason| reason.chars().count() > limits::REASON) {
        return Err(Refusal::too_long("reason", limits::REASON));
    }
    if guild.bans.contains_key(&id) {
        return Ok(None);
    }
    if guild.bans.len() >= limits::BANS_PER_GUILD {
        return Err(Refusal::TOO_MANY_BANS);
    }
    Ok(Some(GuildEvent::BanPut(ban)))
}

fn check_name(field: &'static str, name: &str, least: usize) -> Result<(), Refusal> {
    let length = name.trim().chars().count();
    if (least..=limits::NAME).contains(&length) { Ok(()) } else { Err(Refusal::bad_length(field, least, limits::NAME)) }
}
