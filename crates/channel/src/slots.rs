//! Membership: the leading router says which slots to take and to release; every router is told what is held.
//!
//! Without routers nothing moves, and what is held is served on: the store, not a router, decides who may write.

mod link;

use std::time::Duration;

use clarion_model::key::{SLOTS, Slot};
use clarion_observability::{Fields, log};
use clarion_proto::v1::JoinResponse;
use clarion_runtime::Address;
use futures_util::{StreamExt, stream};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::keys::Keys;
use link::Link;

/// How long a store that could not take slots is left alone.
const RAISE_AGAIN: Duration = Duration::from_millis(500);
/// Epochs that are read at a time.
const READS: usize = 32;

/// This server as a member.
pub(crate) struct Membership {
    hand: Hand,
    routers: Vec<Address>,
}

/// Carries orders out, one at a time.
pub(crate) struct Hand {
    keys: Keys,
    /// Where others reach this server.
    address: Address,
    /// The latest term that an order came from.
    term: Mutex<u64>,
}

impl Membership {
    pub(crate) fn new(keys: Keys, routers: Vec<Address>, address: Address) -> Self {
        Self { hand: Hand { keys, address, term: Mutex::new(0) }, routers }
    }

    /// Stays a member until the drain is over; no slot is held after it.
    pub(crate) async fn run(self) {
        let (drained, is_drained) = watch::channel(false);
        let (keys, routers) = (&self.hand.keys, self.routers.len());
        let mut links: stream::FuturesUnordered<_> =
            self.routers.into_iter().map(|router| Link::new(&self.hand, router, is_drained.clone()).run()).collect();
        let draining = async {
            keys.host().draining().cancelled().await;
            let deadline = Instant::now() + Duration::from_secs(keys.config().drain_s);
            let mut changes = keys.held_changes();
            let handed_over = async { while !keys.held().is_empty() && changes.changed().await.is_ok() {} };
            let _ = timeout_at(deadline, handed_over).await;
            drained.send_replace(true);
        };
        let mut draining = std::pin::pin!(draining);
        let mut open = routers;
        while open > 0 {
            tokio::select! {
                // Without a router nobody orders the rest to be handed over.
                Some(()) = links.next() => open -= 1,
                () = &mut draining, if !*is_drained.borrow() => {}
            }
        }
        let left: Vec<Slot> = keys.held().into_iter().map(|(slot, _)| slot).collect();
        self.hand.release(&left).await;
    }
}

impl Hand {
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Carries an order out. Answers the slots that were to be taken and were not.
    pub(crate) async fn obey(&self, order: JoinResponse) -> Vec<Slot> {
        let mut term = self.term.lock().await;
        let asked = slots(&order.take);
        if order.term < *term {
            return asked;
        }
        *term = order.term;
        self.release(&slots(&order.release)).await;
        let held: Vec<Slot> = self.keys.held().into_iter().map(|(slot, _)| slot).collect();
        let new: Vec<Slot> = asked.into_iter().filter(|slot| !held.contains(slot)).collect();
        if self.take(&new).await { Vec::new() } else { new }
    }

    /// Makes slots this server's own.
    async fn take(&self, slots: &[Slot]) -> bool {
        if slots.is_empty() {
            return true;
        }
        let raised = self.keys.stores().slots.raise(slots, self.keys.host().instance()).await;
        let epochs = match raised {
            Ok(epochs) => epochs,
            Err(error) => {
                log::SLOT_LOST.emit(Fields::error(error.error_type(), &error));
                // The router asks again at once; the store is given time.
                sleep(RAISE_AGAIN + jitter(RAISE_AGAIN)).await;
                return false;
            }
        };
        self.keys.hold(slots.iter().copied().zip(epochs));
        self.keys.metrics().takeovers.increment(slots.len() as u64);
        log::SLOT_TAKEN.emit(Fields::detail(describe(slots)));
        true
    }

    async fn release(&self, slots: &[Slot]) {
        if slots.is_empty() {
            return;
        }
        self.keys.release(slots).await;
        log::SLOT_LOST.emit(Fields::detail(describe(slots)));
    }

    /// While no router could tell, slots may have gone to others.
    async fn drop_fenced(&self) {
        let looks = self.keys.held().into_iter().map(|(slot, epoch)| async move {
            if let Ok(record) = self.keys.stores().slots.get(slot).await
                && record.epoch > epoch
            {
                self.keys.fenced(slot, epoch);
            }
        });
        stream::iter(looks).buffer_unordered(READS).for_each(|()| async {}).await;
    }
}

fn slots(numbers: &[u32]) -> Vec<Slot> {
    numbers.iter().filter_map(|number| u16::try_from(*number).ok()).filter(|n| *n < SLOTS).map(Slot).collect()
}

/// Slots as ranges, for people.
fn describe(slots: &[Slot]) -> String {
    let mut numbers: Vec<u16> = slots.iter().map(|slot| slot.0).collect();
    numbers.sort_unstable();
    let ranges = numbers.chunk_by(|a, b| a + 1 == *b).map(|range| match range {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    ranges.collect::<Vec<_>>().join(",")
}

/// Up to half as long again, so that many do not come back at once.
fn jitter(wait: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness there is just no jitter.
    let _ = getrandom::fill(&mut random);
    wait * u32::from(random[0]) / 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_described_as_ranges() {
        let slots = [5, 1, 2, 3, 9, 10].map(Slot);
        assert_eq!(describe(&slots), "1-3,5,9-10");
    }
}
