//! `clarion doctor`: what is wrong with the machine and with what Clarion leans on, before it is trusted with messages.
//! A check is a line; the exit code says whether one of them failed.

mod ask;
mod members;
mod peers;
mod redis;

use std::fmt;

use anyhow::bail;
use clarion_model::time::Timestamp;
use clarion_storage::cache;
use clarion_storage::scylla::{Inspection, inspect};

use crate::{Config, StorageKind};

/// Fewer open files than this are too few to serve anybody; fewer than that are few for a server.
const FILES: (u64, u64) = (1_024, 10_000);
/// Clocks may differ so much before it is said, and before it is refused, in milliseconds: see `docs/scylla.md`.
const CLOCK_MS: (u64, u64) = (1_000, 15_000);
/// No clock is right that shows an earlier time: 2026-01-01.
const EARLIEST: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should be.
    Fine,
    /// It works, and is not as it should be.
    Doubtful,
    /// Not to be used like this.
    Refused,
}

/// A check that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    what: &'static str,
    verdict: Verdict,
    detail: String,
}

/// Makes every check, and prints each.
pub(crate) async fn run(config: &Config) -> anyhow::Result<()> {
    let mut refused = 0;
    for finding in checks(config).await {
        println!("{finding}");
        refused += usize::from(finding.verdict == Verdict::Refused);
    }
    match refused {
        0 => Ok(()),
        1 => bail!("one check failed"),
        _ => bail!("{refused} checks failed"),
    }
}

/// Every check there is: one that leans on a further server is added here.
async fn checks(config: &Config) -> Vec<Finding> {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let mut findings = vec![clock(std::time::SystemTime::now().into()), open_files(&limits)];
    match config.storage.kind {
        StorageKind::Embedded => {
            findings.push(Finding::fine("store", "embedded; its schema is migrated when it is opened".into()));
        }
        StorageKind::Scylla => match inspect(&config.storage.scylla).await {
            Ok(inspection) => findings.extend(store(&inspection)),
            Err(error) => findings.push(Finding::refused("store", error.to_string())),
        },
    }
    if config.cache.kind == cache::Kind::Redis {
        findings.extend(redis::check(&config.cache.redis).await);
    }
    findings.extend(peers::check(&config.peers).await);
    findings
}

fn clock(now: Timestamp) -> Finding {
    match now < EARLIEST {
        true => Finding::refused("clock", "shows a time before 2026: message ids would fall behind".into()),
        false => Finding::fine("clock", "plausible".into()),
    }
}

fn open_files(limits: &str) -> Finding {
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    let what = "open files";
    match soft.map(|soft| if soft == "unlimited" { Ok(u64::MAX) } else { soft.parse() }) {
        Some(Ok(files)) if files < FILES.0 => Finding::refused(what, format!("{files}, expected {} or more", FILES.1)),
        Some(Ok(files)) if files < FILES.1 => {
            Finding::doubtful(what, format!("{files}, of which each session takes one; expected {} or more", FILES.1))
        }
        Some(Ok(u64::MAX)) => Finding::fine(what, "unlimited".into()),
        Some(Ok(files)) => Finding::fine(what, format!("{files}, of which each session takes one")),
        _ => Finding::doubtful(what, "this machine does not tell how many a process may have".into()),
    }
}

/// What is to be said of a cluster.
fn store(seen: &Inspection) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(match (seen.schema, seen.known) {
        (found, known) if found == known => Finding::fine("schema", format!("version {found}")),
        (found, known) if found > known => {
            Finding::refused("schema", format!("version {found}, newer than {known}, which this program knows"))
        }
        (found, known) => {
            Finding::refused("schema", format!("version {found}, expected {known}: run `clarion migrate`"))
        }
    });
    let nodes = seen.nodes.len() as u32;
    findings.push(match seen.replication {
        None => Finding::refused("replication", "there is no keyspace yet: run `clarion migrate`".into()),
        Some(factor) if factor > nodes => {
            Finding::refused("replication", format!("factor {factor} on {nodes} nodes: a majority may not be there"))
        }
        Some(factor @ ..3) => {
            Finding::doubtful("replication", format!("factor {factor}: no node may be away; expected 3 or more"))
        }
        Some(factor) => Finding::fine("replication", format!("factor {factor} on {nodes} nodes")),
    });
    // Without a keyspace nothing is known of copies.
    let alone = seen.replication.is_none_or(|factor| factor < 2);
    for node in &seen.nodes {
        let at = &node.address;
        let answer = match &node.answer {
            Ok(answer) => answer,
            Err(why) => {
                findings.push(Finding::refused("node", format!("{at}: {why}")));
                continue;
            }
        };
        findings.push(match answer.commit_log.as_deref() {
            Some(mode @ ("batch" | "group")) => Finding::fine("commit log", format!("{at}: {mode}")),
            Some("periodic") if alone => Finding::refused(
                "commit log",
                format!("{at}: periodic, and no other node has what it acknowledges: expected commitlog_sync: batch"),
            ),
            Some("periodic") => Finding::doubtful(
                "commit log",
                format!("{at}: periodic: nodes that lose power together lose acknowledged messages; expected batch"),
            ),
            other => Finding::doubtful("commit log", format!("{at}: {}, expected batch", other.unwrap_or("not told"))),
        });
        findings.push(other_clock("node's clock", at, answer.ahead_ms));
    }
    findings
}

