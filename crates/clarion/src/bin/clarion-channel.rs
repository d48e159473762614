//! `clarion-channel`: owns keys, orders and keeps what happens. A process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    clarion::cli::main_of(clarion::Service::Channel)
}
