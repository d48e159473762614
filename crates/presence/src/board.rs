//! What gateways say of users, and until when it holds. Pure.
//!
//! A user is shown what the words of all gateways come to. A gateway's words hold while its stream brings signs of life,
//! and a lease longer; a gateway that attends again keeps them, but for those that it does not say again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_model::id::UserId;
use clarion_model::presence::{Presence, Status};

/// The words of all gateways.
#[derive(Debug)]
pub(crate) struct Board {
    lease: Duration,
    limit: usize,
    gateways: BTreeMap<Arc<str>, Gateway>,
    users: HashMap<UserId, User>,
    words: usize,
    shown: Shown,
}

#[derive(Debug)]
struct Gateway {
    /// The stream by which it attends, if it does.
    stream: Option<u64>,
    /// Its words hold until then.
    until: Instant,
    /// How often it has begun to say everything.
    round: u64,
    /// Of whom it has a word, and in which round it said so last.
    users: HashMap<UserId, u64>,
}

#[derive(Debug)]
struct User {
    /// By gateway, so that what they come to does not depend on who spoke first.
    words: Vec<(Arc<str>, Presence)>,
    shown: Arc<Presence>,
    /// Another server counts this user.
    spare: bool,
}

/// How many users are shown how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shown {
    pub(crate) online: usize,
    pub(crate) idle: usize,
    pub(crate) dnd: usize,
}

/// Others see a user differently.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) user: UserId,
    pub(crate) before: Arc<Presence>,
    pub(crate) after: Arc<Presence>,
    /// Another server counts it.
    pub(crate) spare: bool,
}

/// What a word was, to the gateway that said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Disconnect,
    StatusChange,
}

/// A word was taken.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    /// `None`: it was known.
    pub(crate) kind: Option<Kind>,
    pub(crate) change: Option<Change>,
}

/// There are as many words as there may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// A lease has run out.
#[derive(Debug, PartialEq)]
pub(crate) struct Expired {
    pub(crate) gateway: Arc<str>,
    /// How many words went with it.
    pub(crate) words: usize,
    pub(crate) changes: Vec<Change>,
}

impl Shown {
    fn of(&mut self, status: Status) -> Option<&mut usize> {
        match status {
            Status::Online => Some(&mut self.online),
            Status::Idle => Some(&mut self.idle),
            Status::Dnd => Some(&mut self.dnd),
            Status::Invisible | Status::Offline => None,
        }
    }
}

impl Board {
    pub(crate) fn new(lease: Duration, limit: usize) -> Self {
        Self { lease, limit, gateways: BTreeMap::new(), users: HashMap::new(), words: 0, shown: Shown::default() }
    }

    /// How many gateways have words here or attend.
    pub(crate) fn gateways(&self) -> usize {
        self.gateways.len()
    }

    /// Whether the gateway has words here or attends.
    pub(crate) fn knows(&self, gateway: &str) -> bool {
        self.gateways.contains_key(gateway)
    }

    /// How many users are shown how, of those that no other server counts.
    pub(crate) fn shown(&self) -> Shown {
        self.shown
    }

    /// What others see of a user; `None`: offline.
    pub(crate) fn of(&self, user: UserId) -> Option<&Arc<Presence>> {
        self.users.get(&user).map(|u| &u.shown).filter(|shown| shown.status != Status::Offline)
    }

    /// What a gateway says of a user.
    pub(crate) fn word(&self, gateway: &str, user: UserId) -> Option<&Presence> {
        self.users.get(&user)?.words.iter().find(|(from, _)| &**from == gateway).map(|(_, word)| word)
    }

    /// All that a gateway says.
    pub(crate) fn words_of(&self, gateway: &str) -> impl Iterator<Item = (UserId, &Presence)> {
        let users = self.gateways.get(gateway).into_iter().flat_map(|g| g.users.keys());
        users.filter_map(|user| Some((*user, self.word(gateway, *user)?)))
    }

    /// A gateway attends, and is going to say everything. Answers the stream by which it did before.
    pub(crate) fn join(&mut self, now: Instant, gateway: &Arc<str>, stream: u64) -> Option<u64> {
        let until = now + self.lease;
        let entry = self.gateways.entry(gateway.clone()).or_insert_with(|| Gateway::new(until));
        entry.round += 1;
        entry.until = until;
        entry.stream.replace(stream)
    }

    /// A gateway gives a sign of life.
    pub(crate) fn beat(&mut self, now: Instant, gateway: &str) {
        if let Some(entry) = self.gateways.get_mut(gateway) {
            entry.until = now + self.lease;
        }
    }

    /// This server itself has hung: what it has not heard meanwhile is held against nobody.
    pub(crate) fn forgive(&mut self, now: Instant) {
        self.gateways.values_mut().for_each(|entry| entry.until = now + self.lease);
    }

