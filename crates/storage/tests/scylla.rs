//! The store behind CQL keeps the rules of every store, on a real server: the one that `CLARION_TEST_CQL` names. Without
//! it these tests say that they were passed over.

#![allow(clippy::unwrap_used)]

#[path = "scylla/fencing.rs"]
mod fencing;
#[path = "scylla/keyspace.rs"]
mod keyspace;
#[path = "scylla/measure.rs"]
mod measure;
#[path = "scylla/outage.rs"]
mod outage;
#[path = "scylla/proxy.rs"]
mod proxy;
#[path = "scylla/server.rs"]
mod server;

use clarion_model::event::GuildEvent;
use clarion_model::id::{ChannelId, MessageId};
use clarion_model::message::Anchor;
use clarion_observability::capture::Capture;
use clarion_storage::scylla::{Config, Migrated, Scylla, inspect, migrate};
use clarion_storage::{OpenError, conformance};
use keyspace::{Keyspace, Writer, create, telemetry};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_rules() {
    let Some(keyspace) = Keyspace::new("rules").await else { return };
    let telemetry = telemetry();
    for _ in 0..2 {
        conformance::suite(async || Scylla::open(&keyspace.config, &telemetry).await.unwrap()).await;
    }
    keyspace.drop().await;
}

#[tokio::test]
async fn keeps_the_rules_with_small_settings() {
    let Some(keyspace) = Keyspace::new("small").await else { return };
    let telemetry = telemetry();
    let config =
        Config { group_entries: 1, group_bytes: 0, queue: 1, in_flight: 2, connections: 1, ..keyspace.config.clone() };
    conformance::suite(async || Scylla::open(&config, &telemetry).await.unwrap()).await;
    keyspace.drop().await;
}

#[tokio::test]
async fn a_keyspace_is_migrated_once() {
    let Some(keyspace) = Keyspace::new("migrate").await else { return };
    let config = &keyspace.config;
    assert_eq!(migrate(config).await.unwrap(), Migrated { from: 1, to: 1 });
    let nowhere = Config { keyspace: format!("{}_not", config.keyspace), ..config.clone() };
    let opened = Scylla::open(&nowhere, &telemetry()).await.map(|_| ());
    assert!(matches!(&opened, Err(OpenError::Failed { path, .. }) if path.contains(&nowhere.keyspace)), "{opened:?}");

    keyspace.run("TRUNCATE schema_version").await;
    let error = Scylla::open(config, &telemetry()).await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("schema version is 0, expected 1: run `clarion migrate`"), "{error}");
    assert_eq!(migrate(config).await.unwrap(), Migrated { from: 0, to: 1 }, "what is there already is no harm");
    Scylla::open(config, &telemetry()).await.unwrap();

    keyspace.run("INSERT INTO schema_version (part, version) VALUES ('all', 99)").await;
    for refused in [migrate(config).await.map(|_| ()), Scylla::open(config, &telemetry()).await.map(|_| ())] {
        assert!(matches!(refused, Err(OpenError::Schema { found: 99, known: 1, .. })), "{refused:?}");
    }
    keyspace.drop().await;
}

#[tokio::test]
async fn a_cluster_is_inspected_node_by_node() {
    let Some(keyspace) = Keyspace::new("inspect").await else { return };
    let seen = inspect(&keyspace.config).await.unwrap();
    assert_eq!((seen.schema, seen.known, seen.replication), (1, 1, Some(1)));
    assert_eq!(seen.nodes.len(), 1);
    let answer = seen.nodes[0].answer.clone().unwrap();
    assert_eq!(answer.commit_log.as_deref(), Some("batch"));
    assert!(answer.ahead_ms.abs() < 5_000, "one machine has one clock: {answer:?}");
    let nowhere = Config { keyspace: format!("{}_not", keyspace.config.keyspace), ..keyspace.config.clone() };
    let seen = inspect(&nowhere).await.unwrap();
    assert_eq!((seen.schema, seen.replication), (0, None));
    keyspace.drop().await;
}

