//! Events that change a guild's structure, and with it who may view which channel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clarion_model::event::GuildEvent;
use clarion_model::guild::GuildState;
use clarion_model::id::{ChannelId, UserId};
use clarion_model::permission::{Class, Classes};

use super::{GuildEntry, Outgoing};
use crate::api::dispatch;
use crate::hub::seats::Seat;
use crate::intents::Intents;
use crate::visibility::visible;

/// What sessions may view, by class; and each session's class. `None`: the session's user is no member.
struct View {
    classes: BTreeMap<Class, BTreeSet<ChannelId>>,
    of: BTreeMap<Seat, Option<Class>>,
}

impl View {
    fn new(guild: &GuildState, seats: impl Iterator<Item = (Seat, UserId)>) -> Self {
        let classes = Classes::new(guild);
        let mut view = Self { classes: BTreeMap::new(), of: BTreeMap::new() };
        for (seat, user) in seats {
            let class = classes.of(user);
            if let Some(class) = &class
                && !view.classes.contains_key(class)
            {
                view.classes.insert(class.clone(), visible(guild, class));
            }
            view.of.insert(seat, class);
        }
        view
    }

    fn sees(&self, seat: Seat, channel: ChannelId) -> bool {
        self.channels(seat).is_some_and(|channels| channels.contains(&channel))
    }

    fn channels(&self, seat: Seat) -> Option<&BTreeSet<ChannelId>> {
        self.classes.get(self.of.get(&seat)?.as_ref()?)
    }
}

impl GuildEntry {
    /// Applies a change of structure: the event itself, then channels that came into view or went out of it.
    pub(super) fn restructure(&mut self, before: &Arc<GuildState>, event: &GuildEvent) -> Vec<Outgoing> {
        let affected = self.affected(before, event);
        let seen = View::new(before, affected.iter().copied());
        // The replica is shared with `before`: this copies it, which only structure costs.
        self.change(event);
        let Some(after) = self.state.clone() else { return Vec::new() };
        let guild = after.guild.id;
        let sees = View::new(&after, affected.iter().copied());
        let mut out = self.tell(before, &after, event);
        if let GuildEvent::MemberRemove(user) = event {
            self.expel(user.id);
            return out;
        }
        let (mut shown, mut hidden): (BTreeMap<ChannelId, Vec<Seat>>, BTreeMap<ChannelId, Vec<Seat>>) =
            Default::default();
        let mut kept = Vec::new();
        let changed = match event {
            GuildEvent::ChannelPut(channel) => Some(channel.id),
            _ => None,
        };
        for (seat, _) in &affected {
            let none = BTreeSet::new();
            let (old, new) = (seen.channels(*seat).unwrap_or(&none), sees.channels(*seat).unwrap_or(&none));
            new.difference(old).for_each(|id| shown.entry(*id).or_default().push(*seat));
            old.difference(new).for_each(|id| hidden.entry(*id).or_default().push(*seat));
            if changed.is_some_and(|id| seen.sees(*seat, id) && sees.sees(*seat, id)) {
                kept.push(*seat);
            }
        }
        let voices = self.reveal_voices(&after, &shown, &hidden);
        for (id, seats) in hidden {
            if let Some(channel) = before.channels.get(&id) {
                out.extend(self.tell_seats("CHANNEL_DELETE", seats, dispatch::channel_delete(guild, channel)));
            }
        }
        for (id, seats) in shown {
            if let Some(channel) = after.channels.get(&id) {
                out.extend(self.tell_seats("CHANNEL_CREATE", seats, dispatch::channel_create(guild, channel)));
            }
        }
        if let GuildEvent::ChannelPut(channel) = event {
            out.extend(self.tell_seats("CHANNEL_UPDATE", kept, dispatch::channel_update(guild, channel)));
        }
        out.extend(voices);
        out
    }

