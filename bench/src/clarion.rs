//! Clarion as it is sold: the product's binary, with a workspace of many people.

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

/// A running Clarion and who is in it.
pub(crate) struct Clarion {
    pub(crate) server: Server,
    pub(crate) tokens: Vec<String>,
    ids: Vec<String>,
    pub(crate) data: PathBuf,
    admin: Http,
    folder: PathBuf,
}

impl Clarion {
    /// Starts the binary over an empty data folder, with so many people.
    pub(crate) fn start(name: &str, people: usize, settings: &[(&str, &str)], folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join(name);
        let _ = fs::remove_dir_all(&folder);
        let data = folder.join("data");
        fs::create_dir_all(&data)?;
        let port = free_port()?;
        let mut command = pinned(SERVER_CORE, binary()?);
        command
            .args(["--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(&data)
            .env("CLARION_ADMIN__LISTEN", "127.0.0.1:0")
            .env("CLARION_GATEWAY__REST__RATE_LIMITS__ENABLED", "false")
            .env("CLARION_GATEWAY__MAX_CONNECTIONS", "18000")
            .envs(settings.iter().copied());
        let mut server = Server::start(name, command, port, &folder)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        let demo = loop {
            server.check(deadline)?;
            if let Ok(text) = fs::read_to_string(data.join("demo.json")) {
                break serde_json::from_str::<Value>(&text)?;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let admin = demo["admin"].as_str().and_then(|url| url.strip_prefix("http://")).context("the admin port")?;
        let mut admin = Http::connect(admin)?;
        let (mut ids, mut tokens) = (Vec::new(), Vec::new());
        while ids.len() < people {
            let count = AT_ONCE.min(people - ids.len());
            let body = json!({ "count": count, "name": format!("person-{}", ids.len() / AT_ONCE), "label": "bench" });
            let made = admin.call("POST", "/admin/v1/users/bulk", None, &body)?;
            for account in made["accounts"].as_array().context("accounts")? {
                ids.push(account["id"].as_str().context("an id")?.to_owned());
                tokens.push(account["token"].as_str().context("a token")?.to_owned());
            }
        }
        Ok(Self { server, tokens, ids, data, admin, folder })
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
            server: self.server.pid(),
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

/// The product, built for release.
fn binary() -> anyhow::Result<PathBuf> {
    std::env::var_os("CLARION_BENCH_BINARY").map(PathBuf::from).context("CLARION_BENCH_BINARY is not set")
}
