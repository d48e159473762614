//! Acknowledged means durable: `kill -9` under load loses nothing, doubles nothing, and moves nothing.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use clarion_e2e::{Api, Program};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");
const SENDERS: usize = 8;

fn rounds() -> usize {
    if std::env::var_os("CLARION_TEST_LONG").is_some() { 20 } else { 5 }
}

/// Every message of a channel, the oldest first.
async fn history(api: &Api, channel: &str) -> anyhow::Result<Vec<Value>> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let before = all.last().and_then(|m| m["id"].as_str()).map(|id| format!("&before={id}")).unwrap_or_default();
        let page = api.get(&format!("/channels/{channel}/messages?limit=100{before}")).await?;
        let page = page.as_array().cloned().unwrap_or_default();
        if page.is_empty() {
            all.reverse();
            return Ok(all);
        }
        all.extend(page);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost() -> anyhow::Result<()> {
    kill_under_load(&[], rounds()).await
}

/// The same over the store behind CQL, where the next process does not know what the last one has still under way.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_over_cql() -> anyhow::Result<()> {
    let Some(server) = std::env::var("CLARION_TEST_CQL").ok().filter(|server| !server.is_empty()) else {
        println!("passed over: CLARION_TEST_CQL names no server");
        return Ok(());
    };
    let (hosts, keyspace) = (format!("[\"{server}\"]"), format!("kill_{}", std::process::id()));
    let settings = [
        ("CLARION_STORAGE__KIND", "scylla"),
        ("CLARION_STORAGE__SCYLLA__HOSTS", hosts.as_str()),
        ("CLARION_STORAGE__SCYLLA__KEYSPACE", keyspace.as_str()),
        ("CLARION_STORAGE__SCYLLA__REPLICATION_FACTOR", "1"),
    ];
    let migrated = tokio::process::Command::new(PROGRAM).arg("migrate").envs(settings).output().await?;
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    assert_eq!(String::from_utf8_lossy(&migrated.stdout), format!("keyspace {keyspace}: schema 0 to 1\n"));
    kill_under_load(&settings, rounds().div_ceil(2)).await
}

async fn kill_under_load(settings: &[(&str, &str)], rounds: usize) -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    // By id: what was acknowledged, over all rounds.
    let acknowledged: Arc<Mutex<BTreeMap<u64, String>>> = Arc::default();
    for round in 0..rounds {
        let program = Program::start(Path::new(PROGRAM), data.path(), &[], settings).await?;
        let channel = program.demo().channel_id.to_string();
        check(&program.api(), &channel, &acknowledged).await?;

        let enough = Arc::new(tokio::sync::Semaphore::new(0));
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (api, channel) = (program.api(), channel.clone());
                let (acknowledged, enough) = (acknowledged.clone(), enough.clone());
                tokio::task::spawn(async move {
                    for i in 0.. {
                        let content = format!("round {round} sender {sender} number {i}");
                        // The first failure is the kill.
                        let Ok(message) = api.send(&channel, &content).await else { return };
                        let id = message["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_default();
                        acknowledged.lock().expect("not poisoned").insert(id, content);
                        enough.add_permits(1);
                    }
                })
            })
            .collect();
        // Kill in full flight, at another moment every round.
        enough.acquire_many(100 + 37 * round as u32).await?.forget();
        program.kill().await?;
        for sender in senders {
            sender.await?;
        }
    }
    let program = Program::start(Path::new(PROGRAM), data.path(), &[], settings).await?;
    check(&program.api(), &program.demo().channel_id.to_string(), &acknowledged).await?;
    let count = acknowledged.lock().expect("not poisoned").len();
    println!("{count} acknowledged messages over {rounds} kills: all there, once, in order");
    Ok(())
}

/// All that was acknowledged is there, once, with its content, and ids rise.
async fn check(api: &Api, channel: &str, acknowledged: &Mutex<BTreeMap<u64, String>>) -> anyhow::Result<()> {
    let messages = history(api, channel).await?;
    let id = |m: &Value| m["id"].as_str().and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
    assert!(messages.is_sorted_by(|a, b| id(a) < id(b)), "history is in order, each once");
    let there: BTreeMap<u64, &str> =
        messages.iter().map(|m| (id(m), m["content"].as_str().unwrap_or_default())).collect();
    let contents: std::collections::BTreeSet<&str> = there.values().copied().collect();
    assert_eq!(contents.len(), there.len(), "no send made two messages");
    for (id, content) in acknowledged.lock().expect("not poisoned").iter() {
        assert_eq!(there.get(id), Some(&content.as_str()), "acknowledged message {id}");
    }
    // Each sender's messages stand in the order in which it sent them.
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for content in there.values() {
        let (who, number) = content.rsplit_once(' ').unwrap_or_default();
        let number: u64 = number.parse()?;
        let before = last.insert(who.to_owned(), number);
        assert!(before.is_none_or(|before| before < number), "{content} after number {before:?}");
    }
    Ok(())
}
