//! Who is there and who owns what: the router's memory. The truth about epochs is in the store; this only finds it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clarion_model::key::{Epoch, Slot};
use clarion_proto::{JoinResponse, MemberKind};
use clarion_runtime::Address;
use tokio::sync::{mpsc, watch};

use crate::placement::place;

/// Orders that may wait for a member. One that does not read them is as good as gone.
const ORDERS: usize = 64;

/// The owner of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) server: String,
    pub(crate) address: Address,
    pub(crate) epoch: Epoch,
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
    owners: BTreeMap<Slot, (String, Epoch)>,
    joined: u64,
}

struct Member {
    kind: MemberKind,
    address: Address,
    leaving: bool,
    /// Slots it was told to take, until it says that it holds them.
    taking: BTreeSet<Slot>,
    /// Slots it was told to release, until it says that they are lost.
    releasing: BTreeSet<Slot>,
    orders: Option<mpsc::Sender<JoinResponse>>,
    /// Tells a member from an earlier one of the same name.
    serial: u64,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), changed: watch::Sender::new(0) }
    }

    /// A member has come. Its orders arrive at the receiver; the number says goodbye for it.
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
        let (taking, releasing) = (BTreeSet::new(), BTreeSet::new());
        state.owners.retain(|_, (owner, _)| owner != instance);
        let member = Member { kind, address, leaving: false, taking, releasing, orders: Some(orders), serial };
        state.members.insert(instance.to_owned(), member);
        state.rebalance();
        self.notify(state);
        (serial, receiver)
    }

    /// A member's stream has ended.
    pub(crate) fn gone(&self, instance: &str, serial: u64) {
        let mut state = self.lock();
        if state.members.get(instance).is_none_or(|m| m.serial != serial) {
            return;
        }
        state.members.remove(instance);
        state.owners.retain(|_, (owner, _)| owner != instance);
        state.rebalance();
        self.notify(state);
    }

    /// A channel server holds slots, at these epochs.
    pub(crate) fn held(&self, instance: &str, slots: impl IntoIterator<Item = (Slot, Epoch)>) {
        let mut state = self.lock();
        for (slot, epoch) in slots {
            if let Some(member) = state.members.get_mut(instance) {
                member.taking.remove(&slot);
            }
            if state.owners.get(&slot).is_none_or(|(_, known)| *known < epoch) {
                state.owners.insert(slot, (instance.to_owned(), epoch));
            }
        }
        state.rebalance();
        self.notify(state);
    }

    /// A channel server does not hold slots any more.
    pub(crate) fn lost(&self, instance: &str, slots: impl IntoIterator<Item = Slot>) {
        let mut state = self.lock();
        for slot in slots {
            if let Some(member) = state.members.get_mut(instance) {
                member.releasing.remove(&slot);
                member.taking.remove(&slot);
            }
            if state.owners.get(&slot).is_some_and(|(owner, _)| owner == instance) {
                state.owners.remove(&slot);
            }
        }
        state.rebalance();
        self.notify(state);
    }

    /// A member drains: it is to hold nothing any more.
    pub(crate) fn leaving(&self, instance: &str) {
        let mut state = self.lock();
        if let Some(member) = state.members.get_mut(instance) {
            member.leaving = true;
        }
        state.rebalance();
        self.notify(state);
    }

    /// The owner of a slot, if there is one just now.
    pub(crate) fn owner(&self, slot: Slot) -> Option<Owner> {
        let state = self.lock();
        let (server, epoch) = state.owners.get(&slot)?;
        let member = state.members.get(server)?;
        Some(Owner { server: server.clone(), address: member.address.clone(), epoch: *epoch })
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

    fn notify(&self, state: MutexGuard<'_, State>) {
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }
}

