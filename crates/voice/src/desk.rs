//! Who is admitted, and with which token: pure. It knows legs by number only.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::engine::Heard;
use crate::leg::{Permissions, Who};
use crate::token::Claims;

/// Longest name of a gateway session.
const NAME: usize = 128;

/// What may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) sessions: usize,
    pub(crate) load: f64,
    /// From an admission to the first use of its token.
    pub(crate) unused: Duration,
    /// Without the gateway whose session it is.
    pub(crate) alone: Duration,
}

/// Why somebody is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("channel_id, user_id and session_id must be set, the last to at most {NAME} letters, digits, - and _")]
    Invalid,
    #[error("the room is full")]
    RoomFull,
    #[error("the server is full")]
    ServerFull,
    #[error("the server drains")]
    Draining,
}

/// Why a token opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Shut {
    #[error("the token has expired: join the channel again for another")]
    Expired,
    #[error("the token has been used: join the channel again for another")]
    Used,
    #[error("the token is void: the participant left, or was given a later one")]
    Void,
}

/// What an offer is let in as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) leg: u64,
    pub(crate) who: Who,
    pub(crate) permissions: Permissions,
    /// The leg that it takes the place of.
    pub(crate) replaces: Option<u64>,
}

/// One participant.
#[derive(Debug)]
struct Admission {
    number: u64,
    user: u64,
    permissions: Permissions,
    until: Instant,
    used: bool,
    leg: Option<u64>,
    /// Whose session it is, if anybody's, and since when that gateway does not attend.
    gateway: String,
    alone_since: Option<Instant>,
    /// How often its ICE session was begun anew.
    restarts: u32,
}

type Key = (u64, String);

/// All participants.
#[derive(Debug)]
pub(crate) struct Desk {
    limits: Limits,
    admitted: HashMap<Key, Admission>,
    by_leg: HashMap<u64, Key>,
    rooms: HashMap<u64, usize>,
    heard: HashMap<u64, Vec<Heard>>,
    next: u64,
    pub(crate) load: f64,
    pub(crate) draining: bool,
}

