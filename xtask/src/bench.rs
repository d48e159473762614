//! `cargo xtask bench`: the product, built for release, measured beside other servers.
//!
//! What measures is a workspace of its own (`bench/`), so that nobody who builds Clarion builds it, too.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::acceptance;
use crate::run::{check, command, has, root, target};
use crate::services::Services;

/// Builds both and measures. The arguments say what.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    if let ["voice-join", rest @ ..] = arguments {
        return voice_join(rest);
    }
    if !has("taskset") {
        bail!("taskset is not there: the server and its clients need a processor core each");
    }
    check(&mut command("cargo", &["build", "--quiet", "--release", "--package", "clarion"]))?;
    let (mut missing, apart) = (Vec::new(), arguments.first() == Some(&"apart"));
    let services = if apart { Services::start(&mut missing) } else { Services::default() };
    if !missing.is_empty() {
        bail!("{}", missing.join("; "));
    }
    let mut measure = command("cargo", &["run", "--quiet", "--release", "--locked", "--manifest-path"]);
    measure.arg(root().join("bench/Cargo.toml")).arg("--").args(arguments);
    measure
        .env("CARGO_TARGET_DIR", target().join("bench"))
        .env("CLARION_BENCH_TARGET", target())
        .env("CLARION_BENCH_BINARY", target().join("release/clarion"));
    services.tell(&mut measure);
    check(&mut measure)
}

/// How long joining voice takes, from the offer to the first packet: native clients, aiortc, Chromium. The arguments: how
/// many joins of each of the latter two, and how many native ones a second beside them, for how many seconds.
fn voice_join(arguments: &[&str]) -> anyhow::Result<()> {
    let mut given = ["100", "50", "20"];
    for (place, argument) in given.iter_mut().zip(arguments) {
        *place = *argument;
    }
    let [_, rate, seconds] = given;
    let build = ["build", "--quiet", "--release", "--package", "clarion-voice", "--example", "voice-alone"];
    check(&mut command("cargo", &build))?;
    let alone = target().join("release/examples/voice-alone");
    println!("{}", ask(&alone, &format!("joins {rate} {seconds}\njoined\n"))?);
    let mut missing = Vec::new();
    acceptance::voice_joins(&alone, &given, &mut missing)?;
    missing.iter().for_each(|what| println!("not measured: {what}"));
    Ok(())
}

/// The last line that the voice server alone answers.
fn ask(alone: &Path, words: &str) -> anyhow::Result<String> {
    let mut child = Command::new(alone).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("its input")?;
    input.write_all(words.as_bytes())?;
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    let answers: Vec<String> = lines.by_ref().take(words.lines().count()).collect::<Result<_, _>>()?;
    drop(input);
    child.wait()?;
    let answer = answers.into_iter().last().context("it said nothing")?;
    Ok(format!("{{\"client\":\"native\",\"beside\":\"nobody\",{}", answer.trim_start_matches('{')))
}
