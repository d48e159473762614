//! One key at work: a task that takes commands in turn and has several writes on their way at a time.
//!
//! A command is read for (what the store knows of its subject), decided by the [`Owner`], written, and when it is durable
//! applied, fanned out and answered; each step in the order of the commands. Registering a follower happens in the same
//! task between two entries, so a follower has neither a gap nor an entry twice.

mod find;
mod followers;
mod pipeline;
mod trim;
mod voice;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clarion_model::event::Transient;
use clarion_model::key::{Epoch, Key, Position};
use clarion_model::time::Timestamp;
use clarion_observability::Span;
use clarion_observability::metric::GaugeGuard;
use clarion_storage::{CommitError, ReadError, Stores, Tail};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::follow::{Reached, Stream, transient};
use crate::keys::{Failure, Holding, Keys};
use crate::owner::recent::WINDOW;
use crate::owner::{Answer, Command, Found, Owner, Shared, State};
use followers::Followers;
use pipeline::InFlight;
#[cfg(test)]
pub(crate) use trim::last_before;

/// What an actor is told.
pub(crate) enum Message {
    Ask(Box<Ask>),
    Follow { stream: Stream, after: Option<Position> },
    Unfollow { stream: u64 },
}

/// A command, and who waits for what it comes to.
pub(crate) struct Ask {
    command: Command,
    span: Span,
    reply: oneshot::Sender<Reply>,
    /// Counted as waiting until it is decided.
    waits: GaugeGuard,
}

/// What is told to who asked.
pub(crate) enum Reply {
    Answer(Result<Answer, Failure>),
    /// The key had just left the memory and did not see the command.
    Left,
}

/// Whether an actor is needed, for whoever looks for room.
#[derive(Debug)]
pub(crate) struct Usage(AtomicU64);

/// What an actor starts with.
pub(crate) struct Start {
    pub(crate) key: Key,
    pub(crate) id: u64,
    pub(crate) keys: Keys,
    pub(crate) holding: Arc<Holding>,
    pub(crate) inbox: mpsc::Receiver<Message>,
    pub(crate) publish: watch::Sender<Option<Shared>>,
    pub(crate) leave: CancellationToken,
    pub(crate) usage: Arc<Usage>,
    /// Told when something is asked of the key, as opposed to following it.
    pub(crate) asked: Arc<Notify>,
}

/// Why an actor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nobody needs it.
    Idle,
    /// The slot was given up.
    Released,
    /// The slot has another owner, or has to get one.
    Fenced,
    /// The store does not answer.
    Broken,
}

/// A command, and what the store knows of its subject.
type Read = (Box<Ask>, Result<Found, ReadError>);

struct Actor {
    start: Start,
    owner: Owner,
    /// Commands whose subject is being read, in order.
    reading: FuturesOrdered<BoxFuture<'static, Read>>,
    /// A change of structure that waits until nothing is on its way.
    held_back: Option<(Box<Ask>, Found)>,
    /// A change of structure is on its way; nothing is decided until it is durable.
    barrier: bool,
    /// Batches on their way, in order, and what belongs to each.
    writing: FuturesOrdered<BoxFuture<'static, Result<(), CommitError>>>,
    in_flight: VecDeque<InFlight>,
    followers: Followers,
    replays: FuturesUnordered<BoxFuture<'static, followers::Replayed>>,
    trimming: trim::Trimming,
    /// When it is looked next whose gateways are still there, as long as there are voice states.
    voices_due: tokio::time::Instant,
}

impl Ask {
    pub(crate) fn new(command: Command, span: Span, reply: oneshot::Sender<Reply>, waits: GaugeGuard) -> Self {
        Self { command, span, reply, waits }
    }

    fn answer(self, answer: Result<Answer, Failure>) {
        // Who does not wait any more does not need it.
        let _ = self.reply.send(Reply::Answer(answer));
    }
}

impl Usage {
    const BUSY: u64 = 0;

