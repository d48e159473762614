//! One run of one target, and what its program says of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::run::{check, root, target};

/// Largest input, in bytes; a client's frame is no larger.
const LONGEST: usize = 4_096;
/// How long one input may take, in seconds, and how much memory a target may have, in MiB.
const INPUT_SECONDS: u64 = 10;
const MEMORY: usize = 1_024;

/// A target that is running.
pub(super) struct Run {
    name: String,
    child: Child,
    /// Where its program writes what it says, and where it puts inputs that break it.
    log: PathBuf,
    found: PathBuf,
}

/// What came of a run.
pub(super) struct Ended {
    /// One line for people.
    pub(super) line: String,
    /// The input that broke the target.
    pub(super) found: Option<PathBuf>,
}

impl Run {
    /// Starts a target's program, from what is kept and what earlier runs on this machine have found.
    pub(super) fn start(program: &Path, name: &str, time: Duration, seed: Option<u32>) -> anyhow::Result<Self> {
        let (grown, found) = (folder(name, "grown")?, folder(name, "found")?);
        let log = found.join("log");
        let mut command = Command::new(program);
        command.arg(&grown).arg(kept(name)).args(bounds()).args([
            format!("-max_total_time={}", time.as_secs()),
            format!("-artifact_prefix={}/", found.display()),
            "-print_final_stats=1".to_owned(),
        ]);
        // Zero is by chance.
        command.arg(format!("-seed={}", seed.unwrap_or(0)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let child = command.spawn().with_context(|| format!("{}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log, found })
    }

    /// Waits until it ends.
    pub(super) fn wait(mut self) -> anyhow::Result<Ended> {
        let status = self.child.wait()?;
        let said = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
        let line = told(&self.name, &said);
        if status.success() {
            return Ok(Ended { line, found: None });
        }
        let unit = said.lines().find_map(|line| line.split("Test unit written to ").nth(1));
        let Some(unit) = unit else { bail!("{} ended with {status}: see {}", self.name, self.log.display()) };
        // What broke it is said before the stack; all of it is in the log.
        let why: Vec<&str> = said.lines().skip_while(|line| !line.contains("panicked at")).take(3).collect();
        let line = format!("{line}\n{}\n(see {})", why.join("\n"), self.log.display());
        Ok(Ended { line, found: Some(self.found.join(Path::new(unit.trim()).file_name().unwrap_or_default())) })
    }
}

/// Keeps the fewest inputs that reach all that those kept and those grown reach.
pub(super) fn minimise(program: &Path, name: &str) -> anyhow::Result<()> {
    let (kept, fresh) = (kept(name), folder(name, "fresh")?);
    fs::remove_dir_all(&fresh)?;
    fs::create_dir_all(&fresh)?;
    let mut merge = Command::new(program);
    merge.arg("-merge=1").args(bounds()).arg(&fresh).arg(&kept).arg(folder(name, "grown")?);
    check(merge.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
    let (before, _) = size(&kept)?;
    fs::remove_dir_all(&kept)?;
    fs::create_dir_all(&kept)?;
    for entry in fs::read_dir(&fresh)? {
        let from = entry?.path();
        fs::copy(&from, kept.join(from.file_name().context("a name")?))?;
    }
    let (after, bytes) = size(&kept)?;
    println!("{name:<18} {before:>5} inputs before, {after:>5} after, {bytes:>7} bytes");
    Ok(())
}

fn bounds() -> [String; 3] {
    [format!("-max_len={LONGEST}"), format!("-timeout={INPUT_SECONDS}"), format!("-rss_limit_mb={MEMORY}")]
}

fn kept(name: &str) -> PathBuf {
    root().join("fuzz/corpus").join(name)
}

fn folder(name: &str, what: &str) -> anyhow::Result<PathBuf> {
    let folder = target().join("fuzz").join(what).join(name);
    fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    Ok(folder)
}

fn size(folder: &Path) -> anyhow::Result<(usize, u64)> {
    let mut size = (0, 0);
    for entry in fs::read_dir(folder)? {
        size = (size.0 + 1, size.1 + entry?.metadata()?.len());
    }
    Ok(size)
}

/// How often it ran, and how far what it reaches has grown.
fn told(name: &str, said: &str) -> String {
    let stat = |key: &str| said.lines().find_map(|line| line.strip_prefix(key)).map_or("?", str::trim);
    // `#1234 NEW cov: 56 ft: 78 corp: 9/10b …`: first what is kept reaches, last everything.
    let states: Vec<(&str, &str)> = said.lines().filter(|line| line.starts_with('#')).filter_map(state).collect();
    let (first, last) = (states.first().unwrap_or(&("?", "?")), states.last().unwrap_or(&("?", "?")));
    format!(
        "{name:<18} {:>12} {:>9} {:>15} {:>15}",
        stat("stat::number_of_executed_units:"),
        stat("stat::average_exec_per_sec:"),
        format!("{} → {}", first.0, last.0),
        format!("{} → {}", first.1, last.1),
    )
}

/// Branches and inputs in a line of libFuzzer's.
fn state(line: &str) -> Option<(&str, &str)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |key: &str| words.windows(2).find(|pair| pair[0] == key).map(|pair| pair[1]);
    Some((after("cov:")?, after("corp:")?.split('/').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_is_read() {
        let said = "INFO: Seed: 1\n#12\tINITED cov: 40 ft: 50 corp: 7/90b exec/s: 0 rss: 30Mb\n\
            #99\tNEW    cov: 41 ft: 52 corp: 8/95b lim: 4 exec/s: 0 rss: 31Mb L: 5/20 MS: 1 CopyPart-\n\
            #500\tDONE   cov: 44 ft: 60 corp: 9/99b lim: 8 exec/s: 250 rss: 31Mb\n\
            stat::number_of_executed_units: 500\nstat::average_exec_per_sec:     250\n";
        let words: Vec<String> = told("tokens", said).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, ["tokens", "500", "250", "40", "→", "44", "7", "→", "9"]);
        assert_eq!(told("tokens", "").split_whitespace().nth(1), Some("?"));
    }
}
