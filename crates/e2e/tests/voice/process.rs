//! A voice server that is a process of its own.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clarion_e2e::PATIENCE;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");

/// A running voice server. Killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    /// Where gateways reach it, where clients do, and where operators do.
    pub(crate) grpc: String,
    pub(crate) url: String,
    pub(crate) admin: String,
    _folder: TempDir,
}

impl Process {
    /// Starts one on free ports, which joins a router.
    pub(crate) async fn start(instance: &str, router: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("voice.log");
        let file = std::fs::File::create(&log)?;
        let local = "127.0.0.1:0";
        let child = Command::new(PROGRAM)
            .args(["serve", "voice"])
            .envs(["LISTEN", "HTTP", "UDP"].map(|name| (format!("CLARION_VOICE__{name}"), local)))
            // Not all clients here give signs of life.
            .env("CLARION_VOICE__VANISH_MS", "60000")
            .env("CLARION_INSTANCE", instance)
            .env("CLARION_ADMIN__LISTEN", local)
            .env("CLARION_PEERS__ROUTERS", format!("[\"{router}\"]"))
            .env("CLARION_DATA", folder.path())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()?;
        let listens = told(&log, "service.listening").await?;
        let (grpc, url) = listens.split_once(' ').context("two addresses")?;
        let started = told(&log, "process.started").await?;
        let admin = started.rsplit(' ').next().context("an address")?.to_owned();
        Ok(Self { child, grpc: grpc.to_owned(), url: url.to_owned(), admin, _folder: folder })
    }
}

/// What a process says in its log with an event.
async fn told(log: &Path, event: &str) -> anyhow::Result<String> {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(log)?;
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(line) = lines.find(|line| line["event"] == event) {
            return Ok(line["detail"].as_str().unwrap_or_default().to_owned());
        }
        ensure!(begun.elapsed() < PATIENCE, "no {event} in\n{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
