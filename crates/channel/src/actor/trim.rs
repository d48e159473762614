//! Forgetting the old end of a log, now and then and beside the work.
//!
//! When a log has more than [`limits::LOG_ENTRIES`] entries, those older than [`limits::LOG_AGE`] go. Whoever follows from
//! before them begins with a snapshot.

use std::sync::Arc;
use std::time::Duration;

use clarion_model::key::{Epoch, Key, Position};
use clarion_model::limits;
use clarion_model::time::Timestamp;
use clarion_runtime::Host;
use clarion_storage::{Logs, ReadError};
use tokio::sync::oneshot;

/// Entries above the limit before it is worth the work.
const SLACK: u64 = 1_000;
/// Time between two attempts.
const PAUSE: Duration = Duration::from_secs(600);

/// How much a log has, and what is being done about it.
pub(super) struct Trimming {
    entries: u64,
    last: Timestamp,
    running: Option<oneshot::Receiver<u64>>,
}

impl Trimming {
    pub(super) fn new(entries: u64) -> Self {
        Self { entries, last: Timestamp::default(), running: None }
    }

    /// Entries were added. Says whether it is time to trim.
    pub(super) fn added(&mut self, count: u64, now: Timestamp) -> bool {
        self.entries += count;
        let many = self.entries > limits::LOG_ENTRIES as u64 + SLACK;
        many && self.running.is_none() && now.since(self.last) >= PAUSE
    }

    /// Begins to trim, in a task of its own.
    pub(super) fn begin(&mut self, host: &Host, logs: Arc<dyn Logs>, key: Key, tail: Position, now: Timestamp) {
        let (done, running) = oneshot::channel();
        (self.running, self.last) = (Some(running), now);
        host.spawn("trim", async move {
            // What fails is tried another time.
            if let Ok(Some(upto)) = last_before(&*logs, key, tail, now.before(limits::LOG_AGE)).await
                && logs.trim(key, upto).await.is_ok()
                && let Ok(tail) = logs.open(key, tail.epoch).await
            {
                let _ = done.send(tail.entries);
            }
        });
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Waits for what is running.
    pub(super) async fn finish(&mut self) {
        if let Some(running) = &mut self.running {
            if let Ok(entries) = running.await {
                self.entries = entries;
            }
            self.running = None;
        }
    }
}

/// The last entry from before an instant, found by halving the stretch of the log in which it lies.
pub(crate) async fn last_before(
    logs: &dyn Logs,
    key: Key,
    tail: Position,
    before: Timestamp,
) -> Result<Option<Position>, ReadError> {
    let (mut old, mut new, mut found) = (0, number(tail), None);
    while old < new {
        let middle = old + (new - old) / 2;
        let page = logs.read(key, position(middle), 1).await?;
        match page.entries.first() {
            // Forgotten already, so what is sought lies after it.
            None if !page.complete => old = middle + 1,
            Some(entry) if entry.at < before => {
                found = Some(entry.position);
                old = number(entry.position);
            }
            _ => new = middle,
        }
    }
    Ok(found)
}

fn number(at: Position) -> u128 {
    u128::from(at.epoch.0) << 64 | u128::from(at.offset)
}

fn position(number: u128) -> Position {
    Position { epoch: Epoch((number >> 64) as u64), offset: number as u64 }
}
