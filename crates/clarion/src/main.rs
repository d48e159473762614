//! `clarion`: the whole product in one process on embedded stores, and its sub-commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    match clarion::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clarion: {error:#}");
            ExitCode::FAILURE
        }
    }
}
