//! Of whom a guild's sessions hear whether they are there: of everybody in a small guild, in a large one of those whom a
//! session asked for. Pure.

use clarion_model::id::UserId;
use clarion_model::limits::{PRESENCE_LISTED, PRESENCE_MEMBERS};
use clarion_model::presence::Presence;

use super::{GuildEntry, Outgoing};
use crate::api::dispatch;
use crate::hub::seats::Seat;
use crate::hub::watched::Watched;
use crate::intents::Intents;

impl GuildEntry {
    /// Whether sessions hear only of those whom they asked for.
    pub(in crate::hub) fn is_large(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.members.len() > PRESENCE_MEMBERS)
    }

    /// Of whom the sessions are to hear.
    pub(in crate::hub) fn watched(&self) -> impl Iterator<Item = UserId> + use<> {
        self.watched.clone().into_iter()
    }

    /// Finds out of whom the sessions are to hear now. Answers who is new among them, and who is not any more.
    pub(in crate::hub) fn rewatch(&mut self) -> (Vec<UserId>, Vec<UserId>) {
        let is_large = self.is_large();
        let members = self.state.as_ref().map(|state| &state.members);
        let wanted = |user: &UserId| match members {
            Some(members) => members.contains_key(user) && (!is_large || self.subscribers.contains_key(user)),
            None => false,
        };
        let fewer: Vec<UserId> = self.watched.iter().copied().filter(|user| !wanted(user)).collect();
        let all: Box<dyn Iterator<Item = &UserId>> = match members {
            Some(members) if !is_large => Box::new(members.keys()),
            Some(_) => Box::new(self.subscribers.keys()),
            None => Box::new(std::iter::empty()),
        };
        let more: Vec<UserId> = all.copied().filter(|user| wanted(user) && !self.watched.contains(user)).collect();
        fewer.iter().for_each(|user| {
            self.watched.remove(user);
        });
        self.watched.extend(&more);
        (more, fewer)
    }

    /// A session asked to hear of a member.
    pub(in crate::hub) fn subscribe(&mut self, seat: Seat, user: UserId) {
        self.subscribers.entry(user).or_default().push(seat);
    }

    /// A session hears of a member no more.
    pub(in crate::hub) fn unsubscribe(&mut self, seat: Seat, user: UserId) {
        if let Some(seats) = self.subscribers.get_mut(&user) {
            seats.retain(|s| *s != seat);
            if seats.is_empty() {
                self.subscribers.remove(&user);
            }
        }
    }

    /// Whether no other session asked to hear of a member.
    pub(in crate::hub) fn only_subscriber(&self, seat: Seat, user: UserId) -> bool {
        self.subscribers.get(&user).is_some_and(|seats| seats.iter().all(|s| *s == seat))
    }

    /// The members among whom those who are there are looked for next; in a very large guild, other ones each time.
    pub(in crate::hub) fn next_sample(&mut self, at_most: usize) -> Vec<UserId> {
        let Some(state) = &self.state else { return Vec::new() };
        let members = state.members.len();
        let from = if self.sampled_upto < members { self.sampled_upto } else { 0 };
        self.sampled_upto = if members > at_most { from + at_most } else { 0 };
        let around = state.members.keys().skip(from).chain(state.members.keys().take(from));
        around.take(at_most).copied().collect()
    }

    /// Those who are not offline: all that are known in a small guild, some in a large one.
    pub(super) fn there<'a>(&'a self, presences: &'a Watched) -> Vec<(UserId, &'a Presence)> {
        let Some(state) = &self.state else { return Vec::new() };
        if self.is_large() {
            let members = self.listed.iter().filter(|(user, _)| state.members.contains_key(user));
            return members.take(PRESENCE_LISTED).map(|(user, seen)| (*user, &**seen)).collect();
        }
        state.members.keys().filter_map(|user| Some((*user, &**presences.of(*user)?))).collect()
    }

    /// A member looks different; who is told so.
    pub(in crate::hub) fn show(&mut self, user: UserId, presence: &Presence) -> Option<Outgoing> {
        let state = self.state.clone()?;
        let told = || dispatch::presence_update(state.guild.id, user, presence);
        if !self.is_large() {
            return self.tell_all("PRESENCE_UPDATE", Intents::GUILD_PRESENCES, told).pop();
        }
        let hears = |seat: &&Seat| {
            self.listeners.get(*seat).is_some_and(|listener| listener.intents.contains(Intents::GUILD_PRESENCES))
        };
        let seats: Vec<Seat> = self.subscribers.get(&user).into_iter().flatten().filter(hears).copied().collect();
        if seats.is_empty() {
            return None;
        }
        self.tell_seats("PRESENCE_UPDATE", seats, told())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::{guild, member, user};
    use crate::visibility::Listener;
    use clarion_model::event::GuildEvent;
    use clarion_model::presence::Status;
    use clarion_model::time::Timestamp;

    fn entry(members: u64) -> GuildEntry {
        let mut entry = GuildEntry::new();
        entry.replace(Some(guild(members, 1)));
        for n in 1..=2 {
            let listener = Listener { user: UserId(n), intents: Intents(1 | 1 << 8), large_threshold: 50 };
            entry.expect(Seat { shard: 0, seat: n as u32 }, listener, &Watched::new(0)).expect("a member");
        }
        entry
    }

    fn seats(out: Option<Outgoing>) -> Vec<u32> {
        out.iter().flat_map(|out| out.cohorts.iter().flat_map(|cohort| cohort.full.to_vec())).collect()
    }

    #[test]
    fn everybody_hears_of_everybody_up_to_a_thousand_members() {
        let mut entry = entry(PRESENCE_MEMBERS as u64);
        let online = Presence { status: Status::Online, ..Presence::default() };
        assert_eq!(entry.rewatch().0.len(), PRESENCE_MEMBERS);
        assert_eq!(seats(entry.show(UserId(7), &online)), [1, 2]);
        let next = PRESENCE_MEMBERS as u64 + 1;
        entry.apply(&GuildEvent::MemberPut(member(next)), Timestamp::from_millis(1));
        let (more, fewer) = entry.rewatch();
        assert_eq!((more.len(), fewer.len()), (0, PRESENCE_MEMBERS), "now it is large");
        assert!(entry.show(UserId(7), &online).is_none());
        entry.subscribe(Seat { shard: 0, seat: 2 }, UserId(7));
        assert_eq!(entry.rewatch(), (vec![UserId(7)], vec![]));
        assert_eq!(seats(entry.show(UserId(7), &online)), [2]);
        entry.apply(&GuildEvent::MemberRemove(user(next)), Timestamp::from_millis(2));
        assert_eq!(entry.rewatch().0.len(), PRESENCE_MEMBERS - 1, "now it is small again");
        entry.unsubscribe(Seat { shard: 0, seat: 2 }, UserId(7));
        assert_eq!(seats(entry.show(UserId(7), &online)), [1, 2]);
    }

    #[test]
    fn a_very_large_guild_is_looked_through_part_by_part() {
        let mut entry = entry(1_050);
        let parts: Vec<_> = (0..3).map(|_| entry.next_sample(500)).collect();
        assert!(parts.iter().all(|part| part.len() == 500));
        assert_eq!((parts[0][0], parts[1][0], parts[2][0]), (UserId(1), UserId(501), UserId(1_001)));
        assert_eq!(entry.next_sample(500)[0], UserId(1));
    }
}
