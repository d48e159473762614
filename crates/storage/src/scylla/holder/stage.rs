//! The three stages of a write: into the logs; the epoch read after it; into the tables.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_model::key::{Epoch, Key, Position, Slot};
use clarion_model::ownership::{Batch, Body, Check, Row, Ticket, Verdict};
use futures_util::future::{join_all, try_join_all};
use prost::Message as _;

use super::{Answer, End, Holder, Proposed, now};
use crate::error::{CommitError, ReadError};
use crate::scylla::client::{Client, Fault};
use crate::scylla::record::{LogRow, Stored, StoredNonce};
use crate::scylla::{schema, slots};

/// Before the epoch is read again.
const PAUSE: Duration = Duration::from_millis(50);

/// A row to write: always the same, however often.
enum Write {
    Seal { key: Key, epoch: Epoch, after: Position, last_id: u64, stamp: i64 },
    Log { key: Key, last: Position, last_id: u64, stamp: i64, applied: Position, body: Vec<u8> },
}

impl Holder {
    /// Starts each stage that has something to do and is free.
    pub(super) fn start_stages(&mut self) {
        if self.checking.is_none()
            && let Some(check) = self.due.take()
        {
            let (client, slot, deadline) = (self.client.clone(), self.slot, self.deadline());
            self.checking = Some(Box::pin(async move { (check, read_epoch(&client, slot, deadline).await) }));
        }
        if self.writing.is_none() {
            self.start_writing();
        }
        if self.applying.is_none() && !self.acknowledged.is_empty() {
            self.start_applying();
        }
    }

    fn start_writing(&mut self) {
        let Some(batch) = self.tenure.next_batch() else { return };
        let ticket = batch.ticket;
        let lines = self.lines.lock();
        let line = |key: Key| self.opening.get(&key).and_then(|o| o.line.as_ref()).or_else(|| lines.get(&key));
        let writes = writes(batch, |key| line(key).map(|line| (line.applied, line.last_id, line.stamp)));
        drop(lines);
        self.bytes = 0;
        let (client, deadline) = (self.client.clone(), Instant::now() + self.client.config.write_deadline());
        self.writing = Some(Box::pin(async move {
            let written = try_join_all(writes.iter().map(|row| row.write(&client, deadline))).await;
            (ticket, written.map(|_| ()))
        }));
    }

    /// A batch is known to be written, or its fate stayed unknown.
    pub(super) fn written(&mut self, ticket: Ticket, result: Result<(), Fault>) -> Result<(), End> {
        result.map_err(|fault| End::GivenUp(fault.to_string()))?;
        if let Some(check) = self.tenure.written(ticket) {
            // A check covers all that was written before it.
            self.due = Some(check);
        }
        Ok(())
    }

    /// The epoch was read.
    pub(super) fn checked(&mut self, check: Check, read: Result<Epoch, ReadError>) -> Result<(), End> {
        let read = read.map_err(|error| End::GivenUp(error.to_string()))?;
        if read < self.tenure.epoch() {
            return Err(End::GivenUp(format!("slot {}: the store has forgotten an epoch", self.slot)));
        }
        match self.tenure.epoch_read(check, read) {
            Verdict::Acknowledge(rows) => self.acknowledged.extend(rows),
            Verdict::Fenced => return Err(End::Fenced(read)),
        }
        Ok(())
    }

    pub(super) fn start_applying(&mut self) {
        let rows = std::mem::take(&mut self.acknowledged);
        let mut entries: Vec<Stored> = Vec::new();
        for row in &rows {
            match &row.body {
                Body::Seal { .. } => {
                    entries.extend(self.opening.get(&row.key).into_iter().flat_map(|o| o.unapplied.iter().cloned()));
                }
                Body::Entry(proposed) => entries.push(proposed.stored.clone()),
            }
        }
        let (applier, deadline) = (self.applier.clone(), self.deadline());
        self.applying = Some(Box::pin(async move {
            let result = applier.apply(&entries, deadline).await;
            (rows, result)
        }));
    }

    /// The tables have what is acknowledged: whoever waits for it is answered.
    pub(super) fn applied(&mut self, rows: Vec<Row<Proposed>>, result: Result<(), Fault>) -> Result<(), End> {
        if let Err(fault) = result {
            self.acknowledged.splice(0..0, rows);
            return Err(End::GivenUp(fault.to_string()));
        }
        let mut answers: Vec<Answer<()>> = Vec::new();
        let (mut sealed, mut grown, mut since) = (Vec::new(), Vec::new(), None);
        let mut lines = self.lines.lock();
        for row in rows {
            match row.body {
                Body::Seal { .. } => sealed.push(row.key),
                Body::Entry(proposed) => {
                    if let Some(line) = lines.get_mut(&row.key) {
                        line.applied = row.position;
                    }
                    grown.push(row.key);
                    since = since.or(Some(proposed.since));
                    answers.extend(proposed.answer);
                }
            }
        }
        drop(lines);
        self.news.tell(grown.into_iter());
        if let Some(since) = since {
            self.client.metrics.commit_latency.record_duration(since.elapsed());
            self.client.metrics.commit_batches.record(answers.len() as f64);
        }
        for answer in answers {
            // Who has gone away needs no answer.
            let _ = answer.send(Ok(()));
        }
        sealed.into_iter().try_for_each(|key| self.opened(key))?;
        self.answer_waiters();
        Ok(())
    }

