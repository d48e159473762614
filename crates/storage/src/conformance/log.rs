//! Logs: a batch is whole, in order, and once; tails; pages; trimming.

use clarion_model::event::{Event, GuildEvent};
use clarion_model::id::RoleId;
use clarion_model::key::{Epoch, Key, Position};
use futures_util::future::join_all;
use tokio::task::JoinSet;

use super::{Ids, Owner, channel, create, message, view};
use crate::{CommitError, LogPage, Stores, Tail};

pub(super) async fn rules(stores: &Stores, ids: &mut Ids) {
    an_empty_log_ends_at_the_start(stores, ids).await;
    rows_come_with_their_entries(stores, ids).await;
    batches_of_a_key_keep_their_order(stores, ids).await;
    a_log_has_no_holes(stores, ids).await;
    a_batch_written_again_counts_once(stores, ids).await;
    a_tail_remembers_ids_of_what_is_gone(stores, ids).await;
    a_log_is_read_in_pages(stores, ids).await;
    what_is_trimmed_is_missed(stores, ids).await;
    a_long_log_is_trimmed_at_once(stores, ids).await;
    keys_do_not_mix(stores, ids).await;
    what_has_grown_is_named(stores, ids).await;
}

async fn what_has_grown_is_named(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let mut other = Owner::of(stores, ids.guild()).await;
    let place = ids.channel();
    let mut watch = stores.keys.growth();
    watch.mark_unchanged();
    let first = ids.message();
    let entries = owner.write(vec![create(message(place, first, "one"))]).await;
    assert!(watch.has_changed().unwrap());
    let tail = Tail { position: entries[0].position, last_id: first.0, entries: 1 };
    let all = stores.keys.grown(0).await.unwrap();
    assert!(all.keys.contains(&(owner.key, tail)), "everything there is, for who knows nothing");
    assert!(all.keys.iter().all(|(key, _)| !matches!(key, Key::User(_))), "accounts hold no messages");

    let second = ids.message();
    let entries = other.write(vec![create(message(ids.channel(), second, "two"))]).await;
    let since = stores.keys.grown(all.mark).await.unwrap();
    let tail = Tail { position: entries[0].position, last_id: second.0, entries: 1 };
    assert!(since.keys.contains(&(other.key, tail)), "{since:?}");
    let again = stores.keys.grown(since.mark).await.unwrap();
    assert!(again.mark >= since.mark);
    // A mark of nobody's names everything.
    assert!(stores.keys.grown(u64::MAX).await.unwrap().keys.len() >= all.keys.len());
}

async fn an_empty_log_ends_at_the_start(stores: &Stores, ids: &mut Ids) {
    let owner = Owner::of(stores, ids.guild()).await;
    assert_eq!(stores.logs.open(owner.key, owner.epoch).await, Ok(Tail::default()));
    let page = stores.logs.read(owner.key, Position::START, 10).await;
    assert_eq!(page, Ok(LogPage { entries: Vec::new(), complete: true }));
    assert_eq!(stores.logs.trim(owner.key, Position { epoch: Epoch(9), offset: 9 }).await, Ok(()));
    assert_eq!(stores.logs.open(owner.key, owner.epoch).await, Ok(Tail::default()));
}

async fn rows_come_with_their_entries(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let (place, first, second) = (ids.channel(), ids.message(), ids.message());
    let (one, two) = (message(place, first, "one"), message(place, second, "two"));
    let events = vec![GuildEvent::ChannelPut(channel(place)), create(one.clone()), create(two.clone())];
    let entries = owner.write(events).await;
    assert_eq!(owner.log().await, entries);
    assert_eq!(stores.routes.key_of(place).await, Ok(Some(owner.key)));
    assert_eq!(stores.messages.get(place, first).await, Ok(Some(view(one))));
    assert_eq!(stores.messages.get(place, second).await, Ok(Some(view(two))));
    let tail = stores.logs.open(owner.key, owner.epoch).await.unwrap();
    assert_eq!(tail, Tail { position: entries[2].position, last_id: second.0, entries: 3 });
}

async fn batches_of_a_key_keep_their_order(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let (place, id) = (ids.channel(), ids.message());
    owner.write(vec![create(message(place, id, "0"))]).await;
    let edit = |n| Event::Guild(GuildEvent::MessageUpdate(view(message(place, id, &format!("{n}")))));
    let batches: Vec<_> = (1..=100).map(|n| owner.batch(vec![edit(n)])).collect();
    // At every moment the log is without a gap.
    let watch = async {
        let mut seen = 0;
        while seen < 101 {
            let offsets: Vec<u64> = owner.log().await.iter().map(|entry| entry.position.offset).collect();
            seen = offsets.len() as u64;
            assert_eq!(offsets, (1..=seen).collect::<Vec<_>>());
        }
    };
    let commits = join_all(batches.into_iter().map(|batch| stores.logs.commit(batch)));
    let (written, ()) = tokio::join!(commits, watch);
    assert!(written.iter().all(Result::is_ok));
    let last = stores.messages.get(place, id).await.unwrap().unwrap();
    assert_eq!(last.message.content, "100");
}

async fn a_log_has_no_holes(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let place = ids.channel();
    let mut event = || create(message(place, ids.message(), "x"));
    let mut written = owner.write(vec![event()]).await;
    let refused = owner.batch(vec![Event::Guild(event())]);
    // It was on its way when the one before it was refused.
    let behind = owner.batch(vec![Event::Guild(event())]);
    assert_eq!(stores.logs.commit(behind.clone()).await, Err(CommitError::Full));
    for batch in [refused, behind] {
        assert_eq!(stores.logs.commit(batch.clone()).await, Ok(()));
        written.extend(batch.entries);
    }
    assert_eq!(owner.log().await, written);
}

