//! `kill -9` under load: after recovery every message is found once, as it is now, and none is missing; checked against
//! the history that the store has.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clarion_e2e::{Api, PATIENCE, Program};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");
const SENDERS: usize = 6;

fn rounds() -> u32 {
    if std::env::var_os("CLARION_TEST_LONG").is_some() { 20 } else { 2 }
}

/// Message ids with what they say.
type Said = BTreeMap<u64, String>;

fn take(message: &Value) -> (u64, String) {
    let id = message["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_default();
    (id, message["content"].as_str().unwrap_or_default().to_owned())
}

/// What the store has.
async fn history(api: &Api, channel: &str) -> anyhow::Result<Said> {
    let mut all = Said::new();
    loop {
        let before = all.keys().next().map(|id| format!("&before={id}")).unwrap_or_default();
        let page = api.get(&format!("/channels/{channel}/messages?limit=100{before}")).await?;
        let page = page.as_array().cloned().unwrap_or_default();
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page.iter().map(take));
    }
}

/// What can be found; the ids of the index, each as often as it has them.
async fn findable(api: &Api, guild: &str, channel: &str) -> anyhow::Result<Option<Vec<(u64, String)>>> {
    let mut all: Vec<(u64, String)> = Vec::new();
    loop {
        let before = all.last().map(|(id, _)| format!("&max_id={id}")).unwrap_or_default();
        let path = format!("/guilds/{guild}/messages/search?content=round&channel_id={channel}{before}");
        let (status, body) = api.call(Method::GET, &path, None).await?;
        if status != StatusCode::OK {
            return Ok(None);
        }
        let page = body["messages"].as_array().cloned().unwrap_or_default();
        let total = body["total_results"].as_u64().unwrap_or_default();
        anyhow::ensure!(total >= page.len() as u64, "{body}");
        if page.is_empty() {
            anyhow::ensure!(total == 0, "{total} more are told of than are there");
            return Ok(Some(all));
        }
        all.extend(page.iter().map(|message| take(&message[0])));
    }
}

/// Waits until what can be found is what the store has, each once.
async fn check(api: &Api, guild: &str, channel: &str) -> anyhow::Result<usize> {
    let there = history(api, channel).await?;
    let expected: Vec<(u64, String)> = there.into_iter().rev().collect();
    let deadline = Instant::now() + 3 * PATIENCE;
    loop {
        let found = findable(api, guild, channel).await?;
        if found.as_ref() == Some(&expected) {
            return Ok(expected.len());
        }
        if Instant::now() > deadline {
            let found = found.unwrap_or_default();
            let missing: Vec<_> = expected.iter().filter(|message| !found.contains(message)).collect();
            let mut more = found.clone();
            expected.iter().for_each(|message| {
                more.iter().position(|other| other == message).map(|at| more.remove(at));
            });
            let (there, found) = (expected.len(), found.len());
            anyhow::bail!("{there} in the store, {found} found; not found: {missing:?}; too many: {more:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a program had to complain of.
fn troubles(log: &str) -> String {
    let lines = log.lines().filter(|line| line.contains(r#""level":"WARN"#) || line.contains(r#""level":"ERROR"#));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Sends, and now and then edits or deletes, until the program is gone.
async fn talk(api: Api, channel: String, who: String, enough: Arc<Semaphore>) {
    let path = format!("/channels/{channel}/messages");
    for n in 0.. {
        // The first failure is the kill.
        let Ok(message) = api.send(&channel, &format!("{who} number {n}")).await else { return };
        let id = take(&message).0;
        let done = match n % 5 {
            1 => {
                let body = json!({ "content": format!("{who} number {n} edited") });
                api.call(Method::PATCH, &format!("{path}/{id}"), Some(body)).await.map(|_| ())
            }
            3 => api.call(Method::DELETE, &format!("{path}/{id}"), None).await.map(|_| ()),
            _ => Ok(()),
        };
        if done.is_err() {
            return;
        }
        enough.add_permits(1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_found_once_after_a_kill() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    for round in 0..=rounds() {
        let program = Program::start(Path::new(PROGRAM), data.path(), &[], &[]).await?;
        let (guild, channel) = (program.demo().guild_id.to_string(), program.demo().channel_id.to_string());
        let checked = check(&program.api(), &guild, &channel).await;
        let count = checked.with_context(|| format!("after {round} kills\n{}", troubles(&program.log())))?;
        println!("after {round} kills: {count} messages, each found once as it is");
        if round == rounds() {
            break;
        }
        let enough = Arc::new(Semaphore::new(0));
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let who = format!("round {round} sender {sender}");
                tokio::spawn(talk(program.api(), channel.clone(), who, enough.clone()))
            })
            .collect();
        // In full flight, at another moment every round.
        enough.acquire_many(40 + 23 * round).await?.forget();
        program.kill().await?;
        for sender in senders {
            sender.await?;
        }
    }
    Ok(())
}
