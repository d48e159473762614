//! What is known of who owns what. Pure.

use std::sync::Arc;

use clarion_model::id::ChannelId;
use clarion_model::key::{Key, SLOTS, Slot};
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
}

impl Default for Table {
    fn default() -> Self {
        Self { keys: Bounded::new(CHANNELS), owners: vec![None; usize::from(SLOTS)] }
    }
}

impl Table {
    pub(super) fn find(&self, target: Target) -> Option<Route> {
        let key = match target {
            Target::Channel(channel) => *self.keys.peek(&channel)?,
            Target::Key(key) => key,
        };
        let slot = key.slot();
        let owner = self.owners.get(usize::from(slot.0))?.clone()?;
        Some(Route { key, slot, server: owner.server, address: owner.address })
    }

    pub(super) fn learn(&mut self, target: Target, route: &Route) {
        if let Target::Channel(channel) = target {
            // A channel never moves to another key.
            self.keys.insert(channel, route.key);
        }
        if let Some(owner) = self.owners.get_mut(usize::from(route.slot.0)) {
            *owner = Some(route.into());
        }
    }

    pub(super) fn forget(&mut self, slot: Slot) {
        if let Some(owner) = self.owners.get_mut(usize::from(slot.0)) {
            *owner = None;
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
        let route = Route { key, slot: key.slot(), server: "c".into(), address };
        table.learn(Target::Channel(channel), &route);
        assert_eq!(table.find(Target::Channel(channel)).as_ref(), Some(&route));
        assert_eq!(table.find(Target::Key(key)).as_ref(), Some(&route));
        table.forget(key.slot());
        assert_eq!(table.find(Target::Channel(channel)), None);
        table.learn(Target::Key(key), &route);
        assert_eq!(table.find(Target::Channel(channel)), Some(route));
    }
}