impl State {
    /// Orders what is to be taken and released so that the slots come to lie where they should.
    fn rebalance(&mut self) {
        let servers: Vec<&str> = self
            .members
            .iter()
            .filter(|(_, m)| m.kind == MemberKind::Channel && !m.leaving)
            .map(|(name, _)| name.as_str())
            .collect();
        let mut current: BTreeMap<Slot, &str> = self.owners.iter().map(|(s, (o, _))| (*s, o.as_str())).collect();
        for (name, member) in &self.members {
            current.extend(member.taking.iter().map(|slot| (*slot, name.as_str())));
        }
        let wanted = place(&servers, &current);

        let mut orders: BTreeMap<String, JoinResponse> = BTreeMap::new();
        for (slot, (owner, _)) in &self.owners {
            if wanted.get(slot) != Some(&owner.as_str()) {
                orders.entry(owner.clone()).or_default().release.push(u32::from(slot.0));
            }
        }
        for (slot, server) in &wanted {
            if !self.owners.contains_key(slot) {
                orders.entry((*server).to_owned()).or_default().take.push(u32::from(slot.0));
            }
        }
        for (name, mut order) in orders {
            let Some(member) = self.members.get_mut(&name) else { continue };
            order.take.retain(|s| member.taking.insert(slot(*s)));
            order.release.retain(|s| member.releasing.insert(slot(*s)));
            if order.take.is_empty() && order.release.is_empty() {
                continue;
            }
            // A member that does not read its orders is as good as gone: without a sender its stream ends.
            if member.orders.as_ref().is_some_and(|orders| orders.try_send(order).is_err()) {
                member.orders = None;
            }
        }
    }
}

/// Slots travel as 32 bits; what is out of range names no slot that anybody holds.
pub(crate) fn slot(number: u32) -> Slot {
    Slot(u16::try_from(number).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use clarion_model::key::SLOTS;

    use super::*;

    fn join(table: &Table, name: &str) -> (u64, mpsc::Receiver<JoinResponse>) {
        table.join(name, MemberKind::Channel, Address::in_process(name))
    }

    fn hold(table: &Table, name: &str, slots: &[u32], epoch: u64) {
        table.held(name, slots.iter().map(|s| (slot(*s), Epoch(epoch))));
    }

    #[test]
    fn slots_move_to_a_joiner_only_after_they_are_released() {
        let table = Table::new();
        let (_, mut a) = join(&table, "a");
        let take = a.try_recv().expect("ordered").take;
        assert_eq!(take.len(), usize::from(SLOTS));
        hold(&table, "a", &take, 1);
        assert_eq!(table.unowned(), 0);

        let (_, mut b) = join(&table, "b");
        assert!(b.try_recv().is_err(), "nothing to take before it is released");
        let release = a.try_recv().expect("ordered").release;
        assert_eq!(release.len(), usize::from(SLOTS) / 2);
        table.lost("a", release.iter().map(|s| slot(*s)));
        let take = b.try_recv().expect("ordered").take;
        assert_eq!(take, release);
        hold(&table, "b", &take, 2);
        assert_eq!(table.owner(slot(take[0])).expect("owned").server, "b");
    }

    #[test]
    fn what_the_dead_held_is_taken_by_the_living() {
        let table = Table::new();
        let (serial, mut a) = join(&table, "a");
        let take = a.try_recv().expect("ordered").take;
        hold(&table, "a", &take, 1);
        let (_, mut b) = join(&table, "b");
        table.gone("a", serial);
        let take = b.try_recv().expect("ordered").take;
        assert_eq!(take.len(), usize::from(SLOTS));
        assert_eq!(table.owner(slot(0)), None);
    }

    #[test]
    fn a_stale_goodbye_does_not_remove_the_successor() {
        let table = Table::new();
        let (first, _a) = join(&table, "a");
        let (_, mut again) = join(&table, "a");
        table.gone("a", first);
        assert_eq!(again.try_recv().expect("ordered").take.len(), usize::from(SLOTS));
        assert_eq!(table.members(MemberKind::Channel).len(), 1);
    }
}
