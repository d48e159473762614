//! The embedded store keeps the rules of every store, and its own: one process at a time, room on the disk, few syncs.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use clarion_model::event::{Event, GuildEvent, LogEntry};
use clarion_model::guild::Guild;
use clarion_model::id::{GuildId, UserId};
use clarion_model::key::{Epoch, Key, Position};
use clarion_model::time::Timestamp;
use clarion_observability::capture::Capture;
use clarion_observability::{Config as Observability, Process, Telemetry};
use clarion_storage::embedded::{Config, Embedded, Sync};
use clarion_storage::{Batch, CommitError, OpenError, Stores, conformance};
use futures_util::FutureExt;
use futures_util::future::join_all;

fn telemetry() -> Telemetry {
    Process::with_output(&Observability::default(), Box::new(std::io::sink())).unwrap().service("storage-test", "0")
}

fn config(path: &Path) -> Config {
    Config { path: path.join("store"), ..Config::default() }
}

fn batch(id: u64, epoch: Epoch, offset: u64) -> Batch {
    let key = Key::Guild(GuildId(id));
    let guild = Guild { id: GuildId(id), name: format!("{offset}"), owner_id: UserId(1) };
    let entry = LogEntry {
        key,
        position: Position { epoch, offset },
        at: Timestamp::default(),
        traceparent: String::new(),
        event: Event::Guild(GuildEvent::GuildPut(guild)),
    };
    Batch { key, epoch, entries: vec![entry], nonce: None }
}

/// Takes the slot of a guild.
async fn take(stores: &Stores, id: u64) -> Epoch {
    stores.slots.raise(&[Key::Guild(GuildId(id)).slot()], "test").await.unwrap()[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_rules() {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = telemetry();
    for _ in 0..2 {
        conformance::suite(async || Embedded::open(&config(dir.path()), &telemetry).unwrap()).await;
    }
}

#[tokio::test]
async fn keeps_the_rules_with_small_settings() {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = telemetry();
    for (group_batches, group_bytes, queue) in [(0, 0, 0), (3, usize::MAX, 4)] {
        let small = Config { group_batches, group_bytes, queue, cache_bytes: 0, ..config(dir.path()) };
        let config = Config { sync: Sync::None, ..small };
        conformance::suite(async || Embedded::open(&config, &telemetry).unwrap()).await;
    }
}

#[tokio::test]
async fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = telemetry();
    let first = Embedded::open(&config(dir.path()), &telemetry).unwrap();
    let second = Embedded::open(&config(dir.path()), &telemetry).map(|_| ());
    assert!(matches!(second, Err(OpenError::Locked(path)) if path.ends_with("store")));
    // A handle that is still in use keeps the lock.
    let stores = first.stores();
    drop(first);
    let third = Embedded::open(&config(dir.path()), &telemetry).map(|_| ());
    assert!(matches!(third, Err(OpenError::Locked(_))));
    drop(stores);
    Embedded::open(&config(dir.path()), &telemetry).unwrap();
}

#[tokio::test]
async fn a_place_that_cannot_be_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("store"), "a file").unwrap();
    let opened = Embedded::open(&config(dir.path()), &telemetry()).map(|_| ());
    assert!(matches!(opened, Err(OpenError::Failed { .. })));
}

#[tokio::test]
async fn what_a_crash_left_half_made_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let half = dir.path().join("store/new");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("0.jnl"), "half").unwrap();
    Embedded::open(&config(dir.path()), &telemetry()).unwrap();
    assert!(!half.exists());
}

