//! A full disk: sends are refused, everything else goes on, and service comes back with the room. On a small file system
//! of its own, which takes the right to mount one.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clarion_e2e::{Api, PATIENCE, Program, Socket};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");
const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;
const DISK: &str = "size=128m";
const MIN_FREE: &str = "33554432";
const SENDERS: usize = 4;

/// A file system in memory. Unmounted when dropped, whatever happened.
struct Disk(PathBuf);

/// What was acknowledged, by id.
type Acknowledged = Arc<Mutex<BTreeMap<u64, String>>>;

impl Disk {
    /// `None` where nothing may be mounted.
    fn mount(at: &Path) -> anyhow::Result<Option<Self>> {
        std::fs::create_dir_all(at)?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(at).output();
        if mounted.is_ok_and(|out| out.status.success()) {
            return Ok(Some(Self(at.to_owned())));
        }
        println!("MISSING: the right to mount a file system: nothing was tried on a full disk");
        Ok(None)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Fills it to the last byte.
    fn fill(&self) -> anyhow::Result<()> {
        let mut file = std::fs::File::options().create(true).append(true).open(self.filler())?;
        for size in [1 << 20, 4 << 10, 1] {
            let block = vec![0; size];
            while file.write(&block).is_ok_and(|written| written > 0) {}
        }
        Ok(())
    }

    fn make_room(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.filler())?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the program may not be gone yet.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The data folder lies elsewhere, so that what the program says can be written; the store is on the disk.
async fn start(data: &Path, disk: &Disk, min_free: &str) -> anyhow::Result<Program> {
    let store = disk.0.join("store").display().to_string();
    let env = [("CLARION_STORAGE__EMBEDDED__PATH", store.as_str()), ("CLARION_STORAGE__EMBEDDED__MIN_FREE", min_free)];
    Program::start(Path::new(PROGRAM), data, &[], &env).await
}

/// Sends until told to stop, or until the program is gone. What was acknowledged is written down, what was refused is
/// checked.
async fn send(api: Api, channel: String, who: usize, acknowledged: Acknowledged, stop: Arc<AtomicBool>) -> u64 {
    let mut refused = 0;
    for n in 0.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let content = format!("{who}/{n} {}", "x".repeat(1_000));
        let path = format!("/channels/{channel}/messages");
        let sent = api.request(Method::POST, &path).json(&json!({ "content": content })).send().await;
        let Ok(answer) = sent else { break };
        let (status, retry) = (answer.status(), answer.headers().get("retry-after").cloned());
        let Ok(body) = answer.json::<Value>().await else { break };
        match status {
            StatusCode::OK => {
                let id = body["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_default();
                acknowledged.lock().expect("not poisoned").insert(id, content);
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                assert_eq!(body, json!({ "message": "503: Service Unavailable", "code": 0 }));
                assert!(retry.is_some_and(|after| after == "1"), "it is said when to come back");
                refused += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => panic!("{other}: {body}"),
        }
    }
    refused
}

/// Everything that was acknowledged is in the history, with its content.
async fn check(api: &Api, channel: &str, acknowledged: &Acknowledged) -> anyhow::Result<usize> {
    let mut there: BTreeMap<u64, String> = BTreeMap::new();
    loop {
        let before = there.keys().next().map(|id| format!("&before={id}")).unwrap_or_default();
        let page = api.get(&format!("/channels/{channel}/messages?limit=100{before}")).await?;
        let page = page.as_array().context("a list")?;
        if page.is_empty() {
            break;
        }
        for message in page {
            let id = message["id"].as_str().context("an id")?.parse()?;
            there.insert(id, message["content"].as_str().unwrap_or_default().to_owned());
        }
    }
    let acknowledged = acknowledged.lock().expect("not poisoned");
    for (id, content) in acknowledged.iter() {
        assert_eq!(there.get(id), Some(content), "acknowledged message {id}");
    }
    Ok(acknowledged.len())
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    while !done().await? {
        if begun.elapsed() > PATIENCE {
            bail!("in vain: {what}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(begun.elapsed())
}

fn events(program: &Program, event: &str) -> usize {
    program.log().lines().filter(|line| line.contains(&format!("\"event\":\"{event}\""))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_are_refused_and_accepted_again_when_there_is_room() -> anyhow::Result<()> {
    let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let Some(disk) = Disk::mount(&folder.path().join("disk"))? else { return Ok(()) };
    let program = start(data.path(), &disk, MIN_FREE).await?;
    let (api, channel) = (program.api(), program.demo().channel_id.to_string());
    let mut socket = Socket::connect(&program.demo().gateway).await?;
    socket.identify(&program.demo().bots[1].token, INTENTS).await?;
    socket.dispatch("GUILD_CREATE").await?;
    let (acknowledged, stop) = (Acknowledged::default(), Arc::<AtomicBool>::default());
    let count = || acknowledged.lock().expect("not poisoned").len();
    let sending: Vec<_> = (0..SENDERS)
        .map(|who| tokio::spawn(send(api.clone(), channel.clone(), who, acknowledged.clone(), stop.clone())))
        .collect();
    until("sends are accepted", async || Ok(count() >= 200)).await?;

    disk.fill()?;
    until("sends are refused", async || {
        let body = json!({ "content": "?" });
        let (status, _) = api.call(Method::POST, &format!("/channels/{channel}/messages"), Some(body)).await?;
        Ok(status == StatusCode::SERVICE_UNAVAILABLE)
    })
    .await?;
    // Reads go on, sessions stay and begin.
    api.get(&format!("/channels/{channel}/messages?limit=50")).await?;
    socket.send(json!({ "op": 1, "d": socket.sequence })).await?;
    socket.op(11).await?;
    let mut new = Socket::connect(&program.demo().gateway).await?;
    new.identify(&program.demo().users[0].token, INTENTS).await?;
    new.dispatch("GUILD_CREATE").await?;
    until("the log says so", async || Ok(events(&program, "storage.low") == 1)).await?;
    let before = count();
    check(&api, &channel, &acknowledged).await?;
    assert_eq!(count(), before, "nothing is acknowledged on a full disk");

    disk.make_room()?;
    let took = until("sends are accepted again", async || Ok(count() >= before + 100)).await?;
    until("the log says so", async || Ok(events(&program, "storage.recovered") == 1)).await?;
    let body = api.send(&channel, "there is room").await?;
    loop {
        if new.dispatch("MESSAGE_CREATE").await?["id"] == body["id"] {
            break;
        }
    }
    disk.fill()?;
    until("the log says so again", async || Ok(events(&program, "storage.low") == 2)).await?;
    program.kill().await?;
    stop.store(true, Ordering::Release);
    let mut refused = 0;
    for sender in sending {
        refused += sender.await?;
    }
    assert!(refused > 0, "senders were refused");
    // To take the slots takes a little room. It may say that it is ready just before it notices.
    let said = match start(data.path(), &disk, MIN_FREE).await {
        Ok(mut program) => {
            assert!(!program.ended().await?.success());
            program.log()
        }
        Err(error) => error.to_string(),
    };
    assert!(said.contains("storage.failed") && said.contains("No space left on device"), "it is said why: {said}");
    disk.make_room()?;
    let program = start(data.path(), &disk, MIN_FREE).await?;
    let checked = check(&program.api(), &channel, &acknowledged).await?;
    println!(
        "{checked} acknowledged messages are there after a full disk and a kill -9 on it; {refused} sends were refused; \
         100 sends {took:.1?} after there was room"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_ends_the_process_and_loses_nothing() -> anyhow::Result<()> {
    let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let Some(disk) = Disk::mount(&folder.path().join("disk"))? else { return Ok(()) };
    let mut program = start(data.path(), &disk, "0").await?;
    let (api, channel) = (program.api(), program.demo().channel_id.to_string());
    let (acknowledged, stop) = (Acknowledged::default(), Arc::<AtomicBool>::default());
    let sending: Vec<_> = (0..SENDERS)
        .map(|who| tokio::spawn(send(api.clone(), channel.clone(), who, acknowledged.clone(), stop.clone())))
        .collect();
    until("sends are accepted", async || Ok(acknowledged.lock().expect("not poisoned").len() >= 200)).await?;
    disk.fill()?;
    let status = program.ended().await?;
    stop.store(true, Ordering::Release);
    assert!(!status.success() && status.code().is_some(), "it ends by itself, and says that it failed: {status}");
    let log = program.log();
    let fatal = log.lines().find(|line| line.contains("\"event\":\"storage.failed\"")).context("a line says why")?;
    let fatal: Value = serde_json::from_str(fatal)?;
    assert_eq!((&fatal["level"], &fatal["fatal"]), (&json!("CRITICAL"), &json!(true)), "{fatal}");
    for sender in sending {
        sender.await?;
    }
    drop(program);
    disk.make_room()?;
    let program = start(data.path(), &disk, "0").await?;
    let checked = check(&program.api(), &channel, &acknowledged).await?;
    program.api().send(&channel, "there is room").await?;
    println!("{checked} acknowledged messages are there after a write that failed: {}", fatal["error"]);
    Ok(())
}
