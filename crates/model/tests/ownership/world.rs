//! A history: steps that happen to owners, clients, followers and the network between them and the store.

use std::collections::VecDeque;

use clarion_model::id;
use clarion_model::key::{Key, Position};
use clarion_model::time::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::fault::Fault;
use crate::owner::Owner;
use crate::store::{Ack, Message, Node, Nonce, REPLICAS, Store, Wire};

pub(crate) const OWNERS: usize = 3;
pub(crate) const CLIENTS: usize = 3;
pub(crate) const FOLLOWERS: usize = 2;

/// What happens next. Whatever is not made to happen waits, however long: that is delay.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// An owner tries to take the slot.
    Take { owner: usize },
    /// A client sends its message to an owner: a new one once the last is acknowledged, else the same again.
    Say { client: usize, owner: usize },
    /// The oldest messages under way arrive, so many of them.
    Flow { count: usize },
    /// Any one message arrives, before older ones.
    Jump { pick: usize },
    /// A message arrives, and will arrive again.
    Double { pick: usize },
    /// A message is lost.
    Lose { pick: usize },
    /// An owner stands still; nothing arrives at it.
    Pause { owner: usize },
    /// What an owner asks of some replicas is held up on the way.
    Cut { owner: usize, replicas: usize },
    /// An owner goes on as if nothing had been, and what was held up may arrive.
    Mend { owner: usize },
    /// An owner forgets everything, and starts again.
    Crash { owner: usize },
    /// An owner asks the store again what was not answered.
    Retry { owner: usize },
    /// An owner's clock shows another time.
    Clock { owner: usize, millis: u64 },
    /// A follower asks an owner for what is new.
    Follow { follower: usize, owner: usize },
}

/// Any sequence of steps: the more likely ones are those that let something happen.
pub(crate) fn history() -> impl Strategy<Value = Vec<Step>> {
    // Whole numbers made into steps are generated many times faster than a choice of strategies.
    let step = (0..64_u8, 0..OWNERS, 0..60_usize).prop_map(|(kind, owner, n)| match kind {
        0..4 => Step::Take { owner },
        4..20 => Step::Say { owner, client: n % CLIENTS },
        20..38 => Step::Flow { count: n },
        38..42 => Step::Jump { pick: n },
        42 => Step::Double { pick: n },
        43 => Step::Lose { pick: n },
        44..46 => Step::Pause { owner },
        46..50 => Step::Cut { owner, replicas: n % (1 << REPLICAS) },
        50..53 => Step::Mend { owner },
        53 => Step::Crash { owner },
        54 => Step::Retry { owner },
        55 => Step::Clock { owner, millis: n as u64 % 4 },
        _ => Step::Follow { owner, follower: n % FOLLOWERS },
    });
    vec(step, 1..100)
}

pub(crate) struct World {
    pub(crate) keys: Vec<Key>,
    pub(crate) store: Store,
    pub(crate) owners: Vec<Owner>,
    pub(crate) clients: Vec<Client>,
    pub(crate) followers: Vec<Follower>,
    /// Everything that was ever promised to a client.
    pub(crate) acks: Vec<Ack>,
    paused: [bool; OWNERS],
    /// The replicas that an owner does not reach, as bits.
    cut: [usize; OWNERS],
    network: VecDeque<Message>,
    /// How many of the promises were made before the world settled.
    pub(crate) unsettled: usize,
}

/// Says one thing after another, each under the same key.
pub(crate) struct Client {
    pub(crate) key: Key,
    pub(crate) nonce: Nonce,
    /// Whether it has said `nonce` and not been heard.
    pub(crate) waits: bool,
}

/// Follows a key, from whatever owner.
pub(crate) struct Follower {
    pub(crate) key: Key,
    pub(crate) seen: Vec<Ack>,
}

