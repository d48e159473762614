//! `clarion-router`: knows who owns what; the operators' door. A process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    clarion::cli::main_of(clarion::Service::Router)
}
