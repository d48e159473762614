//! One owner's time with one epoch of a slot: places and ids for what it writes, and when that may be acknowledged.

use std::collections::{HashMap, VecDeque};
use std::mem;

use super::{Body, Row, Tail};
use crate::id;
use crate::key::{Epoch, Key, Position};
use crate::time::Timestamp;

/// An owner's side of the rules, from the raising of the epoch to being fenced.
///
/// The driver goes round: [`open`](Self::open) a key and [`propose`](Self::propose) what happens under it;
/// write the [`next_batch`](Self::next_batch), again and again until it is known to be written; then
/// [`written`](Self::written) gives a [`Check`]; read the slot's epoch for it; [`epoch_read`](Self::epoch_read) says what
/// may be acknowledged. Answers that come late, twice or out of order do no harm.
#[derive(Debug)]
pub struct Tenure<T> {
    epoch: Epoch,
    fenced: bool,
    lines: HashMap<Key, Line>,
    /// Proposed, not yet being written.
    queued: Vec<Row<T>>,
    /// Being written.
    writing: Option<Batch<T>>,
    /// Written, with the epoch not yet read since; oldest first.
    unchecked: VecDeque<Batch<T>>,
    batches: u64,
}

/// How far a key has come.
#[derive(Debug)]
struct Line {
    /// The newest row proposed.
    tail: Tail,
    /// The newest row acknowledged, once the seal is.
    acknowledged: Option<Position>,
}

/// Rows to be written together.
#[derive(Debug)]
pub struct Batch<T> {
    /// Tells this batch from every other one.
    pub ticket: Ticket,
    /// In the order in which they were proposed.
    pub rows: Vec<Row<T>>,
}

/// Names a batch of a tenure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    epoch: Epoch,
    number: u64,
}

/// A reading of the slot's epoch that is owed. It has to start after the check was given, and may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "nothing is acknowledged before the epoch is read"]
pub struct Check(Ticket);

/// What a reading of the epoch allows.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict<T> {
    /// These rows are part of the log for ever: answer their senders, tell the followers, in this order.
    Acknowledge(Vec<Row<T>>),
    /// The slot has another owner: [`Tenure::give_up`].
    Fenced,
}

/// Why a tenure does not take something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The slot has another owner.
    #[error("the slot has another owner")]
    Fenced,
    /// The key has to be opened first.
    #[error("the key is not open")]
    NotOpen,
    /// The key was opened before.
    #[error("the key is open already")]
    Open,
}

impl<T> Tenure<T> {
    /// Begins with an epoch that this owner has just raised the slot to.
    pub fn begin(epoch: Epoch) -> Self {
        Self {
            epoch,
            fenced: false,
            lines: HashMap::new(),
            queued: Vec::new(),
            writing: None,
            unchecked: VecDeque::new(),
            batches: 0,
        }
    }

    /// The epoch of this tenure.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Opens a key whose tail was read at quorum since the tenure began, and proposes the seal.
    pub fn open(&mut self, key: Key, tail: Tail) -> Result<(), Refused> {
        // A row of a later epoch tells as much as the register does.
        self.fenced |= tail.position.epoch > self.epoch;
        if self.fenced {
            return Err(Refused::Fenced);
        }
        if self.lines.contains_key(&key) || tail.position.epoch == self.epoch {
            return Err(Refused::Open);
        }
        let seal = Tail { position: self.epoch.start(), last_id: tail.last_id };
        self.lines.insert(key, Line { tail: seal, acknowledged: None });
        self.queued.push(Row {
            key,
            position: seal.position,
            last_id: seal.last_id,
            body: Body::Seal { after: tail.position },
        });
        Ok(())
    }

    /// Gives out an id under a key, higher than all before it in the log.
    pub fn next_id(&mut self, key: Key, now: Timestamp) -> Result<u64, Refused> {
        let tail = &mut self.line(key)?.tail;
        tail.last_id = id::next(now, tail.last_id);
        Ok(tail.last_id)
    }

    /// Puts an entry at the end of a key's log, to be written with the next batch.
    pub fn propose(&mut self, key: Key, entry: T) -> Result<Position, Refused> {
        let tail = &mut self.line(key)?.tail;
        tail.position = tail.position.next();
        let Tail { position, last_id } = *tail;
        self.queued.push(Row { key, position, last_id, body: Body::Entry(entry) });
        Ok(position)
    }

    /// What is to be written now: everything proposed since the last batch. Nothing while a batch is being written.
    pub fn next_batch(&mut self) -> Option<&Batch<T>> {
        if self.fenced || self.writing.is_some() || self.queued.is_empty() {
            return None;
        }
        self.batches += 1;
        let ticket = Ticket { epoch: self.epoch, number: self.batches };
        self.writing = Some(Batch { ticket, rows: mem::take(&mut self.queued) });
        self.writing.as_ref()
    }

    /// The batch being written, to write it again when its fate is unknown.
    pub fn writing(&self) -> Option<&Batch<T>> {
        self.writing.as_ref()
    }

    /// How many rows wait for the next batch; the driver bounds it by not proposing more.
    pub fn waiting(&self) -> usize {
        self.queued.len()
    }

    /// A quorum holds all of a batch. `None` if that is no news.
    pub fn written(&mut self, ticket: Ticket) -> Option<Check> {
        let batch = self.writing.take_if(|batch| batch.ticket == ticket)?;
        self.unchecked.push_back(batch);
        Some(Check(ticket))
    }

    /// The slot's epoch was read for a check. Covers every batch that was written before the check was given.
    pub fn epoch_read(&mut self, check: Check, read: Epoch) -> Verdict<T> {
        let Check(Ticket { epoch, number }) = check;
        self.fenced |= read > self.epoch;
        if self.fenced {
            return Verdict::Fenced;
        }
        // A check of an earlier tenure of the same process proves nothing about this one.
        let mine = epoch == self.epoch && read == self.epoch;
        let covered = self.unchecked.iter().take_while(|batch| mine && batch.ticket.number <= number).count();
        let rows: Vec<_> = self.unchecked.drain(..covered).flat_map(|batch| batch.rows).collect();
        for row in &rows {
            if let Some(line) = self.lines.get_mut(&row.key) {
                line.acknowledged = Some(row.position);
            }
        }
        Verdict::Acknowledge(rows)
    }

    /// The newest row of a key that may be shown, and with it all rows before it. `None` until the seal is acknowledged.
    pub fn acknowledged(&self, key: Key) -> Option<Position> {
        self.lines.get(&key)?.acknowledged
    }

    /// Ends the tenure, fenced or past a deadline, and hands back what was not acknowledged, oldest first. Each of it may
    /// or may not have become part of the log.
    pub fn give_up(self) -> Vec<Row<T>> {
        let batches = self.unchecked.into_iter().chain(self.writing);
        batches.flat_map(|batch| batch.rows).chain(self.queued).collect()
    }

    fn line(&mut self, key: Key) -> Result<&mut Line, Refused> {
        if self.fenced {
            return Err(Refused::Fenced);
        }
        self.lines.get_mut(&key).ok_or(Refused::NotOpen)
    }
}

#[cfg(test)]
mod tests;
