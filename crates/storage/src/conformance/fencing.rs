//! Epochs: who may write, and what a new owner finds.

use clarion_model::event::Event;
use clarion_model::key::{Epoch, Slot};
use clarion_model::message::Nonce;
use futures_util::future::join_all;

use super::{Ids, Owner, create, message, now};
use crate::{CommitError, NonceRow, SlotRecord, Stores};

pub(super) async fn rules(stores: &Stores, ids: &mut Ids) {
    a_raise_counts_and_names_the_owner(stores).await;
    an_old_epoch_writes_nothing(stores, ids).await;
    an_epoch_that_nobody_raised_writes_nothing(stores, ids).await;
    what_was_acknowledged_is_found_by_the_next_owner(stores, ids).await;
}

async fn a_raise_counts_and_names_the_owner(stores: &Stores) {
    let slots = [Slot(1_000), Slot(3), Slot(1_023)];
    let mut before = Vec::new();
    for slot in slots {
        before.push(stores.slots.get(slot).await.unwrap().epoch);
    }
    let raised = stores.slots.raise(&slots, "first").await.unwrap();
    assert_eq!(raised, before.iter().map(|epoch| Epoch(epoch.0 + 1)).collect::<Vec<_>>());
    let again = stores.slots.raise(&slots[1..2], "second").await.unwrap();
    assert_eq!(again, [Epoch(before[1].0 + 2)]);
    let records = [("first", raised[0]), ("second", again[0]), ("first", raised[2])];
    for (slot, (owner, epoch)) in slots.into_iter().zip(records) {
        assert_eq!(stores.slots.get(slot).await, Ok(SlotRecord { epoch, owner: owner.into() }));
    }
    assert_eq!(stores.slots.raise(&[], "nobody").await, Ok(Vec::new()));
}

async fn an_old_epoch_writes_nothing(stores: &Stores, ids: &mut Ids) {
    let key = ids.guild();
    let mut old = Owner::of(stores, key).await;
    let (place, kept, lost) = (ids.channel(), ids.message(), ids.message());
    let written = old.write(vec![create(message(place, kept, "kept"))]).await;
    let new = Owner::of(stores, key).await;
    let fenced = CommitError::Fenced(new.epoch);
    let author = ids.user();
    let nonce = Nonce::Text("late".into());
    let used = NonceRow { channel_id: place, author_id: author, nonce: nonce.clone(), message_id: lost, at: now() };
    assert_eq!(old.write_once(message(place, lost, "lost"), used).await, Err(fenced.clone()));
    assert_eq!(stores.logs.open(key, old.epoch).await, Err(fenced));
    assert_eq!(stores.logs.open(key, new.epoch).await.unwrap().position, written[0].position);
    assert_eq!(new.log().await, written);
    assert_eq!(stores.messages.get(place, lost).await, Ok(None));
    assert_eq!(stores.messages.by_nonce(place, author, &nonce).await, Ok(None));
}

async fn an_epoch_that_nobody_raised_writes_nothing(stores: &Stores, ids: &mut Ids) {
    let owner = Owner::of(stores, ids.guild()).await;
    let mut early = Owner { epoch: Epoch(owner.epoch.0 + 1), ..owner.clone() };
    let event = Event::Guild(create(message(ids.channel(), ids.message(), "early")));
    assert_eq!(early.try_write(vec![event]).await, Err(CommitError::Fenced(owner.epoch)));
    assert_eq!(stores.logs.open(owner.key, early.epoch).await, Err(CommitError::Fenced(owner.epoch)));
    assert!(owner.log().await.is_empty());
}

/// Batches and a raise at the same time: each batch is acknowledged and found, or refused; once the raise is answered,
/// nothing of the old epoch is acknowledged, and nothing of it comes after the tail.
async fn what_was_acknowledged_is_found_by_the_next_owner(stores: &Stores, ids: &mut Ids) {
    for before_raise in [0, 1, 20, 40] {
        let key = ids.guild();
        let mut old = Owner::of(stores, key).await;
        let place = ids.channel();
        let mut batch = || old.batch(vec![Event::Guild(create(message(place, ids.message(), "race")))]);
        let batches: Vec<_> = (0..40).map(|_| batch()).collect();
        let late = batch();
        let slots = [key.slot()];
        let (first, second) = batches.split_at(before_raise);
        let (first, raised, second) = tokio::join!(
            join_all(first.iter().map(|batch| stores.logs.commit(batch.clone()))),
            stores.slots.raise(&slots, "next"),
            join_all(second.iter().map(|batch| stores.logs.commit(batch.clone()))),
        );
        let new = raised.unwrap()[0];
        assert_eq!(stores.logs.commit(late).await, Err(CommitError::Fenced(new)));

        let tail = stores.logs.open(key, new).await.unwrap();
        let log = old.log().await;
        assert_eq!(log.last().map(|entry| entry.position).unwrap_or_default(), tail.position);
        assert_eq!(log.len() as u64, tail.entries);
        for (batch, result) in batches.iter().zip(first.into_iter().chain(second)) {
            match result {
                Ok(()) => assert!(log.contains(&batch.entries[0]), "acknowledged, and not found"),
                Err(error) => assert_eq!(error, CommitError::Fenced(new)),
            }
        }
    }
}
