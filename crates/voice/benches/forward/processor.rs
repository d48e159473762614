//! What processes use, as the kernel counts it.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

/// What each thread of a process has used of the processor so far: its name and nanoseconds, by its number.
pub(crate) struct Used(HashMap<String, (String, u64)>);

impl Used {
    pub(crate) fn of(process: u32) -> Self {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("tasks").flatten();
        let of = |task: std::fs::DirEntry| {
            let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
            let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let nanos = stat.split(' ').next()?.parse().ok()?;
            Some((task.file_name().into_string().ok()?, (name.trim().to_owned(), nanos)))
        };
        Self(tasks.filter_map(of).collect())
    }

    /// What was used since then, by all threads or by those of a name.
    pub(crate) fn since(&self, then: &Self, name: Option<&str>) -> Duration {
        let those = self.0.iter().filter(|(_, (its, _))| name.is_none_or(|name| name == its));
        let used = those.map(|(task, (_, now))| now - then.0.get(task).map_or(0, |(_, then)| *then));
        Duration::from_nanos(used.sum())
    }
}

/// Bytes of memory of a process.
pub(crate) fn resident(process: u32) -> f64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).expect("statm");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).expect("a number") * 4_096.0
}

/// A program that runs on one core alone.
pub(crate) fn on_core(core: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

/// Keeps this thread, and those it starts from now on, on one core.
pub(crate) fn stay_on(core: usize) {
    let arguments = ["-p", "-c", &core.to_string(), &std::process::id().to_string()];
    let done = Command::new("taskset").args(arguments).stdout(std::process::Stdio::null()).status();
    assert!(done.is_ok_and(|done| done.success()), "taskset failed");
}

/// The middle one, the least and the greatest.
pub(crate) fn middle(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [values[values.len() / 2], values[0], values[values.len() - 1]]
}