    pub(crate) fn new(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.as_micros()))
    }

    /// Since when nobody needed it, if nobody does.
    pub(crate) fn idle_since(&self) -> Option<Timestamp> {
        match self.0.load(Ordering::Relaxed) {
            Self::BUSY => None,
            us => Some(Timestamp::from_micros(us)),
        }
    }

    /// Somebody used it just now.
    pub(crate) fn touch(&self, now: Timestamp) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |since| {
            (since != Self::BUSY).then_some(now.as_micros())
        });
    }

    fn set(&self, idle: bool, now: Timestamp) {
        self.0.store(if idle { now.as_micros() } else { Self::BUSY }, Ordering::Relaxed);
    }
}

/// Runs a key until its slot is given up or nobody needs it.
pub(crate) async fn run(mut start: Start) {
    // Boxed like all that a key does seldom: thousands of keys are at rest, and a key holds room for what it may do.
    let loading = Box::pin(start.load());
    let loaded = start.holding.ended.clone().run_until_cancelled_owned(loading).await;
    match loaded {
        Some(Ok((tail, state))) => {
            let mut actor = Box::new(Actor::new(start, tail, state));
            let end = actor.work().await;
            Box::pin(actor.end(end)).await;
        }
        Some(Err(end)) => {
            if end == End::Fenced {
                start.keys.fenced(start.holding.slot, start.holding.epoch);
            }
            Box::pin(start.refuse_all(end)).await;
        }
        None => Box::pin(start.refuse_all(End::Released)).await,
    }
}

/// Reads what the store has of a key. Opening its log seals what earlier owners wrote.
async fn load(stores: &Stores, key: Key, epoch: Epoch) -> Result<(Tail, State), End> {
    let tail = stores.logs.open(key, epoch).await.map_err(|error| match error {
        CommitError::Fenced(_) | CommitError::Unknown(_) => End::Fenced,
        CommitError::Full | CommitError::Failed(_) => End::Broken,
    })?;
    let state = match key {
        Key::Guild(id) => stores.guilds.get(id).await.map(|guild| guild.map(|guild| State::Guild(Box::new(guild)))),
        Key::User(id) => stores.users.get(id).await.map(|user| user.map(|user| State::User(Box::new(user)))),
        Key::Direct(_) => Ok(None),
    };
    Ok((tail, state.map_err(|_| End::Broken)?.unwrap_or(State::Absent)))
}

impl Start {
    /// Loads the key: at once when somebody asks for something, in turn as long as nobody does.
    async fn load(&self) -> Result<(Tail, State), End> {
        let _counted = self.keys.metrics().opening.hold();
        let _place = tokio::select! {
            biased;
            () = self.asked.notified() => None,
            place = self.keys.loading().acquire() => place.ok(),
        };
        load(self.keys.stores(), self.key, self.holding.epoch).await
    }

    /// Ends: sends everybody away who waits.
    async fn refuse_all(&mut self, end: End) {
        self.keys.forget(self.key, self.id);
        self.inbox.close();
        while let Some(message) = self.inbox.recv().await {
            match message {
                Message::Ask(ask) if end == End::Idle => {
                    let _ = ask.reply.send(Reply::Left);
                }
                Message::Ask(ask) => ask.answer(Err(end.failure())),
                Message::Follow { stream, .. } => {
                    stream.push(crate::follow::moved(self.key));
                }
                Message::Unfollow { .. } => {}
            }
        }
    }
}

impl End {
    fn failure(self) -> Failure {
        match self {
            End::Released | End::Fenced => Failure::NotOwner,
            End::Idle | End::Broken => Failure::Unavailable("the store does not answer"),
        }
    }
}

impl Actor {
    fn new(start: Start, tail: Tail, state: State) -> Self {
        let owner = Owner::new(start.key, start.holding.epoch, tail, state);
        start.publish.send_replace(Some(owner.shared()));
        Self {
            followers: Followers::new(start.key, start.keys.metrics().fanout_failures.clone()),
            start,
            owner,
            reading: FuturesOrdered::new(),
            held_back: None,
            barrier: false,
            writing: FuturesOrdered::new(),
            in_flight: VecDeque::new(),
            replays: FuturesUnordered::new(),
            trimming: trim::Trimming::new(tail.entries),
            voices_due: tokio::time::Instant::now(),
        }
    }

