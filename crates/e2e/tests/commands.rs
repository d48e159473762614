//! The commands beside a running Clarion, as programs: load, check, monitor. And what the admin port has for them.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use clarion::load::{Load, Operators, Options};
use clarion_e2e::{Cluster, PATIENCE, Program, Socket};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");

/// Runs a command against the server of a data folder: whether it succeeded, and what it printed.
async fn command(data: &Path, words: &[&str]) -> anyhow::Result<(bool, String, String)> {
    command_with(data, words, &[]).await
}

/// The same with names in the environment.
async fn command_with(data: &Path, words: &[&str], env: &[(&str, &str)]) -> anyhow::Result<(bool, String, String)> {
    let mut command = Command::new(PROGRAM);
    let running = command.arg("--data").arg(data).args(words).envs(env.iter().copied()).kill_on_drop(true).output();
    let out =
        tokio::time::timeout(3 * PATIENCE, running).await.with_context(|| format!("{words:?} does not end"))??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((out.status.success(), text(out.stdout), text(out.stderr)))
}

#[tokio::test(flavor = "multi_thread")]
async fn load_and_check_are_programs_with_an_exit_code() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let program = Program::start(Path::new(PROGRAM), data.path(), &[], &[]).await?;
    let host = program.demo().gateway.clone();

    let load = ["load", "--sockets=20", "--rate=100", "--duration=2", "--send-rate=1", "--channels=2", "--json"];
    let (ok, out, err) = command(data.path(), &[&load[..], &["--host", &host]].concat()).await?;
    assert!(ok, "{out}\n{err}");
    let report: Value = serde_json::from_str(&out)?;
    assert_eq!((&report["sends"], &report["deliveries"]), (&json!(40), &json!(800)), "{report}");
    assert_eq!((&report["verdict"]["sessions"], &report["verdict"]["history"]), (&json!(20), &json!(40)), "{report}");
    assert!(report["server_rss_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{report}");
    assert!(err.contains("sockets 20/20"), "{err}");

    let (ok, _, err) = command(data.path(), &["load", "--host", "ws://192.0.2.1:1"]).await?;
    assert!(!ok && err.contains("--i-own-this-server"), "{err}");

    let (ok, out, err) = command(data.path(), &["check", "--once"]).await?;
    assert!(ok, "{out}{err}");
    assert_eq!(out.lines().filter(|line| line.starts_with("ok ")).count(), 5, "{out}");
    program.kill().await?;
    let (ok, out, err) = command(data.path(), &["check", "--once"]).await?;
    assert!(!ok && out.contains("FAILED  api_health") && err.contains("2 checks failed"), "{out}{err}");
    Ok(())
}

/// One name switches the circuits to peers, Redis and the store; each has a setting of its own, which wins.
#[tokio::test(flavor = "multi_thread")]
async fn one_name_in_the_environment_switches_all_circuits() -> anyhow::Result<()> {
    const NAME: &str = "CIRCUIT_BREAKER_ENABLED";
    let data = tempfile::tempdir()?;
    let places = ["peers", "cache.redis", "storage.scylla"];
    let of = async |env: &[(&str, &str)]| -> anyhow::Result<[bool; 3]> {
        let (ok, out, err) = command_with(data.path(), &["--print"], env).await?;
        anyhow::ensure!(ok, "{out}{err}");
        let mut settings = [None; 3];
        let mut section = "";
        for line in out.lines() {
            section = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')).unwrap_or(section);
            let at = places.iter().position(|place| *place == section);
            if let (Some(at), Some(value)) = (at, line.strip_prefix("circuit_breaker = ")) {
                settings[at] = Some(value == "true");
            }
        }
        let all: Vec<bool> = settings.into_iter().flatten().collect();
        all.try_into().map_err(|_| anyhow::anyhow!("a circuit without a setting in {out}"))
    };
    assert_eq!(of(&[]).await?, [true; 3]);
    assert_eq!(of(&[(NAME, "false")]).await?, [false; 3]);
    assert_eq!(of(&[(NAME, "true")]).await?, [true; 3]);
    let own = ("CLARION_CACHE__REDIS__CIRCUIT_BREAKER", "true");
    assert_eq!(of(&[(NAME, "false"), own]).await?, [false, true, false]);
    let (ok, out, err) = command_with(data.path(), &["--check"], &[(NAME, "perhaps")]).await?;
    assert!(!ok && err.contains("circuit_breaker") && err.contains("perhaps"), "{out}{err}");
    Ok(())
}

