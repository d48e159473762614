//! Once a second: who waited too long to be resumed, or left a socket behind without a word.

use std::sync::Arc;
use std::time::Instant;

use super::Worker;
use crate::shard::link::Then;

impl Worker {
    /// Ends sessions that nobody resumed, and the longest waiting ones while there are too many or all replay buffers
    /// together are too large.
    pub(super) fn sweep(&mut self, now: Instant) {
        while let Some(&(since, seat)) = self.waiting.front() {
            let session = self.seats.get(seat as usize).and_then(Option::as_ref).map(|s| &s.session);
            // Only if it is the same wait: the session may have come and gone since.
            let waits = session.filter(|s| s.detached_at() == Some(since));
            let crowded = self.ledger.bytes() > self.limits.replay_total as i64
                || self.totals.waiting > self.limits.waiting as i64;
            match waits {
                Some(s) if !crowded && !s.is_expired(now, self.limits.resume_window) => break,
                Some(_) => {
                    self.remove(seat);
                    // The ledger is looked at again.
                    self.report();
                }
                None => {}
            }
            self.waiting.pop_front();
        }
        self.detach_abandoned();
        let sockets = self.seats.iter().flatten().filter_map(|seat| seat.socket.as_ref());
        self.totals.backlog = sockets.map(|socket| socket.outbox.bytes() as i64).sum();
        self.tell_ended();
        self.report();
    }

    /// A connection that ended without a word, as one that is too late for its own session, left its socket here.
    fn detach_abandoned(&mut self) {
        for seat in 0..self.seats.len() as u32 {
            let socket = self.seats[seat as usize].as_ref().and_then(|s| s.socket.as_ref());
            if socket.is_some_and(|s| Arc::strong_count(&s.link) == 1) {
                self.detach(seat, Then::Drop);
            }
        }
    }

    /// Sessions that were resumed leave their places in the queue behind; they are taken out before there are many.
    pub(super) fn forget_stale_waits(&mut self) {
        if self.waiting.len() <= 2 * self.limits.waiting {
            return;
        }
        let seats = &self.seats;
        self.waiting.retain(|(since, seat)| {
            let waits = seats.get(*seat as usize).and_then(Option::as_ref).and_then(|s| s.session.detached_at());
            waits == Some(*since)
        });
    }
}