    /// The sessions for whom the event may change what they view, and that want to know.
    fn affected(&self, before: &GuildState, event: &GuildEvent) -> Vec<(Seat, UserId)> {
        let only = match event {
            GuildEvent::MemberPut(member) => Some(member.user.id),
            GuildEvent::MemberRemove(user) => Some(user.id),
            // They change nothing of what anybody views.
            GuildEvent::BanPut(_) | GuildEvent::BanRemove(_) => return Vec::new(),
            GuildEvent::GuildPut(guild) if guild.owner_id == before.guild.owner_id => return Vec::new(),
            _ => None,
        };
        let wants = self.listeners.iter().filter(|(_, l)| l.intents.contains(Intents::GUILDS));
        wants.filter(|(_, l)| only.is_none_or(|user| l.user == user)).map(|(seat, l)| (*seat, l.user)).collect()
    }

    /// The event itself.
    fn tell(&mut self, before: &GuildState, after: &GuildState, event: &GuildEvent) -> Vec<Outgoing> {
        let guild = after.guild.id;
        match event {
            GuildEvent::GuildPut(_) => self.tell_all("GUILD_UPDATE", Intents::GUILDS, || dispatch::guild_update(after)),
            GuildEvent::RolePut(role) => {
                let known = before.roles.contains_key(&role.id);
                if known {
                    self.tell_all("GUILD_ROLE_UPDATE", Intents::GUILDS, || dispatch::guild_role_update(guild, role))
                } else {
                    self.tell_all("GUILD_ROLE_CREATE", Intents::GUILDS, || dispatch::guild_role_create(guild, role))
                }
            }
            GuildEvent::RoleDelete(id) => {
                self.tell_all("GUILD_ROLE_DELETE", Intents::GUILDS, || dispatch::guild_role_delete(guild, *id))
            }
            GuildEvent::MemberPut(member) if before.members.contains_key(&member.user.id) => {
                let mut out = self.tell_all("GUILD_MEMBER_UPDATE", Intents::GUILD_MEMBERS, || {
                    dispatch::guild_member_update(guild, member)
                });
                // A user's own membership concerns all their sessions, whatever they asked for.
                let own = self.by_user.get(&member.user.id).cloned().unwrap_or_default();
                let own = own.into_iter().filter(|seat| {
                    self.listeners.get(seat).is_some_and(|l| !l.intents.contains(Intents::GUILD_MEMBERS))
                });
                let own: Vec<_> = own.collect();
                if !own.is_empty() {
                    out.extend(self.tell_seats(
                        "GUILD_MEMBER_UPDATE",
                        own,
                        dispatch::guild_member_update(guild, member),
                    ));
                }
                out
            }
            GuildEvent::MemberPut(member) => {
                self.tell_all("GUILD_MEMBER_ADD", Intents::GUILD_MEMBERS, || dispatch::guild_member_add(guild, member))
            }
            GuildEvent::MemberRemove(user) => {
                // Those who left are no members of `after`: they do not get this one.
                let mut out = self.tell_all("GUILD_MEMBER_REMOVE", Intents::GUILD_MEMBERS, || {
                    dispatch::guild_member_remove(guild, user)
                });
                let own = self.by_user.get(&user.id).cloned().unwrap_or_default();
                let wants = |s: &Seat| self.listeners.get(s).is_some_and(|l| l.intents.contains(Intents::GUILDS));
                let own: Vec<_> = own.into_iter().filter(wants).collect();
                out.extend(self.tell_seats("GUILD_DELETE", own, dispatch::guild_delete(guild)));
                out
            }
            GuildEvent::BanPut(ban) => self.tell_all("GUILD_BAN_ADD", Intents::GUILD_MODERATION, || {
                dispatch::guild_ban("GUILD_BAN_ADD", guild, &ban.user)
            }),
            GuildEvent::BanRemove(user) => self.tell_all("GUILD_BAN_REMOVE", Intents::GUILD_MODERATION, || {
                dispatch::guild_ban("GUILD_BAN_REMOVE", guild, user)
            }),
            _ => Vec::new(),
        }
    }

    /// A user's sessions are out, until the guild lists the user again or the account the guild no longer.
    fn expel(&mut self, user: UserId) {
        for seat in self.by_user.get(&user).cloned().unwrap_or_default() {
            if let Some(listener) = self.drop_listener(seat) {
                self.expected.insert(seat, listener);
            }
        }
    }
}
