//! Who is there: each following gateway says what it sees of a user, the strongest word counts.

use std::collections::BTreeMap;

use clarion_model::id::UserId;
use clarion_model::presence::{Presence, Status};

/// The words of all gateways about the users of one key. Those who are offline are not in it.
#[derive(Debug, Default)]
pub(crate) struct Presences {
    users: BTreeMap<UserId, Vec<(u64, Presence)>>,
}

impl Presences {
    /// A gateway's word about a user. Answers what others now see, if that changed.
    pub(crate) fn set(&mut self, stream: u64, user: UserId, presence: Presence) -> Option<Presence> {
        let before = self.of(user);
        let words = self.users.entry(user).or_default();
        words.retain(|(from, _)| *from != stream);
        if presence.status != Status::Offline {
            words.push((stream, presence));
        }
        if words.is_empty() {
            self.users.remove(&user);
        }
        let after = self.of(user);
        (before != after).then_some(after)
    }

    /// A gateway is gone, and so are its words. Answers whose presence changed, and to what.
    pub(crate) fn forget(&mut self, stream: u64) -> Vec<(UserId, Presence)> {
        let said = |words: &Vec<(u64, Presence)>| words.iter().any(|(from, _)| *from == stream);
        let users: Vec<UserId> = self.users.iter().filter(|(_, words)| said(words)).map(|(id, _)| *id).collect();
        users.into_iter().filter_map(|user| Some((user, self.set(stream, user, Presence::default())?))).collect()
    }

    /// A user is not here any more.
    pub(crate) fn remove(&mut self, user: UserId) {
        self.users.remove(&user);
    }

    /// Those who are not offline.
    pub(crate) fn all(&self) -> impl Iterator<Item = (UserId, Presence)> + '_ {
        self.users.keys().map(|user| (*user, self.of(*user)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    fn of(&self, user: UserId) -> Presence {
        let words = self.users.get(&user).into_iter().flatten();
        words.max_by_key(|(_, presence)| strength(presence.status)).map(|(_, p)| p.clone()).unwrap_or_default()
    }
}

/// Who is there on one device and away on another is there; who wants quiet says so for all devices.
fn strength(status: Status) -> u8 {
    match status {
        Status::Offline => 0,
        Status::Idle => 1,
        Status::Online => 2,
        Status::Dnd => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence(status: Status) -> Presence {
        Presence { status, activities: Vec::new() }
    }

    #[test]
    fn the_strongest_word_counts() {
        let (mut presences, user) = (Presences::default(), UserId(1));
        assert_eq!(presences.set(1, user, presence(Status::Idle)), Some(presence(Status::Idle)));
        assert_eq!(presences.set(2, user, presence(Status::Online)), Some(presence(Status::Online)));
        assert_eq!(presences.set(1, user, presence(Status::Idle)), None);
        assert_eq!(presences.set(1, user, presence(Status::Offline)), None);
        assert_eq!(presences.all().collect::<Vec<_>>(), [(user, presence(Status::Online))]);
        assert_eq!(presences.set(2, user, presence(Status::Offline)), Some(Presence::default()));
        assert!(presences.is_empty());
    }

    #[test]
    fn a_gateways_words_go_with_it() {
        let mut presences = Presences::default();
        presences.set(1, UserId(1), presence(Status::Dnd));
        presences.set(2, UserId(1), presence(Status::Online));
        presences.set(1, UserId(2), presence(Status::Online));
        presences.set(2, UserId(3), presence(Status::Online));
        let changed = presences.forget(1);
        assert_eq!(changed, [(UserId(1), presence(Status::Online)), (UserId(2), Presence::default())]);
        assert!(presences.forget(1).is_empty());
    }
}
