//! A session by itself: its numbers and what it can replay. It outlives its sockets. Pure.
//!
//! Every dispatch takes the next number, RESUMED too, and a number never comes to mean another event: a client that names
//! one has seen everything up to it, on whichever socket. A replay leaves out the RESUMED of former replays. One at the very
//! end, which the client has not seen, gives its number to the RESUMED that takes its place, so that who resumes again and
//! again without news reads the same numbers without a gap. One that events followed leaves a gap where it was: clients
//! go by the highest number.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::frame::{Dispatch, Frame};

/// What the bookkeeping of one kept dispatch costs, beside its bytes.
const ENTRY: usize = 64;

/// What is kept of that which the client has seen, in bytes: less than what a session begins with.
const SEEN_KEPT: usize = 2 << 10;
/// Places in a replay buffer that are kept however few are used.
const ROOM: usize = 8;

/// Numbers dispatches and keeps the latest of them.
#[derive(Debug)]
pub(crate) struct Session {
    sequence: u64,
    replay: VecDeque<Dispatch>,
    replay_bytes: usize,
    replay_limit: usize,
    detached_at: Option<Instant>,
}

/// A session cannot go on from the number a client named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CannotResume {
    /// There is no such session of this user.
    #[error("no such session")]
    Unknown,
    /// The client claims to have seen what was never sent.
    #[error("the number is ahead of the session")]
    Ahead,
    /// What the client misses is not kept any more.
    #[error("the session does not reach back that far")]
    Forgotten,
    /// What the client missed while the session was at no gateway cannot be told any more as it was.
    #[error("what happened meanwhile cannot be told")]
    Gap,
    /// The gateway that has the session, or what it left behind, cannot be reached.
    #[error("the session is out of reach")]
    Unreachable,
}

impl Session {
    /// A session that has sent nothing yet, and keeps up to `replay_limit` bytes.
    pub(crate) fn new(replay_limit: usize) -> Self {
        Self { sequence: 0, replay: VecDeque::new(), replay_bytes: 0, replay_limit, detached_at: None }
    }

    /// The number of the latest dispatch.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What the replay buffer holds, in bytes.
    pub(crate) fn replay_bytes(&self) -> usize {
        self.replay_bytes
    }

    /// What of that is this session's own: the bodies may be others', too.
    pub(crate) fn bookkeeping(&self) -> usize {
        self.replay.len() * ENTRY
    }

    /// Gives a dispatch the next number, keeps it, and makes its frame.
    pub(crate) fn push(&mut self, dispatch: &Dispatch) -> Frame {
        Frame::dispatch(self.number(dispatch), dispatch.body.clone())
    }

    /// Gives a dispatch the next number and keeps it.
    pub(crate) fn number(&mut self, dispatch: &Dispatch) -> u64 {
        self.sequence += 1;
        self.replay_bytes += cost(dispatch);
        self.replay.push_back(dispatch.clone());
        self.keep_within_limit();
        self.sequence
    }

    /// Forgets what the client says it has seen, but for the latest of it: whoever resumes names this number or a later
    /// one, or, if it lost what it saw last, one shortly before.
    pub(crate) fn forget_seen(&mut self, seen: u64) {
        let missing = self.sequence.saturating_sub(seen);
        // Who claims to have seen what was never sent is believed nothing.
        while seen <= self.sequence && self.replay.len() as u64 > missing && self.replay_bytes > SEEN_KEPT {
            self.replay_bytes -= self.replay.pop_front().map_or(0, |seen| cost(&seen));
        }
        if self.replay.capacity() > ROOM && self.replay.len() < self.replay.capacity() / 4 {
            self.replay.shrink_to(2 * self.replay.len());
        }
    }

    /// Forgets each RESUMED at the very end that the client has not seen: the one that follows ends its replay instead.
    pub(crate) fn take_back_resumed(&mut self, seen: u64) {
        while self.sequence > seen && self.replay.back().is_some_and(Dispatch::is_resumed) {
            self.replay_bytes -= self.replay.pop_back().map_or(0, |resumed| cost(&resumed));
            self.sequence -= 1;
        }
    }

