//! The end of a turn: every socket with new frames is written once, then what happened is counted.

use std::io;
use std::time::SystemTime;

use clarion_model::time::Timestamp;
use clarion_observability::metric::{GatewayMetrics, SocketError};

use super::Worker;
use super::seat::Socket;
use crate::frame::{Dispatch, Frame};
use crate::outbox::Receipt;
use crate::session::Session;
use crate::shard::link::Then;

/// What the shard holds, and what of it has been told to the gauges, which it shares with other shards.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) sessions: i64,
    pub(super) waiting: i64,
    pub(super) replay: i64,
    pub(super) queued: i64,
    told: [i64; 4],
}

/// How a socket took what it was offered.
enum Written {
    Everything,
    Blocked,
    Broken,
}

impl Totals {
    /// Numbers a dispatch and follows the replay buffer's size.
    pub(super) fn number(&mut self, session: &mut Session, dispatch: &Dispatch) -> Frame {
        let before = session.replay_bytes();
        let frame = session.push(dispatch);
        self.replay += session.replay_bytes() as i64 - before as i64;
        frame
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
        let written = write(socket, &self.metrics);
        self.totals.queued -= (before - socket.outbox.len()) as i64;
        match written {
            Written::Everything => {}
            Written::Blocked => {
                socket.blocked = true;
                socket.link.block();
            }
            Written::Broken => {
                self.metrics.errors.with(SocketError::Closed).increment(1);
                self.detach(seat, Then::Drop, &[]);
            }
        }
    }

    /// Moves the gauges by what has changed.
    pub(super) fn report(&mut self) {
        let t = &mut self.totals;
        let m = &self.metrics;
        let gauges = [&m.sessions, &m.reconnections_pending, &m.replay_bytes, &m.sends_pending];
        for ((gauge, now), told) in
            gauges.into_iter().zip([t.sessions, t.waiting, t.replay, t.queued]).zip(t.told.iter_mut())
        {
            if now != *told {
                gauge.increment((now - *told) as f64);
                *told = now;
            }
        }
    }
}

fn write(socket: &mut Socket, metrics: &GatewayMetrics) -> Written {
    while !socket.outbox.is_empty() {
        let taken = match socket.outbox.only() {
            Some(slices) => socket.link.write(&slices),
            None => socket.link.write(&socket.outbox.slices()),
        };
        match taken {
            Ok(count) => {
                let mut written = Measured { metrics, now: None, messages: 0, frames: 0 };
                socket.outbox.advance(count, |receipt| written.complete(receipt));
                if written.messages > 0 {
                    metrics.deliveries.increment(written.messages);
                }
                socket.link.count_sent(written.frames);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Written::Blocked,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Written::Broken,
        }
    }
    Written::Everything
}

/// Counts the frames of one write; the clock is read once.
struct Measured<'a> {
    metrics: &'a GatewayMetrics,
    now: Option<Timestamp>,
    messages: u64,
    frames: u64,
}

impl Measured<'_> {
    fn complete(&mut self, receipt: Option<Receipt>) {
        self.frames += 1;
        let Some(receipt) = receipt else { return };
        self.messages += 1;
        let now = *self.now.get_or_insert_with(|| SystemTime::now().into());
        self.metrics.delivery_latency.with(receipt.channel).record_duration(now.since(receipt.at));
    }
}
