//! Reading a key's log out of the store: its seals, its end, what the tables may lack of it, its entries.

use std::ops::ControlFlow;

use clarion_model::event::LogEntry;
use clarion_model::key::{Epoch, Key, Position};
use scylla::DeserializeRow;

use super::client::Client;
use super::line::{Seals, Seen, count, last_entry};
use super::record::{self, Stored};
use super::{schema, slots};
use crate::Tail;
use crate::error::ReadError;

/// What the store has of a key.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) seals: Seals,
    pub(super) trimmed: Position,
    /// The newest row: an entry, or a seal.
    pub(super) newest: Position,
    /// The newest entry.
    pub(super) entry: Position,
    pub(super) last_id: u64,
    pub(super) stamp: i64,
    /// The newest row's mark: up to here everything is acknowledged, and in the tables.
    pub(super) applied: Position,
    /// Entries that the tables may lack, in order: those after the mark.
    pub(super) unapplied: Vec<Stored>,
}

/// A seal, with what its partition has beside the seals.
#[derive(DeserializeRow)]
struct Seal {
    epoch: Option<i64>,
    after_epoch: Option<i64>,
    after_offset: Option<i64>,
    last_id: Option<i64>,
    stamp: Option<i64>,
    trimmed_epoch: Option<i64>,
    trimmed_offset: Option<i64>,
    trimmed_stamp: Option<i64>,
}

/// A row of a log but for its body.
type End = (i64, i64, i64, i64, i64);

impl Found {
    /// The tail as an owner asks for it.
    pub(super) fn tail(&self) -> Tail {
        self.tail_at(self.entry)
    }

    /// The same of a log that is only seen up to a position.
    pub(super) fn tail_at(&self, position: Position) -> Tail {
        let entries = count(&self.seals, position, self.trimmed);
        Tail { position, last_id: self.last_id, entries }
    }

    /// The last entry that is part of the log whatever happens, for who read the slot's epoch after this. While the epoch
    /// is that of the newest seal, whoever takes the slot next finds the newest entry, because this reader has. Once it is
    /// a later one, the next owner may have read the log before the newest rows were written.
    pub(super) fn certain(&self, epoch: Epoch) -> Position {
        match self.seals.last_key_value() {
            Some((sealed, _)) if *sealed == epoch => self.entry,
            _ => self.applied.min(self.entry),
        }
    }
}

/// Reads where a log ends, and what the tables may lack of it.
pub(super) async fn read(client: &Client, key: Key) -> Result<Found, ReadError> {
    let mut found = end(client, key).await?;
    let seen = Seen::new(&found.seals, found.applied, found.entry);
    found.unapplied = entries(client, key, &seen, found.applied, usize::MAX).await?;
    let last = found.unapplied.last().map(|stored| stored.entry.position);
    if found.applied < found.entry && last != Some(found.entry) {
        return Err(ReadError::Damaged(format!("logs: the newest entries are missing of {key} at {}", found.newest)));
    }
    Ok(found)
}

/// Reads where a log ends, at quorum; what only some replicas had is written back by the read.
///
/// The seals come first. No row of an epoch is written before its seal is, so that the newest row belongs to the newest
/// seal, or is that seal; what others write meanwhile lies beyond the seal that whoever takes the slot writes next.
pub(super) async fn end(client: &Client, key: Key) -> Result<Found, ReadError> {
    let (kind, id) = schema::key(key);
    let mut found = Found::default();
    let seals: Vec<Seal> = client.rows(client.bind(&client.statements.seals, &(kind, id))).await?;
    for seal in seals {
        found.trimmed = schema::position_of(seal.trimmed_epoch.unwrap_or(0), seal.trimmed_offset.unwrap_or(0));
        // The next mark has to be later than the last one, whatever the clock says.
        found.stamp = found.stamp.max(seal.trimmed_stamp.unwrap_or(0)).max(seal.stamp.unwrap_or(0));
        // A partition with nothing but its own columns has one row without a seal.
        if let (Some(epoch), Some(after_epoch), Some(after_offset)) = (seal.epoch, seal.after_epoch, seal.after_offset)
        {
            let after = schema::position_of(after_epoch, after_offset);
            found.seals.insert(schema::position_of(epoch, 0).epoch, after);
            found.last_id = seal.last_id.unwrap_or(0) as u64;
        }
    }
    let Some(sealed) = found.seals.last_key_value().map(|(epoch, _)| *epoch) else { return Ok(found) };
    let epoch = schema::number(sealed.0);
    let mut end: Option<End> = client.row(client.bind(&client.statements.log_newest, &(kind, id, epoch))).await?;
    found.newest = schema::position_of(epoch, end.map_or(0, |end| end.0));
    let damaged = |what: &str| ReadError::Damaged(format!("{what} of {key} at {}", found.newest));
    found.entry =
        last_entry(&found.seals, found.newest).ok_or_else(|| damaged("seals: one is missing before the end"))?;
    if end.is_none() && found.entry != Position::START {
        let (epoch, offset) = schema::position(found.entry);
        end = client.row(client.bind(&client.statements.log_at, &(kind, id, epoch, offset))).await?;
    }
    let Some((_, stamp, last_id, applied_epoch, applied_offset)) = end else {
        return if found.entry == Position::START { Ok(found) } else { Err(damaged("logs: the last row is missing")) };
    };
    found.last_id = found.last_id.max(last_id as u64);
    found.stamp = found.stamp.max(stamp);
    found.applied = schema::position_of(applied_epoch, applied_offset);
    Ok(found)
}

/// What a reader who does not own the key may see of its log.
pub(super) async fn seen(client: &Client, key: Key) -> Result<Seen, ReadError> {
    let found = end(client, key).await?;
    let upto = match found.entry {
        Position::START => Position::START,
        _ => found.certain(slots::get(client, key.slot()).await?.epoch),
    };
    Ok(Seen::new(&found.seals, found.trimmed, upto))
}

/// The entries after a position that may be seen, at most `limit`.
pub(super) async fn entries(
    client: &Client,
    key: Key,
    seen: &Seen,
    after: Position,
    limit: usize,
) -> Result<Vec<Stored>, ReadError> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    let (kind, id) = schema::key(key);
    let (epoch, offset) = schema::position(after);
    type Columns = (i64, i64, i64, Vec<u8>);
    let each = |(epoch, offset, _, body): Columns| {
        // A row is named by its last entry, and is of one epoch: whether it is part of the log is one question.
        let last = schema::position_of(epoch, offset);
        if seen.holds(last) {
            let stored = record::decode(&body)?;
            if stored.last().is_none_or(|stored| stored.entry.position != last || stored.entry.key != key) {
                return Err(ReadError::Damaged(format!("logs: row {last} of {key}")));
            }
            found.extend(stored.into_iter().filter(|stored| stored.entry.position > after));
        }
        Ok(if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    client.pages(client.bind(&client.statements.log_after, &(kind, id, epoch, offset)), each).await?;
    found.truncate(limit);
    Ok(found)
}

/// The entries alone.
pub(super) fn plain(stored: Vec<Stored>) -> Vec<LogEntry> {
    stored.into_iter().map(|stored| stored.entry).collect()
}