    /// The frames after the number that a client saw last, with their first numbers; but for the ends of former replays.
    pub(crate) fn resume(&self, seen: u64) -> Result<impl Iterator<Item = (Frame, &Dispatch)>, CannotResume> {
        let missing = self.sequence.checked_sub(seen).ok_or(CannotResume::Ahead)?;
        let skip = (self.replay.len() as u64).checked_sub(missing).ok_or(CannotResume::Forgotten)?;
        let kept = self.replay.iter().skip(skip as usize).zip(seen + 1..);
        let events = kept.filter(|(dispatch, _)| !dispatch.is_resumed());
        Ok(events.map(|(dispatch, s)| (Frame::dispatch(s, dispatch.body.clone()), dispatch)))
    }

    /// What is kept of that which was dispatched after a number, in order; without one, all that is kept.
    pub(crate) fn kept_after(&self, seen: Option<u64>) -> Result<Vec<Dispatch>, CannotResume> {
        let Some(seen) = seen else { return Ok(self.replay.iter().cloned().collect()) };
        let missing = self.sequence.checked_sub(seen).ok_or(CannotResume::Ahead)?;
        let skip = (self.replay.len() as u64).checked_sub(missing).ok_or(CannotResume::Forgotten)?;
        Ok(self.replay.iter().skip(skip as usize).cloned().collect())
    }

    /// Goes on from where another gateway left it: the last of `earlier` had the number `sequence` there, and what was
    /// numbered here since comes after it.
    pub(crate) fn precede(&mut self, sequence: u64, earlier: Vec<Dispatch>) -> Result<(), CannotResume> {
        if self.replay.len() as u64 != self.sequence {
            return Err(CannotResume::Forgotten);
        }
        for dispatch in earlier.into_iter().rev() {
            self.replay_bytes += cost(&dispatch);
            self.replay.push_front(dispatch);
        }
        self.sequence += sequence;
        self.keep_within_limit();
        Ok(())
    }

    fn keep_within_limit(&mut self) {
        while self.replay_bytes > self.replay_limit {
            let Some(oldest) = self.replay.pop_front() else { break };
            self.replay_bytes -= cost(&oldest);
        }
    }

    /// Since when the session is without a socket.
    pub(crate) fn detached_at(&self) -> Option<Instant> {
        self.detached_at
    }

    /// The session has a socket (again).
    pub(crate) fn attach(&mut self) {
        self.detached_at = None;
    }

    /// The session has lost its socket.
    pub(crate) fn detach(&mut self, now: Instant) {
        self.detached_at = Some(now);
    }

    /// Whether the session waited for longer than `window` to be resumed.
    pub(crate) fn is_expired(&self, now: Instant, window: Duration) -> bool {
        self.detached_at.is_some_and(|at| now.saturating_duration_since(at) >= window)
    }
}