impl World {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        let keys = vec![Key::Guild(id::GuildId(1)), Key::User(id::UserId(1))];
        // The first key has two clients, the second one.
        let client = |client| Client { key: keys[client % 2], nonce: Nonce { client, number: 0 }, waits: false };
        Self {
            store: Store::default(),
            owners: (0..OWNERS).map(|owner| Owner::new(owner, &keys, clock(owner as u64), fault)).collect(),
            clients: (0..CLIENTS).map(client).collect(),
            followers: (0..FOLLOWERS).map(|n| Follower { key: keys[n % 2], seen: Vec::new() }).collect(),
            acks: Vec::new(),
            paused: [false; OWNERS],
            cut: [0; OWNERS],
            network: VecDeque::new(),
            unsettled: 0,
            keys,
        }
    }

    /// One step of a history.
    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Take { owner } => self.owner(owner, Owner::take),
            Step::Retry { owner } => self.owner(owner, Owner::retry),
            Step::Say { client, owner } => self.say(client, owner),
            Step::Flow { count } => self.flow(count),
            Step::Jump { pick } => {
                if let Some(message) = self.pick(pick).and_then(|at| self.network.remove(at)) {
                    self.arrive(message);
                }
            }
            Step::Double { pick } => {
                if let Some(at) = self.pick(pick) {
                    self.arrive(self.network[at].clone());
                }
            }
            Step::Lose { pick } => {
                self.pick(pick).and_then(|at| self.network.remove(at));
            }
            Step::Pause { owner } => self.paused[owner] = true,
            Step::Cut { owner, replicas } => self.cut[owner] = replicas,
            Step::Mend { owner } => (self.paused[owner], self.cut[owner]) = (false, 0),
            Step::Crash { owner } => self.owners[owner].crash(),
            Step::Clock { owner, millis } => self.owners[owner].clock = clock(millis),
            Step::Follow { follower, owner } => self.follow(follower, owner),
        }
    }

    /// Ends the trouble: one owner takes the slot undisturbed and hears what clients still have to say. Then whatever was
    /// held up arrives, and whoever stood still goes on. False if the owner could not take the slot.
    pub(crate) fn settle(&mut self) -> bool {
        self.flow(usize::MAX);
        self.unsettled = self.acks.len();
        for step in [Step::Crash { owner: 0 }, Step::Mend { owner: 0 }, Step::Take { owner: 0 }] {
            self.step(step);
        }
        self.flow(usize::MAX);
        for client in 0..CLIENTS {
            if self.clients[client].waits {
                self.say(client, 0);
            }
        }
        self.flow(usize::MAX);
        for owner in 0..OWNERS {
            self.step(Step::Mend { owner });
        }
        self.flow(usize::MAX);
        self.owners[0].serves()
    }

    fn owner(&mut self, owner: usize, act: impl FnOnce(&mut Owner, &mut Wire)) {
        let mut wire = Wire::default();
        act(&mut self.owners[owner], &mut wire);
        self.network.extend(wire.messages);
        self.acks.extend(wire.acks);
    }

    fn say(&mut self, client: usize, owner: usize) {
        let Client { key, nonce, waits } = &mut self.clients[client];
        *waits = true;
        self.network.push_back(Message::Say { owner, key: *key, nonce: *nonce });
    }

    fn follow(&mut self, follower: usize, owner: usize) {
        let Follower { key, seen } = &mut self.followers[follower];
        let after = seen.last().map_or(Position::START, |entry| entry.position);
        seen.extend(self.owners[owner].show(*key).into_iter().filter(|entry| entry.position > after));
    }

    fn flow(&mut self, count: usize) {
        for _ in 0..count {
            let Some(at) = self.network.iter().position(|message| self.passes(message)) else { return };
            if let Some(message) = self.network.remove(at) {
                self.arrive(message);
            }
        }
    }

    /// Some message that can arrive.
    fn pick(&self, pick: usize) -> Option<usize> {
        let at = pick.checked_rem(self.network.len())?;
        self.passes(&self.network[at]).then_some(at)
    }

    fn passes(&self, message: &Message) -> bool {
        match message {
            Message::Reply { call, .. } => !self.paused[call.owner],
            Message::Say { owner, .. } => !self.paused[*owner],
            Message::Ask { call, node: Node::Replica(replica), .. } => self.cut[call.owner] & (1 << replica) == 0,
            Message::Ask { node: Node::Register, .. } | Message::Heard { .. } => true,
        }
    }

    fn arrive(&mut self, message: Message) {
        match message {
            Message::Ask { call, node, request } => {
                let answer = self.store.apply(node, &request);
                self.network.push_back(Message::Reply { call, node, answer });
            }
            Message::Reply { call, node, answer } => {
                self.owner(call.owner, |owner, wire| owner.answered(wire, call, node, answer));
            }
            Message::Say { owner, key, nonce } => self.owner(owner, |owner, wire| owner.say(wire, key, nonce)),
            Message::Heard { nonce } => {
                let client = &mut self.clients[nonce.client];
                if client.nonce == nonce {
                    client.nonce.number += 1;
                    client.waits = false;
                }
            }
        }
    }
}

/// A few milliseconds after the first instant that has an id.
fn clock(millis: u64) -> Timestamp {
    Timestamp::from_millis(id::EPOCH_MS + 1 + millis)
}
