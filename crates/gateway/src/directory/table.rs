//! What is known of who owns what. Pure.

use std::sync::Arc;

use clarion_model::id::ChannelId;
use clarion_model::key::{Epoch, Key, SLOTS, Slot};
use clarion_proto::v1;
use clarion_runtime::Address;

use super::{Route, Target};
use crate::bounded::Bounded;

/// Channels whose key is remembered.
const CHANNELS: usize = 200_000;

/// Channels, their keys, and the owners of slots.
#[derive(Debug)]
pub(super) struct Table {
    keys: Bounded<ChannelId, Key>,
    owners: Vec<Option<Owner>>,
}

/// Who owns a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) server: Arc<str>,
    pub(super) address: Address,
    /// Of two that are named, the later one's is higher.
    pub(super) epoch: Epoch,
}

impl Default for Table {
    fn default() -> Self {
        Self { keys: Bounded::new(CHANNELS), owners: vec![None; usize::from(SLOTS)] }
    }
}

impl Table {
    pub(super) fn find(&self, target: Target) -> Option<Route> {
        let key = self.key(target)?;
        let slot = key.slot();
        let owner = self.owner(slot)?.clone();
        Some(Route { key, slot, server: owner.server, address: owner.address, epoch: owner.epoch })
    }

    /// The key that something lies in.
    pub(super) fn key(&self, target: Target) -> Option<Key> {
        match target {
            Target::Channel(channel) => self.keys.peek(&channel).copied(),
            Target::Key(key) => Some(key),
        }
    }

    /// Who owns a slot, as far as is known.
    pub(super) fn owner(&self, slot: Slot) -> Option<&Owner> {
        self.owners.get(usize::from(slot.0))?.as_ref()
    }

    pub(super) fn learn(&mut self, target: Target, route: &Route) {
        if let Target::Channel(channel) = target {
            // A channel never moves to another key.
            self.keys.insert(channel, route.key);
        }
        self.put(route.slot, route.into());
    }

    /// Takes what a router tells. Answers the slots that have another owner now.
    pub(super) fn apply(&mut self, changed: &v1::SlotsChanged) -> Vec<Slot> {
        for slot in changed.unowned.iter().filter_map(|slot| u16::try_from(*slot).ok()) {
            if let Some(owner) = self.owners.get_mut(usize::from(slot)) {
                *owner = None;
            }
        }
        let mut moved = Vec::new();
        for owned in &changed.owned {
            let Ok(address) = owned.address.parse::<Address>() else { continue };
            let server: Arc<str> = owned.server.as_str().into();
            for of in &owned.slots {
                let Ok(slot) = u16::try_from(of.slot).map(Slot) else { continue };
                let owner = Owner { server: server.clone(), address: address.clone(), epoch: Epoch(of.epoch) };
                if self.put(slot, owner) {
                    moved.push(slot);
                }
            }
        }
        moved
    }

    /// Whether it is news. Routers do not hear of everything at the same time: what is older than what is known is none.
    fn put(&mut self, slot: Slot, owner: Owner) -> bool {
        let Some(known) = self.owners.get_mut(usize::from(slot.0)) else { return false };
        if known.as_ref().is_some_and(|known| known.epoch > owner.epoch) {
            return false;
        }
        let is_news = known.as_ref().is_none_or(|known| known.address != owner.address);
        *known = Some(owner);
        is_news
    }

    /// The owner of a slot is not who is known, if that is the one at an address.
    pub(super) fn forget(&mut self, slot: Slot, address: &Address) {
        if let Some(owner) = self.owners.get_mut(usize::from(slot.0)) {
            owner.take_if(|owner| owner.address == *address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarion_model::id::GuildId;

    #[test]
    fn one_answer_is_good_for_all_of_a_slot() {
        let mut table = Table::default();
        let (channel, key) = (ChannelId(5), Key::Guild(GuildId(7)));
        assert_eq!(table.find(Target::Channel(channel)), None);
        let address = Address::in_process("c");
        let route = Route { key, slot: key.slot(), server: "c".into(), address: address.clone(), epoch: Epoch(1) };
        table.learn(Target::Channel(channel), &route);
        assert_eq!(table.find(Target::Channel(channel)).as_ref(), Some(&route));
        assert_eq!(table.find(Target::Key(key)).as_ref(), Some(&route));
        table.forget(key.slot(), &Address::in_process("another"));
        assert_eq!(table.find(Target::Channel(channel)).as_ref(), Some(&route));
        table.forget(key.slot(), &address);
        assert_eq!(table.find(Target::Channel(channel)), None);
        table.learn(Target::Key(key), &route);
        assert_eq!(table.find(Target::Channel(channel)), Some(route));
    }

    #[test]
    fn what_a_slow_router_says_is_no_news() {
        let mut table = Table::default();
        let owned = |server: &str, epoch| v1::SlotsChanged {
            owned: vec![v1::SlotsOwned {
                server: server.into(),
                address: format!("in-process:{server}"),
                slots: vec![v1::SlotEpoch { slot: 7, epoch }],
            }],
            unowned: vec![],
        };
        assert_eq!(table.apply(&owned("a", 1)), [Slot(7)]);
        assert_eq!(table.apply(&owned("b", 2)), [Slot(7)]);
        assert_eq!(table.apply(&owned("a", 1)), []);
        assert_eq!(table.apply(&owned("b", 3)), [], "it has not moved");
        assert_eq!(table.owner(Slot(7)).map(|owner| (&*owner.server, owner.epoch)), Some(("b", Epoch(3))));
        table.apply(&v1::SlotsChanged { owned: vec![], unowned: vec![7] });
        assert_eq!(table.owner(Slot(7)), None);
    }
}
