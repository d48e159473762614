//! The project's own tasks: `cargo xtask test`, `cargo xtask docs`, `cargo xtask bench`, `cargo xtask fuzz`,
//! `cargo xtask services`.

mod acceptance;
mod bench;
mod docs;
mod fuzz;
mod run;
mod services;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask test [--long]   format, lints, all tests, the acceptance clients; says what it could not reach
cargo xtask services up|down   starts and stops the real servers that tests can use, and says where they are
cargo xtask docs            writes the generated pages (docs/telemetry.md)
cargo xtask bench           measures the product beside other servers; says what it can measure
cargo xtask bench voice-join [joins [per second [seconds]]]   how long joining voice takes
cargo xtask fuzz [TARGET…] [--seconds N] [--seed N] [--minimise]   looks for inputs that break a decoder
cargo xtask build-cost      a clean build and a one-line edit, timed
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["test"] => test::run(false),
        ["test", "--long"] => test::run(true),
        ["services", "up"] => services::up(),
        ["services", "down"] => services::down(),
        ["docs"] => docs::write(),
        ["bench", what @ ..] => bench::run(what),
        ["fuzz", what @ ..] => fuzz::run(what),
        ["build-cost"] => test::build_cost(),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
