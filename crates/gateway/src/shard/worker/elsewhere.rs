//! Sessions that go on at another gateway, and those that come from one.

use std::sync::Arc;
use std::time::Instant;

use clarion_model::id::UserId;

use super::Worker;
use super::seat::Seat;
use crate::conversation::Violation;
use crate::frame::{CloseCode, Dispatch};
use crate::hub;
use crate::session::{CannotResume, Session};
use crate::shard::link::Then;
use crate::shard::{Exported, Identity, Resumption};

impl Worker {
    /// Whether a session could go on from a number.
    pub(super) fn check(&self, seat: u32, id: &str, user: UserId, seen: u64) -> Result<(), CannotResume> {
        let entry = self.seats.get(seat as usize).and_then(Option::as_ref);
        let entry = entry.filter(|s| s.identity.id == id && s.identity.user == user && !s.arriving);
        let entry = entry.ok_or(CannotResume::Unknown)?;
        entry.session.resume(seen).map(drop)
    }

    /// The hub tells a session nothing more. If its client is elsewhere already, it is over.
    pub(super) fn export(&mut self, seat: u32, seen: Option<u64>) -> Option<Exported> {
        let entry = self.seats.get(seat as usize)?.as_ref().filter(|s| !s.arriving)?;
        let sequence = entry.session.sequence();
        let replay = entry.session.kept_after(seen).ok();
        if seen.is_some() {
            let elsewhere = Violation { code: CloseCode::UNKNOWN_ERROR, reason: "session resumed elsewhere" };
            self.detach(seat, Then::LetGo(elsewhere));
            self.remove(seat);
        }
        Some(Exported { sequence, replay: replay? })
    }

    /// A seat for a session that is on its way.
    pub(super) fn reserve(&mut self, seat: u32, identity: Arc<Identity>) {
        let now = Instant::now();
        let mut session = Session::new(self.limits.replay_bytes);
        session.detach(now);
        self.sit(seat, Seat { arriving: true, ..Seat::new(identity, session, None) });
        self.totals.waiting += 1;
        self.waiting.push_back((now, seat));
    }

    /// The session is here; its client gets what it missed.
    pub(super) fn adopt(
        &mut self,
        seat: u32,
        sequence: u64,
        earlier: Vec<Dispatch>,
        resume: Resumption,
    ) -> Result<hub::Seat, CannotResume> {
        let Some(Some(entry)) = self.seats.get_mut(seat as usize) else { return Err(CannotResume::Unknown) };
        if entry.identity.id != resume.id {
            return Err(CannotResume::Unknown);
        }
        entry.arriving = false;
        let here = self.totals.precede(&mut entry.session, sequence, earlier);
        if let Err(why) = here.and_then(|()| self.resume(seat, resume)) {
            self.remove(seat);
            return Err(why);
        }
        Ok(hub::Seat { shard: self.index, seat })
    }

    /// The number of each session's latest dispatch, by seat.
    pub(super) fn sequences(&self) -> Vec<(u32, u64)> {
        let seats = self.seats.iter().enumerate();
        let here = seats.filter_map(|(seat, s)| Some((seat as u32, s.as_ref().filter(|s| !s.arriving)?)));
        here.map(|(seat, s)| (seat, s.session.sequence())).collect()
    }
}
