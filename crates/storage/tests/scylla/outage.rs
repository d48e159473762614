//! Writes whose fate is unknown, and a server that is away for a while.

use std::cell::Cell;
use std::time::{Duration, Instant};

use clarion_model::id::{ChannelId, MessageId};
use clarion_model::message::Anchor;
use clarion_observability::capture::Capture;
use clarion_storage::scylla::{Config, Scylla};
use clarion_storage::{CommitError, conformance};
use futures_util::future::join_all;
use tokio::sync::Mutex;

use crate::keyspace::{AUTHOR, Keyspace, Writer, nonce, telemetry};
use crate::proxy::Proxy;
use crate::server::Server;

const PLACE: ChannelId = ChannelId(9);

fn id(n: u64) -> MessageId {
    MessageId((1 << 60) + n)
}

/// The answers to writes are lost with their connections, again and again. Each is written anew, the same, and counts
/// once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_asked_for_again() {
    const ROUNDS: u64 = 100;
    let Some(keyspace) = Keyspace::new("cut").await else { return };
    let proxy = Proxy::to(keyspace.config.hosts[0].clone()).await;
    let config = Config { hosts: vec![proxy.address.clone()], connections: 1, ..keyspace.config.clone() };
    let store = Scylla::open(&config, &telemetry()).await.unwrap();
    let mut writer = Writer::take(&store, 1).await;
    writer.say(PLACE, id(0)).await.unwrap();
    for n in 1..=ROUNDS {
        proxy.cut_next();
        assert_eq!(writer.say(PLACE, id(n)).await, Ok(()), "round {n}");
    }
    assert!(proxy.lost() as u64 >= ROUNDS, "{} answers were lost", proxy.lost());
    assert_eq!(writer.log().await.len() as u64, ROUNDS + 1);
    let page = store.stores().messages.page(PLACE, Anchor::Latest, 1_000).await.unwrap();
    assert_eq!(page.len() as u64, ROUNDS + 1);
    drop(store);
    keyspace.drop().await;
}

/// No answer comes for longer than the deadline: the slot is given up, and the next owner finds what was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_outcome_gives_the_slot_up() {
    let Some(keyspace) = Keyspace::new("silent").await else { return };
    let proxy = Proxy::to(keyspace.config.hosts[0].clone()).await;
    let config = Config {
        hosts: vec![proxy.address.clone()],
        request_timeout_ms: 500,
        write_deadline_ms: 2_000,
        ..keyspace.config.clone()
    };
    let store = Scylla::open(&config, &telemetry()).await.unwrap();
    let mut writer = Writer::take(&store, 1).await;
    writer.say(PLACE, id(1)).await.unwrap();
    proxy.silent(true);
    let begun = Instant::now();
    let silenced = writer.say(PLACE, id(2)).await;
    assert!(matches!(silenced, Err(CommitError::Unknown(_))), "{silenced:?}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    proxy.silent(false);

    // Nothing more of that epoch, although it is still the slot's.
    let after = Instant::now() + Duration::from_secs(30);
    let answering = loop {
        match store.stores().slots.get(writer.key.slot()).await {
            Ok(record) => break record,
            Err(error) => assert!(Instant::now() < after, "{error}"),
        }
    };
    assert_eq!(answering.epoch, writer.epoch);
    let given_up = writer.say(PLACE, id(3)).await;
    assert!(matches!(given_up, Err(CommitError::Unknown(_))), "{given_up:?}");

    // Whoever takes it next, here the same process, tells the sender who asks again.
    let mut next = Writer::take(&store, 1).await;
    let stores = store.stores();
    let tail = stores.logs.open(next.key, next.epoch).await.unwrap();
    assert_eq!(tail.entries, 2, "the write had come through");
    assert_eq!(stores.messages.by_nonce(PLACE, AUTHOR, &nonce(PLACE, id(2)).nonce).await, Ok(Some(id(2))));
    assert!(stores.messages.get(PLACE, id(2)).await.unwrap().is_some());
    assert_eq!(stores.messages.get(PLACE, id(3)).await, Ok(None));
    next.say(PLACE, id(4)).await.unwrap();
    drop(store);
    keyspace.drop().await;
}

