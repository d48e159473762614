//! Logs forget their old end.

use clarion_model::event::{Event, LogEntry, UserEvent};
use clarion_model::id::UserId;
use clarion_model::key::{Epoch, Key, Position};
use clarion_model::time::Timestamp;
use clarion_storage::{Batch, Logs};

use super::bench::*;
use crate::actor::last_before;
use crate::owner::tests::user;

const KEY: Key = Key::User(UserId(2));

async fn write(logs: &dyn Logs, epoch: u64, offset: u64, seconds: u64) {
    let entry = LogEntry {
        key: KEY,
        position: Position { epoch: Epoch(epoch), offset },
        at: Timestamp::from_millis(seconds * 1_000),
        traceparent: String::new(),
        event: Event::User(UserEvent::Put(user(UserId(2)))),
    };
    logs.commit(Batch { key: KEY, epoch: Epoch(epoch), entries: vec![entry], nonce: None }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_old_entry_is_found_across_epochs() {
    let bench = Bench::new();
    let stores = bench.store.stores();
    let mut second = 0;
    for epoch in 1..=3 {
        stores.slots.raise(&[KEY.slot()], "test").await.unwrap();
        for offset in 1..=10 {
            second += 1;
            write(&*stores.logs, epoch, offset, second).await;
        }
    }
    let at = |epoch, offset| Position { epoch: Epoch(epoch), offset };
    let tail = at(3, 10);
    let before = |second: u64| Timestamp::from_millis(second * 1_000);
    let find = async |second| last_before(&*stores.logs, KEY, tail, before(second)).await.unwrap();
    assert_eq!(find(1).await, None);
    assert_eq!(find(2).await, Some(at(1, 1)));
    assert_eq!(find(11).await, Some(at(1, 10)));
    assert_eq!(find(12).await, Some(at(2, 1)));
    assert_eq!(find(99).await, Some(at(3, 10)));
    stores.logs.trim(KEY, at(2, 3)).await.unwrap();
    assert_eq!(find(12).await, None);
    assert_eq!(find(25).await, Some(at(3, 4)));
}