/// What is to be said of a clock elsewhere.
fn other_clock(what: &'static str, at: &impl fmt::Display, ahead_ms: i64) -> Finding {
    let detail = format!("{at}: {ahead_ms} ms ahead of this machine");
    match ahead_ms.unsigned_abs() {
        off if off > CLOCK_MS.1 => Finding::refused(what, detail),
        off if off > CLOCK_MS.0 => Finding::doubtful(what, detail),
        _ => Finding::fine(what, detail),
    }
}

impl Finding {
    pub(crate) fn fine(what: &'static str, detail: String) -> Self {
        Self { what, verdict: Verdict::Fine, detail }
    }

    pub(crate) fn doubtful(what: &'static str, detail: String) -> Self {
        Self { what, verdict: Verdict::Doubtful, detail }
    }

    pub(crate) fn refused(what: &'static str, detail: String) -> Self {
        Self { what, verdict: Verdict::Refused, detail }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Fine => "ok",
            Verdict::Doubtful => "warn",
            Verdict::Refused => "FAIL",
        };
        write!(f, "{verdict:<5} {}: {}", self.what, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use clarion_storage::scylla::{Answer, Node};

    use super::*;

    fn seen(replication: Option<u32>, nodes: usize, commit_log: &str, ahead_ms: i64) -> Inspection {
        let answer = Answer { commit_log: Some(commit_log.into()), ahead_ms };
        let node = Node { address: "db:9042".into(), answer: Ok(answer) };
        Inspection { schema: 1, known: 1, replication, nodes: vec![node; nodes] }
    }

    /// The findings that are not fine.
    fn faults(seen: &Inspection) -> Vec<(&'static str, Verdict)> {
        store(seen).into_iter().filter(|f| f.verdict != Verdict::Fine).map(|f| (f.what, f.verdict)).collect()
    }

    #[test]
    fn what_may_lose_messages_is_refused() {
        use Verdict::{Doubtful, Refused};
        assert_eq!(faults(&seen(Some(3), 3, "batch", -20)), []);
        assert_eq!(faults(&seen(Some(1), 1, "group", 0)), [("replication", Doubtful)]);
        assert_eq!(faults(&seen(Some(1), 1, "periodic", 0)), [("replication", Doubtful), ("commit log", Refused)]);
        assert_eq!(faults(&seen(Some(3), 3, "periodic", 0)), [("commit log", Doubtful); 3]);
        assert_eq!(faults(&seen(Some(3), 1, "batch", 0)), [("replication", Refused)]);
        assert_eq!(faults(&seen(None, 1, "periodic", 0)), [("replication", Refused), ("commit log", Refused)]);
        assert_eq!(faults(&seen(Some(3), 3, "batch", -2_000)), [("node's clock", Doubtful); 3]);
        assert_eq!(faults(&seen(Some(3), 3, "batch", 60_000)), [("node's clock", Refused); 3]);
        for schema in [0, 2] {
            assert_eq!(faults(&Inspection { schema, ..seen(Some(3), 3, "batch", 0) }), [("schema", Refused)]);
        }
        let mut away = seen(Some(3), 3, "batch", 0);
        away.nodes[1].answer = Err("no answer".into());
        assert_eq!(faults(&away), [("node", Refused)]);
    }

    #[test]
    fn limits_and_clock_of_the_machine() {
        let limit =
            |soft: &str| open_files(&format!("Limit  Soft  Hard\nMax open files   {soft}   524288  files\n")).verdict;
        let limits = [limit("512"), limit("4096"), limit("20000"), limit("unlimited")];
        assert_eq!(limits, [Verdict::Refused, Verdict::Doubtful, Verdict::Fine, Verdict::Fine]);
        assert_eq!(open_files("").verdict, Verdict::Doubtful);
        assert_eq!(clock(Timestamp::from_millis(1_000)).verdict, Verdict::Refused);
        assert_eq!(clock(EARLIEST).verdict, Verdict::Fine);
    }
}
