//! Clarion as it is sold: the product's binary, with a workspace of many people.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use crate::generate::{Dialect, Spec};
use crate::http::Http;
use crate::server::{SERVER_CORE, Server, free_port, pinned};

/// Requests at a time while people are made.
const HANDS: usize = 16;

/// What makes a run differ from the settings of a laptop.
pub(crate) const TRACED: &[(&str, &str)] =
    &[("CLARION_TELEMETRY__SAMPLE_RATIO", "0.01"), ("CLARION_TELEMETRY__RECENT_TRACES", "0")];
/// Nothing is traced and nothing is counted.
pub(crate) const SILENT: &[(&str, &str)] =
    &[("CLARION_TELEMETRY__SAMPLE_RATIO", "0"), ("CLARION_TELEMETRY__RECENT_TRACES", "0")];

/// A running Clarion and who is in it.
pub(crate) struct Clarion {
    pub(crate) server: Server,
    pub(crate) tokens: Vec<String>,
    ids: Vec<String>,
    pub(crate) data: PathBuf,
    channel: String,
    demo: Value,
    folder: PathBuf,
}

impl Clarion {
    /// Starts the binary over an empty data folder, with so many people in its guild.
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
        let channel = demo["channel_id"].as_str().context("a channel")?.to_owned();
        let mut clarion = Self { server, tokens: Vec::new(), ids: Vec::new(), data, channel, demo, folder };
        (clarion.ids, clarion.tokens) = clarion.people(people)?.into_iter().unzip();
        Ok(clarion)
    }

    /// How its generator is started.
    pub(crate) fn spec(&self, sockets: usize, senders: usize) -> Spec {
        Spec {
            dialect: Dialect::Clarion,
            address: self.server.address.clone(),
            server: self.server.pid(),
            sockets,
            tokens: self.tokens.clone(),
            channels: vec![self.channel.clone()],
            senders,
            frame: 0,
        }
    }

    /// A guild for each of the first people, who own them; answers their channels.
    pub(crate) fn guilds(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let mut http = Http::connect(self.admin()?)?;
        (0..count)
            .map(|n| {
                let owner = self.ids.get(n).context("more guilds than people")?;
                let body = json!({ "name": format!("guild {n}"), "owner_id": owner });
                let made = http.call("POST", "/admin/v1/guilds", None, &body)?;
                Ok(made["channel_id"].as_str().context("the guild's channel")?.to_owned())
            })
            .collect()
    }

    /// Opens so many channels in its guild, beside the three it has.
    pub(crate) fn open_channels(&self, count: usize) -> anyhow::Result<()> {
        let mut http = Http::connect(&self.server.address)?;
        let token = self.demo["bots"][0]["token"].as_str().context("a bot")?;
        let path = format!("/api/v10/guilds/{}/channels", self.demo["guild_id"].as_str().unwrap_or_default());
        for n in 0..count {
            http.call("POST", &path, Some(token), &json!({ "name": format!("bench-{n}"), "type": 0 }))?;
        }
        Ok(())
    }

    fn admin(&self) -> anyhow::Result<&str> {
        self.demo["admin"].as_str().and_then(|url| url.strip_prefix("http://")).context("the admin port")
    }

    /// Makes accounts, puts them into the guild; answers their ids and tokens.
    fn people(&self, count: usize) -> anyhow::Result<Vec<(String, String)>> {
        let admin = self.admin()?;
        let guild = self.demo["guild_id"].as_str().context("a guild")?;
        let (next, tokens) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(count)));
        let work = || -> anyhow::Result<()> {
            let mut http = Http::connect(admin)?;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return Ok(());
                }
                let user = http.call("POST", "/admin/v1/users", None, &json!({ "username": format!("person{n}") }))?;
                let id = user["id"].as_str().context("the user's id")?.to_owned();
                http.call("POST", &format!("/admin/v1/guilds/{guild}/members/{id}"), None, &Value::Null)?;
                let token = http.call("POST", "/admin/v1/tokens", None, &json!({ "user_id": id, "label": "bench" }))?;
                let token = token["token"].as_str().context("a token")?.to_owned();
                if let Ok(mut tokens) = tokens.lock() {
                    tokens.push((id, token));
                }
            }
        };
        std::thread::scope(|scope| {
            let hands: Vec<_> = (0..HANDS.min(count)).map(|_| scope.spawn(work)).collect();
            hands.into_iter().try_for_each(|h| h.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
        })?;
        tokens.into_inner().context("the tokens")
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
