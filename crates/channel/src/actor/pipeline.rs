//! The way of a command: read for, decided, written, answered.

use std::future::{poll_fn, ready};
use std::task::Poll;
use std::time::Instant;

use clarion_model::event::{Event, GuildEvent, LogEntry};
use clarion_model::id::ChannelId;
use clarion_model::key::Position;
use clarion_model::message::TraceId;
use clarion_observability::metric::{ChannelSize, DuplicateReason};
use clarion_observability::{Fields, Instrument, Span, TraceContext, log, span};
use clarion_storage::{CommitError, ReadError};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use tokio::sync::oneshot;

use super::{Actor, Ask, End, Reply, find, load};
use crate::follow::entry as entry_frame;
use crate::keys::Failure;
use crate::owner::{Answer, Command, Found, Outcome, Proposal};

/// A batch on its way, and who waits for it.
pub(super) struct InFlight {
    entries: Vec<LogEntry>,
    answer: Answer,
    span: Span,
    channel: ChannelId,
    waiting: Vec<oneshot::Sender<Reply>>,
}

impl InFlight {
    fn last(&self) -> Option<Position> {
        self.entries.last().map(|entry| entry.position)
    }

    fn answer(self, answer: &Result<(), Failure>) {
        for waiting in self.waiting {
            let answer = answer.clone().map(|()| self.answer.clone());
            // Who does not wait any more does not need it.
            let _ = waiting.send(Reply::Answer(answer));
        }
    }
}

impl Actor {
    /// A command has come: read what has to be known of its subject, behind those that came before it.
    pub(super) async fn take(&mut self, ask: Box<Ask>) {
        let needed = find::is_needed(&ask.command);
        if !needed && self.reading.is_empty() && self.held_back.is_none() && !self.barrier {
            return Box::pin(self.decide(ask, Found::default())).await;
        }
        let (key, stores) = (self.start.key, self.start.keys.stores().clone());
        let new_channels = ask.command.new_channels(&self.owner.shared().read().state);
        let span = ask.span.clone();
        let reading = async move {
            let found = match needed {
                true => find::find(&stores, key, &ask.command, &new_channels).await,
                false => Ok(Found::default()),
            };
            (ask, found)
        };
        self.reading.push_back(Box::pin(reading.instrument(span)));
    }

    pub(super) async fn decide_read(&mut self, ask: Box<Ask>, found: Result<Found, ReadError>) {
        match found {
            Ok(found) => Box::pin(self.decide(ask, found)).await,
            Err(error) => {
                span::fail(&ask.span, error.error_type());
                ask.answer(Err(Failure::Unavailable("the store does not answer")));
            }
        }
    }

    async fn decide(&mut self, ask: Box<Ask>, found: Found) {
        let structural = ask.command.is_structural();
        if structural && !self.in_flight.is_empty() {
            self.held_back = Some((ask, found));
            return;
        }
        let Ask { mut command, span, reply, waits } = *ask;
        drop(waits);
        if let Command::CreateMessage(new) = &mut command {
            new.trace_id = TraceContext::of(&span).trace_id_bytes().map(TraceId);
        }
        let channel = command.channel().unwrap_or(ChannelId(self.start.key.parts().1));
        let now = self.start.keys.now();
        let metrics = self.start.keys.metrics();
        let answer = match self.owner.propose(now, command, found) {
            Ok(Outcome::Write(proposal)) => {
                self.barrier = structural;
                return self.write(proposal, channel, span, reply).await;
            }
            Ok(Outcome::Join(position)) => {
                metrics.duplicates.with(DuplicateReason::RaceCondition).increment(1);
                let same = self.in_flight.iter_mut().find(|batch| batch.last() >= Some(position));
                if let Some(batch) = same {
                    batch.waiting.push(reply);
                    return;
                }
                Err(Failure::Unavailable("the first attempt is not settled"))
            }
            Ok(Outcome::Answer(answer)) => {
                if matches!(answer, Answer::Duplicate(_)) {
                    metrics.duplicates.with(DuplicateReason::Retry).increment(1);
                }
                Ok(answer)
            }
            Ok(Outcome::Tell(event)) => {
                self.tell_in(&span, event);
                Ok(Answer::Done)
            }
            Err(refusal) => Err(Failure::Refused(refusal)),
        };
        let _ = reply.send(Reply::Answer(answer));
    }

    async fn write(&mut self, proposal: Proposal, channel: ChannelId, span: Span, reply: oneshot::Sender<Reply>) {
        let Proposal { mut batch, answer } = proposal;
        let traceparent = TraceContext::of(&span).traceparent();
        for entry in &mut batch.entries {
            entry.traceparent.clone_from(&traceparent);
        }
        let entries = batch.entries.clone();
        self.in_flight.push_back(InFlight { entries, answer, span: span.clone(), channel, waiting: vec![reply] });
        let logs = self.start.keys.stores().logs.clone();
        let mut commit: BoxFuture<'static, _> = Box::pin(async move { logs.commit(batch).await }.instrument(span));
        // The store keeps the order of the calls, and a call begins when it is first polled.
        let begun = poll_fn(|cx| Poll::Ready(commit.as_mut().poll(cx))).await;
        self.writing.push_back(match begun {
            Poll::Ready(result) => Box::pin(ready(result)),
            Poll::Pending => commit,
        });
    }