async fn a_batch_written_again_counts_once(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let (place, id) = (ids.channel(), ids.message());
    let batch = owner.batch(vec![Event::Guild(create(message(place, id, "again")))]);
    for _ in 0..3 {
        assert_eq!(stores.logs.commit(batch.clone()).await, Ok(()));
    }
    assert_eq!(owner.log().await, batch.entries);
    assert_eq!(stores.logs.open(owner.key, owner.epoch).await.unwrap().entries, 1);
}

async fn a_tail_remembers_ids_of_what_is_gone(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let (place, first, second) = (ids.channel(), ids.message(), ids.message());
    owner.write(vec![create(message(place, first, "one")), create(message(place, second, "two"))]).await;
    owner.write(vec![GuildEvent::MessageDelete { channel_id: place, id: second }]).await;
    assert_eq!(stores.logs.open(owner.key, owner.epoch).await.unwrap().last_id, second.0);
    stores.logs.trim(owner.key, Position { epoch: owner.epoch, offset: 3 }).await.unwrap();
    assert_eq!(stores.logs.open(owner.key, owner.epoch).await.unwrap().last_id, second.0);
    assert_eq!(stores.messages.get(place, second).await, Ok(None));
}

async fn a_log_is_read_in_pages(stores: &Stores, ids: &mut Ids) {
    let key = ids.guild();
    let place = ids.channel();
    let mut all = Vec::new();
    for _ in 0..3 {
        let mut owner = Owner::of(stores, key).await;
        for _ in 0..5 {
            all.extend(owner.write(vec![create(message(place, ids.message(), "paged"))]).await);
        }
    }
    for (at, entry) in all.iter().enumerate() {
        for limit in [0, 1, 4, 100] {
            let page = stores.logs.read(key, entry.position, limit).await.unwrap();
            let expected: Vec<_> = all.iter().skip(at + 1).take(limit).cloned().collect();
            assert_eq!(page, LogPage { entries: expected, complete: true });
        }
    }
    // A place between two epochs, where nothing is.
    let between = Position { epoch: all[4].position.epoch, offset: 99 };
    let page = stores.logs.read(key, between, 1).await.unwrap();
    assert_eq!(page, LogPage { entries: vec![all[5].clone()], complete: true });
}

async fn what_is_trimmed_is_missed(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let place = ids.channel();
    let created = ids.messages(20);
    let events = created.iter().map(|id| create(message(place, *id, "kept"))).collect();
    let all = owner.write(events).await;
    let epoch = owner.epoch;
    let at = |offset| Position { epoch, offset };
    for (upto, kept) in [(at(5), 15), (at(5), 15), (at(3), 15), (at(12), 8)] {
        stores.logs.trim(owner.key, upto).await.unwrap();
        let tail = stores.logs.open(owner.key, owner.epoch).await.unwrap();
        assert_eq!(tail, Tail { position: at(20), last_id: created[19].0, entries: kept });
    }
    for offset in 0..12 {
        let after = if offset == 0 { Position::START } else { at(offset) };
        assert!(!stores.logs.read(owner.key, after, 100).await.unwrap().complete, "after {offset}");
    }
    for offset in 12..=20 {
        let page = stores.logs.read(owner.key, at(offset), 100).await.unwrap();
        assert_eq!(page, LogPage { entries: all[offset as usize..].to_vec(), complete: true });
    }
    // All of it, and more than there is: the log goes on where it was.
    stores.logs.trim(owner.key, at(99)).await.unwrap();
    let tail = stores.logs.open(owner.key, owner.epoch).await.unwrap();
    assert_eq!((tail.position, tail.entries), (at(20), 0));
    let next = owner.write(vec![create(message(place, ids.message(), "after"))]).await;
    assert_eq!(next[0].position, at(21));
    let page = stores.logs.read(owner.key, at(20), 100).await.unwrap();
    assert_eq!(page, LogPage { entries: next, complete: true });
    assert!(stores.messages.get(place, created[0]).await.unwrap().is_some(), "trimming forgets no row");
}

async fn a_long_log_is_trimmed_at_once(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let events = (0..2_500).map(|_| GuildEvent::RoleDelete(RoleId(1))).collect();
    let all = owner.write(events).await;
    stores.logs.trim(owner.key, all[2_400].position).await.unwrap();
    assert_eq!(stores.logs.open(owner.key, owner.epoch).await.unwrap().entries, 99);
    assert!(!stores.logs.read(owner.key, all[2_399].position, 1).await.unwrap().complete);
}

/// Many keys at once: each has its own log, and all of them are written.
async fn keys_do_not_mix(stores: &Stores, ids: &mut Ids) {
    let mut owners = Vec::new();
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        owners.push((ids.guild(), ids.channel(), ids.messages(16)));
    }
    let slots: Vec<_> = owners.iter().map(|(key, ..)| key.slot()).collect();
    stores.slots.raise(&slots, "conformance").await.unwrap();
    for (key, place, created) in owners.clone() {
        // Several keys may lie in one slot, which was then raised several times.
        let epoch = stores.slots.get(key.slot()).await.unwrap().epoch;
        let mut owner = Owner { stores: stores.clone(), key, epoch, offset: 0 };
        tasks.spawn(async move {
            for id in created {
                owner.write(vec![create(message(place, id, "many"))]).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    for (key, _, created) in owners {
        let page = stores.logs.read(key, Position::START, 100).await.unwrap();
        let found = page.entries.iter().map(|entry| match &entry.event {
            Event::Guild(GuildEvent::MessageCreate(view)) => view.message.id,
            other => panic!("{other:?}"),
        });
        assert_eq!(found.collect::<Vec<_>>(), created);
    }
}
