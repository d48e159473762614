//! `clarion-gateway`: where clients connect. A process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    clarion::cli::main_of(clarion::Service::Gateway)
}
