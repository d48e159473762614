//! Who is there and who owns what: the router's memory. The truth about epochs is in the store; this only finds it.
//!
//! Every router hears everything; the one that leads orders. What a slot's owner is follows from what channel servers say
//! that they hold: the one with the highest epoch.

mod voice;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clarion_model::key::{Epoch, Slot};
use clarion_proto::{JoinResponse, MemberKind, RouterMember};
use clarion_runtime::Address;
use tokio::sync::{mpsc, watch};

use crate::placement::place;
use crate::voice::Rooms;

/// Orders that may wait for a member. One that does not read them is as good as gone.
const ORDERS: usize = 64;
/// Slots that a server is told to release at a time: while they change hands, requests for them wait.
const MOVING: usize = 64;
/// Ticks in a lease. Counting them, and not looking at a clock, a router that was stopped itself holds it against nobody.
pub(crate) const TICKS: u32 = 6;

/// The owner of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) server: String,
    pub(crate) address: Address,
    pub(crate) epoch: Epoch,
}

/// For how long this router orders, and in which term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lead {
    pub(crate) term: Epoch,
    /// `None`: there is no other router.
    pub(crate) until: Option<Instant>,
}

/// The table. A clone is the same table.
#[derive(Clone)]
pub(crate) struct Table {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    members: BTreeMap<String, Member>,
    /// Of all that is claimed, the highest epoch of each slot.
    owners: BTreeMap<Slot, (String, Epoch)>,
    joined: u64,
    lead: Option<Lead>,
    voice: Rooms,
}

struct Member {
    kind: MemberKind,
    address: Address,
    leaving: bool,
    /// Slots it says that it holds; `None` until it has said so for the first time.
    claims: Option<BTreeMap<Slot, Epoch>>,
    /// Slots it was told to take, until it says that it holds them.
    taking: BTreeSet<Slot>,
    /// Slots it was told to release, until it says that it does not hold them.
    releasing: BTreeSet<Slot>,
    orders: Option<mpsc::Sender<JoinResponse>>,
    /// Tells a member from an earlier one of the same name.
    serial: u64,
    /// Ticks since it said something.
    silent: u32,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), changed: watch::Sender::new(0) }
    }

    /// A member has come. Its orders arrive at the receiver; the number says goodbye for it. What an earlier member of the
    /// same name held counts until this one says what it holds.
    pub(crate) fn join(
        &self,
        instance: &str,
        kind: MemberKind,
        address: Address,
    ) -> (u64, mpsc::Receiver<JoinResponse>) {
        let (orders, receiver) = mpsc::channel(ORDERS);
        let mut state = self.lock();
        state.joined += 1;
        let serial = state.joined;
        let claims = state.members.remove(instance).and_then(|earlier| earlier.claims);
        let member = Member {
            kind,
            address,
            leaving: false,
            claims,
            taking: BTreeSet::new(),
            releasing: BTreeSet::new(),
            orders: Some(orders),
            serial,
            silent: 0,
        };
        if let Some(term) = state.lead.map(|lead| lead.term) {
            // The queue is new and has room.
            let _ = member.orders.as_ref().map(|orders| orders.try_send(announcement(term)));
        }
        state.members.insert(instance.to_owned(), member);
        self.settle(state);
        (serial, receiver)
    }

    /// A member's stream has ended.
    pub(crate) fn gone(&self, instance: &str, serial: u64) {
        let mut state = self.lock();
        if state.members.get(instance).is_none_or(|m| m.serial != serial) {
            return;
        }
        state.members.remove(instance);
        self.settle(state);
    }

    /// A member gave a sign of life.
    pub(crate) fn heard(&self, instance: &str) {
        if let Some(member) = self.lock().members.get_mut(instance) {
            member.silent = 0;
        }
    }

    /// A part of a lease is over. Answers the members that have said nothing for all of it; they are gone.
    pub(crate) fn tick(&self) -> Vec<String> {
        let mut state = self.lock();
        state.members.values_mut().for_each(|member| member.silent += 1);
        let is_silent = |member: &Member| member.silent > TICKS;
        let silent: Vec<String> =
            state.members.iter().filter(|(_, m)| is_silent(m)).map(|(name, _)| name.clone()).collect();
        if !silent.is_empty() {
            state.members.retain(|_, member| !is_silent(member));
            self.settle(state);
        }
        silent
    }

    /// A channel server holds these slots, at these epochs, and no others.
    pub(crate) fn held(&self, instance: &str, slots: impl IntoIterator<Item = (Slot, Epoch)>) {
        let mut state = self.lock();
        let Some(member) = state.members.get_mut(instance) else { return };
        let claims: BTreeMap<Slot, Epoch> = slots.into_iter().collect();
        member.taking.retain(|slot| !claims.contains_key(slot));
        member.releasing.retain(|slot| claims.contains_key(slot));
        member.claims = Some(claims);
        self.settle(state);
    }

    /// A channel server could not take slots.
    pub(crate) fn refused(&self, instance: &str, slots: impl IntoIterator<Item = Slot>) {
        let mut state = self.lock();
        let Some(member) = state.members.get_mut(instance) else { return };
        for slot in slots {
            member.taking.remove(&slot);
        }
        self.settle(state);
    }

    /// A member drains: it is to hold nothing any more.
    pub(crate) fn leaving(&self, instance: &str) {
        let mut state = self.lock();
        if let Some(member) = state.members.get_mut(instance) {
            member.leaving = true;
        }
        self.settle(state);
    }

    /// This router orders from now on, or goes on to; or does not.
    pub(crate) fn lead(&self, lead: Option<Lead>) {
        let mut state = self.lock();
        let began = lead.filter(|_| state.lead.is_none());
        state.lead = lead;
        let Some(Lead { term, .. }) = began else { return };
        for member in state.members.values_mut() {
            // What was ordered in an earlier term may not have been obeyed.
            (member.taking, member.releasing) = (BTreeSet::new(), BTreeSet::new());
            member.order(announcement(term));
        }
        self.settle(state);
    }

    /// The owner of a slot, if there is one just now.
    pub(crate) fn owner(&self, slot: Slot) -> Option<Owner> {
        self.lock().owner(slot)
    }

    /// The owners of all slots that have one.
    pub(crate) fn owners(&self) -> BTreeMap<Slot, Owner> {
        let state = self.lock();
        state.owners.keys().filter_map(|slot| Some((*slot, state.owner(*slot)?))).collect()
    }

    /// The owner of a slot, waiting a while for one.
    pub(crate) async fn owner_within(&self, slot: Slot, wait: Duration) -> Option<Owner> {
        let mut changed = self.changed.subscribe();
        let found = async {
            loop {
                changed.borrow_and_update();
                if let Some(owner) = self.owner(slot) {
                    return Some(owner);
                }
                changed.changed().await.ok()?;
            }
        };
        tokio::time::timeout(wait, found).await.ok().flatten()
    }

    /// The addresses of all members of a kind, by instance.
    pub(crate) fn members(&self, kind: MemberKind) -> Vec<(String, Address)> {
        let state = self.lock();
        state
            .members
            .iter()
            .filter(|(_, m)| m.kind == kind)
            .map(|(name, m)| (name.clone(), m.address.clone()))
            .collect()
    }

    /// All members, by instance.
    pub(crate) fn all_members(&self) -> Vec<RouterMember> {
        let state = self.lock();
        let members = state.members.iter().map(|(instance, member)| RouterMember {
            instance: instance.clone(),
            kind: member.kind.into(),
            address: member.address.to_string(),
            leaving: member.leaving,
        });
        members.collect()
    }

    /// How many slots nobody owns just now.
    pub(crate) fn unowned(&self) -> usize {
        usize::from(clarion_model::key::SLOTS) - self.lock().owners.len()
    }

    /// Told after every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has changed: what follows from it.
    fn settle(&self, mut state: MutexGuard<'_, State>) {
        state.count();
        state.settle_voice();
        state.rebalance(Instant::now());
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }
}

