//! The end of a turn: every socket with new frames is written once, then what happened is counted.

use clarion_observability::metric::SocketError;

use super::Worker;
use crate::frame::{Dispatch, Frame};
use crate::session::{CannotResume, Session};
use crate::shard::link::Then;
use crate::shard::writing::{Written, write};

/// What the shard holds, and what of it has been told to the gauges, which it shares with other shards.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) sessions: i64,
    pub(super) waiting: i64,
    /// What places in replay buffers cost beside the bodies.
    pub(super) replay: i64,
    pub(super) queued: i64,
    /// Bytes that wait to be written, as of the last sweep.
    pub(super) backlog: i64,
    told: [i64; 4],
    told_replay: i64,
}

impl Totals {
    /// Numbers a dispatch and follows the replay buffer's size.
    pub(super) fn number(&mut self, session: &mut Session, dispatch: &Dispatch) -> Frame {
        self.follow(session, |session| session.push(dispatch))
    }

    /// Takes back the end of a replay that its client has not seen, and follows the replay buffer's size.
    pub(super) fn take_back_resumed(&mut self, session: &mut Session, seen: u64) {
        self.follow(session, |session| session.take_back_resumed(seen));
    }

    /// Forgets what a client has seen, and follows the replay buffer's size.
    pub(super) fn forget_seen(&mut self, session: &mut Session, seen: u64) {
        self.follow(session, |session| session.forget_seen(seen));
    }

    /// Puts before what a session was sent here what it was sent elsewhere, and follows the replay buffer's size.
    pub(super) fn precede(
        &mut self,
        session: &mut Session,
        sequence: u64,
        earlier: Vec<Dispatch>,
    ) -> Result<(), CannotResume> {
        self.follow(session, |session| session.precede(sequence, earlier))
    }

    fn follow<T>(&mut self, session: &mut Session, change: impl FnOnce(&mut Session) -> T) -> T {
        let before = session.bookkeeping();
        let changed = change(session);
        self.replay += session.bookkeeping() as i64 - before as i64;
        changed
    }
}

impl Worker {
    /// Writes every socket that was touched.
    pub(super) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for seat in dirty.drain(..) {
            self.write_out(seat);
        }
        self.dirty = dirty;
        self.outcomes.clear();
        self.report();
    }

    /// Writes what waits for one socket, as far as it takes it.
    pub(super) fn write_out(&mut self, seat: u32) {
        let Some(Some(entry)) = self.seats.get_mut(seat as usize) else { return };
        let Some(socket) = entry.socket.as_mut().filter(|s| !s.blocked && !s.outbox.is_empty()) else { return };
        let before = socket.outbox.len();
        let written = write(&socket.link, &mut socket.outbox, &self.metrics);
        self.totals.queued -= (before - socket.outbox.len()) as i64;
        match written {
            Written::Everything => {}
            Written::Blocked => {
                socket.blocked = true;
                socket.link.block();
            }
            Written::Broken => {
                self.metrics.errors.with(SocketError::Closed).increment(1);
                self.detach(seat, Then::Drop);
            }
        }
    }

    /// Moves the gauges by what has changed.
    pub(super) fn report(&mut self) {
        let t = &mut self.totals;
        let m = &self.metrics;
        let gauges = [&m.sessions, &m.reconnections_pending, &m.sends_pending, &m.backlog_bytes];
        for ((gauge, now), told) in
            gauges.into_iter().zip([t.sessions, t.waiting, t.queued, t.backlog]).zip(t.told.iter_mut())
        {
            if now != *told {
                gauge.increment((now - *told) as f64);
                *told = now;
            }
        }
        let replay = std::mem::replace(&mut t.told_replay, t.replay);
        if t.replay != replay {
            self.ledger.add(t.replay - replay);
        }
    }
}
