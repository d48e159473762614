//! `clarion-search`: finds messages by what they say. A process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    clarion::cli::main_of(clarion::Service::Search)
}