    /// The earliest batch on its way has come to an end.
    pub(super) async fn written(&mut self, result: Result<(), CommitError>) -> Result<(), End> {
        let Some(batch) = self.in_flight.pop_front() else { return Ok(()) };
        if let Err(error) = result {
            return Box::pin(self.failed(batch, error)).await;
        }
        self.owner.apply(&batch.entries);
        let (structural, span) = (self.barrier, batch.span.clone());
        self.fan_out(batch);
        if structural {
            self.review_voices(&span);
        }
        if self.in_flight.is_empty() {
            self.barrier = false;
            if let Some((ask, found)) = self.held_back.take() {
                Box::pin(self.decide(ask, found)).await;
            }
        }
        Ok(())
    }

    /// The entries of a batch go to the followers, then the answer to who asked.
    fn fan_out(&mut self, mut batch: InFlight) {
        let begun = Instant::now();
        let metrics = self.start.keys.metrics();
        let members = self.owner.shared().read().state.member_count();
        let recipients = self.followers.len();
        let fanout = batch.span.in_scope(|| span::channel_fanout(batch.channel, recipients));
        let traceparent = TraceContext::of(&fanout).traceparent();
        for entry in &mut batch.entries {
            if recipients > 0 {
                entry.traceparent.clone_from(&traceparent);
                self.followers.push(&entry_frame(entry));
            }
        }
        drop(fanout);
        let count = batch.entries.len() as u64;
        metrics.fanouts.with(ChannelSize::of(members)).increment(count);
        metrics.fanout_size.record(recipients as f64);
        metrics.fanout_latency.record_duration(begun.elapsed());
        batch.span.in_scope(|| log_changes(&batch.entries));
        batch.answer(&Ok(()));
        let (keys, now) = (&self.start.keys, self.start.keys.now());
        if self.trimming.added(count, now) {
            let logs = keys.stores().logs.clone();
            self.trimming.begin(keys.host(), logs, self.start.key, self.owner.applied(), now);
        }
    }

    /// A write failed. What follows it cannot stand: everything on its way is given up, and the key begins anew.
    async fn failed(&mut self, first: InFlight, error: CommitError) -> Result<(), End> {
        let mut worst = error;
        let mut given_up = vec![first];
        while let Some(result) = self.writing.next().await {
            given_up.extend(self.in_flight.pop_front());
            if let Err(error) = result
                && severity(&error) > severity(&worst)
            {
                worst = error;
            }
        }
        let answer = Err(match worst {
            CommitError::Fenced(_) => Failure::NotOwner,
            CommitError::Full => Failure::Unavailable("the store has no room"),
            CommitError::Unknown(_) => Failure::Unavailable("the store did not answer in time"),
            CommitError::Failed(_) => Failure::Unavailable("the store failed"),
        });
        for batch in given_up {
            span::fail(&batch.span, worst.error_type());
            batch.answer(&answer);
        }
        // What these read may have changed in the meantime.
        let mut reading = std::mem::replace(&mut self.reading, FuturesOrdered::new());
        let held_back = self.held_back.take().map(|(ask, _)| ask);
        while let Some((ask, _)) = reading.next().await {
            ask.answer(answer.clone().map(|()| Answer::Done));
        }
        if let Some(ask) = held_back {
            ask.answer(answer.clone().map(|()| Answer::Done));
        }
        self.barrier = false;
        let holding = &self.start.holding;
        match worst {
            // After an unknown outcome only an owner of a later epoch can say what the log holds.
            CommitError::Fenced(_) | CommitError::Unknown(_) => {
                self.start.keys.fenced(holding.slot, holding.epoch);
                return Err(End::Fenced);
            }
            CommitError::Failed(_) => {
                self.start.keys.host().fail();
                return Err(End::Broken);
            }
            CommitError::Full => {}
        }
        let before = self.owner.applied();
        let (tail, state) = load(self.start.keys.stores(), self.start.key, holding.epoch).await?;
        self.owner.reset(tail, state);
        if tail.position > before {
            self.followers.all_behind(before);
            self.start_replays(tail.position);
        }
        Ok(())
    }
}

/// Which of several errors decides what to do.
fn severity(error: &CommitError) -> u8 {
    match error {
        CommitError::Full => 0,
        CommitError::Failed(_) => 1,
        CommitError::Unknown(_) => 2,
        CommitError::Fenced(_) => 3,
    }
}

fn log_changes(entries: &[LogEntry]) {
    for entry in entries {
        let (event, message_id) = match &entry.event {
            Event::Guild(GuildEvent::MessageUpdate(view)) => (&log::MESSAGE_EDITED, view.message.id),
            Event::Guild(GuildEvent::MessageDelete { id, .. }) => (&log::MESSAGE_DELETED, *id),
            _ => continue,
        };
        event.emit(Fields { message_id: Some(message_id), ..Fields::default() });
    }
}
