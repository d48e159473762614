//! Tells a follower who owns which slots: all at first, then what changes. Whoever is slow is told less often, and all of
//! it; nothing queues up.

use std::collections::BTreeMap;
use std::time::Duration;

use clarion_model::key::Slot;
use clarion_proto::{SlotEpoch, SlotsChanged, SlotsOwned};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::table::{Owner, Table};

/// A follower hears something at least this often.
const BEAT: Duration = Duration::from_secs(1);

/// Tells one follower, until it is gone or the drain begins.
pub(super) async fn tell(
    table: Table,
    follower: mpsc::Sender<Result<SlotsChanged, Status>>,
    draining: CancellationToken,
) {
    let (mut changes, mut told) = (table.changes(), BTreeMap::new());
    loop {
        changes.borrow_and_update();
        let owners = table.owners();
        let sent = follower.send(Ok(difference(&told, &owners)));
        if !matches!(draining.run_until_cancelled(sent).await, Some(Ok(()))) {
            return;
        }
        told = owners;
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(BEAT) => {}
            () = draining.cancelled() => return,
        }
    }
}

/// What has to be said to one who knows what `before` says. Nothing, if that is so.
fn difference(before: &BTreeMap<Slot, Owner>, after: &BTreeMap<Slot, Owner>) -> SlotsChanged {
    let mut owned: BTreeMap<&str, SlotsOwned> = BTreeMap::new();
    for (slot, owner) in after.iter().filter(|(slot, owner)| before.get(slot) != Some(owner)) {
        let slots = owned.entry(&owner.server).or_insert_with(|| SlotsOwned {
            server: owner.server.clone(),
            address: owner.address.to_string(),
            slots: Vec::new(),
        });
        slots.slots.push(SlotEpoch { slot: slot.0.into(), epoch: owner.epoch.0 });
    }
    let unowned = before.keys().filter(|slot| !after.contains_key(slot)).map(|slot| slot.0.into()).collect();
    SlotsChanged { owned: owned.into_values().collect(), unowned }
}

#[cfg(test)]
mod tests {
    use clarion_model::key::Epoch;
    use clarion_runtime::Address;

    use super::*;

    fn owner(server: &str, epoch: u64) -> Owner {
        Owner { server: server.into(), address: Address::in_process(server), epoch: Epoch(epoch) }
    }

    #[test]
    fn only_what_has_changed_is_told() {
        let before = BTreeMap::from([(Slot(1), owner("a", 1)), (Slot(2), owner("a", 1)), (Slot(3), owner("b", 1))]);
        let after = BTreeMap::from([(Slot(1), owner("a", 1)), (Slot(2), owner("b", 2))]);
        let told = difference(&before, &after);
        assert_eq!(told.unowned, [3]);
        assert_eq!(told.owned.len(), 1);
        assert_eq!((told.owned[0].server.as_str(), told.owned[0].slots[0].epoch), ("b", 2));
        assert_eq!(difference(&after, &after), SlotsChanged::default());
    }
}
