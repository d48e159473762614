//! The nouns that write: logs and slots. A write takes its place in the committer's queue when it is first polled.

use std::ops::Bound;

use async_trait::async_trait;
use clarion_model::event::LogEntry;
use clarion_model::key::{Epoch, Key, Position, Slot};
use clarion_observability::metric::Operation;
use clarion_proto::v1;

use super::committer::Work;
use super::db::{Found, View, value};
use super::handle::Handle;
use super::schema::{self, SlotRow, Table, TailRow};
use super::stage::Staged;
use crate::error::{CommitError, ReadError};
use crate::{Batch, LogPage, Logs, SlotRecord, Slots, Tail};

/// How many entries the committer forgets in one turn.
const TRIM_STEP: usize = 1_024;

#[async_trait]
impl Logs for Handle {
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let make = |answer| Work::Commit { staged: Staged::new(&batch), answer };
        self.write(Operation::Commit, "batch", Table::Logs, make).await
    }

    async fn open(&self, key: Key, epoch: Epoch) -> Result<Tail, CommitError> {
        // The answer to the raise came after it was durable, and nothing of an earlier epoch is written after a raise: in
        // a state in which the slot has this epoch, the tail is what it will be for all earlier ones.
        let seen = self.read(Operation::ReadLog, "tail", Table::Tails, move |view| {
            let tail: Option<TailRow> = view.record(Table::Tails, &schema::key(key))?;
            Ok((slot_record(view, key.slot())?.epoch, tail.unwrap_or_default().tail()))
        });
        match seen.await {
            Ok((owner, tail)) if owner == epoch => Ok(tail),
            Ok((owner, _)) => Err(CommitError::Fenced(owner)),
            Err(error) => Err(CommitError::Failed(error.to_string())),
        }
    }

    async fn read(&self, key: Key, after: Position, limit: usize) -> Result<LogPage, ReadError> {
        self.scan(Operation::ReadLog, "range", Table::Logs, move |view| {
            let tail: TailRow = view.record(Table::Tails, &schema::key(key))?.unwrap_or_default();
            if after < tail.trimmed() {
                return Ok(LogPage { entries: Vec::new(), complete: false });
            }
            let rows = log_range(view, key, after, END).take(limit);
            let entries = rows.map(|row| value::<v1::LogEntry, LogEntry>(Table::Logs, &row?.1));
            Ok(LogPage { entries: entries.collect::<Result<_, _>>()?, complete: true })
        })
        .await
    }

    async fn trim(&self, key: Key, upto: Position) -> Result<(), CommitError> {
        loop {
            let found = self.scan(Operation::ReadLog, "trim", Table::Logs, move |view| {
                let tail: TailRow = view.record(Table::Tails, &schema::key(key))?.unwrap_or_default();
                let rows = log_range(view, key, tail.trimmed(), upto).take(TRIM_STEP);
                rows.map(|row| position(&row?.0)).collect::<Result<Vec<_>, _>>()
            });
            let positions = found.await.map_err(|error| CommitError::Failed(error.to_string()))?;
            let last = positions.len() < TRIM_STEP;
            if !positions.is_empty() {
                let make = |answer| Work::Trim { key, positions, answer };
                self.write(Operation::Commit, "trim", Table::Logs, make).await?;
            }
            if last {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl Slots for Handle {
    async fn get(&self, slot: Slot) -> Result<SlotRecord, ReadError> {
        self.read(Operation::ReadSlot, "get", Table::Slots, move |view| slot_record(view, slot)).await
    }

    async fn raise(&self, slots: &[Slot], owner: &str) -> Result<Vec<Epoch>, CommitError> {
        let make = |answer| Work::Raise { slots: slots.to_vec(), owner: owner.to_owned(), answer };
        self.write(Operation::RaiseEpoch, "raise", Table::Slots, make).await
    }
}

/// After every position of a log.
const END: Position = Position { epoch: Epoch(u64::MAX), offset: u64::MAX };

/// The rows of a log after one position, up to and including another.
fn log_range(view: &View<'_>, key: Key, after: Position, upto: Position) -> impl Iterator<Item = Found> + use<> {
    let (after, upto) = (schema::log(key, after), schema::log(key, upto));
    view.range(Table::Logs, (Bound::Excluded(after.as_slice()), Bound::Included(upto.as_slice())))
}

fn position(log_key: &[u8]) -> Result<Position, ReadError> {
    let parts = schema::number(log_key, 9).zip(schema::number(log_key, 17));
    let (epoch, offset) = parts.ok_or_else(|| ReadError::Damaged("logs: key".into()))?;
    Ok(Position { epoch: Epoch(epoch), offset })
}

fn slot_record(view: &View<'_>, slot: Slot) -> Result<SlotRecord, ReadError> {
    let row: SlotRow = view.record(Table::Slots, &schema::slot(slot))?.unwrap_or_default();
    Ok(SlotRecord { epoch: Epoch(row.epoch), owner: row.owner })
}
