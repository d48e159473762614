//! The users whose presence this gateway follows, for which guilds, and what has changed since clients were told. Pure.
//!
//! What changes is gathered: a user who changes often is told of once, as they are when the time comes, and not at all if
//! that is as they were.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use clarion_model::id::{GuildId, UserId};
use clarion_model::presence::{Presence, Status};

/// A presence that is not offline; `None` is offline, or unknown.
pub(super) type Seen = Option<Arc<Presence>>;

/// Everybody watched.
#[derive(Debug)]
pub(super) struct Watched {
    limit: usize,
    users: HashMap<UserId, Entry>,
    /// Who looks different from what clients in a guild were told, and what that was.
    changed: BTreeMap<(GuildId, UserId), Seen>,
}

#[derive(Debug)]
struct Entry {
    seen: Seen,
    /// The presence server that is to tell of the user, if one is.
    at: Option<usize>,
    /// Whether it has, since it was asked.
    is_told: bool,
    guilds: Vec<GuildId>,
}

/// What it takes to watch a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    /// A presence server has to be asked.
    Ask,
    /// Nothing: it is watched already.
    Known,
    /// There are too many.
    Refused,
}

impl Watched {
    /// Nobody; at most so many.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, users: HashMap::new(), changed: BTreeMap::new() }
    }

    /// What is known of a user.
    pub(super) fn of(&self, user: UserId) -> Option<&Arc<Presence>> {
        self.users.get(&user)?.seen.as_ref()
    }

    /// Everybody watched, and the server that is to tell of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (UserId, Option<usize>)> {
        self.users.iter().map(|(user, entry)| (*user, entry.at))
    }

    /// This server is to tell of a user from now on, and no other; `None`: there is none, and what is known stays.
    pub(super) fn place(&mut self, user: UserId, at: Option<usize>) {
        if let Some(entry) = self.users.get_mut(&user) {
            (entry.at, entry.is_told) = (at, false);
        }
    }

    /// A guild's clients are to hear of a user.
    pub(super) fn watch(&mut self, guild: GuildId, user: UserId) -> Watch {
        if let Some(entry) = self.users.get_mut(&user) {
            if !entry.guilds.contains(&guild) {
                entry.guilds.push(guild);
                if entry.seen.is_some() {
                    self.changed.entry((guild, user)).or_insert(None);
                }
            }
            return Watch::Known;
        }
        if self.users.len() >= self.limit {
            return Watch::Refused;
        }
        self.users.insert(user, Entry { seen: None, at: None, is_told: false, guilds: vec![guild] });
        Watch::Ask
    }

    /// A guild's clients are to hear of a user no more. If nobody else's are to, answers the server that need not tell of
    /// the user any more.
    pub(super) fn unwatch(&mut self, guild: GuildId, user: UserId) -> Option<usize> {
        let entry = self.users.get_mut(&user)?;
        entry.guilds.retain(|id| *id != guild);
        self.changed.remove(&(guild, user));
        if entry.guilds.is_empty() { self.users.remove(&user)?.at } else { None }
    }

    /// A presence server tells of a user. One that is not to do so any more may say what is no longer true.
    pub(super) fn tell(&mut self, server: usize, user: UserId, presence: Presence) {
        let Some(entry) = self.users.get_mut(&user).filter(|entry| entry.at == Some(server)) else { return };
        entry.is_told = true;
        let seen = (presence.status != Status::Offline).then(|| Arc::new(presence));
        if seen == entry.seen {
            return;
        }
        let before = std::mem::replace(&mut entry.seen, seen);
        for guild in &entry.guilds {
            self.changed.entry((*guild, user)).or_insert_with(|| before.clone());
        }
    }

    /// A server has had the time to tell: whom it has not told of is not there.
    pub(super) fn forget_untold(&mut self, server: usize) {
        let is_untold = |entry: &Entry| entry.at == Some(server) && entry.seen.is_some() && !entry.is_told;
        let untold: Vec<UserId> =
            self.users.iter().filter(|(_, entry)| is_untold(entry)).map(|(user, _)| *user).collect();
        untold.into_iter().for_each(|user| self.tell(server, user, Presence::default()));
    }

    /// Whether there is something to tell clients.
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What clients are to be told, by guild.
    pub(super) fn take_changed(&mut self) -> Vec<(GuildId, UserId, Seen)> {
        let changed = std::mem::take(&mut self.changed);
        let now = changed.into_iter().filter_map(|((guild, user), before)| {
            let seen = &self.users.get(&user)?.seen;
            (*seen != before).then(|| (guild, user, seen.clone()))
        });
        now.collect()
    }

    /// Clients of a guild know what is known here of these users.
    pub(super) fn settle(&mut self, guild: GuildId, users: impl IntoIterator<Item = UserId>) {
        for user in users {
            self.changed.remove(&(guild, user));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GUILDS: [GuildId; 2] = [GuildId(1), GuildId(2)];

    fn presence(status: Status) -> Presence {
        Presence { status, ..Presence::default() }
    }

    proptest! {
        #[test]
        fn clients_end_up_knowing_what_is_known_and_are_told_nothing_twice(
            steps in proptest::collection::vec((0u8..6, 0usize..2, 1u64..4, 0usize..3), 0..60),
        ) {
            let mut watched = Watched::new(10);
            // What clients of each guild believe of those that they hear of.
            let mut believed: BTreeMap<(GuildId, UserId), Status> = BTreeMap::new();
            let mut truth: BTreeMap<UserId, Status> = BTreeMap::new();
            for (what, guild, user, status) in steps.into_iter().chain([(5, 0, 1, 0)]) {
                let (guild, user) = (GUILDS[guild], UserId(user));
                match what {
                    0 => {
                        if watched.watch(guild, user) == Watch::Ask {
                            watched.place(user, Some(0));
                            watched.tell(0, user, presence(*truth.get(&user).unwrap_or(&Status::Offline)));
                        }
                        believed.entry((guild, user)).or_insert(Status::Offline);
                    }
                    1 => {
                        watched.unwatch(guild, user);
                        believed.remove(&(guild, user));
                    }
                    2..=4 => {
                        let status = [Status::Online, Status::Dnd, Status::Offline][status];
                        truth.insert(user, status);
                        watched.tell(0, user, presence(status));
                    }
                    _ => {
                        for (guild, user, seen) in watched.take_changed() {
                            let status = seen.map_or(Status::Offline, |seen| seen.status);
                            let before = believed.insert((guild, user), status);
                            prop_assert!(before.is_some_and(|before| before != status), "news, to those who hear");
                        }
                        for ((_, user), status) in &believed {
                            prop_assert_eq!(truth.get(user).unwrap_or(&Status::Offline), status);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn whoever_is_not_told_of_again_is_not_there() {
        let mut watched = Watched::new(10);
        for n in 1..=2 {
            watched.watch(GUILDS[0], UserId(n));
            watched.place(UserId(n), Some(0));
            watched.tell(0, UserId(n), presence(Status::Online));
        }
        watched.take_changed();
        for n in 1..=2 {
            watched.place(UserId(n), None);
            watched.place(UserId(n), Some(0));
        }
        watched.tell(0, UserId(1), presence(Status::Online));
        assert!(!watched.has_changed(), "what was known is no news, and what is unknown stays as it was");
        watched.forget_untold(1);
        assert!(!watched.has_changed(), "another server was not to tell of anybody");
        watched.forget_untold(0);
        assert_eq!(watched.take_changed(), [(GUILDS[0], UserId(2), None)]);
    }

    #[test]
    fn a_server_that_is_not_to_tell_any_more_is_not_heard() {
        let mut watched = Watched::new(10);
        watched.watch(GUILDS[0], UserId(1));
        watched.place(UserId(1), Some(0));
        watched.tell(0, UserId(1), presence(Status::Online));
        watched.take_changed();
        watched.place(UserId(1), Some(1));
        watched.tell(1, UserId(1), presence(Status::Dnd));
        watched.tell(0, UserId(1), presence(Status::Offline));
        let told = watched.take_changed();
        assert_eq!(
            told.iter().map(|(_, _, seen)| seen.as_ref().map(|p| p.status)).collect::<Vec<_>>(),
            [Some(Status::Dnd)]
        );
        assert_eq!(watched.unwatch(GUILDS[0], UserId(1)), Some(1));
    }

    #[test]
    fn there_is_a_bound() {
        let mut watched = Watched::new(1);
        assert_eq!(watched.watch(GUILDS[0], UserId(1)), Watch::Ask);
        watched.place(UserId(1), Some(3));
        assert_eq!(watched.watch(GUILDS[1], UserId(1)), Watch::Known);
        assert_eq!(watched.watch(GUILDS[0], UserId(2)), Watch::Refused);
        assert_eq!(watched.unwatch(GUILDS[0], UserId(1)), None);
        assert_eq!(watched.unwatch(GUILDS[1], UserId(1)), Some(3));
        assert_eq!(watched.watch(GUILDS[0], UserId(2)), Watch::Ask);
    }
}
