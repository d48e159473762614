//! How much of a processor the service's threads take, as the kernel counts it. Where that cannot be read, nothing is
//! said.

use std::fs;
use std::time::{Duration, Instant};

/// How the names of its threads begin: its runtime's own, and those of the embedded index.
const THREADS: [&str; 5] = ["search", "thrd-tantivy", "segment_updater", "merge_thread", "clarion-search"];

/// Ticks a second in which the kernel counts; the same on every Linux that programs see.
const TICKS: f64 = 100.0;

/// From one look to the next.
#[derive(Debug)]
pub(crate) struct Cpu {
    at: Instant,
    used: Option<Duration>,
}

impl Cpu {
    pub(crate) fn new() -> Self {
        Self { at: Instant::now(), used: used() }
    }

    /// The share of one processor since the last look.
    pub(crate) fn share(&mut self) -> Option<f64> {
        let (at, used) = (Instant::now(), used());
        let (before, since) = (self.used, at.duration_since(self.at));
        (self.at, self.used) = (at, used);
        // Threads that ended take what they used along.
        Some(used?.saturating_sub(before?).as_secs_f64() / since.as_secs_f64().max(1e-3))
    }
}

fn used() -> Option<Duration> {
    let mut ticks = 0.0;
    for task in fs::read_dir("/proc/self/task").ok()?.flatten() {
        // A thread may end while it is looked at.
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
        let Some((name, rest)) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')) else { continue };
        if THREADS.iter().any(|thread| name.starts_with(thread)) {
            // User and system time are the 12th and 13th after the name (proc_pid_stat(5)).
            ticks += rest.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum::<f64>();
        }
    }
    Some(Duration::from_secs_f64(ticks / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_a_thread_of_the_service_is_seen() {
        let worker = std::thread::Builder::new().name("search".into()).spawn(|| {
            let mut cpu = Cpu::new();
            let (began, before) = (Instant::now(), used().expect("a kernel that counts"));
            // On a busy machine it takes its time until a tick falls on this thread.
            while used().expect("a kernel that counts") < before + Duration::from_millis(50) {
                assert!(began.elapsed() < Duration::from_secs(60), "no tick is counted");
                (0..1_000_000u64).for_each(|n| {
                    std::hint::black_box(n);
                });
            }
            cpu.share()
        });
        let share = worker.expect("a thread").join().expect("no panic").expect("a kernel that counts");
        assert!(share > 0.0, "{share}");
    }
}
