//! Which sessions of a guild get an event: sorted by what members may view and by what sessions asked for. Pure.
//!
//! Members fall into classes that view alike, so a channel is looked at once a class. What was found out is kept until the
//! guild's structure or its listeners change; between such changes an event costs one look-up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use clarion_model::guild::GuildState;
use clarion_model::id::{ChannelId, UserId};
use clarion_model::permission::{Class, Classes, Permissions, can_view};

use crate::hub::Seat;
use crate::intents::Intents;

/// Kinds of event remembered before all is forgotten: channels times the few intents there are.
const REMEMBERED: usize = 4_096;

/// A session that is in a guild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) user: UserId,
    pub(crate) intents: Intents,
    /// From more members on, a guild comes without those who are not there.
    pub(crate) large_threshold: u8,
}

/// The sessions in a guild.
pub(crate) type Listeners = BTreeMap<Seat, Listener>;

/// What an event asks of those who get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Need {
    /// They may view this channel.
    pub(crate) channel: Option<ChannelId>,
    /// They asked for this.
    pub(crate) intents: Intents,
    /// It has content, which is only for those who asked for that, too.
    pub(crate) content: bool,
}

/// The seats of one shard that get an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cohort {
    pub(crate) shard: u16,
    /// Everything.
    pub(crate) full: Arc<[u32]>,
    /// Everything but content.
    pub(crate) stripped: Arc<[u32]>,
}

/// What is known about who gets what in one guild.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    version: u64,
    classes: HashMap<UserId, Option<Arc<Class>>>,
    cohorts: HashMap<Need, Arc<[Cohort]>>,
}

impl Audience {
    /// The listeners have changed.
    pub(crate) fn forget_listeners(&mut self) {
        self.cohorts.clear();
    }

    /// Who gets an event.
    pub(crate) fn of(&mut self, guild: &GuildState, listeners: &Listeners, need: Need) -> Arc<[Cohort]> {
        if self.version != guild.version {
            self.version = guild.version;
            self.classes.clear();
            self.cohorts.clear();
        }
        if let Some(known) = self.cohorts.get(&need) {
            return known.clone();
        }
        self.classify(guild, listeners);
        let found = self.find(guild, listeners, need);
        // The same sessions are the same cohorts: what goes to them can be written together.
        let found = self.cohorts.values().find(|known| **known == found).cloned().unwrap_or(found);
        if self.cohorts.len() >= REMEMBERED {
            self.cohorts.clear();
        }
        self.cohorts.insert(need, found.clone());
        found
    }

    fn classify(&mut self, guild: &GuildState, listeners: &Listeners) {
        // Those who left; they come back one by one if at all.
        if self.classes.len() > 2 * listeners.len() + 64 {
            self.classes.clear();
        }
        let mut classes = None;
        let mut same: BTreeSet<Arc<Class>> = BTreeSet::new();
        for listener in listeners.values() {
            if self.classes.contains_key(&listener.user) {
                continue;
            }
            let class = classes.get_or_insert_with(|| Classes::new(guild)).of(listener.user);
            let class = class.map(|class| match same.get(&class) {
                Some(shared) => shared.clone(),
                None => {
                    let shared = Arc::new(class);
                    same.insert(shared.clone());
                    shared
                }
            });
            self.classes.insert(listener.user, class);
        }
    }

    fn find(&self, guild: &GuildState, listeners: &Listeners, need: Need) -> Arc<[Cohort]> {
        let mut seen: HashMap<&Class, bool> = HashMap::new();
        let mut by_shard: BTreeMap<u16, (Vec<u32>, Vec<u32>)> = BTreeMap::new();
        for (seat, listener) in listeners {
            if !listener.intents.contains(need.intents) {
                continue;
            }
            let Some(Some(class)) = self.classes.get(&listener.user) else { continue };
            if let Some(channel) = need.channel
                && !*seen.entry(class).or_insert_with(|| can_view(guild, class, channel))
            {
                continue;
            }
            let (full, stripped) = by_shard.entry(seat.shard).or_default();
            let plain = need.content && !listener.intents.contains(Intents::MESSAGE_CONTENT);
            if plain { stripped } else { full }.push(seat.seat);
        }
        by_shard
            .into_iter()
            .map(|(shard, (full, stripped))| Cohort { shard, full: full.into(), stripped: stripped.into() })
            .collect()
    }
}

/// Given seats as cohorts that get everything.
pub(crate) fn cohorts_of(seats: impl IntoIterator<Item = Seat>) -> Arc<[Cohort]> {
    let mut by_shard: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
    for seat in seats {
        by_shard.entry(seat.shard).or_default().push(seat.seat);
    }
    by_shard.into_iter().map(|(shard, full)| Cohort { shard, full: full.into(), stripped: Arc::new([]) }).collect()
}