#[tokio::test]
async fn what_cannot_be_reached_is_named() {
    let config = Config { hosts: vec!["127.0.0.1:1".into()], ..Config::default() };
    let error = Scylla::open(&config, &telemetry()).await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("cannot open keyspace clarion at 127.0.0.1:1"), "{error}");
    let wrong = Config { hosts: vec!["nowhere".into()], ..Config::default() };
    let error = migrate(&wrong).await.unwrap_err().to_string();
    assert!(error.contains("hosts: \"nowhere\" is not host:port"), "{error}");
}

/// A channel in which something was said now and then, over 70 years.
#[tokio::test]
async fn silent_years_are_passed_over() {
    let Some(keyspace) = Keyspace::new("years").await else { return };
    let store = keyspace.open().await;
    let mut writer = Writer::take(&store, 1).await;
    let place = ChannelId(9);
    let bucket = 10 * 24 * 3_600 * 1_000_u64;
    let days = [0, 0, 1, 2, 40, 41, 41, 365, 1_000, 1_001, 2_500, 2_544];
    let mut ids: Vec<_> = (1..).zip(days).map(|(n, at)| MessageId(((at * bucket) << 22) + n)).collect();
    for id in &ids {
        writer.write(vec![create(place, *id)]).await.unwrap();
    }
    // A bucket that was emptied is one that is not listed with anything in it.
    let gone = ids.remove(4);
    writer.write(vec![GuildEvent::MessageDelete { channel_id: place, id: gone }]).await.unwrap();
    let stores = store.stores();
    let page = async |anchor, limit| {
        let page = stores.messages.page(place, anchor, limit).await.unwrap();
        page.iter().map(|view| view.message.id).collect::<Vec<_>>()
    };
    let newest_first: Vec<_> = ids.iter().rev().copied().collect();
    assert_eq!(page(Anchor::Latest, 100).await, newest_first);
    assert_eq!(page(Anchor::Before(gone), 3).await, [ids[3], ids[2], ids[1]]);
    assert_eq!(page(Anchor::After(MessageId(0)), 5).await, [ids[4], ids[3], ids[2], ids[1], ids[0]]);
    assert_eq!(page(Anchor::After(gone), 100).await, newest_first[..7]);
    assert_eq!(page(Anchor::Around(ids[6]), 4).await, [ids[8], ids[7], ids[6], ids[5]]);

    // More buckets than are looked up at a time.
    let other = ChannelId(10);
    let many: Vec<_> = (0..40).map(|n| MessageId(((n * 3 * bucket) << 22) + 1)).collect();
    for chunk in many.chunks(10) {
        writer.write(chunk.iter().map(|id| create(other, *id)).collect()).await.unwrap();
    }
    for (anchor, expected) in [(Anchor::Latest, &many[2..]), (Anchor::After(MessageId(0)), &many[..38])] {
        let found = stores.messages.page(other, anchor, 38).await.unwrap();
        let found: Vec<_> = found.iter().rev().map(|view| view.message.id).collect();
        assert_eq!(found, expected, "{anchor:?}");
    }
    keyspace.drop().await;
}

#[tokio::test]
async fn what_it_does_is_told() {
    let Some(keyspace) = Keyspace::new("told").await else { return };
    let capture = Capture::new().unwrap();
    let telemetry = capture.process().service("storage-test", "0");
    let store = Scylla::open(&keyspace.config, &telemetry).await.unwrap();
    let mut writer = Writer::take(&store, 1).await;
    writer.write(vec![create(ChannelId(9), MessageId(1 << 50))]).await.unwrap();
    assert_eq!(capture.lines_of("storage.opened").len(), 1);
    let metrics = telemetry.process().render_metrics();
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {metrics}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("db_commit_batches_sum"), 1.0);
    assert_eq!(value("db_pool_connections_max"), keyspace.config.connections as f64);
    assert!(value("db_pool_connections_used") >= 1.0);
    assert!(value("db_pool_wait_seconds_count") >= 5.0);
    assert_eq!(value("db_queries_queued"), 0.0);
    drop(store);
    keyspace.drop().await;
}