impl Desk {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            admitted: HashMap::new(),
            by_leg: HashMap::new(),
            rooms: HashMap::new(),
            heard: HashMap::new(),
            next: 1,
            load: 0.0,
            draining: false,
        }
    }

    /// Lets somebody into a room; answers the number of the admission. One who is there already stays until the new token
    /// is used. `capacity` 0 is none.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        who: &Who,
        permissions: Permissions,
        capacity: usize,
    ) -> Result<u64, Refused> {
        let name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let fine = !who.session.is_empty() && who.session.len() <= NAME && who.session.bytes().all(name);
        if who.channel == 0 || who.user == 0 || !fine {
            return Err(Refused::Invalid);
        }
        if self.draining {
            return Err(Refused::Draining);
        }
        let key = (who.channel, who.session.clone());
        let known = self.admitted.get(&key);
        if known.is_none() {
            if self.admitted.len() >= self.limits.sessions || self.load > self.limits.load {
                return Err(Refused::ServerFull);
            }
            if capacity > 0 && self.rooms.get(&who.channel).is_some_and(|there| *there >= capacity) {
                return Err(Refused::RoomFull);
            }
            *self.rooms.entry(who.channel).or_default() += 1;
        }
        let (leg, restarts) = known.map_or((None, 0), |known| (known.leg, known.restarts));
        let gateway = known.map(|known| known.gateway.clone()).unwrap_or_default();
        let number = self.number();
        let (until, user) = (now + self.limits.unused, who.user);
        let admission =
            Admission { number, user, permissions, until, used: false, leg, gateway, alone_since: None, restarts };
        self.admitted.insert(key, admission);
        Ok(number)
    }

    /// A token is used for the first and last time to let an offer in.
    pub(crate) fn enter(&mut self, now: Instant, claims: &Claims) -> Result<Entry, Shut> {
        let leg = self.number();
        let admission = self.of(claims)?;
        if admission.used {
            return Err(Shut::Used);
        }
        if now >= admission.until {
            return Err(Shut::Expired);
        }
        admission.used = true;
        let replaces = admission.leg.replace(leg);
        let permissions = admission.permissions;
        if let Some(replaced) = replaces {
            self.by_leg.remove(&replaced);
        }
        self.by_leg.insert(leg, key(claims));
        Ok(Entry { leg, who: who(claims), permissions, replaces })
    }

    /// What the participant of a leg may do now; `None` if it is none any more.
    pub(crate) fn standing(&self, leg: u64) -> Option<Permissions> {
        self.admitted.get(self.by_leg.get(&leg)?).map(|admission| admission.permissions)
    }

    /// Whether a new one would be let in just now.
    pub(crate) fn has_room(&self) -> bool {
        !self.draining && self.load <= self.limits.load
    }

    /// The leg that a used token stands for, and the number of its ICE session.
    pub(crate) fn leg(&mut self, claims: &Claims) -> Result<(u64, u32), Shut> {
        let admission = self.of(claims)?;
        admission.leg.map(|leg| (leg, admission.restarts)).ok_or(Shut::Void)
    }

    /// A leg's ICE session begins anew; answers its number.
    pub(crate) fn restarted(&mut self, claims: &Claims) -> Result<u32, Shut> {
        let admission = self.of(claims)?;
        admission.restarts += 1;
        Ok(admission.restarts)
    }

    /// What a participant may do from now on. `None`: it is not admitted; otherwise its leg, if it has one.
    pub(crate) fn allow(&mut self, who: &Who, permissions: Permissions) -> Option<Option<u64>> {
        let admission = self.admitted.get_mut(&(who.channel, who.session.clone()))?;
        admission.permissions = permissions;
        Some(admission.leg)
    }

    /// A gateway says that a participant is a session of its own.
    pub(crate) fn vouch(&mut self, who: &Who, gateway: String) {
        if let Some(admission) = self.admitted.get_mut(&(who.channel, who.session.clone())) {
            (admission.gateway, admission.alone_since) = (gateway, None);
        }
    }

    /// Those whose gateways have not attended for too long: nobody could end them.
    pub(crate) fn alone(&mut self, now: Instant, attending: &HashSet<String>) -> Vec<Who> {
        let mut late = Vec::new();
        for ((channel, session), admission) in &mut self.admitted {
            if admission.gateway.is_empty() || attending.contains(&admission.gateway) {
                admission.alone_since = None;
            } else if now.saturating_duration_since(*admission.alone_since.get_or_insert(now)) >= self.limits.alone {
                late.push(Who { channel: *channel, user: admission.user, session: session.clone() });
            }
        }
        late
    }

    /// Ends an admission. `None`: there is none; otherwise its leg, if it has one.
    pub(crate) fn dismiss(&mut self, who: &Who) -> Option<Option<u64>> {
        let key = (who.channel, who.session.clone());
        let admission = self.admitted.get(&key)?;
        let leg = admission.leg;
        self.forget(&key);
        Some(leg)
    }

    /// A leg has ended; answers whether that is news, and not the end of one that was replaced or dismissed.
    pub(crate) fn gone(&mut self, leg: u64) -> bool {
        let Some(key) = self.by_leg.remove(&leg) else { return false };
        // One who has been admitted anew meanwhile is waited for.
        let waits = self.admitted.get_mut(&key).is_some_and(|admission| {
            admission.leg = None;
            !admission.used
        });
        if !waits {
            self.forget(&key);
        }
        !waits
    }

    /// Those whose tokens were not used in time, and who have no leg.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Who> {
        let late = self.admitted.iter().filter(|(_, a)| !a.used && a.leg.is_none() && now >= a.until);
        let late: Vec<Who> = late
            .map(|((channel, session), a)| Who { channel: *channel, user: a.user, session: session.clone() })
            .collect();
        for who in &late {
            self.forget(&(who.channel, who.session.clone()));
        }
        late
    }

    /// Who is heard in a room from now on.
    pub(crate) fn heard(&mut self, channel: u64, slots: Vec<Heard>) {
        if slots.is_empty() {
            self.heard.remove(&channel);
        } else {
            self.heard.insert(channel, slots);
        }
    }

    /// Who is heard in all rooms.
    pub(crate) fn all_heard(&self) -> impl Iterator<Item = (u64, &[Heard])> {
        self.heard.iter().map(|(channel, slots)| (*channel, slots.as_slice()))
    }

    /// How many are admitted.
    pub(crate) fn len(&self) -> usize {
        self.admitted.len()
    }

    /// The legs of all participants.
    pub(crate) fn legs(&self) -> Vec<(u64, u64)> {
        self.by_leg.iter().map(|(leg, (channel, _))| (*leg, *channel)).collect()
    }

    fn of(&mut self, claims: &Claims) -> Result<&mut Admission, Shut> {
        let admission = self.admitted.get_mut(&key(claims)).ok_or(Shut::Void)?;
        if admission.number == claims.admission { Ok(admission) } else { Err(Shut::Void) }
    }

    fn forget(&mut self, key: &Key) {
        let Some(admission) = self.admitted.remove(key) else { return };
        if let Some(leg) = admission.leg {
            self.by_leg.remove(&leg);
        }
        if let Some(there) = self.rooms.get_mut(&key.0) {
            *there -= 1;
            if *there == 0 {
                self.rooms.remove(&key.0);
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn key(claims: &Claims) -> Key {
    (claims.channel, claims.session.clone())
}

fn who(claims: &Claims) -> Who {
    Who { channel: claims.channel, user: claims.user, session: claims.session.clone() }
}

#[cfg(test)]
mod tests;
