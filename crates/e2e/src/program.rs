//! The product as a program of its own, that a test may kill.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, bail};
use clarion::demo::Demo;
use tokio::process::{Child, Command};

use crate::{Api, PATIENCE};

/// A running program. Killed when dropped.
pub struct Program {
    child: Child,
    demo: Demo,
    log: PathBuf,
}

impl Program {
    /// Starts the binary over a data folder and waits until it is ready. `before` are words to put before it on the
    /// command line (a tracer), `env` settings.
    pub async fn start(binary: &Path, data: &Path, before: &[OsString], env: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut words = before.iter().cloned().chain([binary.into()]);
        let log = data.join("program.log");
        let file = std::fs::File::create(&log)?;
        // What a run before this one wrote is not what this one says.
        let _ = std::fs::remove_file(data.join("admin.url"));
        let mut child = Command::new(words.next().context("a program")?)
            .args(words)
            .arg("--data")
            .arg(data)
            .env("CLARION_LISTEN", "127.0.0.1:0")
            .env("CLARION_ADMIN__LISTEN", "127.0.0.1:0")
            .env("CLARION_STORAGE__EMBEDDED__MIN_FREE", "0")
            .env("CLARION_SEARCH__INDEX__MIN_FREE", "0")
            .env("CLARION_GATEWAY__REST__RATE_LIMITS__ENABLED", "false")
            .env("CLARION_GATEWAY__IDENTIFY__ENFORCED", "false")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()?;
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            if let Some(demo) = ready(data).await {
                return Ok(Self { child, demo, log });
            }
            if let Some(status) = child.try_wait()? {
                bail!("the program ended: {status}\n{}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            if Instant::now() > deadline {
                bail!("the program is not ready\n{}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Ports that nobody listens on and that no client is given by the kernel: one who connects again and again while the
    /// program is away could otherwise come to be connected with itself.
    pub fn steady_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
        let first = 20_000 + (std::process::id() % 10_000) as u16;
        let free = (first..32_000).filter_map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).ok());
        // Held until all are found, so that none is found twice.
        let held: Vec<_> = free.take(N).collect();
        let ports: Vec<u16> = held.iter().map(|held| Ok(held.local_addr()?.port())).collect::<anyhow::Result<_>>()?;
        ports.try_into().ok().context("too few ports are free below 32000")
    }

    /// Its demo workspace.
    pub fn demo(&self) -> &Demo {
        &self.demo
    }

    /// The API as the first bot sees it.
    pub fn api(&self) -> Api {
        Api::new(&format!("{}/v10", self.demo.api), &self.demo.bots[0].token)
    }

    /// What it printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.kill_traced();
        Ok(self.child.kill().await?)
    }

    /// A tracer that is killed lets the program it traces live: the program goes first.
    fn kill_traced(&self) {
        let Some(id) = self.child.id() else { return };
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let _ = std::process::Command::new("kill").args(["-KILL", child]).status();
        }
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        Ok(tokio::time::timeout(PATIENCE, self.child.wait()).await??)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill_traced();
    }
}

/// The demo workspace of a program that has said that it is ready.
async fn ready(data: &Path) -> Option<Demo> {
    let admin = std::fs::read_to_string(data.join("admin.url")).ok()?;
    let answer = reqwest::get(format!("{}/readyz", admin.trim())).await.ok()?;
    if !answer.status().is_success() {
        return None;
    }
    serde_json::from_str(&std::fs::read_to_string(data.join("demo.json")).ok()?).ok()
}
