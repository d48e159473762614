//! `cargo xtask fuzz`: looks for inputs that break a decoder, guided by which code each input reaches.
//!
//! The programs of `fuzz/` are built beside everything else, in `target/fuzz`, with counters in all code and with what is
//! checked in debug builds. An input that breaks a target is to be kept in `fuzz/corpus/{target}`, where tests find it.

mod run;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::run::{check, command, output, root, target};
use run::{Ended, Run};

/// How long a target runs unless it is said.
const SECONDS: u64 = 60;
/// How many run at a time.
const AT_A_TIME: usize = 2;
/// Counters for each branch, where they are, and what is compared.
const COUNTERS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// What is asked for on the command line.
struct Options {
    targets: Vec<String>,
    time: Duration,
    /// Where chance begins: the same number looks in the same places. Else by chance.
    seed: Option<u32>,
    /// Not to look for more, but to keep the least that reaches what is reached.
    minimise: bool,
}

/// Builds the targets and runs each for a while; fails when an input breaks one.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let options = Options::read(arguments, &names()?)?;
    let programs = build(&options.targets)?;
    if options.minimise {
        return options.targets.iter().try_for_each(|name| run::minimise(&programs.join(name), name));
    }
    println!("{:<18} {:>12} {:>9} {:>15} {:>15}", "target", "executions", "a second", "branches", "inputs");
    let mut broken = Vec::new();
    let (mut waiting, mut running) = (options.targets.iter(), Vec::<Run>::new());
    loop {
        while running.len() < AT_A_TIME
            && let Some(name) = waiting.next()
        {
            running.push(Run::start(&programs.join(name), name, options.time, options.seed)?);
        }
        if running.is_empty() {
            break;
        }
        // The one that was started first ends first, unless something is found.
        let Ended { line, found } = running.remove(0).wait()?;
        println!("{line}");
        broken.extend(found);
    }
    if broken.is_empty() {
        return Ok(());
    }
    for input in &broken {
        println!("broken by {}", input.display());
    }
    bail!("{} inputs break a target: keep each in fuzz/corpus/TARGET and make `cargo test` pass with it", broken.len())
}

impl Options {
    fn read(arguments: &[&str], known: &[String]) -> anyhow::Result<Self> {
        let mut options = Self { targets: Vec::new(), time: Duration::from_secs(SECONDS), seed: None, minimise: false };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--seconds" => {
                    let seconds = arguments.next().and_then(|seconds| seconds.parse().ok());
                    options.time = Duration::from_secs(seconds.context("--seconds is followed by a number")?);
                }
                "--seed" => {
                    let seed = arguments.next().and_then(|seed| seed.parse().ok());
                    options.seed = Some(seed.context("--seed is followed by a number")?);
                }
                "--minimise" => options.minimise = true,
                name if known.iter().any(|target| target == name) => options.targets.push(name.to_owned()),
                other => bail!("there is no target {other}; there are {}", known.join(", ")),
            }
        }
        if options.targets.is_empty() {
            options.targets = known.to_vec();
        }
        Ok(options)
    }
}

/// The targets there are.
fn names() -> anyhow::Result<Vec<String>> {
    let programs = fs::read_dir(root().join("fuzz/src/bin")).context("fuzz/src/bin")?;
    let name = |entry: fs::DirEntry| entry.path().file_stem().and_then(|name| name.to_str()).map(str::to_owned);
    let mut names: Vec<String> = programs.flatten().filter_map(name).collect();
    names.sort();
    Ok(names)
}

/// Builds targets, with the crates they are of; answers the folder they are in.
fn build(targets: &[String]) -> anyhow::Result<PathBuf> {
    // With the target named, the counters are in none of what runs while building.
    let host = output(command("rustc", &["-vV"]).stdin(std::process::Stdio::null())).unwrap_or_default();
    let host =
        host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not say what it runs on")?;
    let folder = target().join("fuzz");
    let mut cargo = command("cargo", &["build", "--quiet", "--package", "clarion-fuzz", "--profile", "fuzz"]);
    cargo.args(["--target", host]).env("CARGO_TARGET_DIR", &folder).env("RUSTFLAGS", COUNTERS);
    for name in targets {
        cargo.args(["--bin", name, "--features", &feature(name)?]);
    }
    check(&mut cargo)?;
    Ok(folder.join(host).join("fuzz"))
}

/// The feature of `fuzz/` that a target needs: the crate that it is of.
fn feature(target: &str) -> anyhow::Result<String> {
    let program = fs::read_to_string(root().join("fuzz/src/bin").join(target).with_extension("rs"))?;
    let of = program.split("clarion_").nth(1).and_then(|behind| behind.split("::").next());
    of.map(str::to_owned).with_context(|| format!("fuzz/src/bin/{target}.rs names no crate"))
}
