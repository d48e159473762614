//! Clarion measured beside other servers on one machine: `cargo xtask bench`.
//!
//! The server has one core and the generator another; work is counted per second of the server's processor time; whoever
//! is compared is measured in turns in one run.

mod apart;
mod clarion;
mod cpu;
mod fanout;
mod generate;
mod generator;
mod http;
mod memory;
mod options;
mod peer;
mod search;
mod sends;
mod server;
mod slow;
mod stats;

use options::{Options, USAGE};

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let folder = server::scratch().join("run");
    let results = server::scratch().join("results");
    match words.split_first() {
        Some((word, [])) if word == "generate" => generate::run(),
        Some((word, [time, folder])) if word == "append" => sends::append(time, folder),
        Some((word, [])) if word == "spin" => {
            println!("{}", cpu::spin().as_secs_f64());
            Ok(())
        }
        Some((word, rest)) if word == "fanout" => fanout::run(&Options::read(rest, results)?, &folder),
        Some((word, rest)) if word == "memory" => memory::run(&Options::read(rest, results)?, &folder),
        Some((word, rest)) if word == "sends" => sends::run(&Options::read(rest, results)?, &folder),
        Some((word, rest)) if word == "apart" => apart::run(&Options::read(rest, results)?, &folder),
        Some((word, rest)) if word == "slow" => slow::run(&Options::read_for(rest, results, slow::SOCKETS)?, &folder),
        Some((word, rest)) if word == "search" => search::run(rest),
        Some((word, rest)) if word == "search-from-here" => search::measure(&Options::read(rest, results)?, &folder),
        Some((word, rest)) if word == "guard" => {
            fanout::guard(&Options::read(rest, results)?, &folder, clarion::UNTRACED, "nothing traced")
        }
        _ => {
            eprint!("{USAGE}");
            std::process::exit(2);
        }
    }
}