/// While no answer comes the circuit is open: requests end at once. It closes when there are answers again, and with the
/// switch off it is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_does_not_answer_is_left_alone() {
    let Some(keyspace) = Keyspace::new("circuit").await else { return };
    let proxy = Proxy::to(keyspace.config.hosts[0].clone()).await;
    let config = Config { hosts: vec![proxy.address.clone()], request_timeout_ms: 1_000, ..keyspace.config.clone() };
    for circuit_breaker in [true, false] {
        let capture = Capture::new().unwrap();
        let telemetry = capture.process().service("storage-test", "0");
        let value = |name: &str| -> f64 {
            let metrics = telemetry.process().render_metrics();
            let line = metrics.lines().find(|line| line.starts_with(name) && line.contains("store")).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        let store = Scylla::open(&Config { circuit_breaker, ..config.clone() }, &telemetry).await.unwrap();
        let stores = store.stores();
        let read = async || stores.messages.get(PLACE, id(1)).await;
        read().await.unwrap();
        assert_eq!(value("circuit_open{"), 0.0);
        proxy.silent(true);
        assert!(join_all((0..40).map(|_| read())).await.iter().all(Result::is_err));
        assert_eq!(value("circuit_open{"), f64::from(u8::from(circuit_breaker)));
        assert_eq!(value("circuit_opened_total{"), f64::from(u8::from(circuit_breaker)));
        if circuit_breaker {
            // One of them may be the one that tries.
            let begun = Instant::now();
            let _ = tokio::join!(read(), read());
            let first = tokio::time::timeout(Duration::from_millis(900), read()).await;
            assert!(matches!(first, Ok(Err(_))) && begun.elapsed() < Duration::from_secs(5), "{first:?}");
            assert!(value("circuit_refused_total{") >= 1.0);
        }
        proxy.silent(false);
        let deadline = Instant::now() + Duration::from_secs(30);
        while read().await.is_err() {
            assert!(Instant::now() < deadline, "it does not go on");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(value("circuit_open{"), 0.0);
    }
    keyspace.drop().await;
}

/// The suite, with the server killed and started again between its parts: what was acknowledged is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_rules_over_a_killed_server() {
    let Some(server) = Server::start().await else { return };
    let keyspace = Keyspace::at(server.address(), "killed").await;
    let (server, opened) = (Mutex::new(server), Cell::new(0));
    let telemetry = telemetry();
    let open = async || {
        if opened.replace(opened.get() + 1) == 2 {
            let mut server = server.lock().await;
            server.kill();
            server.again().await;
        }
        Scylla::open(&keyspace.config, &telemetry).await.unwrap()
    };
    conformance::suite(open).await;
    assert!(opened.get() > 2, "the server was killed");
}

/// The server is killed while somebody writes, and comes back: nothing acknowledged is lost, and the store goes on
/// without being opened again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_when_the_server_is_back() {
    let Some(mut server) = Server::start().await else { return };
    let keyspace = Keyspace::at(server.address(), "back").await;
    let config = Config { request_timeout_ms: 1_000, write_deadline_ms: 3_000, ..keyspace.config.clone() };
    let store = Scylla::open(&config, &telemetry()).await.unwrap();
    let mut writer = Writer::take(&store, 1).await;
    let mut written = 0;
    let failed = loop {
        written += 1;
        if written == 50 {
            server.kill();
        }
        if let Err(error) = writer.say(PLACE, id(written)).await {
            break error;
        }
    };
    assert!(matches!(failed, CommitError::Unknown(_)), "{failed}");
    assert!(store.stores().messages.get(PLACE, id(1)).await.is_err(), "nothing is answered out of thin air");
    let raised = store.stores().slots.raise(&[writer.key.slot()], "test").await;
    assert!(matches!(raised, Err(CommitError::Unknown(_))), "{raised:?}");

    server.again().await;
    let begun = Instant::now();
    let stores = store.stores();
    while stores.slots.raise(&[writer.key.slot()], "test").await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not go on");
    }
    let mut next = Writer::take(&store, 1).await;
    let tail = stores.logs.open(next.key, next.epoch).await.unwrap();
    assert!((written - 1..=written).contains(&tail.entries), "{} entries of {written}", tail.entries);
    next.say(PLACE, id(1_000)).await.unwrap();
    let page = stores.messages.page(PLACE, Anchor::Latest, 1_000).await.unwrap();
    assert_eq!(page.len() as u64, tail.entries + 1);
}
