//! What operators, and a drain, do to sessions.

use clarion_observability::metric::SentType;

use super::Worker;
use crate::conversation::Violation;
use crate::frame::{Frame, RECONNECT, RESUMABLE_SESSION};
use crate::shard::link::Then;
use crate::shard::{End, Operation};

impl Worker {
    pub(super) fn operate(&mut self, seat: u32, id: &str, operation: Operation) -> bool {
        let entry = self.seats.get(seat as usize).and_then(Option::as_ref);
        if entry.is_none_or(|s| s.identity.id != id) {
            return false;
        }
        match operation {
            Operation::Reconnect => self.ask_one_to_reconnect(seat),
            Operation::Close(code) => {
                self.detach(seat, Then::Close(Violation { code, reason: "closed by an operator" }));
            }
            Operation::Drop => self.detach(seat, Then::Drop),
            Operation::Invalidate { resumable: true } => self.detach(seat, Then::StartOver(RESUMABLE_SESSION)),
            Operation::Invalidate { resumable: false } => self.end(seat, End::Invalid),
        }
        true
    }

    pub(super) fn ask_to_reconnect(&mut self, part: u32, parts: u32) {
        for seat in (0..self.seats.len() as u32).filter(|seat| seat % parts == part) {
            self.ask_one_to_reconnect(seat);
        }
    }

    fn ask_one_to_reconnect(&mut self, seat: u32) {
        let link = self.seats.get(seat as usize).and_then(Option::as_ref);
        if let Some(id) = link.and_then(|s| s.socket.as_ref()).map(|s| s.link.id) {
            self.write(seat, id, Frame::text_bytes(RECONNECT), Some(SentType::Reconnect));
        }
    }
}
