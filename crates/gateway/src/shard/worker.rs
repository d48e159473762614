//! What a shard's thread does: takes its inbox, keeps its sessions, writes to their sockets.

mod elsewhere;
mod flush;
mod operate;
mod pace;
mod seat;
mod straight;
mod sweep;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clarion_observability::log::{self, ErrorInfo, Fields};
use clarion_observability::metric::{DeliveryError, GatewayMetrics, SentType, SocketError};
use tokio::sync::mpsc;

use super::link::Then;
use super::{Command, Delivery, End, Ended, Identity, Ledger, Limits, Link, Outcome, Resumption};
use crate::conversation::Violation;
use crate::frame::{CloseCode, Dispatch, Frame, INVALID_SESSION};
use crate::outbox::Receipt;
use crate::session::{CannotResume, Session};
use flush::Totals;
use pace::Pace;
use seat::{Seat, Socket};
use straight::Tally;

/// Commands taken before sockets are written.
const TURN: usize = 256;
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The sessions of one shard.
pub(super) struct Worker {
    index: u16,
    limits: Limits,
    metrics: GatewayMetrics,
    ledger: Arc<Ledger>,
    ended: mpsc::Sender<Ended>,
    /// Seats that are free, which the hub has not been told. It is never waited for: it may be waiting for this shard.
    free: Vec<u32>,
    seats: Vec<Option<Seat>>,
    /// Events of this turn that have not been delivered yet.
    gathered: Vec<Delivery>,
    /// Where frames are put together.
    piece: Vec<u8>,
    /// Seats with frames that were appended in this turn.
    dirty: Vec<u32>,
    /// Deliveries of this turn; they are over once the sockets have been written.
    outcomes: Vec<Arc<Outcome>>,
    /// Seats whose sessions lost their sockets, the earliest first. Some have been resumed or have ended since.
    waiting: VecDeque<(Instant, u32)>,
    totals: Totals,
    pace: Pace,
}

/// What became of a dispatch for one session.
enum Pushed {
    /// It will be written.
    Queued,
    /// It is kept for when the client resumes; or there is no such session.
    Kept,
    /// The client reads too slowly and has been let go.
    Overflow,
}

impl Worker {
    pub(super) fn new(
        index: u16,
        limits: Limits,
        metrics: GatewayMetrics,
        ledger: Arc<Ledger>,
        ended: mpsc::Sender<Ended>,
    ) -> Self {
        Self {
            index,
            limits,
            metrics,
            ledger,
            ended,
            free: Vec::new(),
            seats: Vec::new(),
            gathered: Vec::new(),
            piece: Vec::new(),
            dirty: Vec::new(),
            outcomes: Vec::new(),
            waiting: VecDeque::new(),
            totals: Totals::default(),
            pace: Pace::default(),
        }
    }

