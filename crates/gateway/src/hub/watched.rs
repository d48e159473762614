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
    /// How often the presence server was attended.
    round: u64,
}

#[derive(Debug)]
struct Entry {
    seen: Seen,
    /// In which round it was last told.
    round: u64,
    guilds: Vec<GuildId>,
}

/// What it takes to watch a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    /// The presence server has to be asked.
    Ask,
    /// Nothing: it is watched already.
    Known,
    /// There are too many.
    Refused,
}

impl Watched {
    /// Nobody; at most so many.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, users: HashMap::new(), changed: BTreeMap::new(), round: 0 }
    }

    /// What is known of a user.
    pub(super) fn of(&self, user: UserId) -> Option<&Arc<Presence>> {
        self.users.get(&user)?.seen.as_ref()
    }

    /// Everybody watched.
    pub(super) fn all(&self) -> impl Iterator<Item = UserId> {
        self.users.keys().copied()
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
        self.users.insert(user, Entry { seen: None, round: self.round, guilds: vec![guild] });
        Watch::Ask
    }

    /// A guild's clients are to hear of a user no more. `true`: nobody else's are to.
    pub(super) fn unwatch(&mut self, guild: GuildId, user: UserId) -> bool {
        let Some(entry) = self.users.get_mut(&user) else { return false };
        entry.guilds.retain(|id| *id != guild);
        self.changed.remove(&(guild, user));
        let is_last = entry.guilds.is_empty();
        if is_last {
            self.users.remove(&user);
        }
        is_last
    }

    /// The presence server tells of a user.
    pub(super) fn tell(&mut self, user: UserId, presence: Presence) {
        let Some(entry) = self.users.get_mut(&user) else { return };
        entry.round = self.round;
        let seen = (presence.status != Status::Offline).then(|| Arc::new(presence));
        if seen == entry.seen {
            return;
        }
        let before = std::mem::replace(&mut entry.seen, seen);
        for guild in &entry.guilds {
            self.changed.entry((*guild, user)).or_insert_with(|| before.clone());
        }
    }

    /// The presence server is attended anew, and tells everything again.
    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    /// Whoever was not told of since the presence server was attended is not there.
    pub(super) fn forget_untold(&mut self) {
        let untold = self.users.iter().filter(|(_, entry)| entry.seen.is_some() && entry.round != self.round);
        let untold: Vec<UserId> = untold.map(|(user, _)| *user).collect();
        untold.into_iter().for_each(|user| self.tell(user, Presence::default()));
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
                            watched.tell(user, presence(*truth.get(&user).unwrap_or(&Status::Offline)));
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
                        watched.tell(user, presence(status));
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
            watched.tell(UserId(n), presence(Status::Online));
        }
        watched.take_changed();
        watched.begin();
        watched.tell(UserId(1), presence(Status::Online));
        assert!(!watched.has_changed(), "what was known is no news, and what is unknown stays as it was");
        watched.forget_untold();
        assert_eq!(watched.take_changed(), [(GUILDS[0], UserId(2), None)]);
    }

    #[test]
    fn there_is_a_bound() {
        let mut watched = Watched::new(1);
        assert_eq!(watched.watch(GUILDS[0], UserId(1)), Watch::Ask);
        assert_eq!(watched.watch(GUILDS[1], UserId(1)), Watch::Known);
        assert_eq!(watched.watch(GUILDS[0], UserId(2)), Watch::Refused);
        assert!(!watched.unwatch(GUILDS[0], UserId(1)));
        assert!(watched.unwatch(GUILDS[1], UserId(1)));
        assert_eq!(watched.watch(GUILDS[0], UserId(2)), Watch::Ask);
    }
}