#[tokio::test]
async fn a_full_disk_refuses_batches_and_still_reads() {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = telemetry();
    let epoch = {
        let store = Embedded::open(&config(dir.path()), &telemetry).unwrap();
        let stores = store.stores();
        let epoch = take(&stores, 1).await;
        stores.logs.commit(batch(1, epoch, 1)).await.unwrap();
        epoch
    };
    let full = Config { min_free: u64::MAX, ..config(dir.path()) };
    {
        let store = Embedded::open(&full, &telemetry).unwrap();
        let stores = store.stores();
        assert_eq!(stores.logs.commit(batch(1, epoch, 2)).await, Err(CommitError::Full));
        assert_eq!(stores.guilds.get(GuildId(1)).await.unwrap().unwrap().guild.name, "1");
        // What makes room, or only changes hands, goes through.
        stores.logs.trim(Key::Guild(GuildId(1)), Position { epoch, offset: 1 }).await.unwrap();
        let next = take(&stores, 1).await;
        assert_eq!(stores.logs.commit(batch(1, epoch, 2)).await, Err(CommitError::Fenced(next)));
    }
    let store = Embedded::open(&config(dir.path()), &telemetry).unwrap();
    let stores = store.stores();
    let tail = stores.logs.open(Key::Guild(GuildId(1)), Epoch(epoch.0 + 1)).await.unwrap();
    assert_eq!((tail.position.offset, tail.entries), (1, 0));
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(&config(dir.path()), &telemetry()).unwrap();
    let stores = store.stores();
    let epoch = take(&stores, 1).await;
    drop(store);
    let closed = Err(CommitError::Failed("store is closed".into()));
    assert_eq!(stores.logs.commit(batch(1, epoch, 1)).await, closed);
    assert_eq!(stores.guilds.get(GuildId(1)).await, Ok(None), "reads go on");
}

/// On one thread, which cannot go on with those who wait while it closes the store.
#[tokio::test]
async fn closing_waits_for_nobody() {
    for (queue, idle) in [(1, false), (1, true), (4, false), (4, true), (100, false)] {
        let dir = tempfile::tempdir().unwrap();
        let telemetry = telemetry();
        let store = Embedded::open(&Config { queue, ..config(dir.path()) }, &telemetry).unwrap();
        let stores = store.stores();
        let epoch = take(&stores, 1).await;
        let commits = (1..=50).map(|offset| stores.logs.commit(batch(1, epoch, offset)));
        let mut commits = Box::pin(join_all(commits));
        // Each has been polled once: in the queue, or waiting for a place in it.
        assert!((&mut commits).now_or_never().is_none());
        // Not only while it is busy: those who wait have got their places then, and do not come to use them.
        while idle && written(&telemetry) < queue as u64 {
            std::thread::yield_now();
        }
        drop(store);
        let results = commits.await;
        let count = results.iter().take_while(|result| result.is_ok()).count();
        assert!(count >= queue.min(50), "what was in the queue is written");
        let closed = CommitError::Failed("store is closed".into());
        assert!(results[count..].iter().all(|result| *result == Err(closed.clone())));
        drop(stores);
        let store = Embedded::open(&config(dir.path()), &telemetry).unwrap();
        let tail = store.stores().logs.open(Key::Guild(GuildId(1)), epoch).await.unwrap();
        assert_eq!(tail.entries, count as u64);
    }
}

#[tokio::test]
async fn batches_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = telemetry();
    let store = Embedded::open(&config(dir.path()), &telemetry).unwrap();
    let stores = store.stores();
    let mut batches = Vec::new();
    for id in 1..=200 {
        let epoch = take(&stores, id).await;
        batches.push((id, epoch));
    }
    // Two keys may lie in one slot: the last epoch of each counts.
    for (id, epoch) in &mut batches {
        *epoch = stores.slots.get(Key::Guild(GuildId(*id)).slot()).await.unwrap().epoch;
    }
    let before = syncs(&telemetry);
    let written = join_all(batches.into_iter().map(|(id, epoch)| stores.logs.commit(batch(id, epoch, 1)))).await;
    assert!(written.iter().all(Result::is_ok));
    let syncs = syncs(&telemetry) - before;
    assert!(syncs < 100, "{syncs} syncs for 200 batches");
}

/// How many groups were made durable, as the metrics say.
fn syncs(telemetry: &Telemetry) -> u64 {
    metric(telemetry, "db_commit_batches_count")
}

/// How many batches were, and raises count as none.
fn written(telemetry: &Telemetry) -> u64 {
    metric(telemetry, "db_commit_batches_sum")
}

fn metric(telemetry: &Telemetry, name: &str) -> u64 {
    let metrics = telemetry.process().render_metrics();
    let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn opening_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let capture = Capture::new().unwrap();
    let telemetry = capture.process().service("storage-test", "0");
    let _store = Embedded::open(&config(dir.path()), &telemetry).unwrap();
    assert_eq!(capture.lines_of("storage.opened").len(), 1);
}

#[test]
fn settings_have_defaults() {
    let config = Config::default();
    assert_eq!(config.path, Path::new("data/store"));
    assert_eq!((config.min_free, config.sync), (64 << 20, Sync::Data));
}
