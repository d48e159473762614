//! The last log lines of a process, and those to come, for whoever looks at it live.
//!
//! Bounded on every side: so many lines are kept (warnings and errors apart from the rest, which would soon have pushed
//! them out), so many may follow at a time, and a follower that reads too slowly is told how many lines it missed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::log::Level;
use crate::metric::Counter;

/// Lines that are kept: of warnings and errors, and of the rest.
const KEPT: usize = 1_000;
/// Lines that may wait for a follower.
const WAITING: usize = 1_024;
/// Most followers at a time.
pub(crate) const FOLLOWERS: usize = 16;

/// A line as it was written, without its end.
#[derive(Debug, Clone)]
struct Line {
    number: u64,
    level: Level,
    text: Arc<str>,
}

/// The lines of a process. A clone is the same.
#[derive(Debug, Clone)]
pub(crate) struct RecentLines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    live: broadcast::Sender<Line>,
}

#[derive(Debug, Default)]
struct Kept {
    count: u64,
    severe: VecDeque<Line>,
    rest: VecDeque<Line>,
}

/// Somebody who reads lines: those kept first, then those to come.
#[derive(Debug)]
pub struct LineFollower {
    least: Level,
    kept: VecDeque<Line>,
    live: Option<broadcast::Receiver<Line>>,
    dropped: Counter,
}

/// Nobody else can follow just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{FOLLOWERS} follow the log already")]
pub struct TooManyFollowers;

impl Default for RecentLines {
    fn default() -> Self {
        Self(Arc::new(Shared { kept: Mutex::default(), live: broadcast::Sender::new(WAITING) }))
    }
}

impl RecentLines {
    /// Keeps a line and hands it to those who follow.
    pub(crate) fn keep(&self, level: Level, line: &str) {
        // Under the lock, so that followers get lines in the order of their numbers.
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let line = Line { number: kept.count, level, text: line.trim_end().into() };
        kept.count += 1;
        let ring = if level <= Level::Warn { &mut kept.severe } else { &mut kept.rest };
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(line.clone());
        // Mostly nobody follows.
        let _ = self.0.live.send(line);
    }

    /// The last `last` lines that are at least as bad as `least`, and, to `follow`, all to come.
    pub(crate) fn read(
        &self,
        least: Level,
        last: usize,
        follow: bool,
        dropped: Counter,
    ) -> Result<LineFollower, TooManyFollowers> {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if follow && self.0.live.receiver_count() >= FOLLOWERS {
            return Err(TooManyFollowers);
        }
        let live = follow.then(|| self.0.live.subscribe());
        let mut lines: Vec<Line> = kept.severe.iter().chain(&kept.rest).filter(|l| l.level <= least).cloned().collect();
        lines.sort_by_key(|line| line.number);
        let kept = lines.split_off(lines.len().saturating_sub(last)).into();
        Ok(LineFollower { least, kept, live, dropped })
    }
}

impl LineFollower {
    /// The next line; `None` when there is no other. Lines that came too fast are one line that says how many.
    pub async fn next(&mut self) -> Option<Arc<str>> {
        if let Some(line) = self.kept.pop_front() {
            return Some(line.text);
        }
        loop {
            match self.live.as_mut()?.recv().await {
                Ok(line) if line.level <= self.least => return Some(line.text),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    self.dropped.increment(missed);
                    return Some(format!(r#"{{"event":"lines.dropped","dropped":{missed}}}"#).into());
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower(lines: &RecentLines, least: Level, last: usize, follow: bool) -> LineFollower {
        lines.read(least, last, follow, Counter::from(metrics::Counter::noop())).expect("room")
    }

    async fn all(follower: &mut LineFollower, count: usize) -> Vec<String> {
        let mut got = Vec::new();
        for _ in 0..count {
            got.push(follower.next().await.expect("a line").to_string());
        }
        got
    }

    #[tokio::test]
    async fn warnings_outlive_a_flood_of_ordinary_lines() {
        let lines = RecentLines::default();
        lines.keep(Level::Warn, "early\n");
        (0..3 * KEPT).for_each(|n| lines.keep(Level::Info, &format!("{n}\n")));
        let mut severe = follower(&lines, Level::Warn, 10, false);
        assert_eq!(all(&mut severe, 1).await, ["early"]);
        assert_eq!(severe.next().await, None);
        let mut last = follower(&lines, Level::Debug, 2, false);
        assert_eq!(all(&mut last, 2).await, ["2998", "2999"]);
    }

    #[tokio::test]
    async fn who_follows_gets_what_comes_at_the_level_asked_for() {
        let lines = RecentLines::default();
        lines.keep(Level::Error, "before");
        let mut follower = follower(&lines, Level::Warn, 10, true);
        for (level, text) in [(Level::Info, "info"), (Level::Warn, "warn"), (Level::Error, "error")] {
            lines.keep(level, text);
        }
        assert_eq!(all(&mut follower, 3).await, ["before", "warn", "error"]);
    }

    #[tokio::test]
    async fn who_reads_too_slowly_is_told_what_it_missed() {
        let lines = RecentLines::default();
        let mut follower = follower(&lines, Level::Warn, 0, true);
        (0..WAITING + 5).for_each(|n| lines.keep(Level::Warn, &n.to_string()));
        let got = all(&mut follower, 2).await;
        assert_eq!(got, [r#"{"event":"lines.dropped","dropped":5}"#, "5"]);
    }

    #[test]
    fn followers_are_bounded() {
        let lines = RecentLines::default();
        let mut held: Vec<_> = (0..FOLLOWERS).map(|_| follower(&lines, Level::Warn, 0, true)).collect();
        let one_more = || lines.read(Level::Warn, 0, true, Counter::from(metrics::Counter::noop())).map(drop);
        assert_eq!(one_more(), Err(TooManyFollowers));
        held.pop();
        assert_eq!(one_more(), Ok(()));
    }
}
