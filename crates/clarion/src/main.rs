//! `clarion`: the whole product in one process on embedded stores, and its sub-commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    clarion::cli::exit("clarion", clarion::cli::run())
}
