//! `cargo xtask test`: everything that this machine can check, and the names of what it cannot.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::acceptance;
use crate::run::{can_mount, check, command, has, root, target};
use crate::services::Services;

/// Runs the checks. `long` adds those that take many rounds.
pub(crate) fn run(long: bool) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    let begun = Instant::now();
    step("format");
    check(&mut command("cargo", &["fmt", "--all", "--check"]))?;
    step("lints");
    check(&mut command("cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step("servers");
    let services = Services::start(&mut missing);
    step("tests");
    let mut tests = command("cargo", &["test", "--workspace", "--no-fail-fast"]);
    if long {
        tests.env("CLARION_TEST_LONG", "1");
    }
    services.tell(&mut tests);
    check(&mut tests)?;
    drop(services);
    step("acceptance: real client libraries, and a browser, against a real server");
    check(&mut command("cargo", &["build", "--package", "clarion"]))?;
    acceptance::run(&mut missing)?;
    step("licences, bans, sources");
    let installed = target().join("tools/bin/cargo-deny");
    let deny = if installed.is_file() { installed.display().to_string() } else { "cargo-deny".to_owned() };
    if has(&deny) {
        check(&mut command(&deny, &["--log-level", "error", "check", "bans", "licenses", "sources"]))?;
    } else {
        missing.push("cargo-deny: licences, bans and sources of the dependencies were not checked".to_owned());
    }
    for tool in ["prometheus", "promtool", "strace", "redis-server"] {
        if !has(tool) {
            missing.push(format!("{tool}: the tests that need it were passed over"));
        }
    }
    if std::env::var_os("CLARION_TEST_MEILI_URL").is_none() {
        missing.push("a Meilisearch server (CLARION_TEST_MEILI_URL names one): only a stand-in was asked".to_owned());
    }
    if !can_mount() {
        missing.push("the right to mount a file system: nothing was tried on a full disk".to_owned());
    }
    println!("\nall checks passed in {:.0} s", begun.elapsed().as_secs_f64());
    if missing.is_empty() {
        println!("everything that is asked for was there");
    } else {
        println!("not reached:");
        for what in &missing {
            println!("  {what}");
        }
        if std::env::var_os("CLARION_TEST_REQUIRE_ALL").is_some() {
            bail!("CLARION_TEST_REQUIRE_ALL is set and something was missing");
        }
    }
    Ok(())
}

/// How much a clean build costs, and how long an edit of the gateway takes until the product listens.
pub(crate) fn build_cost() -> anyhow::Result<()> {
    let folder = target().join("build-cost");
    let _ = std::fs::remove_dir_all(&folder);
    let build = || -> anyhow::Result<(Duration, f64)> {
        let (begun, before) = (Instant::now(), children_cpu()?);
        check(command("cargo", &["build", "--quiet"]).env("CARGO_TARGET_DIR", &folder))?;
        Ok((begun.elapsed(), children_cpu()? - before))
    };
    let (wall, cpu) = build()?;
    println!("clean dev build: {cpu:.0} s user+sys, {:.0} s wall", wall.as_secs_f64());

    let edited = root().join("crates/gateway/src/server.rs");
    let text = std::fs::read_to_string(&edited).context("the gateway's server.rs")?;
    std::fs::write(&edited, format!("{text}\n// edited\n"))?;
    let listening = build().and_then(|(rebuild, _)| {
        let begun = Instant::now();
        let server = acceptance::Server::start(&folder.join("debug/clarion"))?;
        let up = begun.elapsed();
        drop(server);
        Ok((rebuild, up))
    });
    std::fs::write(&edited, text)?;
    let (rebuild, up) = listening?;
    println!(
        "one-line edit of the gateway: {:.1} s to build, {:.1} s more until it listens with a demo workspace",
        rebuild.as_secs_f64(),
        up.as_secs_f64()
    );
    Ok(())
}

/// Seconds of user and system time of all ended children of this process.
fn children_cpu() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')').context("stat")?.1.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    // Fields 16 and 17 of proc_pid_stat(5), counted after the name; 100 ticks a second on Linux.
    Ok((ticks(13) + ticks(14)) / 100.0)
}

fn step(name: &str) {
    println!("\n== {name}");
}