/// What the setting of peers says holds for the gateway's circuit to the search service.
#[tokio::test(flavor = "multi_thread")]
async fn without_circuits_every_call_of_a_peer_is_made() -> anyhow::Result<()> {
    for enabled in [true, false] {
        let mut cluster =
            Cluster::with(clarion::Topology::default(), |config| config.peers.circuit_breaker = enabled).await?;
        tokio::task::block_in_place(|| cluster.clarion().process().stop_one("search-0", true))?;
        let (api, guild) = (cluster.api(cluster.bot(), 0), cluster.demo().guild_id);
        for _ in 0..30 {
            let (status, _) =
                api.call(reqwest::Method::GET, &format!("/guilds/{guild}/messages/search?content=x"), None).await?;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        }
        let peer = ["gateway", "target=\"peer\""];
        let opened = cluster.metric("circuit_opened_total", &peer).await?;
        let refused = cluster.metric("circuit_refused_total", &peer).await?;
        assert_eq!((opened > 0.0, refused > 0.0), (enabled, enabled), "{opened} opened, {refused} refused");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_a_load_run_are_of_no_use_afterwards() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let operators = Operators { url: cluster.admin_url(), token: None, http: reqwest::Client::new() };
    let host = cluster.demo().gateway.clone();
    let flags = ["--sockets=4", "--users=2", "--rate=100", "--duration=0.5", "--send-rate=2", "--host", &host];
    let report = Load::prepare(Options::read(flags)?, Some(operators), None).await?.run(|_| {}).await?;
    assert_eq!((report.failure, report.deliveries), (None, 16));
    assert_eq!(report.tokens_not_revoked, None);
    assert_eq!(cluster.capture().lines_of("token.revoked").len(), 2);
    // Nobody else came into the guild.
    let guilds = cluster.api(cluster.bot(), 0).get("/users/@me/guilds").await?;
    assert_eq!(guilds.as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_due_is_sent_however_late() -> anyhow::Result<()> {
    let slow = |config: &mut clarion::Config| {
        let limits = &mut config.gateway.rest.rate_limits;
        limits.enabled = true;
        (limits.send.limit, limits.send.window_ms) = (1, 300);
    };
    let cluster = Cluster::with(clarion::Topology::default(), slow).await?;
    let operators = Operators { url: cluster.admin_url(), token: None, http: reqwest::Client::new() };
    let host = cluster.demo().gateway.clone();
    // Ten messages due within half a second, of which the server takes one in 300 ms.
    let flags = ["--sockets=2", "--senders=1", "--rate=100", "--duration=0.5", "--send-rate=10", "--host", &host];
    let report = Load::prepare(Options::read(flags)?, Some(operators), None).await?.run(|_| {}).await?;
    assert_eq!((&report.failure, report.sends, report.deliveries), (&None, 10, 20), "{report}");
    assert!(report.errors.contains_key("send: 429"), "{report}");
    assert!(report.ack.max_ms > 1_500.0, "times count from when a message was due: {report}");
    Ok(())
}

/// A monitor, and what it prints.
struct Monitor {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Monitor {
    fn start(data: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(PROGRAM)
            .arg("--data")
            .arg(data)
            .args(["monitor", "--every=1", "--json"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        Ok(Self { lines, _child: child })
    }

    /// The next object that is as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let found = async {
            while let Some(line) = self.lines.next_line().await? {
                let object: Value = serde_json::from_str(&line).context(line)?;
                if wanted(&object) {
                    return Ok(object);
                }
            }
            anyhow::bail!("it has ended")
        };
        tokio::time::timeout(2 * PATIENCE, found).await.context("it does not come")?.context(what.to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_shows_lines_and_numbers_and_outlives_the_server() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let [admin] = Program::steady_ports()?.map(|port| format!("127.0.0.1:{port}"));
    let env = [("CLARION_ADMIN__LISTEN", admin.as_str())];
    let program = Program::start(Path::new(PROGRAM), data.path(), &[], &env).await?;
    let mut monitor = Monitor::start(data.path())?;
    monitor.until("it reaches the server", |object| object["reached"] == true).await?;

    program.api().send(program.demo().channel_id, "hello").await?;
    let counted = |object: &Value| object["snapshot"]["numbers"]["messages/s"].as_f64().is_some_and(|rate| rate > 0.0);
    let snapshot = monitor.until("a message is counted", counted).await?;
    assert_eq!(snapshot["snapshot"]["parts"]["gateway-0"], "ok", "{snapshot}");
    assert_eq!(snapshot["snapshot"]["ready"], true, "{snapshot}");

    let mut socket = Socket::connect(&program.demo().gateway).await?;
    socket.identify("MTIz.x.y", 0).await?;
    let warned = monitor.until("a warning", |object| object["line"]["event"] == "auth.failed").await?;
    assert_eq!(warned["line"]["level"], "WARN");

    program.kill().await?;
    monitor.until("the server is gone", |object| object["reached"] == false).await?;
    let gone = monitor.until("a snapshot of nothing", |object| object["snapshot"]["unreachable"].is_string()).await?;
    assert_eq!(gone["snapshot"]["ready"], false);
    let _again = Program::start(Path::new(PROGRAM), data.path(), &[], &env).await?;
    monitor.until("the server is back", |object| object["reached"] == true).await?;
    monitor.until("it is healthy", |object| object["snapshot"]["ready"] == true).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_makes_many_and_says_what_it_will_not() -> anyhow::Result<()> {
    let cluster =
        Cluster::with(clarion::Topology::default(), |config| config.admin.token = Some("secret".into())).await?;
    let http = reqwest::Client::new();
    let url = format!("{}/admin/v1", cluster.admin_url());
    let post = async |path: &str, body: Value| -> anyhow::Result<(StatusCode, Value)> {
        let answer = http.post(format!("{url}/{path}")).bearer_auth("secret").json(&body).send().await?;
        Ok((answer.status(), answer.json().await?))
    };
    let (status, made) = post("users/bulk", json!({ "count": 3, "name": "many" })).await?;
    assert_eq!(status, StatusCode::OK, "{made}");
    let accounts = made["accounts"].as_array().context("accounts")?;
    let members: Vec<&Value> = accounts.iter().map(|account| &account["id"]).collect();
    let (status, guild) = post("guilds", json!({ "name": "Many", "channels": ["a", "b"], "members": members })).await?;
    assert_eq!(status, StatusCode::OK, "{guild}");
    let token = accounts[2]["token"].as_str().context("a token")?;
    let account = clarion::demo::Account { name: String::new(), id: cluster.bot().id, token: token.to_owned() };
    let api = cluster.api(&account, 0);
    let channels = api.get(&format!("/guilds/{}/channels", guild["id"].as_str().context("an id")?)).await?;
    let names: Vec<&str> = channels.as_array().into_iter().flatten().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    api.send(guild["channels"][0].as_str().context("a channel")?, "hello").await?;

    for (path, body, named) in [
        ("users/bulk", json!({ "count": 0, "name": "x" }), "count"),
        ("users/bulk", json!({ "count": 1001, "name": "x" }), "count"),
        ("users/bulk", json!({ "count": 1, "name": "" }), "name"),
        ("guilds", json!({ "name": "x", "channels": ["a"], "members": [] }), "members"),
        ("guilds", json!({ "name": "x", "channels": [], "members": ["1"] }), "channels"),
        ("tokens/revoke", json!({}), "token"),
    ] {
        let (status, answer) = post(path, body.clone()).await?;
        let error = answer["error"].as_str().unwrap_or_default().to_owned();
        assert!(status == StatusCode::BAD_REQUEST && error.starts_with(named), "{path} {body}: {status} {error}");
    }
    let get = async |query: &str, token: &str| -> anyhow::Result<(StatusCode, String)> {
        let answer = http.get(format!("{url}/logs?{query}")).bearer_auth(token).send().await?;
        Ok((answer.status(), answer.text().await?))
    };
    for (query, named) in [("level=loud", "level"), ("last=x", "last"), ("follow=maybe", "follow")] {
        let (status, answer) = get(query, "secret").await?;
        assert!(status == StatusCode::BAD_REQUEST && answer.contains(named), "{query}: {status} {answer}");
    }
    assert_eq!(get("", "wrong").await?.0, StatusCode::UNAUTHORIZED);
    let (status, lines) = get("level=info&last=1000", "secret").await?;
    assert!(status.is_success() && lines.lines().any(|line| line.contains("admin.action")), "{lines}");
    let (_, refused) = get("level=warn", "secret").await?;
    assert!(refused.lines().all(|line| line.contains("WARN") || line.contains("ERROR")), "{refused}");
    assert!(refused.contains("security.event"), "the refused request is a warning: {refused}");
    Ok(())
}
