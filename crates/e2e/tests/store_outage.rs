//! The program over CQL, on a server of the test's own: a kill of the program, a server that hangs, and one that is gone.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test is no service: its tasks end with it")]

#[path = "../../storage/tests/scylla/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clarion_e2e::{Api, PATIENCE, Program};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use server::Server;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");
const SENDERS: usize = 4;
/// How long it may take until sends are accepted again.
const RECOVERY: Duration = Duration::from_secs(30);

/// What was acknowledged, by id, and how everything else was answered.
#[derive(Default)]
struct Book {
    acknowledged: BTreeMap<u64, String>,
    refused: BTreeMap<u16, u64>,
    /// Requests that got no answer within the client's patience.
    unanswered: u64,
}

impl Book {
    /// What became of a send; how long to wait before the next.
    fn enter(&mut self, sent: anyhow::Result<(StatusCode, Value)>, content: String) -> Duration {
        match sent {
            Ok((StatusCode::OK, message)) => {
                self.acknowledged.insert(id(&message), content);
                return Duration::ZERO;
            }
            Ok((status, _)) => *self.refused.entry(status.as_u16()).or_default() += 1,
            Err(_) => self.unanswered += 1,
        }
        Duration::from_millis(20)
    }
}

/// People who send and send until they are told to stop; a refused one is said anew.
struct Talk {
    book: Arc<Mutex<Book>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Talk {
    fn begin(api: &Api, channel: &str, what: &str) -> Self {
        let (book, stop) = (Arc::<Mutex<Book>>::default(), Arc::<AtomicBool>::default());
        let tasks = (0..SENDERS).map(|sender| {
            let (api, channel, book, stop) = (api.clone(), channel.to_owned(), book.clone(), stop.clone());
            let who = format!("{what} sender {sender}");
            tokio::spawn(async move {
                let path = format!("/channels/{channel}/messages");
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let content = format!("{who} number {n}");
                    let sent = api.call(Method::POST, &path, Some(json!({ "content": content }))).await;
                    let pause = book.lock().unwrap().enter(sent, content);
                    tokio::time::sleep(pause).await;
                }
            })
        });
        let tasks = tasks.collect();
        Self { book, stop, tasks }
    }

    fn acknowledged(&self) -> usize {
        self.book.lock().unwrap().acknowledged.len()
    }

    fn refused(&self) -> u64 {
        self.book.lock().unwrap().refused.values().sum()
    }

    /// Waits for something to be so.
    async fn until(&self, what: &str, within: Duration, mut so: impl FnMut(&Self) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        while !so(self) {
            let refused = self.book.lock().unwrap().refused.clone();
            ensure!(Instant::now() < deadline, "{what}: {} acknowledged, refused {refused:?}", self.acknowledged());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn end(self) -> anyhow::Result<Book> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await?;
        }
        Ok(std::mem::take(&mut *self.book.lock().unwrap()))
    }
}

fn id(message: &Value) -> u64 {
    message["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_default()
}

/// Every message of a channel.
async fn history(api: &Api, channel: &str) -> anyhow::Result<BTreeMap<u64, String>> {
    let mut all = BTreeMap::new();
    loop {
        let before = all.keys().next().map(|id| format!("&before={id}")).unwrap_or_default();
        let page = api.get(&format!("/channels/{channel}/messages?limit=100{before}")).await?;
        let page = page.as_array().context("a page")?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page.iter().map(|m| (id(m), m["content"].as_str().unwrap_or_default().to_owned())));
    }
}

/// Everything that was acknowledged is there with what it says, and nothing is there twice.
async fn check(api: &Api, channel: &str, acknowledged: &BTreeMap<u64, String>) -> anyhow::Result<()> {
    let there = history(api, channel).await?;
    for (id, content) in acknowledged {
        ensure!(there.get(id) == Some(content), "acknowledged message {id}, {content:?}: {:?} is there", there.get(id));
    }
    let contents: std::collections::BTreeSet<_> = there.values().filter(|c| c.contains("number")).collect();
    let said = there.values().filter(|c| c.contains("number")).count();
    ensure!(contents.len() == said, "of {said} messages some are there twice");
    Ok(())
}