impl State {
    fn owner(&self, slot: Slot) -> Option<Owner> {
        let (server, epoch) = self.owners.get(&slot)?;
        let member = self.members.get(server)?;
        Some(Owner { server: server.clone(), address: member.address.clone(), epoch: *epoch })
    }

    /// Finds the owners.
    fn count(&mut self) {
        self.owners.clear();
        for (name, member) in &self.members {
            for (slot, epoch) in member.claims.iter().flatten() {
                if self.owners.get(slot).is_none_or(|(_, known)| known < epoch) {
                    self.owners.insert(*slot, (name.clone(), *epoch));
                }
            }
        }
    }

    /// Orders what is to be taken and released so that the slots come to lie where they should.
    fn rebalance(&mut self, now: Instant) {
        let Some(lead) = self.lead.filter(|lead| lead.until.is_none_or(|until| now < until)) else { return };
        let is_server = |m: &Member| m.kind == MemberKind::Channel && !m.leaving && m.claims.is_some();
        let servers: Vec<&str> =
            self.members.iter().filter(|(_, m)| is_server(m)).map(|(name, _)| name.as_str()).collect();
        let mut current: BTreeMap<Slot, &str> = self.owners.iter().map(|(s, (o, _))| (*s, o.as_str())).collect();
        let mut taking: BTreeSet<Slot> = BTreeSet::new();
        for (name, member) in &self.members {
            current.extend(member.taking.iter().map(|slot| (*slot, name.as_str())));
            taking.extend(&member.taking);
        }
        let wanted = place(&servers, &current);

        let mut orders: BTreeMap<String, JoinResponse> = BTreeMap::new();
        for (name, member) in &self.members {
            let mut room = MOVING.saturating_sub(member.releasing.len());
            for (slot, epoch) in member.claims.iter().flatten().filter(|(slot, _)| !member.releasing.contains(slot)) {
                let is_owner = self.owners.get(slot).is_some_and(|(owner, of)| owner == name && of == epoch);
                let stays = wanted.get(slot) == Some(&name.as_str());
                if is_owner && (stays || room == 0) {
                    continue;
                }
                room -= usize::from(is_owner);
                orders.entry(name.clone()).or_default().release.push(u32::from(slot.0));
            }
        }
        for (slot, server) in wanted.iter().filter(|(slot, _)| !taking.contains(slot)) {
            if !self.owners.contains_key(slot) {
                orders.entry((*server).to_owned()).or_default().take.push(u32::from(slot.0));
            }
        }
        for (name, mut order) in orders {
            let Some(member) = self.members.get_mut(&name) else { continue };
            member.taking.extend(order.take.iter().map(|s| slot(*s)));
            member.releasing.extend(order.release.iter().map(|s| slot(*s)));
            order.term = lead.term.0;
            member.order(order);
        }
    }
}

impl Member {
    fn order(&mut self, order: JoinResponse) {
        // A member that does not read its orders is as good as gone: without a sender its stream ends.
        if self.orders.as_ref().is_some_and(|orders| orders.try_send(order).is_err()) {
            self.orders = None;
        }
    }
}

/// Says who orders from now on.
fn announcement(term: Epoch) -> JoinResponse {
    JoinResponse { term: term.0, ..JoinResponse::default() }
}

/// Slots travel as 32 bits; what is out of range names no slot that anybody holds.
pub(crate) fn slot(number: u32) -> Slot {
    Slot(u16::try_from(number).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests;
