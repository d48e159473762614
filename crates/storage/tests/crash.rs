//! What was acknowledged outlives the process, whenever it dies; a disk that refuses a write ends the store, not the data.
//!
//! The process that dies is this test's own program, started again as a writer: it prints what was acknowledged.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use clarion_model::event::{Event, GuildEvent, LogEntry};
use clarion_model::id::{ChannelId, GuildId, MessageId, UserId};
use clarion_model::key::{Epoch, Key, Position};
use clarion_model::message::{Anchor, Message, MessageView, Nonce};
use clarion_model::time::Timestamp;
use clarion_model::user::User;
use clarion_observability::capture::Capture;
use clarion_storage::embedded::{Config, Embedded};
use clarion_storage::{Batch, CommitError, NonceRow, Stores};
use tokio::task::JoinSet;

/// Where the writer finds its store; without it this is a test run.
const WRITER: &str = "CLARION_TEST_WRITER";
const KEYS: u64 = 8;
const ROUNDS: usize = 5;

fn key(n: u64) -> Key {
    Key::Guild(GuildId(n))
}

fn channel(n: u64) -> ChannelId {
    ChannelId(1_000 + n)
}

fn open(path: &Path, capture: &Capture) -> Embedded {
    let telemetry = capture.process().service("storage-test", "0");
    Embedded::open(&Config { path: path.into(), ..Config::default() }, &telemetry).unwrap()
}

fn random(upto: u64) -> u64 {
    RandomState::new().hash_one(0) % upto
}

fn batch(n: u64, epoch: Epoch, offset: u64, id: MessageId) -> Batch {
    let author = User { id: UserId(7), username: "writer".into(), global_name: None, bot: true };
    let nonce = Nonce::Number(id.0 as i64);
    let message = Message {
        id,
        channel_id: channel(n),
        guild_id: Some(GuildId(n)),
        author,
        content: "x".repeat(2_000),
        at: Timestamp::default(),
        edited_at: None,
        tts: false,
        mention_everyone: false,
        mentions: Vec::new(),
        mention_roles: Vec::new(),
        reply_to: None,
        embeds_json: String::new(),
        flags: 0,
        nonce: Some(nonce.clone()),
        trace_id: None,
    };
    let view = MessageView { message, reactions: Vec::new(), referenced: None };
    let entry = LogEntry {
        key: key(n),
        position: Position { epoch, offset },
        at: Timestamp::default(),
        traceparent: String::new(),
        event: Event::Guild(GuildEvent::MessageCreate(view)),
    };
    let at = Timestamp::from(std::time::SystemTime::now());
    let used = NonceRow { channel_id: channel(n), author_id: UserId(7), nonce, message_id: id, at };
    Batch { key: key(n), epoch, entries: vec![entry], nonce: Some(used) }
}

/// Takes a key over and writes to it until the store fails. Says what was acknowledged.
async fn write(stores: Stores, n: u64) -> CommitError {
    let epoch = stores.slots.get(key(n).slot()).await.unwrap().epoch;
    let tail = stores.logs.open(key(n), epoch).await.unwrap();
    let mut id = tail.last_id;
    for offset in 1.. {
        id += 1;
        if let Err(error) = stores.logs.commit(batch(n, epoch, offset, MessageId(id))).await {
            return error;
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{n} {id}").and_then(|()| out.flush()).unwrap();
    }
    unreachable!("offsets do not end")
}

/// Not a test by itself: the writer.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(WRITER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let capture = Capture::new().unwrap();
        let store = open(Path::new(&path), &capture);
        let slots: Vec<_> = (1..=KEYS).map(|n| key(n).slot()).collect();
        store.stores().slots.raise(&slots, "writer").await.unwrap();
        let mut writers = JoinSet::new();
        for n in 1..=KEYS {
            writers.spawn(write(store.stores(), n));
        }
        // Only a disk that refuses to be written lets the writers end.
        while let Some(error) = writers.join_next().await {
            assert!(matches!(error.unwrap(), CommitError::Failed(_)));
        }
        let reason = store.failure().wait().await;
        let late = store.stores().logs.commit(batch(1, Epoch(0), 1, MessageId(1))).await;
        assert_eq!(late, Err(CommitError::Failed(reason.clone())));
        assert_eq!(capture.lines_of("storage.failed").len(), 1);
        println!("failed {reason}");
    });
}

