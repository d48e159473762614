//! Followers: a stream a gateway, over which it is told what happens under the keys it follows.
//!
//! A stream has a bounded queue. Whoever lets it run full is cut off, and follows again from where it was.

mod frame;
mod serve;

use std::sync::Arc;

use bytes::Bytes;
use clarion_model::key::{Key, Position};
use clarion_storage::{Logs, ReadError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use frame::{caught, entry, moved, snapshot, transient, voices};
pub(crate) use serve::serve;

/// Entries that are read from a log at a time.
const PAGE: usize = 256;

/// The sending end of a follower's stream.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    /// Tells it from all others of this server.
    pub(crate) id: u64,
    /// The instance of the gateway that reads it.
    pub(crate) gateway: Arc<str>,
    queue: mpsc::Sender<Bytes>,
    cut_off: CancellationToken,
}

/// How far a reading of the log came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Everything up to the goal was sent.
    Goal,
    /// Entries after the start are no longer kept: the follower needs a snapshot.
    Gap,
    /// The follower is gone.
    Gone,
}

impl Stream {
    /// Puts a frame into the queue. `false`: it was full, and the follower is cut off.
    pub(crate) fn push(&self, frame: Bytes) -> bool {
        match self.queue.try_send(frame) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.cut_off.cancel();
                false
            }
        }
    }

    /// Whether nobody is at the other end, or soon will not be.
    pub(crate) fn is_gone(&self) -> bool {
        self.cut_off.is_cancelled() || self.queue.is_closed()
    }

    /// How many frames may come at once for a follower who has caught up.
    pub(crate) fn burst(&self) -> usize {
        (self.queue.max_capacity() / 4).max(1)
    }

    /// Waits for room for a burst and as much again.
    async fn drained(&self) -> bool {
        let room = self.queue.reserve_many((2 * self.burst()).min(self.queue.max_capacity()));
        tokio::select! {
            room = room => room.is_ok(),
            () = self.cut_off.cancelled() => false,
        }
    }

    /// Waits for a place in the queue.
    async fn send(&self, frame: Bytes) -> bool {
        tokio::select! {
            sent = self.queue.send(frame) => sent.is_ok(),
            () = self.cut_off.cancelled() => false,
        }
    }
}

/// Sends what a log has between two places, at the follower's own pace.
pub(crate) async fn replay(
    logs: &dyn Logs,
    key: Key,
    mut from: Position,
    goal: Position,
    stream: &Stream,
) -> Result<Reached, ReadError> {
    'log: while from < goal {
        let page = logs.read(key, from, PAGE).await?;
        if !page.complete || page.entries.is_empty() {
            return Ok(Reached::Gap);
        }
        for read in page.entries {
            if read.position > goal {
                break 'log;
            }
            from = read.position;
            if !stream.send(entry(&read)).await {
                return Ok(Reached::Gone);
            }
        }
    }
    Ok(if stream.drained().await { Reached::Goal } else { Reached::Gone })
}
