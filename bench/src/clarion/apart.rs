//! Each service a process of its own, over a server of CQL.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use super::binary;
use crate::http::Http;
use crate::server::{SERVER_CORE, Server, free_port, pinned};

/// Names the server of CQL, `host:port`.
const CQL: &str = "CLARION_TEST_CQL";
/// Slots have owners after the first lease.
const PATIENCE: Duration = Duration::from_secs(60);

/// Settings of a keyspace of its own, made.
pub(super) fn cql(name: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    let server = std::env::var(CQL).with_context(|| format!("{CQL} names no server of CQL"))?;
    let settings = vec![
        ("CLARION_STORAGE__KIND", "scylla".to_owned()),
        ("CLARION_STORAGE__SCYLLA__HOSTS", format!("[\"{server}\"]")),
        ("CLARION_STORAGE__SCYLLA__KEYSPACE", format!("bench_{name}_{}", std::process::id())),
        ("CLARION_STORAGE__SCYLLA__REPLICATION_FACTOR", "1".to_owned()),
    ];
    let mut migrate = std::process::Command::new(binary()?);
    let done = migrate.arg("migrate").envs(settings.iter().map(|(name, value)| (*name, value))).output()?;
    if !done.status.success() {
        bail!("clarion migrate: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(settings)
}

/// Starts one of each; answers the gateway, the others, and the router's admin port.
pub(super) fn start(
    data: &Path,
    settings: &[(&str, &str)],
    folder: &Path,
) -> anyhow::Result<(Server, Vec<Server>, String)> {
    let [router, channel, presence, gateway] = [free_port()?, free_port()?, free_port()?, free_port()?];
    let at = |port: u16| format!("127.0.0.1:{port}");
    let (public, admin) = (free_port()?, free_port()?);
    let begin = |service: &str, listen: (&str, u16), admin: u16, wait: u16| {
        let mut command = pinned(SERVER_CORE, binary()?);
        command.args(["serve", service]).env("CLARION_INSTANCE", format!("{service}-0"));
        command.env("CLARION_DATA", data.join(service)).envs(settings.iter().copied());
        command.env(listen.0, at(listen.1)).env("CLARION_ADMIN__LISTEN", at(admin));
        command.env("CLARION_PEERS__ROUTERS", format!("[\"http://{}\"]", at(router)));
        command.env("CLARION_PEERS__PRESENCE", format!("http://{}", at(presence)));
        command.env("CLARION_LISTEN", at(public));
        Server::start(service, command, wait, folder)
    };
    let others = vec![
        begin("router", ("CLARION_ROUTER__LISTEN", router), admin, admin)?,
        begin("presence", ("CLARION_PRESENCE__LISTEN", presence), 0, presence)?,
        begin("channel", ("CLARION_CHANNEL__LISTEN", channel), 0, channel)?,
    ];
    let server = begin("gateway", ("CLARION_GATEWAY__RPC", gateway), 0, public)?;
    let admin = at(admin);
    let begun = Instant::now();
    loop {
        let told = Http::connect(&admin)?.text("GET", "/metrics", None, &Value::Null)?;
        if told.lines().any(|line| line.starts_with("router_slots_unowned") && line.ends_with(" 0")) {
            return Ok((server, others, admin));
        }
        if begun.elapsed() > PATIENCE {
            bail!("slots have no owners");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