/// The channels that a member may view.
pub(crate) fn visible(guild: &GuildState, class: &Class) -> BTreeSet<ChannelId> {
    guild.channels.keys().copied().filter(|channel| can_view(guild, class, *channel)).collect()
}

/// Whether every member may view a channel, whatever their roles.
pub(crate) fn is_public(guild: &GuildState, channel: ChannelId) -> bool {
    let everyone = guild.roles.get(&guild.guild.id.everyone());
    let by_default = everyone.is_some_and(|role| role.permissions.contains(Permissions::VIEW_CHANNEL));
    can_view(guild, &Class::Selected { by_default, roles: Vec::new(), member: None }, channel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::{guild, member_of};
    use clarion_model::event::GuildEvent;
    use clarion_model::guild::{Overwrite, OverwriteTarget};
    use clarion_model::permission::in_channel;
    use proptest::prelude::*;

    fn need(channel: ChannelId) -> Need {
        Need { channel: Some(channel), intents: Intents::GUILD_MESSAGES, content: true }
    }

    fn seats(cohorts: &[Cohort]) -> BTreeSet<(u32, bool)> {
        let full = cohorts.iter().flat_map(|c| c.full.iter().map(|s| (*s, true)));
        full.chain(cohorts.iter().flat_map(|c| c.stripped.iter().map(|s| (*s, false)))).collect()
    }

    proptest! {
        #[test]
        fn sessions_get_what_the_published_algorithm_permits(
            changes in proptest::collection::vec((0usize..3, 0usize..6, any::<bool>(), any::<bool>()), 0..12),
            intents in proptest::collection::vec(0u8..4, 6),
        ) {
            let mut state = guild(6, 3);
            let members: Vec<_> = state.members.keys().copied().collect();
            let channels: Vec<_> = state.channels.keys().copied().collect();
            let listeners: Listeners = members.iter().zip(&intents).enumerate().map(|(i, (user, bits))| {
                let wanted = [0, Intents::GUILD_MESSAGES.0, Intents::MESSAGE_CONTENT.0,
                    Intents::GUILD_MESSAGES.0 | Intents::MESSAGE_CONTENT.0][usize::from(*bits)];
                (Seat { shard: (i % 2) as u16, seat: i as u32 }, Listener { user: *user, intents: Intents(wanted), large_threshold: 50 })
            }).collect();
            let mut audience = Audience::default();
            for (channel, member, allow, everyone) in changes {
                let mut channel = state.channels[&channels[channel]].clone();
                let target = if everyone {
                    OverwriteTarget::Role(state.guild.id.everyone())
                } else {
                    OverwriteTarget::Member(members[member])
                };
                channel.overwrites.retain(|o| o.target != target);
                let (yes, no) = (Permissions::VIEW_CHANNEL, Permissions::NONE);
                let (allow, deny) = if allow { (yes, no) } else { (no, yes) };
                channel.overwrites.push(Overwrite { target, allow, deny });
                state.apply(&GuildEvent::ChannelPut(channel));
                for id in &channels {
                    let got = seats(&audience.of(&state, &listeners, need(*id)));
                    let expected = listeners.iter().filter(|(_, l)| {
                        l.intents.contains(Intents::GUILD_MESSAGES)
                            && in_channel(&state, l.user, *id).is_some_and(|p| p.contains(Permissions::VIEW_CHANNEL))
                    });
                    let expected: BTreeSet<_> = expected
                        .map(|(seat, l)| (seat.seat, l.intents.contains(Intents::MESSAGE_CONTENT)))
                        .collect();
                    prop_assert_eq!(got, expected);
                }
            }
        }
    }

    #[test]
    fn who_is_no_member_gets_nothing() {
        let mut state = guild(2, 1);
        let channel = *state.channels.keys().next().expect("one");
        let gone = *state.members.keys().last().expect("two");
        let listener = |user| Listener { user, intents: Intents::GUILD_MESSAGES, large_threshold: 50 };
        let users = state.members.keys().copied().collect::<Vec<_>>();
        let listeners: Listeners =
            users.iter().enumerate().map(|(i, u)| (Seat { shard: 0, seat: i as u32 }, listener(*u))).collect();
        let mut audience = Audience::default();
        assert_eq!(seats(&audience.of(&state, &listeners, need(channel))).len(), 2);
        state.apply(&GuildEvent::MemberRemove(member_of(&state, gone).user.clone()));
        assert_eq!(seats(&audience.of(&state, &listeners, need(channel))).len(), 1);
    }
}
