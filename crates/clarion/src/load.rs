//! `clarion load`: many clients at once, as real libraries behave, that verify everything they receive.
//!
//! Sockets keep sessions as clients do (heartbeats, resume, op 7 and 9). Accounts send over the API when a schedule says
//! so, whether or not earlier sends were answered, and times count from when a message was due. Every message says who
//! sent it as which of theirs; [`checker`] holds what each socket gets against what it must get. Schedule, protocol,
//! checker and report have no I/O; [`Load`] runs them.

pub mod checker;
mod history;
mod options;
mod payload;
mod process;
mod report;
mod run;
mod schedule;
mod sender;
mod session;
mod socket;
mod stamp;
mod tally;
mod workspace;

use std::io::{IsTerminal, Write};

use anyhow::bail;

pub use options::Options;
pub use process::of_data_folder;
pub use report::{Line, Report};
pub use run::{Load, Watch};
pub(crate) use session::{Session, Step};
pub use tally::{Percentiles, Tally, Times};
pub use workspace::Operators;

/// What the command does. Fails when something that was received was not what it should be.
pub async fn run(options: Options, operators: Option<Operators>, server: Option<u32>) -> anyhow::Result<()> {
    let json = options.json;
    eprintln!(
        "Client and server share this machine, or a network: figures are comparable only with others taken the same way, \
         in the same minutes. See docs/load.md."
    );
    let load = Load::prepare(options, operators, server).await?;
    let (accounts, took) = load.made();
    eprintln!("{accounts} accounts, after {:.1} s", took.as_secs_f64());
    let refresh = std::io::stderr().is_terminal();
    let watch = load.watch();
    let running = load.run(|line| {
        let mut out = std::io::stderr().lock();
        // Nobody may be reading any more.
        let _ = if refresh { write!(out, "\r\x1b[K{line}") } else { writeln!(out, "{line}") };
        let _ = out.flush();
    });
    let mut running = std::pin::pin!(running);
    let report = tokio::select! {
        report = &mut running => report?,
        stopped = clarion_runtime::stop_requested() => {
            stopped?;
            watch.enough();
            running.await?
        }
    };
    if refresh {
        eprintln!();
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    match report.failure {
        Some(why) => bail!("{why}"),
        None => Ok(()),
    }
}
