//! What a server on this machine costs: its CPU time and its memory, as `/proc` has them.

use std::path::Path;

/// Ticks of `/proc/<pid>/stat` a second; the same on every Linux that this runs on.
const TICKS: f64 = 100.0;

/// What a process has used and holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    /// Seconds of user and system time.
    pub(super) cpu_s: f64,
    /// Bytes of resident memory.
    pub(super) rss_bytes: u64,
}

/// The process that a data folder says it is served by, if it is there.
pub fn of_data_folder(data: &Path) -> Option<u32> {
    let pid: u32 = std::fs::read_to_string(data.join("pid")).ok()?.trim().parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    // The number may be another's by now.
    name.starts_with("clarion").then_some(pid)
}

/// What a process uses; `None` when it is not there.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage { cpu_s: cpu(&stat)?, rss_bytes: rss(&status)? })
}

/// How many files this process may have open.
pub(super) fn open_files() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15, counted after the name, which may have spaces.
fn cpu(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS)
}

fn rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_hides_nothing() {
        let stat = "12 (a b) c) S 1 12 12 0 -1 4194304 5 0 0 0 250 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(cpu(stat), Some(3.0));
        assert_eq!(rss("Name:\tx\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
    }

    #[test]
    fn this_process_uses_something() {
        assert!(usage(std::process::id()).is_some_and(|usage| usage.rss_bytes > 0));
        assert!(open_files().is_some_and(|files| files > 0));
    }
}