fn start(path: &Path, shell: &str) -> std::process::Child {
    Command::new("sh")
        .args(["-c", &format!("{shell} exec \"$0\" --exact writer --nocapture --quiet")])
        .arg(std::env::current_exe().unwrap())
        .env(WRITER, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The acknowledgement that a line tells of, if it does: the last line may be cut short.
fn acknowledged(line: &str) -> Option<(u64, MessageId)> {
    let (n, id) = line.split_once(' ')?;
    Some((n.parse().ok()?, MessageId(id.parse().ok()?)))
}

/// Everything that was acknowledged is there, once and in order; log, rows and nonces agree.
async fn check(path: &Path, acknowledged: &BTreeMap<u64, Vec<MessageId>>) {
    let store = open(path, &Capture::new().unwrap());
    let stores = store.stores();
    for n in 1..=KEYS {
        let log = stores.logs.read(key(n), Position::START, usize::MAX).await.unwrap();
        let mut written: Vec<MessageId> = Vec::new();
        let mut last = Position::START;
        for entry in &log.entries {
            let next = if entry.position.epoch == last.epoch { last.offset + 1 } else { 1 };
            assert!(entry.position > last && entry.position.offset == next, "{last} then {}", entry.position);
            last = entry.position;
            let Event::Guild(GuildEvent::MessageCreate(view)) = &entry.event else { panic!("{entry:?}") };
            assert!(written.last().is_none_or(|before| *before < view.message.id));
            written.push(view.message.id);
        }
        let acknowledged = acknowledged.get(&n).cloned().unwrap_or_default();
        let found: Vec<_> = written.iter().filter(|id| acknowledged.contains(id)).copied().collect();
        assert_eq!(found, acknowledged, "key {n}");
        let page = stores.messages.page(channel(n), Anchor::Latest, usize::MAX).await.unwrap();
        let rows: Vec<_> = page.iter().rev().map(|view| view.message.id).collect();
        assert_eq!(rows, written);
        for id in written.iter().rev().take(100) {
            let by_nonce = stores.messages.by_nonce(channel(n), UserId(7), &Nonce::Number(id.0 as i64)).await;
            assert_eq!(by_nonce, Ok(Some(*id)));
        }
        let epoch = stores.slots.get(key(n).slot()).await.unwrap().epoch;
        let tail = stores.logs.open(key(n), epoch).await.unwrap();
        assert_eq!((tail.position, tail.entries), (last, written.len() as u64));
        assert_eq!(tail.last_id, written.last().map_or(0, |id| id.0));
    }
}

/// Reads what the writer says until it has acknowledged so much, kills it, and reads the rest of what it had said.
fn kill_after(mut child: std::process::Child, count: u64, said: &mut BTreeMap<u64, Vec<MessageId>>) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
    let mut seen = 0;
    let mut alive = true;
    while let Some(Ok(line)) = lines.next() {
        if let Some((n, id)) = acknowledged(&String::from_utf8_lossy(&line)) {
            said.entry(n).or_default().push(id);
            seen += 1;
        }
        if alive && seen >= count {
            child.kill().unwrap();
            alive = false;
        }
    }
    child.wait().unwrap();
    assert!(!alive, "the writer ended by itself after {seen} of {count}");
}

#[tokio::test]
async fn killed_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut acknowledged = BTreeMap::new();
    for round in 0..ROUNDS {
        let count = 1 + random(3_000);
        kill_after(start(&path, ""), count, &mut acknowledged);
        let total: usize = acknowledged.values().map(Vec::len).sum();
        println!("round {round}: killed after {count}, {total} acknowledged in all");
        check(&path, &acknowledged).await;
    }
}

#[tokio::test]
async fn killed_while_it_is_made() {
    for _ in 0..ROUNDS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let mut child = start(&path, "");
        // The delay only picks the moment; whichever it is, the store must open.
        std::thread::sleep(Duration::from_micros(random(40_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        check(&path, &BTreeMap::new()).await;
    }
}

#[tokio::test]
async fn a_refused_write_ends_the_store_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(open(&path, &Capture::new().unwrap()));
    // No file may grow beyond 2 MiB, and who tries is told instead of killed.
    let mut child = start(&path, "trap '' XFSZ; ulimit -f 4096;");
    let mut said = BTreeMap::<u64, Vec<MessageId>>::new();
    let mut failed = None;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match (acknowledged(&line), line.strip_prefix("failed ")) {
            (Some((n, id)), _) => said.entry(n).or_default().push(id),
            (None, Some(reason)) => failed = Some(reason.to_owned()),
            _ => {}
        }
    }
    assert!(child.wait().unwrap().success());
    assert!(failed.is_some_and(|reason| !reason.is_empty()));
    assert!(said.values().map(Vec::len).sum::<usize>() > 100);
    check(&path, &said).await;
}
