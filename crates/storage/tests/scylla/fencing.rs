//! Two processes over one store: what one of them acknowledged the other one finds, and what comes late is nowhere.

use std::time::Duration;

use clarion_model::event::GuildEvent;
use clarion_model::id::{ChannelId, MessageId};
use clarion_model::key::Position;
use clarion_model::message::{Anchor, MessageView};
use clarion_storage::{CommitError, Tail};
use futures_util::future::join_all;

use crate::keyspace::{AUTHOR, Keyspace, Writer, create, nonce};

const PLACE: ChannelId = ChannelId(9);

fn id(n: u64) -> MessageId {
    MessageId((1 << 60) + n)
}

#[tokio::test]
async fn a_late_row_is_nowhere() {
    let Some(keyspace) = Keyspace::new("late").await else { return };
    let (first, second) = (keyspace.open().await, keyspace.open().await);
    let mut old = Writer::take(&first, 1).await;
    old.say(PLACE, id(1)).await.unwrap();
    let mut new = Writer::take(&second, 1).await;
    let stores = second.stores();
    let tail = stores.logs.open(new.key, new.epoch).await.unwrap();
    let end = Position { epoch: old.epoch, offset: 1 };
    assert_eq!(tail, Tail { position: end, last_id: id(1).0, entries: 1 });

    // The old owner does not know yet. Its row gets into the store, beyond the seal, and it learns of it afterwards.
    let rows = keyspace.count("logs").await;
    assert_eq!(old.say(PLACE, id(2)).await, Err(CommitError::Fenced(new.epoch)));
    assert_eq!(keyspace.count("logs").await, rows + 1, "the row is there");
    assert_eq!(old.say(PLACE, id(3)).await, Err(CommitError::Fenced(new.epoch)));
    assert_eq!(first.stores().logs.open(old.key, old.epoch).await, Err(CommitError::Fenced(new.epoch)));

    let third = keyspace.open().await;
    for stores in [&stores, &third.stores()] {
        let log = stores.logs.read(new.key, Position::START, 10).await.unwrap();
        assert_eq!(log.entries.len(), 1);
        assert_eq!(stores.messages.get(PLACE, id(2)).await, Ok(None));
        assert_eq!(stores.messages.by_nonce(PLACE, AUTHOR, &nonce(PLACE, id(2)).nonce).await, Ok(None));
        assert_eq!(stores.messages.page(PLACE, Anchor::Latest, 10).await.unwrap().len(), 1);
    }
    // The sender asks again, and the id may even be the same: what is read is what the new owner says.
    new.say(PLACE, id(4)).await.unwrap();
    let mut last = Writer::take(&third, 1).await;
    let tail = third.stores().logs.open(last.key, last.epoch).await.unwrap();
    assert_eq!(tail, Tail { position: Position { epoch: new.epoch, offset: 1 }, last_id: id(4).0, entries: 2 });
    last.say(PLACE, id(5)).await.unwrap();
    let offsets: Vec<_> = last.log().await.iter().map(|entry| entry.position).collect();
    assert_eq!(offsets, [end, tail.position, Position { epoch: last.epoch, offset: 1 }]);
    keyspace.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_acknowledged_is_found_by_the_other_process() {
    let Some(keyspace) = Keyspace::new("race").await else { return };
    let stores = [keyspace.open().await, keyspace.open().await];
    let (mut next, mut acknowledged) = (1, Vec::new());
    let mut owner = Writer::take(&stores[0], 1).await;
    for round in 1..=12 {
        let other = &stores[round % 2];
        // The other process takes the slot and opens the key while one group after another is under way.
        let (commits, taken) = tokio::join!(
            async {
                let mut ended = Vec::new();
                while ended.iter().all(|(_, result): &(MessageId, Result<(), CommitError>)| result.is_ok()) {
                    assert!(ended.len() < 2_000, "the old owner is never refused");
                    let group: Vec<_> =
                        (next..next + 5).map(|n| (id(n), owner.batch(vec![create(PLACE, id(n))]))).collect();
                    next += 5;
                    let commits = group.into_iter().map(|(id, batch)| {
                        let logs = owner.stores.logs.clone();
                        async move { (id, logs.commit(batch).await) }
                    });
                    ended.extend(join_all(commits).await);
                }
                ended
            },
            async {
                tokio::time::sleep(std::time::Duration::from_millis(round as u64 * 5)).await;
                let taken = Writer::take(other, 1).await;
                other.stores().logs.open(taken.key, taken.epoch).await.unwrap();
                taken
            },
        );
        for (id, result) in commits {
            match result {
                Ok(()) => acknowledged.push(id),
                Err(error) => assert_eq!(error, CommitError::Fenced(taken.epoch)),
            }
        }
        let stores = other.stores();
        let tail = stores.logs.open(taken.key, taken.epoch).await.unwrap();
        let log = taken.log().await;
        assert_eq!(log.len() as u64, tail.entries);
        assert!(log.windows(2).all(|pair| pair[0].position < pair[1].position), "in order");
        let found: Vec<_> = log
            .iter()
            .map(|entry| match &entry.event {
                clarion_model::event::Event::Guild(GuildEvent::MessageCreate(view)) => view.message.id,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(acknowledged.iter().all(|id| found.contains(id)), "round {round}: lost");
        // The tables say what the log says.
        let page = stores.messages.page(PLACE, Anchor::Latest, 1_000).await.unwrap();
        let shown: Vec<_> = page.iter().rev().map(|view: &MessageView| view.message.id).collect();
        assert_eq!(shown, found, "round {round}");
        owner = taken;
    }
    assert!(acknowledged.len() > 12, "{} acknowledged: too few to say anything", acknowledged.len());
    keyspace.drop().await;
}

/// A process that ends after its entries are in the log, and before they are in the tables.
#[tokio::test]
async fn the_next_owner_completes_the_tables() {
    let Some(keyspace) = Keyspace::new("complete").await else { return };
    let first = keyspace.open().await;
    let mut old = Writer::take(&first, 1).await;
    old.say(PLACE, id(1)).await.unwrap();
    old.say(PLACE, id(2)).await.unwrap();
    drop(first);
    for table in ["messages", "buckets", "nonces", "states", "reactions", "routes"] {
        keyspace.run(&format!("TRUNCATE {table}")).await;
    }
    let second = keyspace.open().await;
    let stores = second.stores();
    assert_eq!(stores.messages.get(PLACE, id(2)).await, Ok(None), "the tables are empty");
    let new = Writer::take(&second, 1).await;
    stores.logs.open(new.key, new.epoch).await.unwrap();
    // When the second was written, the first was known to be in the tables.
    let page = stores.messages.page(PLACE, Anchor::Latest, 10).await.unwrap();
    assert_eq!(page.iter().map(|view| view.message.id).collect::<Vec<_>>(), [id(2)]);
    assert_eq!(stores.messages.by_nonce(PLACE, AUTHOR, &nonce(PLACE, id(2)).nonce).await, Ok(Some(id(2))));
    assert_eq!(new.log().await.len(), 2);
    keyspace.drop().await;
}

/// Whoever follows all logs learns of what another process writes, and only of what is part of a log for ever.
#[tokio::test]
async fn what_another_process_writes_is_named() {
    let Some(keyspace) = Keyspace::new("named").await else { return };
    let (first, second) = (keyspace.open().await, keyspace.open().await);
    let (stores, mut growth) = (second.stores(), second.stores().keys.growth());
    let mut mark = stores.keys.grown(0).await.unwrap().mark;
    let mut owner = Writer::take(&first, 1).await;
    for n in 1..=3 {
        owner.say(PLACE, id(n)).await.unwrap();
        let end = Position { epoch: owner.epoch, offset: n };
        let expected = (owner.key, Tail { position: end, last_id: id(n).0, entries: n });
        let told = async {
            loop {
                growth.changed().await.unwrap();
                let grown = stores.keys.grown(mark).await.unwrap();
                mark = grown.mark;
                if grown.keys.contains(&expected) {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), told).await.expect("it is told within seconds");
        assert_eq!(stores.logs.read(owner.key, Position::START, 10).await.unwrap().entries.len() as u64, n);
    }

    // The slot is taken and the key not yet opened: of the newest row nobody can know whether it will be part of the log.
    let third = keyspace.open().await;
    let next = Writer::take(&third, 1).await;
    let certain = Tail { position: Position { epoch: owner.epoch, offset: 2 }, last_id: id(3).0, entries: 2 };
    assert_eq!(stores.keys.grown(0).await.unwrap().keys, [(owner.key, certain)]);
    assert_eq!(stores.logs.read(owner.key, Position::START, 10).await.unwrap().entries.len(), 2);
    // The new owner's process may look for itself.
    assert_eq!(third.stores().logs.read(next.key, Position::START, 10).await.unwrap().entries.len(), 3);
    let sealed = Tail { position: Position { epoch: owner.epoch, offset: 3 }, last_id: id(3).0, entries: 3 };
    assert_eq!(stores.keys.grown(0).await.unwrap().keys, [(owner.key, sealed)]);
    keyspace.drop().await;
}
