//! `kill -9` under a load run: clients come back, and what they were promised holds across every death.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clarion::load::{Load, Operators, Options, Tally, Watch};
use clarion_e2e::{PATIENCE, Program};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");
const SOCKETS: u64 = 60;
/// Sessions whose connection is cut in every round, without a death.
const CUT: usize = 10;

fn rounds() -> u64 {
    if std::env::var_os("CLARION_TEST_LONG").is_some() { 20 } else { 2 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_the_servers_deaths() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let [listen, admin] = Program::steady_ports()?.map(|port| format!("127.0.0.1:{port}"));
    let env = [("CLARION_LISTEN", listen.as_str()), ("CLARION_ADMIN__LISTEN", admin.as_str()), ("LOG_LEVEL", "warn")];
    let start = || Program::start(Path::new(PROGRAM), data.path(), &[], &env);

    let mut program = start().await?;
    let host = format!("ws://{listen}");
    // Far more time than the rounds need: the test says when it is enough.
    let flags = ["--sockets=60", "--rate=300", "--duration=3600", "--send-rate=1", "--senders=30", "--channels=2"];
    let options = Options::read(flags.into_iter().chain(["--seed=7", "--settle=60", "--host", &host]))?;
    let url = format!("http://{admin}");
    let operators = Operators { url: url.clone(), token: None, http: reqwest::Client::new() };
    let load = Load::prepare(options, Some(operators), None).await?;
    let watch = load.watch();
    let running = tokio::task::spawn(load.run(|_| {}));

    for round in 0..rounds() {
        until(&watch, "all have sessions", |now| now.live == SOCKETS).await?;
        let before = watch.tally();
        cut(&url).await?;
        until(&watch, "cut connections are resumed", |now| now.resumed >= before.resumed + CUT as u64).await?;
        // In full flight, at another moment every round.
        let more = 60 + 17 * round;
        until(&watch, "sends are acknowledged", |now| now.acknowledged >= before.acknowledged + more).await?;
        program.kill().await?;
        program = start().await?;
    }
    until(&watch, "all have sessions", |now| now.live == SOCKETS).await?;
    let before = watch.tally();
    until(&watch, "sends are acknowledged", |now| now.acknowledged >= before.acknowledged + 60).await?;
    watch.enough();
    let report = running.await??;
    println!("{report}");
    assert_eq!(report.failure, None);
    assert_eq!(report.tokens_not_revoked, None);
    let verdict = &report.verdict;
    assert!(verdict.history >= verdict.acknowledged && verdict.acknowledged >= 60 * (rounds() + 1), "{verdict:?}");
    // Every death ended all sessions; those that were cut went on with theirs.
    assert!(verdict.sessions >= SOCKETS * (rounds() + 1), "{verdict:?}");
    assert!(report.resumed >= CUT as u64 * rounds() && report.replayed > 0, "{report:?}");
    Ok(())
}

/// Cuts the connections of some sessions.
async fn cut(admin: &str) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    let all: Value = http.get(format!("{admin}/admin/v1/sessions")).send().await?.json().await?;
    let connected = all["sessions"].as_array().context("sessions")?.iter().filter(|s| s["connected"] == true);
    let ids: Vec<&str> = connected.filter_map(|session| session["id"].as_str()).take(CUT).collect();
    anyhow::ensure!(ids.len() == CUT, "there are {} sessions", ids.len());
    for id in ids {
        http.post(format!("{admin}/admin/v1/sessions/{id}/drop")).send().await?.error_for_status()?;
    }
    Ok(())
}

async fn until(watch: &Watch, what: &str, so: impl Fn(&Tally) -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + 3 * PATIENCE;
    loop {
        let now = watch.tally();
        if so(&now) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("waited for: {what}; {now:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
