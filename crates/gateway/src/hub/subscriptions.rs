//! Members of large guilds of whom single sessions asked to hear, with a bound for each session. Pure.

use std::collections::{HashMap, VecDeque};

use clarion_model::id::{GuildId, UserId};

use super::seats::Seat;

/// Only sessions that asked have an entry.
#[derive(Debug)]
pub(super) struct Subscriptions {
    limit: usize,
    by_seat: HashMap<Seat, VecDeque<(GuildId, UserId)>>,
}

impl Subscriptions {
    /// None; each session may have so many.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, by_seat: HashMap::new() }
    }

    /// A session asks to hear of a member. `None`: it does already. Else what it gives up for that, if anything.
    pub(super) fn add(&mut self, seat: Seat, guild: GuildId, user: UserId) -> Option<Option<(GuildId, UserId)>> {
        let asked = self.by_seat.entry(seat).or_default();
        if asked.contains(&(guild, user)) {
            return None;
        }
        asked.push_back((guild, user));
        Some(if asked.len() > self.limit { asked.pop_front() } else { None })
    }

    /// A session is over; answers what it had asked for.
    pub(super) fn end(&mut self, seat: Seat) -> impl Iterator<Item = (GuildId, UserId)> + use<> {
        self.by_seat.remove(&seat).unwrap_or_default().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_more_gives_up_the_first() {
        let mut subscriptions = Subscriptions::new(2);
        let (seat, guild) = (Seat { shard: 0, seat: 1 }, GuildId(1));
        assert_eq!(subscriptions.add(seat, guild, UserId(1)), Some(None));
        assert_eq!(subscriptions.add(seat, guild, UserId(2)), Some(None));
        assert_eq!(subscriptions.add(seat, guild, UserId(1)), None);
        assert_eq!(subscriptions.add(seat, guild, UserId(3)), Some(Some((guild, UserId(1)))));
        assert_eq!(subscriptions.end(seat).count(), 2);
        assert_eq!(subscriptions.end(seat).count(), 0);
    }
}