    /// A gateway attends no more by this stream; its lease begins to run out.
    pub(crate) fn leave(&mut self, now: Instant, gateway: &str, stream: u64) {
        if let Some(entry) = self.gateways.get_mut(gateway).filter(|g| g.stream == Some(stream)) {
            entry.stream = None;
            entry.until = now + self.lease;
        }
    }

    /// What a gateway said before this server began, of whom is not known whether it is still there. Nobody of whom it
    /// spoke is counted until a gateway says so.
    pub(crate) fn restore(
        &mut self,
        now: Instant,
        gateway: &Arc<str>,
        words: impl IntoIterator<Item = (UserId, Presence)>,
    ) -> Vec<Change> {
        let until = now + self.lease;
        self.gateways.entry(gateway.clone()).or_insert_with(|| Gateway::new(until));
        words.into_iter().filter_map(|(user, word)| self.say(gateway, user, word, true).ok()?.change).collect()
    }

    /// A gateway's word about a user; offline takes it back. `spare`: another server counts the user.
    pub(crate) fn say(&mut self, gateway: &Arc<str>, user: UserId, word: Presence, spare: bool) -> Result<Said, Full> {
        let nothing = Ok(Said { kind: None, change: None });
        let Some(entry) = self.gateways.get_mut(gateway) else { return nothing };
        let known = entry.users.contains_key(&user);
        if word.status == Status::Offline {
            if !known {
                return nothing;
            }
            entry.users.remove(&user);
            return Ok(Said { kind: Some(Kind::Disconnect), change: self.take(gateway, user) });
        }
        if !known && self.words >= self.limit {
            return Err(Full);
        }
        entry.users.insert(user, entry.round);
        let user_entry = self.users.entry(user).or_insert_with(|| User::new(spare));
        if std::mem::replace(&mut user_entry.spare, spare) != spare
            && let Some(count) = self.shown.of(user_entry.shown.status)
        {
            *count = if spare { *count - 1 } else { *count + 1 };
        }
        let kind = match user_entry.words.iter_mut().find(|(from, _)| from == gateway) {
            Some((_, before)) if *before == word => return nothing,
            Some((_, before)) => {
                *before = word;
                Kind::StatusChange
            }
            None => {
                self.words += 1;
                let at = user_entry.words.partition_point(|(from, _)| from < gateway);
                user_entry.words.insert(at, (gateway.clone(), word));
                Kind::Connect
            }
        };
        Ok(Said { kind: Some(kind), change: self.show(user) })
    }

    /// A gateway has said everything: what it said in former rounds only is void.
    pub(crate) fn all_said(&mut self, gateway: &Arc<str>) -> Vec<Change> {
        let Some(entry) = self.gateways.get_mut(gateway) else { return Vec::new() };
        let round = entry.round;
        let void: Vec<UserId> = entry.users.iter().filter(|(_, said)| **said != round).map(|(user, _)| *user).collect();
        void.iter().for_each(|user| {
            entry.users.remove(user);
        });
        void.into_iter().filter_map(|user| self.take(gateway, user)).collect()
    }

    /// Forgets the gateways that were not heard of for a lease.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Expired> {
        let over = self.gateways.iter().filter(|(_, entry)| entry.until <= now);
        let over: Vec<Arc<str>> = over.map(|(gateway, _)| gateway.clone()).collect();
        let expired = over.into_iter().filter_map(|gateway| {
            let entry = self.gateways.remove(&gateway)?;
            let changes = entry.users.keys().filter_map(|user| self.take(&gateway, *user)).collect();
            Some(Expired { words: entry.users.len(), gateway, changes })
        });
        expired.collect()
    }

    /// Takes a gateway's word about a user back.
    fn take(&mut self, gateway: &Arc<str>, user: UserId) -> Option<Change> {
        let entry = self.users.get_mut(&user)?;
        let before = entry.words.len();
        entry.words.retain(|(from, _)| from != gateway);
        self.words -= before - entry.words.len();
        self.show(user)
    }

    /// Finds out what others see of a user now.
    fn show(&mut self, user: UserId) -> Option<Change> {
        let entry = self.users.get_mut(&user)?;
        let after = Presence::merge(entry.words.iter().map(|(_, word)| word)).shown();
        let is_gone = entry.words.is_empty();
        let change = (*entry.shown != after).then(|| {
            let after = Arc::new(after);
            let before = std::mem::replace(&mut entry.shown, after.clone());
            Change { user, before, after, spare: entry.spare }
        });
        if let Some(change) = change.as_ref().filter(|change| !change.spare) {
            if let Some(count) = self.shown.of(change.before.status) {
                *count -= 1;
            }
            if let Some(count) = self.shown.of(change.after.status) {
                *count += 1;
            }
        }
        if is_gone {
            self.users.remove(&user);
        }
        change
    }
}

impl Gateway {
    fn new(until: Instant) -> Self {
        Self { stream: None, until, round: 0, users: HashMap::new() }
    }
}

impl User {
    fn new(spare: bool) -> Self {
        Self { words: Vec::new(), shown: Arc::default(), spare }
    }
}

#[cfg(test)]
mod tests;
