//! No acknowledgement leaves before the sync that covers its append: read off the system calls.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use clarion_e2e::Program;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");
const MESSAGES: usize = 40;

/// What the trace says of one run.
#[derive(Debug, Default, PartialEq)]
struct Reading {
    /// Messages whose append to the journal was seen.
    appended: usize,
    /// Messages whose acknowledgement was seen.
    acknowledged: usize,
    /// Messages acknowledged, or delivered, before a sync that began after their append had ended.
    too_early: BTreeSet<String>,
}

fn marker(n: usize) -> String {
    format!("mark-{n:04}-kram")
}

/// Runs the program under strace, sends messages one after another, and reads the trace.
async fn observe(sync: &str) -> anyhow::Result<Reading> {
    let data = tempfile::tempdir()?;
    let trace = data.path().join("trace.txt");
    let calls = "trace=write,writev,pwrite64,sendto,sendmsg,fsync,fdatasync";
    let tracer: Vec<OsString> = ["strace", "-f", "-qq", "-yy", "-s", "16384", "-e", calls, "-e", "signal=none", "-o"]
        .map(OsString::from)
        .into();
    let tracer = [tracer, vec![trace.clone().into()]].concat();
    let program =
        Program::start(Path::new(PROGRAM), data.path(), &tracer, &[("CLARION_STORAGE__EMBEDDED__SYNC", sync)]).await?;
    let channel = program.demo().channel_id;
    let api = program.api();
    for n in 0..MESSAGES {
        api.send(channel, &marker(n)).await?;
    }
    // The tracer passes the end of the program on; it is killed with its child.
    program.kill().await?;
    Ok(read(&std::fs::read_to_string(&trace)?))
}

/// Walks the trace in order. A call that another thread interrupts is split by strace in `<unfinished ...>` and
/// `<... resumed>`: an append counts from its beginning, a sync from its end, an acknowledgement from its beginning.
fn read(trace: &str) -> Reading {
    let mut reading = Reading::default();
    let mut written: BTreeSet<String> = BTreeSet::new();
    let mut durable: BTreeSet<String> = BTreeSet::new();
    let mut syncing: std::collections::BTreeMap<&str, BTreeSet<String>> = std::collections::BTreeMap::new();
    let mut acknowledged: BTreeSet<String> = BTreeSet::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.trim_start().split_once(char::is_whitespace) else { continue };
        let call = call.trim_start();
        let is_sync = call.starts_with("fsync(") || call.starts_with("fdatasync(");
        if is_sync && call.contains("unfinished") {
            syncing.insert(thread, written.clone());
        } else if is_sync {
            durable.extend(written.iter().cloned());
        } else if call.starts_with("<... fsync resumed") || call.starts_with("<... fdatasync resumed") {
            durable.extend(syncing.remove(thread).unwrap_or_default());
        } else {
            let to_socket = call.contains("<TCP:[") || call.contains("<TCPv6:[");
            let to_store = call.contains("/store/");
            for n in 0..MESSAGES {
                let mark = marker(n);
                if !call.contains(&mark) {
                    continue;
                }
                if to_store {
                    written.insert(mark);
                } else if to_socket {
                    if !durable.contains(&mark) {
                        reading.too_early.insert(mark.clone());
                    }
                    acknowledged.insert(mark);
                }
            }
        }
    }
    reading.appended = written.len();
    reading.acknowledged = acknowledged.len();
    reading
}

fn has_strace() -> bool {
    let ran = std::process::Command::new("strace").args(["-f", "true"]).output();
    let there = ran.is_ok_and(|out| out.status.success());
    if !there {
        println!("MISSING: strace (or the right to trace): the order of sync and acknowledgement was not read");
    }
    there
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sync_comes_before_the_acknowledgement() -> anyhow::Result<()> {
    if !has_strace() {
        return Ok(());
    }
    let reading = observe("data").await?;
    let expected = Reading { appended: MESSAGES, acknowledged: MESSAGES, too_early: BTreeSet::new() };
    assert_eq!(reading, expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_sync_the_reading_finds_it() -> anyhow::Result<()> {
    if !has_strace() {
        return Ok(());
    }
    let reading = observe("none").await?;
    assert_eq!(reading.acknowledged, MESSAGES);
    assert!(!reading.too_early.is_empty(), "a store that does not sync was not caught: {reading:?}");
    Ok(())
}
