//! Processor time: what a process has used, and how fast the machine is just now.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

/// Follows what processes use, all their threads together, in user and in kernel mode.
pub(crate) struct CpuClock {
    pids: Vec<u32>,
    /// By thread: the kernel forgets a thread's time when the thread ends.
    threads: HashMap<String, u64>,
    total: u64,
}

impl CpuClock {
    /// Begins to follow processes.
    pub(crate) fn new(pids: &[u32]) -> Self {
        let mut clock = Self { pids: pids.to_vec(), threads: HashMap::new(), total: 0 };
        clock.read();
        clock.total = 0;
        clock
    }

    /// What they have used since the clock began, as far as their threads live.
    pub(crate) fn read(&mut self) -> Duration {
        for task in tasks(&self.pids) {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let Some(used) = text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()) else { continue };
            let before = self.threads.insert(task.file_name().to_string_lossy().into_owned(), used).unwrap_or(0);
            self.total += used.saturating_sub(before);
        }
        Duration::from_nanos(self.total)
    }
}

fn tasks(pids: &[u32]) -> impl Iterator<Item = fs::DirEntry> {
    pids.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task"))).flatten().flatten()
}

/// How long the threads of processes have been ready to run while others had the processor.
pub(crate) fn starved(pids: &[u32]) -> Duration {
    let texts = tasks(pids).filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    Duration::from_nanos(texts.filter_map(|t| t.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
}

/// Does a fixed amount of work; answers the processor time that it took.
pub(crate) fn spin() -> Duration {
    let mut clock = CpuClock::new(&[std::process::id()]);
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..60_000_000_u32 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    std::hint::black_box(x);
    clock.read()
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib: u64 = line.and_then(|l| l.trim().strip_suffix(" kB")).and_then(|n| n.trim().parse().ok()).unwrap_or(0);
    Ok(kib * 1024)
}

/// A deadline.
pub(crate) fn within(time: Duration) -> Instant {
    Instant::now() + time
}
