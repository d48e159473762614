//! What goes into a log, and what comes out.

use clarion_model::event::LogEntry;
use clarion_model::id::{ChannelId, MessageId, UserId};
use clarion_model::key::{Epoch, Key, Position, Slot};
use clarion_model::message::Nonce;
use clarion_model::time::Timestamp;

/// Entries of one key, to be written together with the rows they change.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The key of all entries.
    pub key: Key,
    /// The epoch in which the writer owns the key's slot.
    pub epoch: Epoch,
    /// In order, each at its position.
    pub entries: Vec<LogEntry>,
    /// A nonce to remember with the message it made.
    pub nonce: Option<NonceRow>,
}

impl Batch {
    /// The slot whose epoch must be the batch's.
    pub fn slot(&self) -> Slot {
        self.key.slot()
    }
}

/// A nonce that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonceRow {
    /// In which channel.
    pub channel_id: ChannelId,
    /// By whom.
    pub author_id: UserId,
    /// Which.
    pub nonce: Nonce,
    /// For which message.
    pub message_id: MessageId,
    /// When; it is forgotten after [`clarion_model::limits::NONCE_TTL`].
    pub at: Timestamp,
}

/// Where a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tail {
    /// The last entry; [`Position::START`] of an empty log.
    pub position: Position,
    /// The highest message id ever given under the key; zero when none was.
    pub last_id: u64,
    /// How many entries are kept.
    pub entries: u64,
}

/// Logs that have grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// Which, each once, and where it ends.
    pub keys: Vec<(Key, Tail)>,
    /// The mark of this answer: what grows from now on has a higher one. Of no meaning to another opening of the store.
    pub mark: u64,
}

/// Part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// The earliest first.
    pub entries: Vec<LogEntry>,
    /// Whether the entries directly after the asked position were still there.
    pub complete: bool,
}

/// What the store knows of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlotRecord {
    /// How often it was taken.
    pub epoch: Epoch,
    /// Who took it last; empty when nobody did.
    pub owner: String,
}
