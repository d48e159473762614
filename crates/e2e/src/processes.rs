//! A cluster of real processes over one store behind CQL: each service a program of its own, that a test may kill or stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clarion::Service;
use clarion::load::Operators;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{PATIENCE, Program};

/// Names the server of CQL, `host:port`.
const CQL: &str = "CLARION_TEST_CQL";
/// Ports a service needs: for the others, for operators, for clients.
const PORTS: usize = 3;
/// How many of each service there are at most.
const MOST: usize = 10;

/// How many of each service.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Routers; one of them leads.
    pub routers: usize,
    /// Channel servers, which share the slots.
    pub channels: usize,
    /// Presence servers; of several, two know of each user.
    pub presences: usize,
    /// Gateways.
    pub gateways: usize,
}

/// A running cluster. Killed when dropped.
pub struct Processes {
    binary: PathBuf,
    data: TempDir,
    common: Vec<(String, String)>,
    parts: BTreeMap<String, Part>,
    http: reqwest::Client,
}

struct Part {
    service: Service,
    ports: [u16; PORTS],
    child: Option<Child>,
}

impl Processes {
    /// Starts a cluster over a keyspace of its own, and waits until all slots have owners. `None`, and a line that says
    /// so, where no server of CQL is named.
    pub async fn start(binary: &Path, shape: Shape, env: &[(&str, &str)]) -> anyhow::Result<Option<Self>> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Some(server) = std::env::var(CQL).ok().filter(|server| !server.is_empty()) else {
            println!("passed over: {CQL} names no server");
            return Ok(None);
        };
        let keyspace = format!("cluster_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let count = shape.routers + shape.channels + shape.presences + shape.gateways;
        ensure!(count <= MOST, "more services than ports");
        let ports = Program::steady_ports::<{ PORTS * MOST }>()?;
        let mut ports = ports.chunks(PORTS).filter_map(|some| <[u16; PORTS]>::try_from(some).ok());
        let mut parts = BTreeMap::new();
        let kinds = [
            (Service::Router, shape.routers),
            (Service::Channel, shape.channels),
            (Service::Presence, shape.presences),
            (Service::Gateway, shape.gateways),
        ];
        for (service, count) in kinds {
            for n in 0..count {
                let part = Part { service, ports: ports.next().context("ports")?, child: None };
                parts.insert(format!("{}-{n}", service.as_str()), part);
            }
        }
        let all = |service| {
            let at = |part: &Part| format!("\"http://127.0.0.1:{}\"", part.ports[0]);
            let of = parts.values().filter(|part: &&Part| part.service == service);
            format!("[{}]", of.map(at).collect::<Vec<_>>().join(", "))
        };
        let mut common: Vec<(String, String)> = vec![
            ("CLARION_STORAGE__KIND".into(), "scylla".into()),
            ("CLARION_STORAGE__SCYLLA__HOSTS".into(), format!("[\"{server}\"]")),
            ("CLARION_STORAGE__SCYLLA__KEYSPACE".into(), keyspace),
            ("CLARION_STORAGE__SCYLLA__REPLICATION_FACTOR".into(), "1".into()),
            ("CLARION_PEERS__ROUTERS".into(), all(Service::Router)),
            ("CLARION_PEERS__PRESENCE".into(), all(Service::Presence)),
            ("CLARION_GATEWAY__REST__RATE_LIMITS__ENABLED".into(), "false".into()),
            ("CLARION_GATEWAY__IDENTIFY__ENFORCED".into(), "false".into()),
        ];
        common.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        let mut cluster = Self { binary: binary.to_owned(), data: tempfile::tempdir()?, common, parts, http };
        let migrated = cluster.command().arg("migrate").output().await?;
        ensure!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        for name in cluster.parts.keys().cloned().collect::<Vec<_>>() {
            cluster.spawn(&name)?;
        }
        for name in cluster.parts.keys().cloned().collect::<Vec<_>>() {
            cluster.until_ready(&name).await?;
        }
        cluster.until_owned("router-0").await?;
        Ok(Some(cluster))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.envs(self.common.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
        command
    }

    fn part(&self, name: &str) -> anyhow::Result<&Part> {
        self.parts.get(name).with_context(|| format!("there is no {name}"))
    }

    fn spawn(&mut self, name: &str) -> anyhow::Result<()> {
        let part = self.part(name)?;
        let (service, [own, admin, public]) = (part.service.as_str(), part.ports);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_of(name))?;
        let listen = match part.service {
            Service::Gateway => "CLARION_GATEWAY__RPC".to_owned(),
            _ => format!("CLARION_{}__LISTEN", service.to_uppercase()),
        };
        let mut command = self.command();
        command.args(["serve", service]).env("CLARION_INSTANCE", name);
        command.env(listen, format!("127.0.0.1:{own}"));
        command.env("CLARION_ADMIN__LISTEN", format!("127.0.0.1:{admin}"));
        command.env("CLARION_LISTEN", format!("127.0.0.1:{public}"));
        command.env("CLARION_DATA", self.data.path().join(name));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn()?;
        self.parts.get_mut(name).context("a part")?.child = Some(child);
        Ok(())
    }