/// Waits until everything that was acknowledged can be found.
async fn check_search(api: &Api, guild: &str, channel: &str, word: &str, count: usize) -> anyhow::Result<()> {
    let path = format!("/guilds/{guild}/messages/search?content={word}&channel_id={channel}");
    let deadline = Instant::now() + 3 * PATIENCE;
    loop {
        let (status, body) = api.call(Method::GET, &path, None).await?;
        if status == StatusCode::OK && body["total_results"].as_u64() >= Some(count as u64) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{count} are to be found: {status} {body}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn signal(server: &Server, name: &str) -> anyhow::Result<()> {
    let id = server.child.as_ref().context("it runs")?.id();
    ensure!(Command::new("kill").args([name, &id.to_string()]).status()?.success(), "kill {name}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_or_is_gone_loses_nothing_and_comes_back() -> anyhow::Result<()> {
    let Some(mut server) = Server::start().await else { return Ok(()) };
    let hosts = format!("[\"{}\"]", server.address());
    let settings = [
        ("CLARION_STORAGE__KIND", "scylla"),
        ("CLARION_STORAGE__SCYLLA__HOSTS", hosts.as_str()),
        ("CLARION_STORAGE__SCYLLA__REPLICATION_FACTOR", "1"),
        ("CLARION_STORAGE__SCYLLA__CONNECT_TIMEOUT_MS", "20000"),
        ("CLARION_STORAGE__SCYLLA__WRITE_DEADLINE_MS", "4000"),
        ("DB_POOL_SIZE", "3"),
    ];
    let run = |command: &str| Command::new(PROGRAM).arg(command).envs(settings).output();
    let unready = run("doctor")?;
    ensure!(!unready.status.success() && String::from_utf8_lossy(&unready.stdout).contains("run `clarion migrate`"));
    let migrated = run("migrate")?;
    ensure!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let doctor = run("doctor")?;
    let said = String::from_utf8_lossy(&doctor.stdout);
    ensure!(doctor.status.success(), "{said}{}", String::from_utf8_lossy(&doctor.stderr));
    ensure!(said.contains("warn  replication: factor 1") && said.contains(": batch\n"), "{said}");

    // The program is killed, and its next run has everything, and finds it.
    let data = tempfile::tempdir()?;
    let program = Program::start(Path::new(PROGRAM), data.path(), &[], &settings).await?;
    let (guild, channel) = (program.demo().guild_id.to_string(), program.demo().channel_id.to_string());
    let talk = Talk::begin(&program.api(), &channel, "kill");
    talk.until("it begins", PATIENCE, |talk| talk.acknowledged() >= 60).await?;
    program.kill().await?;
    let mut acknowledged = talk.end().await?.acknowledged;
    let program = Program::start(Path::new(PROGRAM), data.path(), &[], &settings).await?;
    let api = program.api();
    check(&api, &channel, &acknowledged).await?;
    check_search(&api, &guild, &channel, "kill", acknowledged.len()).await?;
    let metrics = reqwest::get(format!("{}/metrics", program.demo().admin)).await?.text().await?;
    ensure!(metrics.lines().any(|l| l.starts_with("db_pool_connections_max{") && l.ends_with(" 3")), "DB_POOL_SIZE");

    for what in ["hangs", "gone"] {
        let talk = Talk::begin(&api, &channel, what);
        talk.until("it begins", PATIENCE, |talk| talk.acknowledged() >= 40).await?;
        match what {
            "hangs" => signal(&server, "-STOP")?,
            _ => server.kill(),
        }
        // What was on its way may still be answered, and then nothing any more.
        talk.until("sends are refused", PATIENCE, |talk| talk.refused() >= 4).await?;
        let before = (talk.acknowledged(), talk.refused());
        talk.until("sends are refused", 4 * PATIENCE, |talk| talk.refused() >= before.1 + 2 * SENDERS as u64).await?;
        ensure!(talk.acknowledged() == before.0, "acknowledged without a store");
        let health = reqwest::get(format!("{}/healthz", program.demo().admin)).await?.status();
        ensure!(health == StatusCode::OK, "liveness depends on nothing outside: {health}");
        match what {
            "hangs" => signal(&server, "-CONT")?,
            _ => server.again().await,
        }
        let back = Instant::now();
        talk.until("it comes back", RECOVERY, |talk| talk.acknowledged() >= before.0 + 20).await?;
        println!("{what}: accepted again {:.1} s after the server was back", back.elapsed().as_secs_f64());
        let book = talk.end().await?;
        println!("{what}: {} acknowledged, refused {:?}", book.acknowledged.len(), book.refused);
        ensure!(book.refused.keys().all(|status| *status == 503), "{:?}", book.refused);
        ensure!(book.unanswered == 0, "{} got no answer", book.unanswered);
        acknowledged.extend(book.acknowledged);
        check(&api, &channel, &acknowledged).await?;
    }
    check_search(&api, &guild, &channel, "gone", 1).await
}
