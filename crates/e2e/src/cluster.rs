//! The services of one process, with telemetry that a test can look into.

use std::time::Duration;

use anyhow::Context;
use clarion::demo::{self, Account, Addresses, Demo};
use clarion::{Clarion, Config, Topology, start};
use clarion_observability::capture::Capture;
use clarion_runtime::StopReport;
use tempfile::TempDir;

use crate::{Api, Socket};

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running Clarion with a demo workspace. Stopped when dropped.
pub struct Cluster {
    clarion: Option<Clarion>,
    capture: Capture,
    demo: Demo,
    data: TempDir,
}

impl Cluster {
    /// One of each service.
    pub async fn start() -> anyhow::Result<Self> {
        Self::with(Topology::default(), |_| {}).await
    }

    /// As many of each as asked, with the settings changed as asked.
    pub async fn with(topology: Topology, change: impl FnOnce(&mut Config)) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let mut config = Config { data: data.path().to_path_buf(), topology, ..Config::default() };
        config.storage.embedded.path = data.path().join("store");
        config.storage.embedded.min_free = 0;
        config.search.index.path = data.path().join("search");
        config.search.index.min_free = 0;
        config.gateway.listen = ([127, 0, 0, 1], 0).into();
        config.admin.listen = Some(([127, 0, 0, 1], 0).into());
        config.gateway.rest.rate_limits.enabled = false;
        config.gateway.identify.enforced = false;
        change(&mut config);
        let capture = Capture::with(&config.telemetry)?;
        let process = capture.process().clone();
        let clarion = tokio::task::spawn_blocking(move || start(&config, process)).await??;
        let public = clarion.gateways().first().context("a gateway")?.to_string();
        let addresses = Addresses { public, admin: clarion.admin_address().to_string() };
        let demo = demo::prepare(data.path(), clarion.is_new(), clarion.admin(), &addresses).await?;
        let demo = demo.context("a demo workspace")?;
        clarion.demo().open(demo.workspace());
        clarion.ready();
        Ok(Self { clarion: Some(clarion), capture, demo, data })
    }

    /// The workspace that is there.
    pub fn demo(&self) -> &Demo {
        &self.demo
    }

    /// What the services said.
    pub fn capture(&self) -> &Capture {
        &self.capture
    }

    /// The services.
    pub fn clarion(&mut self) -> &mut Clarion {
        self.clarion.as_mut().expect("it runs until it is dropped")
    }

    /// The data folder.
    pub fn data(&self) -> &std::path::Path {
        self.data.path()
    }

    /// The first bot.
    pub fn bot(&self) -> &Account {
        &self.demo.bots[0]
    }

    /// The second bot.
    pub fn other_bot(&self) -> &Account {
        &self.demo.bots[1]
    }

    /// The API as somebody sees it, at a gateway.
    pub fn api(&self, account: &Account, gateway: usize) -> Api {
        Api::new(&format!("http://{}/api/v10", self.gateway(gateway)), &account.token)
    }

    /// What the API has of Clarion's own, as somebody sees it, at a gateway.
    pub fn extension(&self, account: &Account, gateway: usize) -> Api {
        Api::new(&format!("http://{}/api/x", self.gateway(gateway)), &account.token)
    }

    /// A connected, identified session, at a gateway, after its guild has come.
    pub async fn session(&self, account: &Account, gateway: usize, intents: u64) -> anyhow::Result<Socket> {
        let mut socket = Socket::connect(&format!("ws://{}", self.gateway(gateway))).await?;
        socket.identify(&account.token, intents).await?;
        socket.dispatch("READY").await?;
        socket.dispatch("GUILD_CREATE").await?;
        Ok(socket)
    }

    /// Stops everything and says how it went.
    pub async fn stop(mut self) -> anyhow::Result<StopReport> {
        let clarion = self.clarion.take().context("it runs until it is stopped")?;
        Ok(tokio::task::spawn_blocking(move || clarion.stop()).await?)
    }

    /// The sum of a metric's series whose labels contain all of `parts`, as `/metrics` has it now.
    pub async fn metric(&self, name: &str, parts: &[&str]) -> anyhow::Result<f64> {
        let text = reqwest::get(format!("{}/metrics", self.demo.admin)).await?.text().await?;
        Ok(text
            .lines()
            .filter(|line| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']))
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum())
    }

    /// Where a gateway's sockets connect.
    pub fn gateway_url(&self, gateway: usize) -> String {
        format!("ws://{}", self.gateway(gateway))
    }

    /// The base URL of the admin port.
    pub fn admin_url(&self) -> String {
        self.demo.admin.clone()
    }

    /// Where clients connect.
    pub fn gateway(&self, n: usize) -> std::net::SocketAddr {
        self.clarion.as_ref().expect("it runs until it is dropped").gateways()[n]
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(clarion) = self.clarion.take() {
            // The stop joins threads; a thread of its own may wait for them.
            let _ = std::thread::spawn(move || clarion.stop()).join();
        }
    }
}
