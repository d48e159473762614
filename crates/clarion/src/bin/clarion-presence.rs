//! `clarion-presence`: knows who is there. A process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    clarion::cli::main_of(clarion::Service::Presence)
}
