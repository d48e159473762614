//! What must be true of a settled world, whatever happened to it.

use std::collections::{BTreeMap, BTreeSet};

use clarion_model::key::Key;
use clarion_model::ownership::Chain;

use crate::store::{Ack, REPLICAS};
use crate::world::World;

/// How a history broke the contract.
#[derive(Debug)]
#[expect(dead_code, reason = "its fields are for the reader of a report")]
pub(crate) enum Violation {
    /// An owner could not take the slot, or did not accept what a client had to say, though nothing was in its way.
    Stuck,
    /// Two quorums tell different logs.
    Torn { key: Key, log: Vec<Ack>, other: Vec<Ack> },
    /// Positions or ids do not rise.
    Disorder { before: Ack, after: Ack },
    /// A nonce is in the log twice.
    Doubled { first: Ack, again: Ack },
    /// Two different promises about one place or about one nonce.
    Conflict { one: Ack, other: Ack },
    /// An acknowledged message is not in the log.
    Lost { ack: Ack, log: Vec<Ack> },
    /// A follower saw something else than how the log begins.
    Vanished { seen: Vec<Ack>, log: Vec<Ack> },
}

/// Settles the world, and checks all invariants.
pub(crate) fn check(world: &mut World) -> Result<(), Violation> {
    let settled = world.settle();
    one_promise_a_place_and_nonce(&world.acks)?;
    let mut logs = BTreeMap::new();
    for key in &world.keys {
        let log = the_log(world, *key)?;
        in_order_and_once(&log)?;
        logs.insert(*key, log);
    }
    for ack in &world.acks {
        if !logs[&ack.key].contains(ack) {
            return Err(Violation::Lost { ack: *ack, log: logs[&ack.key].clone() });
        }
    }
    for follower in &world.followers {
        if !logs[&follower.key].starts_with(&follower.seen) {
            return Err(Violation::Vanished { seen: follower.seen.clone(), log: logs[&follower.key].clone() });
        }
    }
    if !settled || world.clients.iter().any(|client| client.waits) {
        return Err(Violation::Stuck);
    }
    Ok(())
}

/// The log of a key as every quorum tells it.
fn the_log(world: &World, key: Key) -> Result<Vec<Ack>, Violation> {
    let log = read(world, key, &[0, 1, 2]);
    for absent in 0..REPLICAS {
        let quorum: Vec<_> = (0..REPLICAS).filter(|replica| *replica != absent).collect();
        let other = read(world, key, &quorum);
        if log != other {
            return Err(Violation::Torn { key, log, other });
        }
    }
    Ok(log)
}

fn read(world: &World, key: Key, replicas: &[usize]) -> Vec<Ack> {
    let rows = world.store.rows(key, replicas);
    let chain = Chain::of(&rows);
    rows.iter().filter_map(Ack::of).filter(|entry| chain.holds(entry.position)).collect()
}

fn in_order_and_once(log: &[Ack]) -> Result<(), Violation> {
    for pair in log.windows(2) {
        if pair[0].position >= pair[1].position || pair[0].id >= pair[1].id {
            return Err(Violation::Disorder { before: pair[0], after: pair[1] });
        }
    }
    let mut nonces = BTreeMap::new();
    for entry in log {
        if let Some(first) = nonces.insert(entry.nonce, *entry) {
            return Err(Violation::Doubled { first, again: *entry });
        }
    }
    Ok(())
}

fn one_promise_a_place_and_nonce(acks: &[Ack]) -> Result<(), Violation> {
    let (mut places, mut nonces) = (BTreeMap::new(), BTreeMap::new());
    for ack in acks {
        let at_place = *places.entry((ack.key, ack.position)).or_insert(*ack);
        let of_nonce = *nonces.entry(ack.nonce).or_insert(*ack);
        for one in [at_place, of_nonce] {
            if one != *ack {
                return Err(Violation::Conflict { one, other: *ack });
            }
        }
    }
    Ok(())
}

/// What a history put to the test, to know that many of them put everything to the test.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    /// Messages acknowledged.
    pub(crate) acknowledged: usize,
    /// Owners that wrote a seal.
    pub(crate) seals: usize,
    /// Seals that were passed by.
    pub(crate) passed_by: usize,
    /// Entries beyond a seal.
    pub(crate) beyond: usize,
    /// Entries that a later owner found in the log and no earlier one had acknowledged.
    pub(crate) adopted: usize,
    /// Entries that followers saw.
    pub(crate) followed: usize,
}

impl Coverage {
    /// Adds what a settled world has seen.
    pub(crate) fn add(&mut self, world: &World) {
        let before: BTreeSet<_> = world.acks[..world.unsettled].iter().map(|ack| ack.nonce).collect();
        self.acknowledged += before.len();
        for key in &world.keys {
            let rows = world.store.rows(*key, &[0, 1, 2]);
            let chain = Chain::of(&rows);
            let last = rows.last().map(|row| row.position.epoch);
            for row in &rows {
                let held = chain.holds(row.position);
                match Ack::of(row) {
                    None => {
                        self.seals += 1;
                        self.passed_by += usize::from(!held);
                    }
                    Some(entry) => {
                        self.beyond += usize::from(!held);
                        let older = Some(row.position.epoch) < last;
                        self.adopted += usize::from(held && older && !before.contains(&entry.nonce));
                    }
                }
            }
        }
        self.followed += world.followers.iter().map(|follower| follower.seen.len()).sum::<usize>();
    }
}
