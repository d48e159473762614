//! Clarion as it is sold: the product's binary, with a workspace of many people.

mod apart;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use crate::generate::{Dialect, Spec};
use crate::http::Http;
use crate::server::{SERVER_CORE, Server, free_port, pinned};

/// Accounts that are made in one request.
const AT_ONCE: usize = 1_000;
/// Text channels of a guild that many people are in.
pub(crate) const CHANNELS: usize = 10;

/// What makes a run differ from the settings of a laptop.
pub(crate) const TRACED: &[(&str, &str)] =
    &[("CLARION_TELEMETRY__SAMPLE_RATIO", "0.01"), ("CLARION_TELEMETRY__RECENT_TRACES", "0")];
/// Nothing is traced.
pub(crate) const UNTRACED: &[(&str, &str)] =
    &[("CLARION_TELEMETRY__SAMPLE_RATIO", "0"), ("CLARION_TELEMETRY__RECENT_TRACES", "0")];

/// How Clarion runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One process over the embedded store.
    One,
    /// One process over a server of CQL.
    OneOverCql,
    /// A gateway, a channel server, a router and a presence server, each a process, over a server of CQL.
    Apart,
}

/// A running Clarion and who is in it.
pub(crate) struct Clarion {
    /// What clients connect to.
    pub(crate) server: Server,
    /// The processes behind it.
    others: Vec<Server>,
    pub(crate) tokens: Vec<String>,
    ids: Vec<String>,
    pub(crate) data: PathBuf,
    admin: Http,
    folder: PathBuf,
}

impl Clarion {
    /// Starts the binary over an empty data folder, with so many people.
    pub(crate) fn start(name: &str, people: usize, settings: &[(&str, &str)], folder: &Path) -> anyhow::Result<Self> {
        Self::start_as(Form::One, name, people, settings, folder)
    }

    /// The same, in another form.
    pub(crate) fn start_as(
        form: Form,
        name: &str,
        people: usize,
        settings: &[(&str, &str)],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let folder = folder.join(name);
        let _ = fs::remove_dir_all(&folder);
        let data = folder.join("data");
        fs::create_dir_all(&data)?;
        let mut settings = settings.to_vec();
        settings.extend([
            ("CLARION_GATEWAY__REST__RATE_LIMITS__ENABLED", "false"),
            ("CLARION_GATEWAY__IDENTIFY__ENFORCED", "false"),
            ("CLARION_GATEWAY__MAX_CONNECTIONS", "18000"),
        ]);
        let cql = if form == Form::One { Vec::new() } else { apart::cql(name)? };
        settings.extend(cql.iter().map(|(name, value)| (*name, &**value)));
        let (server, others, admin) = match form {
            Form::One | Form::OneOverCql => one(name, &data, &settings, &folder)?,
            Form::Apart => apart::start(&data, &settings, &folder)?,
        };
        let mut clarion =
            Self { server, others, tokens: Vec::new(), ids: Vec::new(), data, admin: Http::connect(&admin)?, folder };
        clarion.invite(people)?;
        Ok(clarion)
    }

    fn invite(&mut self, people: usize) -> anyhow::Result<()> {
        while self.ids.len() < people {
            let count = AT_ONCE.min(people - self.ids.len());
            let name = format!("person-{}", self.ids.len() / AT_ONCE);
            let body = json!({ "count": count, "name": name, "label": "bench" });
            let made = self.admin.call("POST", "/admin/v1/users/bulk", None, &body)?;
            for account in made["accounts"].as_array().context("accounts")? {
                self.ids.push(account["id"].as_str().context("an id")?.to_owned());
                self.tokens.push(account["token"].as_str().context("a token")?.to_owned());
            }
        }
        Ok(())
    }

    /// All its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        std::iter::once(&self.server).chain(&self.others).map(Server::pid).collect()
    }

    /// Makes a guild of these people, by their numbers; answers its first channel.
    pub(crate) fn guild(&mut self, people: std::ops::Range<usize>, channels: usize) -> anyhow::Result<String> {
        let members = self.ids.get(people).context("more members than people")?;
        let channels: Vec<String> = (0..channels).map(|n| format!("channel-{n}")).collect();
        let body = json!({ "name": "bench", "channels": channels, "members": members });
        let made = self.admin.call("POST", "/admin/v1/guilds", None, &body)?;
        Ok(made["channels"][0].as_str().context("the guild's channel")?.to_owned())
    }

    /// How many messages could be found within a second of their acceptance, and how many there were.
    pub(crate) fn within_a_second(&mut self) -> anyhow::Result<(f64, f64)> {
        let text = self.admin.text("GET", "/metrics", None, &Value::Null)?;
        let sum = |name: &str, part: &str| {
            let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(part));
            lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        let all = sum("search_index_latency_seconds_count", "");
        Ok((sum("search_index_latency_seconds_bucket", "le=\"1\""), all))
    }

    /// How its generator is started.
    pub(crate) fn spec(&self, sockets: usize, senders: usize, channels: Vec<String>) -> Spec {
        Spec {
            dialect: Dialect::Clarion,
            address: self.server.address.clone(),
            server: self.pids(),
            sockets,
            tokens: self.tokens.clone(),
            channels,
            senders,
            frame: 0,
        }
    }
}

impl Drop for Clarion {
    fn drop(&mut self) {
        // The store has nothing that anybody needs; the log may explain a failure.
        let _ = fs::remove_dir_all(self.folder.join("data"));
    }
}

/// One process; answers where its admin port is, too.
fn one(
    name: &str,
    data: &Path,
    settings: &[(&str, &str)],
    folder: &Path,
) -> anyhow::Result<(Server, Vec<Server>, String)> {
    let port = free_port()?;
    let mut command = pinned(SERVER_CORE, binary()?);
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(data);
    command.env("CLARION_ADMIN__LISTEN", "127.0.0.1:0").envs(settings.iter().copied());
    let mut server = Server::start(name, command, port, folder)?;
    let deadline = Instant::now() + Duration::from_secs(60);
    let demo = loop {
        server.check(deadline)?;
        if let Ok(text) = fs::read_to_string(data.join("demo.json")) {
            break serde_json::from_str::<Value>(&text)?;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let admin = demo["admin"].as_str().and_then(|url| url.strip_prefix("http://")).context("the admin port")?;
    Ok((server, Vec::new(), admin.to_owned()))
}

/// The product, built for release.
fn binary() -> anyhow::Result<PathBuf> {
    std::env::var_os("CLARION_BENCH_BINARY").map(PathBuf::from).context("CLARION_BENCH_BINARY is not set")
}
