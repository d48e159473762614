//! What a holder is asked to do, and the opening of keys.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use clarion_model::key::{Key, Position};
use clarion_model::ownership::{Refused, Tail as ModelTail};

use super::{Answer, End, Holder, Opening, Proposed, Waiter, Waits, Work, now};
use crate::error::{CommitError, ReadError};
use crate::row;
use crate::scylla::line::Line;
use crate::scylla::record::Stored;
use crate::scylla::schema;
use crate::scylla::tail::{self, Found};
use crate::{Batch, Tail};

/// Before a log's end is read again.
const PAUSE: Duration = Duration::from_millis(100);

impl Work {
    pub(super) fn key(&self) -> Key {
        match self {
            Work::Commit { batch, .. } => batch.key,
            Work::Open { key, .. } | Work::Trim { key, .. } => *key,
        }
    }
}

impl Holder {
    /// Does what is asked, or has it wait until the key is open.
    pub(super) fn take(&mut self, work: Work) -> Result<(), End> {
        let key = work.key();
        if self.lines.lock().contains_key(&key) {
            return self.perform(work);
        }
        self.held_back += 1;
        if let Some(opening) = self.opening.get_mut(&key) {
            opening.works.push_back(work);
            return Ok(());
        }
        let works = VecDeque::from([work]);
        self.opening.insert(key, Opening { works, line: None, unapplied: Vec::new() });
        let (client, deadline) = (self.client.clone(), self.deadline());
        self.tails.push(Box::pin(async move {
            loop {
                match tail::read(&client, key).await {
                    Err(ReadError::Failed(_)) if Instant::now() + PAUSE < deadline => tokio::time::sleep(PAUSE).await,
                    found => return (key, found),
                }
            }
        }));
        Ok(())
    }

    /// The end of a key's log was read: its seal is next.
    pub(super) fn tail_read(&mut self, key: Key, found: Result<Found, ReadError>) -> Result<(), End> {
        let found = found.map_err(|error| End::GivenUp(error.to_string()))?;
        let tail = ModelTail { position: found.newest, last_id: found.last_id };
        match self.tenure.open(key, tail) {
            Ok(()) => {}
            Err(Refused::Fenced) => return Err(End::Fenced(found.newest.epoch)),
            Err(error) => return Err(End::GivenUp(format!("{key}: {error}"))),
        }
        let epoch = self.tenure.epoch();
        let mut line = Line {
            seals: found.seals,
            trimmed: found.trimmed,
            proposed: epoch.start(),
            applied: found.entry,
            last_id: found.last_id,
            stamp: found.stamp,
        };
        line.seals.insert(epoch, found.newest);
        line.next_stamp(schema::number(now().as_micros()));
        if let Some(opening) = self.opening.get_mut(&key) {
            opening.line = Some(line);
            opening.unapplied = found.unapplied;
        }
        Ok(())
    }

    /// A key's seal is acknowledged and the tables have everything before it: what waited for the key is done.
    pub(super) fn opened(&mut self, key: Key) -> Result<(), End> {
        let Some(Opening { works, line: Some(line), .. }) = self.opening.remove(&key) else { return Ok(()) };
        // What was written before, by whomever, others may not have been told of.
        self.news.tell(std::iter::once(key).filter(|_| line.applied != Position::START));
        self.lines.lock().insert(key, line);
        self.held_back -= works.len();
        works.into_iter().try_for_each(|work| self.perform(work))
    }

    /// Does what is asked of a key that is open.
    fn perform(&mut self, work: Work) -> Result<(), End> {
        match work {
            Work::Commit { batch, encoded, answer } => self.propose(batch, encoded, answer),
            Work::Open { key, answer } => {
                self.when_settled(key, answer);
                Ok(())
            }
            Work::Trim { key, upto, answer } => {
                self.trim(key, upto, answer);
                Ok(())
            }
        }
    }

    fn propose(&mut self, batch: Batch, encoded: Vec<Vec<u8>>, answer: Answer<()>) -> Result<(), End> {
        let mut lines = self.lines.lock();
        let Some(line) = lines.get_mut(&batch.key) else { return Ok(()) };
        let Some(last) = batch.entries.last().map(|entry| entry.position) else {
            let _ = answer.send(Ok(()));
            return Ok(());
        };
        if last <= line.applied {
            // It is written again by somebody who does not know that it was.
            let _ = answer.send(Ok(()));
            return Ok(());
        }
        if last <= line.proposed {
            self.waiters.push(Waiter { key: batch.key, position: last, answer: Waits::Written(answer) });
            return Ok(());
        }
        let proposed = line.proposed;
        let new: Vec<_> =
            batch.entries.into_iter().zip(encoded).filter(|(entry, _)| entry.position > proposed).collect();
        let places = std::iter::successors(Some(proposed.next()), |place| Some(place.next()));
        if !new.iter().zip(places).all(|((entry, _), place)| entry.position == place && entry.key == batch.key) {
            // It was on its way when the batch before it was refused.
            let _ = answer.send(Err(CommitError::Full));
            return Ok(());
        }
        let (mut answer, mut nonce) = (Some(answer), batch.nonce);
        let since = Instant::now();
        let clock = schema::number(now().as_micros());
        for (entry, encoded) in new {
            let position = entry.position;
            let is_last = position == last;
            line.last_id = line.last_id.max(row::new_message(&entry).map_or(0, |id| id.0));
            let nonce = if is_last { nonce.take() } else { None };
            let stored = Stored { stamp: line.next_stamp(clock), entry, nonce };
            self.bytes += encoded.len();
            let answer = if is_last { answer.take() } else { None };
            match self.tenure.propose(batch.key, Proposed { stored, encoded, since, answer }) {
                Ok(place) if place == position => line.proposed = place,
                Ok(place) => return Err(End::GivenUp(format!("{}: {position} was to go to {place}", batch.key))),
                Err(error) => return Err(End::GivenUp(format!("{}: {error}", batch.key))),
            }
        }
        Ok(())
    }

    /// Tells where a log ends once nothing of it is on its way.
    fn when_settled(&mut self, key: Key, answer: Answer<Tail>) {
        let position = self.lines.lock().get(&key).map_or(Position::START, |line| line.proposed);
        self.waiters.push(Waiter { key, position, answer: Waits::Opened(answer) });
        self.answer_waiters();
    }

    /// Answers those whose position is reached.
    pub(super) fn answer_waiters(&mut self) {
        let lines = self.lines.lock();
        let reached = |waiter: &mut Waiter| {
            let line = lines.get(&waiter.key);
            // A seal that is acknowledged is no entry, and nothing lies before it that is not applied.
            line.is_some_and(|line| waiter.position.offset == 0 || waiter.position <= line.applied)
        };
        for waiter in self.waiters.extract_if(.., reached) {
            let _ = match waiter.answer {
                Waits::Written(answer) => answer.send(Ok(())).is_ok(),
                Waits::Opened(answer) => {
                    let line = lines.get(&waiter.key);
                    answer.send(Ok(line.map(Line::tail).unwrap_or_default())).is_ok()
                }
            };
        }
    }
}
