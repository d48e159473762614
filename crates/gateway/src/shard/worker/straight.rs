//! Events that came together for the same sessions, written straight to their sockets: each session is touched once, and
//! what is written is put together in one piece of memory that all of them use in turn.
//!
//! A socket in which something waits, and the rest of a write that was cut short, go by the outbox.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use clarion_model::time::Timestamp;
use clarion_observability::metric::SocketError;

use super::{Pushed, Worker};
use crate::frame::{Dispatch, Frame};
use crate::outbox::Receipt;
use crate::shard::link::Then;
use crate::shard::{Delivery, Variant};

/// Most bytes that are put together for one write, unless one event is larger.
const PIECE: usize = 64 << 10;
/// What a frame adds to the shared bytes, at most.
const HEAD: usize = 64;
/// Sockets that are written between two looks at the clock.
const A_LOOK: usize = 16;

/// How one event went, for all its sessions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) queued: usize,
    pub(super) failed: usize,
}

impl Tally {
    pub(super) fn count(&mut self, pushed: &Pushed) {
        match pushed {
            Pushed::Queued => self.queued += 1,
            Pushed::Kept => {}
            Pushed::Overflow => self.failed += 1,
        }
    }
}

impl Worker {
    /// Delivers what was gathered.
    pub(super) fn deliver_gathered(&mut self) {
        let mut gathered = std::mem::take(&mut self.gathered);
        if are_for_the_same(&gathered) {
            let mut rest = &gathered[..];
            while !rest.is_empty() {
                let (piece, others) = rest.split_at(piece(rest));
                self.deliver_straight(piece);
                rest = others;
            }
        } else {
            for delivery in &gathered {
                self.deliver(delivery);
            }
        }
        self.outcomes.extend(gathered.drain(..).filter_map(|delivery| delivery.outcome));
        self.gathered = gathered;
    }

    fn deliver_straight(&mut self, run: &[Delivery]) {
        let Some(first) = run.first() else { return };
        let mut tallies = vec![Tally::default(); run.len()];
        for (group, seats) in &first.groups {
            for some in seats.chunks(A_LOOK) {
                let mut written = 0;
                for &seat in some {
                    written += usize::from(self.offer(seat, run, *group, &mut tallies));
                }
                self.count_written(run, *group, written);
                tallies.iter_mut().for_each(|tally| tally.queued += written);
            }
        }
        for (delivery, tally) in run.iter().zip(tallies) {
            self.conclude(delivery, tally);
        }
    }

    /// Numbers and keeps the events for one session and writes them, if nothing is in the way. Says whether they are all
    /// written; if not, they are counted.
    fn offer(&mut self, seat: u32, run: &[Delivery], group: Variant, tallies: &mut [Tally]) -> bool {
        let Some(Some(entry)) = self.seats.get_mut(seat as usize) else { return false };
        let free = entry.socket.as_ref().filter(|s| !s.blocked && s.outbox.is_empty());
        let Some(socket) = free else {
            for (delivery, tally) in run.iter().zip(tallies) {
                if let Some(dispatch) = delivery.for_seat(seat, group) {
                    tally.count(&self.push(seat, dispatch, delivery.receipt));
                }
            }
            return false;
        };
        self.piece.clear();
        let before = entry.session.bookkeeping() as i64;
        for dispatch in run.iter().filter_map(|delivery| delivery.for_seat(seat, group)) {
            Frame::append_dispatch(entry.session.number(dispatch), &dispatch.body, &mut self.piece);
        }
        self.totals.replay += entry.session.bookkeeping() as i64 - before;
        let written = match socket.link.send(&self.piece) {
            Ok(written) if written == self.piece.len() => {
                socket.link.count_sent(run.len() as u64);
                return true;
            }
            Ok(written) => written,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            Err(_) => {
                self.metrics.errors.with(SocketError::Closed).increment(1);
                self.detach(seat, Then::Drop);
                return false;
            }
        };
        self.queue_rest(seat, run, group, written, tallies);
        false
    }

    /// Of the events that a session was just given, the first bytes are written; the others wait.
    fn queue_rest(&mut self, seat: u32, run: &[Delivery], group: Variant, mut written: usize, tallies: &mut [Tally]) {
        let Some(Some(entry)) = self.seats.get_mut(seat as usize) else { return };
        let Some(socket) = &mut entry.socket else { return };
        let first = entry.session.sequence() + 1 - run.len() as u64;
        let now: Timestamp = SystemTime::now().into();
        for ((delivery, tally), sequence) in run.iter().zip(tallies).zip(first..) {
            let Some(dispatch) = delivery.for_seat(seat, group) else { continue };
            let frame = Frame::dispatch(sequence, dispatch.body.clone());
            self.metrics.messages_sent.with(dispatch.kind).increment(1);
            if let Some(rest) = written.checked_sub(frame.len()) {
                written = rest;
                tally.queued += 1;
                socket.link.count_sent(1);
                if let Some(receipt) = delivery.receipt {
                    self.metrics.deliveries.increment(1);
                    self.metrics.delivery_latency.with(receipt.channel).record_duration(now.since(receipt.at));
                }
                continue;
            }
            let pushed = match std::mem::take(&mut written) {
                0 => socket.outbox.push(frame, delivery.receipt),
                begun => socket.outbox.push_begun(frame, begun, delivery.receipt),
            };
            if pushed.is_err() {
                tally.failed += 1;
                return self.let_go(seat);
            }
            tally.queued += 1;
            self.totals.queued += 1;
        }
        self.dirty.push(seat);
    }

    /// So many sessions of a group have just been written every event of a run.
    fn count_written(&self, run: &[Delivery], group: Variant, written: usize) {
        if written == 0 {
            return;
        }
        let now: Timestamp = SystemTime::now().into();
        for delivery in run {
            if let Some(dispatch) = delivery.variants.get(group) {
                self.metrics.messages_sent.with(dispatch.kind).increment(written as u64);
            }
            if let Some(Receipt { at, channel }) = delivery.receipt {
                self.metrics.deliveries.increment(written as u64);
                self.metrics.delivery_latency.with(channel).record_many(now.since(at), written as u64);
            }
        }
    }
}

impl Delivery {
    /// What one seat of a group gets.
    pub(super) fn for_seat(&self, seat: u32, group: Variant) -> Option<&Dispatch> {
        self.variants.get(self.variant_of(seat, group))
    }
}

/// Whether all are for the same sessions, and there is something for each.
fn are_for_the_same(deliveries: &[Delivery]) -> bool {
    let Some(first) = deliveries.first() else { return true };
    deliveries.iter().all(|other| {
        let mut groups = other.groups.iter().zip(&first.groups);
        other.variants.has(Variant::Full)
            && other.groups.len() == first.groups.len()
            && groups.all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(&a.1, &b.1))
    })
}

/// How many of the first deliveries are put together for one write; at least one.
fn piece(deliveries: &[Delivery]) -> usize {
    let mut bytes = 0;
    let fits = |delivery: &&Delivery| {
        bytes += delivery.variants.get(Variant::Full).map_or(0, |d| d.body.len()) + HEAD;
        bytes <= PIECE
    };
    deliveries.iter().take_while(fits).count().max(1)
}
