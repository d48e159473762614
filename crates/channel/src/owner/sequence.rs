//! The places in a key's log and the ids of its messages: both only rise.

use clarion_model::id::{self, MessageId};
use clarion_model::key::{Epoch, Position};
use clarion_model::time::Timestamp;
use clarion_storage::Tail;

/// What was given out last, durable or on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sequence {
    epoch: Epoch,
    last: Position,
    last_id: u64,
}

impl Sequence {
    /// Goes on after a tail; the first place of a new epoch is its offset 1.
    pub(super) fn new(epoch: Epoch, tail: Tail) -> Self {
        let last = if tail.position.epoch == epoch { tail.position } else { Position { epoch, offset: 0 } };
        Self { epoch, last, last_id: tail.last_id }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn next_position(&mut self) -> Position {
        self.last = self.last.next();
        self.last
    }

    /// The place that [`Sequence::next_position`] will give.
    pub(super) fn upcoming(&self) -> Position {
        self.last.next()
    }

    pub(super) fn next_id(&mut self, now: Timestamp) -> MessageId {
        self.last_id = id::next(now, self.last_id);
        MessageId(self.last_id)
    }
}