fn cost(dispatch: &Dispatch) -> usize {
    dispatch.body.len() + ENTRY
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn dispatch(n: usize) -> Dispatch {
        Dispatch::new("MESSAGE_CREATE", Bytes::from(format!(r#""t":"MESSAGE_CREATE","d":{{"n":{n}}}"#)))
    }

    fn wire(frame: &Frame) -> Vec<u8> {
        let mut out = Vec::new();
        frame.copy_to(0, &mut out);
        out
    }

    proptest! {
        #[test]
        fn a_resume_repeats_exactly_what_was_missed_or_refuses(
            sent in 0usize..60, seen in 0u64..80, limit in 0usize..4_000,
        ) {
            let mut session = Session::new(limit);
            let frames: Vec<_> = (0..sent).map(|n| wire(&session.push(&dispatch(n)))).collect();
            prop_assert!(session.replay_bytes() <= limit);
            match session.resume(seen) {
                Ok(replayed) => {
                    let replayed: Vec<_> = replayed.map(|(f, _)| wire(&f)).collect();
                    prop_assert_eq!(&replayed[..], &frames[seen as usize..]);
                }
                Err(CannotResume::Unknown | CannotResume::Gap | CannotResume::Unreachable) => prop_assert!(false),
                Err(CannotResume::Ahead) => prop_assert!(seen > sent as u64),
                Err(CannotResume::Forgotten) => {
                    let missed: usize = (seen as usize..sent).map(|n| cost(&dispatch(n))).sum();
                    prop_assert!(missed > limit);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn numbers_keep_their_meaning_through_any_resumes(
            steps in proptest::collection::vec((0usize..4, 0u64..6), 1..20),
        ) {
            let mut session = Session::new(1 << 20);
            let resumed = Dispatch::new("RESUMED", Bytes::from_static(br#""t":"RESUMED","d":{}"#));
            // Every event with its number, in order.
            let mut events: Vec<(u64, Vec<u8>)> = Vec::new();
            for (count, back) in steps {
                for _ in 0..count {
                    let frame = wire(&session.push(&dispatch(events.len())));
                    events.push((session.sequence(), frame));
                }
                let seen = session.sequence().saturating_sub(back);
                session.take_back_resumed(seen);
                prop_assert!(session.sequence() >= seen);
                let replayed: Vec<_> = session.resume(seen).expect("everything is kept").map(|(f, _)| wire(&f)).collect();
                let missed: Vec<_> = events.iter().filter(|(s, _)| *s > seen).map(|(_, f)| f.clone()).collect();
                prop_assert_eq!(replayed, missed);
                let last = events.last().map_or(0, |(s, _)| *s).max(seen);
                session.push(&resumed);
                prop_assert_eq!(session.sequence(), last + 1);
            }
            prop_assert_eq!(session.replay_bytes(), session.replay.iter().map(cost).sum::<usize>());
        }
    }

    proptest! {
        #[test]
        fn what_was_seen_is_forgotten_and_nothing_else(sent in 0u64..60, seen in 0u64..70, from in 0u64..70) {
            let mut session = Session::new(1 << 20);
            let frames: Vec<_> = (0..sent as usize).map(|n| wire(&session.push(&dispatch(n)))).collect();
            session.forget_seen(seen);
            prop_assert_eq!(session.replay_bytes(), session.replay.iter().map(cost).sum::<usize>());
            match session.resume(from) {
                Ok(replayed) => {
                    let replayed: Vec<_> = replayed.map(|(f, _)| wire(&f)).collect();
                    prop_assert_eq!(&replayed[..], &frames[from as usize..]);
                }
                Err(CannotResume::Ahead) => prop_assert!(from > sent),
                Err(why) => prop_assert!(why == CannotResume::Forgotten && from < seen && seen <= sent),
            }
            let unseen: usize = (seen.min(sent) as usize..sent as usize).map(|n| cost(&dispatch(n))).sum();
            prop_assert!(seen > sent || session.replay_bytes() <= unseen.max(SEEN_KEPT));
        }
    }

    proptest! {
        #[test]
        fn a_session_goes_on_elsewhere_as_if_it_had_stayed(
            sent in 0usize..40, seen in 0u64..50, missed in 0usize..5, held in 0usize..10,
        ) {
            let mut stayed = Session::new(1 << 20);
            let frames: Vec<_> = (0..sent + missed + held).map(|n| wire(&stayed.push(&dispatch(n)))).collect();
            let mut there = Session::new(1 << 20);
            (0..sent).for_each(|n| drop(there.push(&dispatch(n))));
            let mut here = Session::new(1 << 20);
            (sent + missed..sent + missed + held).for_each(|n| drop(here.push(&dispatch(n))));
            match there.kept_after(Some(seen)) {
                Ok(mut earlier) => {
                    earlier.extend((sent..sent + missed).map(dispatch));
                    prop_assert_eq!(here.precede(there.sequence() + missed as u64, earlier), Ok(()));
                    prop_assert_eq!(here.sequence(), stayed.sequence());
                    let replayed: Vec<_> = here.resume(seen).expect("kept").map(|(f, _)| wire(&f)).collect();
                    prop_assert_eq!(&replayed[..], &frames[seen as usize..]);
                    prop_assert_eq!(here.replay_bytes(), here.replay.iter().map(cost).sum::<usize>());
                }
                Err(why) => prop_assert!(why == CannotResume::Ahead && seen > sent as u64),
            }
        }
    }

    #[test]
    fn numbers_begin_at_one() {
        let mut session = Session::new(1 << 20);
        session.push(&dispatch(0));
        assert_eq!(session.sequence(), 1);
    }

    #[test]
    fn only_a_session_without_a_socket_expires() {
        let (mut session, now, window) = (Session::new(0), Instant::now(), Duration::from_secs(300));
        assert!(!session.is_expired(now + window, window));
        session.detach(now);
        assert!(!session.is_expired(now + window / 2, window));
        assert!(session.is_expired(now + window, window));
        session.attach();
        assert!(!session.is_expired(now + window * 2, window));
    }
}