    /// Forgets entries, beside the work: the mark first, so that nobody reads a log with holes.
    pub(super) fn trim(&mut self, key: Key, upto: Position, answer: Answer<()>) {
        let mut lines = self.lines.lock();
        let Some(line) = lines.get_mut(&key) else { return };
        let goal = line.entry_at(upto);
        if goal <= line.trimmed {
            let _ = answer.send(Ok(()));
            return;
        }
        // The newest row stays, for its position and last id.
        let mut end = goal;
        if goal == line.applied {
            end.offset -= 1;
        }
        // Higher than that of all that is forgotten, and than that of an earlier mark.
        let stamp = line.next_stamp(schema::number(now().as_micros()));
        drop(lines);
        let (client, lines, deadline) = (self.client.clone(), self.lines.clone(), self.deadline());
        self.trims.push(Box::pin(async move {
            let result = forget(&client, key, goal, end, stamp, deadline).await;
            if result.is_ok()
                && let Some(line) = lines.lock().get_mut(&key)
            {
                line.trimmed = line.trimmed.max(goal);
                line.seals = line.seals.split_off(&goal.epoch);
            }
            let _ = answer.send(result.map_err(|fault| CommitError::Unknown(fault.to_string())));
        }));
    }
}

/// The rows of a batch: a seal each, and for each key one row with all its entries.
fn writes(batch: &Batch<Proposed>, line: impl Fn(Key) -> Option<(Position, u64, i64)>) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut keys: Vec<(Key, Vec<&Row<Proposed>>)> = Vec::new();
    for row in &batch.rows {
        match row.body {
            Body::Seal { after } => {
                let (_, last_id, stamp) = line(row.key).unwrap_or_default();
                writes.push(Write::Seal { key: row.key, epoch: row.position.epoch, after, last_id, stamp });
            }
            Body::Entry(_) => match keys.iter_mut().find(|(key, _)| *key == row.key) {
                Some((_, rows)) => rows.push(row),
                None => keys.push((row.key, vec![row])),
            },
        }
    }
    for (key, rows) in keys {
        let Some(last) = rows.last().map(|row| row.position) else { continue };
        let (applied, last_id, _) = line(key).unwrap_or_default();
        let mut body = LogRow::default();
        for (index, row) in rows.iter().enumerate() {
            if let Body::Entry(proposed) = &row.body {
                body.entries.push(proposed.encoded.clone());
                body.stamps.push(proposed.stored.stamp);
                body.nonces.extend(proposed.stored.nonce.iter().map(|nonce| StoredNonce::new(index, nonce)));
            }
        }
        let stamp = body.stamps.last().copied().unwrap_or_default();
        writes.push(Write::Log { key, last, last_id, stamp, applied, body: body.encode_to_vec() });
    }
    writes
}

impl Write {
    async fn write(&self, client: &Arc<Client>, deadline: Instant) -> Result<(), Fault> {
        let all = &client.statements;
        match self {
            Write::Seal { key, epoch, after, last_id, stamp } => {
                let ((kind, id), (after_epoch, after_offset)) = (schema::key(*key), schema::position(*after));
                let epoch = schema::number(epoch.0);
                let row = (kind, id, epoch, after_epoch, after_offset, *last_id as i64, stamp, stamp);
                client.write(client.bind(&all.put_seal, &row), deadline).await
            }
            Write::Log { key, last, last_id, stamp, applied, body } => {
                let ((kind, id), (epoch, offset)) = (schema::key(*key), schema::position(*last));
                let (applied_epoch, applied_offset) = schema::position(*applied);
                let last_id = *last_id as i64;
                let row =
                    (kind, id, epoch, offset, stamp, last_id, applied_epoch, applied_offset, body.as_slice(), stamp);
                client.write(client.bind(&all.put_log, &row), deadline).await
            }
        }
    }
}

/// Reads a slot's epoch at quorum. Who raises it ends by writing to a quorum, so that a read which begins after a raise
/// has ended finds that one or a later one.
async fn read_epoch(client: &Client, slot: Slot, deadline: Instant) -> Result<Epoch, ReadError> {
    loop {
        match slots::get(client, slot).await {
            Ok(record) => return Ok(record.epoch),
            Err(ReadError::Failed(_)) if Instant::now() + PAUSE < deadline => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}

async fn forget(
    client: &Client,
    key: Key,
    goal: Position,
    end: Position,
    stamp: i64,
    deadline: Instant,
) -> Result<(), Fault> {
    let (kind, id) = schema::key(key);
    let (epoch, offset) = schema::position(goal);
    let all = &client.statements;
    client.write(client.bind(&all.put_trimmed, &(stamp, epoch, offset, kind, id)), deadline).await?;
    let (_, offset) = schema::position(end);
    let older = (stamp, kind, id, epoch);
    let results = join_all([
        Box::pin(client.write(client.bind(&all.delete_log_epochs, &older), deadline))
            as futures_util::future::BoxFuture<'_, _>,
        Box::pin(client.write(client.bind(&all.delete_seals, &older), deadline)),
    ])
    .await;
    results.into_iter().collect::<Result<(), _>>()?;
    client.write(client.bind(&all.delete_log, &(stamp, kind, id, epoch, offset)), deadline).await
}