    async fn work(&mut self) -> End {
        let ended = self.start.holding.ended.clone();
        let leave = self.start.leave.clone();
        let idle_time = Duration::from_secs(self.start.keys.config().idle_s.max(1));
        let mut was_idle = true;
        loop {
            let idle = self.is_idle();
            if idle != was_idle {
                self.start.usage.set(idle, self.start.keys.now());
                was_idle = idle;
            }
            let has_room = self.reading.len() + self.in_flight.len() < WINDOW;
            let may_decide = self.held_back.is_none() && !self.barrier;
            tokio::select! {
                biased;
                () = ended.cancelled() => return End::Released,
                Some(result) = self.writing.next(), if !self.writing.is_empty() => {
                    if let Err(end) = self.written(result).await {
                        return end;
                    }
                }
                Some((ask, found)) = self.reading.next(), if may_decide && !self.reading.is_empty() => {
                    self.decide_read(ask, found).await;
                }
                Some(replayed) = self.replays.next(), if !self.replays.is_empty() => self.replayed(replayed),
                () = tokio::time::sleep_until(self.voices_due), if self.owner.has_voices() => self.expire_voices(),
                () = self.trimming.finish(), if self.trimming.is_running() => {}
                Some(message) = self.start.inbox.recv(), if has_room => self.handle(message).await,
                () = leave.cancelled(), if idle => return End::Idle,
                () = tokio::time::sleep(idle_time), if idle => {
                    let since = self.start.usage.idle_since().unwrap_or_default();
                    if self.start.keys.now().since(since) >= idle_time {
                        return End::Idle;
                    }
                }
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.reading.is_empty()
            && self.in_flight.is_empty()
            && self.held_back.is_none()
            && self.followers.is_empty()
            && !self.trimming.is_running()
            && !self.owner.has_voices()
            && self.start.inbox.is_empty()
    }

    async fn handle(&mut self, message: Message) {
        match message {
            Message::Ask(ask) => self.take(ask).await,
            Message::Follow { stream, after } => self.follow(stream, after),
            Message::Unfollow { stream } => self.followers.remove(stream),
        }
    }

    fn tell(&mut self, event: &Transient) {
        if !self.followers.is_empty() {
            self.followers.push(&transient(self.start.key, event));
        }
    }

    /// Starts to tell a stream what happens: from a snapshot, or from a place in the log.
    fn follow(&mut self, stream: Stream, after: Option<Position>) {
        let truth = self.owner.shared();
        let truth = truth.read();
        match after {
            Some(after) if after <= truth.applied => {
                self.followers.add_behind(stream, after);
                self.start_replays(truth.applied);
            }
            // Whoever is ahead of the log is not following this one.
            None | Some(_) => {
                let voices = self.voices_frame();
                self.followers.add_new(stream, &truth, voices.as_ref());
            }
        }
    }

    /// Reads the log for those followers who are behind and whom nothing is read for yet.
    fn start_replays(&mut self, goal: Position) {
        if !self.followers.need_replays() {
            return;
        }
        for replay in self.followers.replays(goal, &self.start.keys.stores().logs) {
            self.replays.push(replay);
        }
    }

    fn replayed(&mut self, replayed: followers::Replayed) {
        let truth = self.owner.shared();
        let truth = truth.read();
        let voices = self.voices_frame();
        if matches!(replayed.result, Ok(Reached::Gap)) {
            self.followers.renew(&replayed, &truth, voices.as_ref());
        } else {
            self.followers.replayed(&replayed, voices.as_ref());
        }
        self.start_replays(truth.applied);
    }

    /// Finishes what is on its way and sends away who is left.
    async fn end(mut self, end: End) {
        self.start.inbox.close();
        while let Some(result) = self.writing.next().await {
            if self.written(result).await.is_err() {
                break;
            }
        }
        while let Some((ask, _)) = self.reading.next().await {
            ask.answer(Err(end.failure()));
        }
        if let Some((ask, _)) = self.held_back.take() {
            ask.answer(Err(end.failure()));
        }
        self.start.refuse_all(end).await;
        self.followers.dismiss();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_key_at_rest_is_small() {
        let size = size(run) + size_of::<Actor>();
        assert!(size <= 5_120, "{size}");
    }
}