    /// Works until nobody can send commands any more.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut turn = Vec::with_capacity(TURN);
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                taken = inbox.recv_many(&mut turn, TURN) => {
                    if taken == 0 {
                        break;
                    }
                    if self.pace.waits(Instant::now(), &turn) {
                        tokio::time::sleep(pace::WAIT).await;
                        while turn.len() < TURN && let Ok(command) = inbox.try_recv() {
                            turn.push(command);
                        }
                    }
                    let begun = Instant::now();
                    let events = turn.iter().filter(|command| matches!(command, Command::Deliver(_))).count();
                    let stop = turn.iter().any(|command| matches!(command, Command::Stop));
                    for command in turn.drain(..) {
                        self.take(command);
                    }
                    self.deliver_gathered();
                    self.flush();
                    self.pace.turned(begun, Instant::now(), events);
                    self.tell_ended();
                    if stop {
                        break;
                    }
                }
                _ = sweep.tick() => self.sweep(Instant::now()),
            }
        }
    }

    /// Takes a command. Events are gathered until something comes before which they have to be delivered.
    fn take(&mut self, command: Command) {
        match command {
            Command::Deliver(_) | Command::DeliverAll(_) => {}
            Command::Write { .. } | Command::Writable { .. } | Command::Seen { .. } => {}
            _ => self.deliver_gathered(),
        }
        self.handle(command);
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Deliver(delivery) => self.gathered.push(delivery),
            Command::DeliverAll(deliveries) => self.gathered.extend(deliveries),
            Command::Open { seat, identity, link, dispatches } => self.open(seat, identity, link, &dispatches),
            Command::Push { seat, dispatches } => {
                for dispatch in &dispatches {
                    self.push_owed(seat, dispatch);
                }
            }
            Command::End { seat, why } => self.end(seat, why),
            Command::Resume { seat, resume, reply } => {
                // Whoever asked may be gone; then its socket is, too, which is noticed at the first write.
                let _ = reply.send(self.resume(seat, resume));
            }
            Command::Check { seat, id, user, sequence, reply } => {
                let _ = reply.send(self.check(seat, &id, user, sequence));
            }
            Command::Export { seat, seen, reply } => {
                let _ = reply.send(self.export(seat, seen));
            }
            Command::Reserve { seat, identity } => self.reserve(seat, identity),
            Command::Adopt { seat, sequence, earlier, resume, reply } => {
                let _ = reply.send(self.adopt(seat, sequence, earlier, resume));
            }
            Command::Sequences(reply) => {
                let _ = reply.send(self.sequences());
            }
            Command::Write { seat, link, bytes, kind } => self.write(seat, link, bytes, kind),
            Command::Seen { seat, link, sequence } => {
                if let Some(Some(entry)) = self.seats.get_mut(seat as usize)
                    && entry.socket.as_ref().is_some_and(|socket| socket.link.id == link)
                {
                    self.totals.forget_seen(&mut entry.session, sequence);
                }
            }
            Command::Writable { seat, link } => {
                if let Some(socket) = self.socket(seat, link) {
                    socket.blocked = false;
                    self.dirty.push(seat);
                }
            }
            Command::Detach { seat, link, end } => {
                if self.socket(seat, link).is_some() {
                    self.detach(seat, Then::Yours);
                    if end {
                        self.remove(seat);
                    }
                }
            }
            Command::List(reply) => {
                let _ = reply.send(self.seats.iter().flatten().map(Seat::info).collect());
            }
            Command::Operate { seat, id, operation, reply } => {
                let _ = reply.send(self.operate(seat, &id, operation));
            }
            Command::Reconnect { part, parts } => self.ask_to_reconnect(part, parts),
            Command::Stop => {}
            Command::CloseAll(why) => {
                for seat in 0..self.seats.len() as u32 {
                    self.detach(seat, Then::Close(why));
                }
            }
        }
    }

    fn open(&mut self, seat: u32, identity: Arc<Identity>, link: Arc<Link>, dispatches: &[Dispatch]) {
        let socket = Socket::new(link, self.limits.outbox_bytes);
        self.sit(seat, Seat::new(identity, Session::new(self.limits.replay_bytes), Some(socket)));
        for dispatch in dispatches {
            self.push_owed(seat, dispatch);
        }
    }

    /// Gives a session its seat.
    fn sit(&mut self, seat: u32, session: Seat) {
        let at = seat as usize;
        if self.seats.len() <= at {
            self.seats.resize_with(at + 1, || None);
        }
        self.seats[at] = Some(session);
        self.totals.sessions += 1;
    }

    fn deliver(&mut self, delivery: &Delivery) {
        let mut tally = Tally::default();
        for (group, seats) in &delivery.groups {
            for &seat in seats.iter() {
                if let Some(dispatch) = delivery.for_seat(seat, *group) {
                    tally.count(&self.push(seat, dispatch, delivery.receipt));
                }
            }
        }
        self.conclude(delivery, tally);
    }

    /// All sessions of an event have been looked at.
    fn conclude(&self, delivery: &Delivery, Tally { queued, failed }: Tally) {
        if let Some(outcome) = &delivery.outcome {
            outcome.add(queued + failed, failed);
        }
        if failed > 0 && delivery.receipt.is_some() {
            self.metrics.delivery_failures.with(DeliveryError::SlowConsumer).increment(failed as u64);
        }
    }

    /// Numbers, keeps and queues one dispatch.
    fn push(&mut self, seat: u32, dispatch: &Dispatch, receipt: Option<Receipt>) -> Pushed {
        let Some(Some(entry)) = self.seats.get_mut(seat as usize) else { return Pushed::Kept };
        let frame = self.totals.number(&mut entry.session, dispatch);
        let Some(socket) = &entry.socket else { return Pushed::Kept };
        if !socket.outbox.takes(&frame) {
            // It is not the client that is slow when nothing has been offered to it yet in this turn.
            self.write_out(seat);
        }
        let Some(Some(entry)) = self.seats.get_mut(seat as usize) else { return Pushed::Kept };
        let Some(socket) = &mut entry.socket else { return Pushed::Kept };
        if socket.outbox.push(frame, receipt).is_err() {
            self.let_go(seat);
            return Pushed::Overflow;
        }
        self.queued(seat, dispatch.kind);
        Pushed::Queued
    }

    /// The same, for what the client is owed at once.
    fn push_owed(&mut self, seat: u32, dispatch: &Dispatch) {
        let Some(Some(entry)) = self.seats.get_mut(seat as usize) else { return };
        let frame = self.totals.number(&mut entry.session, dispatch);
        let Some(socket) = &mut entry.socket else { return };
        if socket.outbox.push_owed(frame).is_err() {
            return self.let_go(seat);
        }
        self.queued(seat, dispatch.kind);
    }

    fn queued(&mut self, seat: u32, kind: SentType) {
        self.totals.queued += 1;
        self.metrics.messages_sent.with(kind).increment(1);
        self.dirty.push(seat);
    }

    /// The client reads too slowly: it may resume when it has caught up.
    fn let_go(&mut self, seat: u32) {
        self.metrics.errors.with(SocketError::SlowConsumer).increment(1);
        let identity = self.seats.get(seat as usize).and_then(Option::as_ref).map(|s| s.identity.clone());
        let why = Violation { code: CloseCode::UNKNOWN_ERROR, reason: "reads too slowly" };
        self.detach(seat, Then::LetGo(why));
        let error = ErrorInfo { kind: "slow_consumer", detail: "outbox full".to_owned() };
        log::SLOW_CONSUMER_CLOSED.emit(Fields {
            session_id: identity.as_ref().map(|i| i.id.clone()),
            user_id: identity.as_ref().map(|i| i.user),
            error: Some(error),
            ..Fields::default()
        });
    }

    fn resume(&mut self, seat: u32, resume: Resumption) -> Result<(), CannotResume> {
        let entry = self.seats.get(seat as usize).and_then(Option::as_ref);
        let entry = entry.filter(|s| s.identity.id == resume.id && s.identity.user == resume.user && !s.arriving);
        let entry = entry.ok_or(CannotResume::Unknown)?;
        entry.session.resume(resume.sequence).map(drop)?;
        // The client says that the socket it had is dead, whatever it looks like from here.
        let stolen = Violation { code: CloseCode::UNKNOWN_ERROR, reason: "session resumed elsewhere" };
        self.detach(seat, Then::LetGo(stolen));
        let Some(Some(entry)) = self.seats.get_mut(seat as usize) else { return Err(CannotResume::Unknown) };
        let mut socket = Socket::new(resume.link, self.limits.outbox_bytes);
        self.totals.take_back_resumed(&mut entry.session, resume.sequence);
        for (frame, dispatch) in entry.session.resume(resume.sequence)? {
            self.metrics.messages_sent.with(dispatch.kind).increment(1);
            self.totals.queued += 1;
            // A replay is bounded by the replay buffer, not by the socket.
            socket.outbox.push_replayed(frame);
        }
        entry.session.attach();
        self.totals.waiting -= 1;
        // RESUMED is part of the replay: it must not be what is too much.
        let frame = self.totals.number(&mut entry.session, &resume.resumed);
        socket.outbox.push_replayed(frame);
        entry.socket = Some(socket);
        self.queued(seat, resume.resumed.kind);
        Ok(())
    }

    fn write(&mut self, seat: u32, link: u64, bytes: Bytes, kind: Option<SentType>) {
        let Some(socket) = self.socket(seat, link) else { return };
        if socket.outbox.push(Frame::raw(bytes), None).is_err() {
            return self.let_go(seat);
        }
        self.totals.queued += 1;
        self.dirty.push(seat);
        if let Some(kind) = kind {
            self.metrics.messages_sent.with(kind).increment(1);
        }
    }

    fn end(&mut self, seat: u32, why: End) {
        match why {
            End::Invalid => self.detach(seat, Then::StartOver(INVALID_SESSION)),
            End::Revoked => {
                let revoked = Violation { code: CloseCode::AUTHENTICATION_FAILED, reason: "token revoked" };
                self.detach(seat, Then::Close(revoked));
            }
        }
        self.remove(seat);
    }

    /// Gives the socket back to its connection, with what waits to be written. The session waits to be resumed.
    fn detach(&mut self, seat: u32, then: Then) {
        let Some(Some(entry)) = self.seats.get_mut(seat as usize) else { return };
        let Some(mut socket) = entry.socket.take() else { return };
        let now = Instant::now();
        entry.session.detach(now);
        self.totals.queued -= socket.outbox.len() as i64;
        self.totals.waiting += 1;
        self.waiting.push_back((now, seat));
        self.forget_stale_waits();
        if matches!(then, Then::LetGo(_) | Then::Drop) {
            socket.outbox.keep_begun();
        }
        socket.link.hand_back(socket.outbox, then);
    }

    /// Ends a session that has no socket.
    fn remove(&mut self, seat: u32) {
        let Some(entry) = self.seats.get_mut(seat as usize).and_then(Option::take) else { return };
        self.totals.sessions -= 1;
        self.totals.waiting -= 1;
        self.totals.replay -= entry.session.bookkeeping() as i64;
        log::SESSION_ENDED.emit(Fields {
            session_id: Some(entry.identity.id.clone()),
            user_id: Some(entry.identity.user),
            message_count: Some(entry.session.sequence()),
            duration_ms: Some(entry.started.elapsed().as_secs_f64() * 1e3),
            ..Fields::default()
        });
        self.free.push(seat);
    }

    /// Tells the hub of free seats, as many as it takes now.
    fn tell_ended(&mut self) {
        while let Some(&seat) = self.free.last() {
            if self.ended.try_send(Ended { shard: self.index, seat }).is_err() {
                return;
            }
            self.free.pop();
        }
    }

    fn socket(&mut self, seat: u32, link: u64) -> Option<&mut Socket> {
        let socket = self.seats.get_mut(seat as usize)?.as_mut()?.socket.as_mut()?;
        (socket.link.id == link).then_some(socket)
    }
}