    async fn until_ready(&mut self, name: &str) -> anyhow::Result<()> {
        let url = format!("{}/readyz", self.admin_url(name)?);
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            let child = self.parts.get_mut(name).and_then(|part| part.child.as_mut()).context("it runs")?;
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended: {status}\n{}", self.log(name));
            }
            if self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{name} is not ready\n{}", self.log(name));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a router knows owners of all slots.
    pub async fn until_owned(&self, router: &str) -> anyhow::Result<()> {
        self.until_metric(router, "router_slots_unowned", |unowned| unowned == 0.0).await
    }

    /// Waits until the sum of a metric's series at one process is so.
    pub async fn until_metric(&self, part: &str, name: &str, so: impl Fn(f64) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            let value = self.metric(part, name).await;
            if value.as_ref().is_ok_and(|value| so(*value)) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{name} of {part} is {value:?}\n{}", self.log(part));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The sum of a metric's series at one process.
    pub async fn metric(&self, part: &str, name: &str) -> anyhow::Result<f64> {
        let text = self.http.get(format!("{}/metrics", self.admin_url(part)?)).send().await?.text().await?;
        let is_it = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']);
        let values: Vec<f64> =
            text.lines().filter(is_it).filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
        ensure!(!values.is_empty(), "{part} has no {name}");
        Ok(values.iter().sum())
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        let child = self.parts.get_mut(name).and_then(|part| part.child.take());
        Ok(child.with_context(|| format!("{name} does not run"))?.kill().await?)
    }

    /// Starts a process that was killed or has ended, where it was before, and waits until it is ready.
    pub async fn restart(&mut self, name: &str) -> anyhow::Result<()> {
        self.spawn(name)?;
        self.until_ready(name).await
    }

    /// Asks a process to end (SIGTERM) and waits for it.
    pub async fn end(&mut self, name: &str) -> anyhow::Result<std::process::ExitStatus> {
        self.signal(name, "TERM")?;
        let child = self.parts.get_mut(name).and_then(|part| part.child.take());
        let mut child = child.with_context(|| format!("{name} does not run"))?;
        Ok(tokio::time::timeout(PATIENCE, child.wait()).await??)
    }

    /// Sends a signal: `STOP`, `CONT`.
    pub fn signal(&self, name: &str, signal: &str) -> anyhow::Result<()> {
        let id = self.part(name)?.child.as_ref().and_then(Child::id).with_context(|| format!("{name} does not run"))?;
        let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &id.to_string()]).status()?;
        ensure!(sent.success(), "kill -{signal} {id}: {sent}");
        Ok(())
    }

    /// The base URL of a process's admin port.
    pub fn admin_url(&self, name: &str) -> anyhow::Result<String> {
        Ok(format!("http://127.0.0.1:{}", self.part(name)?.ports[1]))
    }

    /// Where clients connect to a gateway, `host:port`.
    pub fn gateway(&self, n: usize) -> anyhow::Result<String> {
        Ok(format!("127.0.0.1:{}", self.part(&format!("gateway-{n}"))?.ports[2]))
    }

    /// The operators' door of a router.
    pub fn operators(&self, router: &str) -> anyhow::Result<Operators> {
        Ok(Operators { url: self.admin_url(router)?, token: None, http: reqwest::Client::new() })
    }

    /// An account's token and a channel that it may write to, made at a router.
    pub async fn make_channel(&self, router: &str) -> anyhow::Result<(String, String)> {
        let (mut accounts, channel) = self.make_guild(router, 1).await?;
        Ok((accounts.pop().context("an account")?.1, channel))
    }

    /// The ids and tokens of accounts, and a channel of a guild that they are in, made at a router.
    pub async fn make_guild(&self, router: &str, count: usize) -> anyhow::Result<(Vec<(String, String)>, String)> {
        let accounts = self.make_accounts(router, count).await?;
        let members: Vec<&str> = accounts.iter().map(|(id, _)| id.as_str()).collect();
        let channel = self.found_guild(router, &members).await?;
        Ok((accounts, channel))
    }

    /// The ids and tokens of accounts, made at a router.
    pub async fn make_accounts(&self, router: &str, count: usize) -> anyhow::Result<Vec<(String, String)>> {
        let made = self.post(router, "users/bulk", json!({ "count": count, "name": "somebody" })).await?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let accounts = made["accounts"].as_array().context("accounts")?;
        let accounts = accounts.iter().filter_map(|account| Some((text(&account["id"])?, text(&account["token"])?)));
        Ok(accounts.collect())
    }

    /// The channel of a guild, made at a router. The first member owns it.
    pub async fn found_guild(&self, router: &str, members: &[&str]) -> anyhow::Result<String> {
        let guild = json!({ "name": "Team", "channels": ["general"], "members": members });
        let guild = self.post(router, "guilds", guild).await?;
        Ok(guild["channels"][0].as_str().context("a channel")?.to_owned())
    }

    async fn post(&self, router: &str, path: &str, body: Value) -> anyhow::Result<Value> {
        let url = format!("{}/admin/v1/{path}", self.admin_url(router)?);
        // Longer than an action waits for an owner.
        let answer = self.http.post(url).timeout(PATIENCE).json(&body).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// The channel server that holds most slots, as they say themselves.
    pub async fn largest_owner(&self) -> anyhow::Result<String> {
        let mut largest: Option<(f64, &String)> = None;
        for (name, _) in self.parts.iter().filter(|(_, part)| part.service == Service::Channel) {
            let slots = self.metric(name, "channel_slots_owned").await.unwrap_or(0.0);
            if largest.is_none_or(|(most, _)| slots > most) {
                largest = Some((slots, name));
            }
        }
        Ok(largest.context("a channel server")?.1.clone())
    }

    /// The router that leads.
    pub async fn leader(&self) -> anyhow::Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for (name, _) in self.parts.iter().filter(|(_, part)| part.service == Service::Router) {
                if self.metric(name, "router_leads").await.is_ok_and(|leads| leads == 1.0) {
                    return Ok(name.clone());
                }
            }
            ensure!(Instant::now() < deadline, "no router leads");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn log_of(&self, name: &str) -> PathBuf {
        self.data.path().join(format!("{name}.log"))
    }

    /// What a process printed, over all its lives.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.log_of(name)).unwrap_or_default()
    }

    /// The first line that says that a process hung for a lease, or the store for a second, without anybody's doing: the
    /// machine has too much other work for what counts on neither.
    pub fn hung(&self) -> Option<String> {
        let is_it =
            |line: &&str| ["member.silent", "query.slow"].iter().any(|event| line.contains(&format!("{event:?}")));
        self.parts.keys().find_map(|name| self.log(name).lines().find(is_it).map(str::to_owned))
    }

    /// What all of them printed of warnings and worse, for a test that failed.
    pub fn warnings(&self) -> String {
        let lines = |name: &String| {
            let log = self.log(name);
            let lines = log.lines().filter(|line| !line.contains("\"level\":\"INFO\""));
            lines.map(|line| format!("{line}\n")).collect::<String>()
        };
        self.parts.keys().map(lines).collect()
    }
}
