//! Taking a slot and acknowledging a write: the rules, pure.
//!
//! Owners can be slow, cut off, stopped for minutes and woken again, and two can believe at the same time that a slot is
//! theirs. Nothing here tries to prevent that. The rules see to it that it does no harm, and they need no clock: all
//! safety is in what the store holds. Leases only decide who tries to take a slot, and when.
//!
//! # What the store gives
//!
//! * For every slot a *register* that holds an epoch and is changed by compare-and-set. Reads of it are linearizable: who
//!   reads after a change is complete, reads the change.
//! * For every key *rows* at positions. A row is written when a quorum holds it; until then its fate is unknown: it may
//!   turn up late, from a writer long gone. The rows of one batch under one key come to a replica together or not at all.
//!
//! # The rules
//!
//! 1. **Raise.** To take a slot, read its epoch and compare-and-set it to the next one. Who raised it owns that epoch, alone
//!    and for ever. An unknown outcome counts as a loss: raise again; an epoch that nobody uses does no harm.
//! 2. **Read.** *After* that, read a key's tail at quorum, and write back to a quorum what only some replicas had. This
//!    may be done key by key when one is first needed. Rows that no quorum holds yet are in the last batch only, so the
//!    read has to return at least all of that one.
//! 3. **Seal.** The first row that an owner writes under a key says which row it continues after. It sits at offset 0 of
//!    the owner's epoch and seals the ones before: whatever else they hold beyond that row is not part of the log, now
//!    or later. No other row of the epoch is written in an earlier batch than its seal.
//! 4. **One batch at a time.** The next batch is written when the last one is known to be. On an unknown outcome the same
//!    batch is written again, with what follows held back; past a deadline the slot is given up.
//! 5. **Acknowledge.** When a batch is written, read the slot's epoch: the read has to start after the write is known.
//!    Is it still one's own, the batch may be acknowledged and shown to followers. Else nothing is, and the slot is
//!    dropped. This holds for seals as well: before its seal is acknowledged, an owner shows nothing of a key.
//! 6. **Ids** go up from the last id in the tail, whatever the clock says.
//!
//! # Why that is enough
//!
//! Say an owner acknowledged a row of epoch *e*. It read *e* in the register after the row was written, so every later
//! epoch was raised after the row was written, and its owner's read of the tail (rule 2 follows rule 1) found the row.
//! That owner's seal therefore continues after it or after something that does, step by step: **the [`Chain`] of seals,
//! walked back from any later owner, goes through every acknowledged row.** The rest follows:
//!
//! * *Nothing acknowledged is lost*, and it stays at its place.
//! * *Nothing shown disappears*, for only acknowledged rows and what lies before them is shown.
//! * *No two acknowledge at one place*: places of an epoch belong to its owner, and there is one.
//! * *Ids and positions rise*: the next owner's epoch is higher, and its ids start from the tail that it seals.
//! * *A nonce counts once*: an owner that reads the log before it writes finds the nonces of everything that the log will
//!   ever hold from before.
//!
//! A row that was written but never acknowledged may end up on either side of the next seal. Its sender was told nothing,
//! asks again with the same nonce, and learns which.
//!
//! # What that asks of a store
//!
//! A batch brings more than log rows: messages, nonces, whatever an event changes. A batch that turns up late brings all of
//! it, beyond a seal. So everything stored along with a log row carries the row's position, never replaces what another
//! position has stored, and counts only if [`Chain::holds`] that position. A store is spared this if it can refuse a batch
//! of an older epoch while writing it, as one within a single process can; or if it writes log rows alone, and the rest
//! when they are acknowledged.
//!
//! A key's newest row stays when old ones are cleared away, for its position and last id; so do the seals that the chain
//! needs for rows that are still there.
//!
//! [`Tenure`] is the owner's side of rules 3 to 6. It holds no rows but those on their way, and says what to do next; a
//! driver does it. The tests run owners over a store whose messages are delayed, doubled, lost and mixed up, and show for
//! each rule that breaking it is found out.

mod chain;
mod tenure;

pub use chain::Chain;
pub use tenure::{Batch, Check, Refused, Tenure, Ticket, Verdict};

use crate::key::{Epoch, Key, Position};

/// What is stored at a position of a key's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<T> {
    /// Under which key.
    pub key: Key,
    /// At which place.
    pub position: Position,
    /// The newest id given out under the key, this row's own included.
    pub last_id: u64,
    /// What it says.
    pub body: Body<T>,
}

/// What a row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<T> {
    /// The first row of an epoch, at offset 0: the log goes on here after an older row, and that row's epoch ends with it.
    Seal {
        /// The last row before this one that is part of the log; [`Position::START`] when there is none.
        after: Position,
    },
    /// Something that happened.
    Entry(T),
}

/// Where a key's log ends, as far as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tail {
    /// The newest row.
    pub position: Position,
    /// The newest id up to there.
    pub last_id: u64,
}

impl<T> Row<T> {
    /// The log's end, if this is its newest row.
    pub fn tail(&self) -> Tail {
        Tail { position: self.position, last_id: self.last_id }
    }

    /// What the row continues after, if it is a seal.
    pub fn seals(&self) -> Option<Position> {
        match self.body {
            Body::Seal { after } => Some(after),
            Body::Entry(_) => None,
        }
    }
}

impl Epoch {
    /// The epoch to set when taking a slot that stands at this one.
    pub fn raised(self) -> Self {
        Self(self.0 + 1)
    }

    /// The place of the epoch's seal under any key.
    pub fn start(self) -> Position {
        Position { epoch: self, offset: 0 }
    }
}
