//! Who may open a session now, who waits and who is next. Pure: what waits is an argument.

use std::collections::VecDeque;

use clarion_observability::metric::{Label, Opening};

/// After so many resumed sessions in a row, one new session goes first that waits as well: nobody waits for ever.
const RESUMES_IN_A_ROW: u32 = 8;

/// The bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Most sessions that are being opened at once.
    pub(super) concurrency: usize,
    /// Most of each kind that wait.
    pub(super) waiting: usize,
}

/// Those who open a session and those who wait for that, in the order in which they came.
#[derive(Debug)]
pub(super) struct Queue<W> {
    bounds: Bounds,
    active: [usize; 2],
    waiting: [VecDeque<(u64, W)>; 2],
    tickets: u64,
    resumes_in_a_row: u32,
}

/// What becomes of one who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entered {
    /// It is its turn at once.
    Admitted,
    /// It waits, under this number.
    Waits(u64),
    /// Too many wait.
    Full,
}

impl<W> Queue<W> {
    pub(super) fn new(bounds: Bounds) -> Self {
        let bounds = Bounds { concurrency: bounds.concurrency.max(1), ..bounds };
        let waiting = [VecDeque::new(), VecDeque::new()];
        Self { bounds, active: [0; 2], waiting, tickets: 0, resumes_in_a_row: 0 }
    }

    /// Somebody comes; `waiter` is kept if they have to wait.
    pub(super) fn enter(&mut self, kind: Opening, waiter: W) -> Entered {
        let at = kind.index();
        if self.waiting[at].is_empty() && self.has_room(kind) {
            self.active[at] += 1;
            return Entered::Admitted;
        }
        if self.waiting[at].len() >= self.bounds.waiting {
            return Entered::Full;
        }
        self.tickets += 1;
        self.waiting[at].push_back((self.tickets, waiter));
        Entered::Waits(self.tickets)
    }

    /// Somebody whose turn it was is done.
    pub(super) fn leave(&mut self, kind: Opening) {
        self.active[kind.index()] -= 1;
    }

    /// Somebody waits no longer. Nothing happens if it is their turn already.
    pub(super) fn give_up(&mut self, kind: Opening, ticket: u64) {
        let waiting = &mut self.waiting[kind.index()];
        if let Ok(at) = waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket) {
            waiting.remove(at);
        }
    }

    /// Whose turn it is now, if there is room: those who go on with a session before those who begin one.
    pub(super) fn next(&mut self) -> Option<(Opening, W)> {
        let may = |kind: Opening| !self.waiting[kind.index()].is_empty() && self.has_room(kind);
        let kind = match (may(Opening::Resume), may(Opening::Identify)) {
            (false, false) => return None,
            (true, true) if self.resumes_in_a_row >= RESUMES_IN_A_ROW => Opening::Identify,
            (true, _) => Opening::Resume,
            (false, true) => Opening::Identify,
        };
        self.resumes_in_a_row = if kind == Opening::Resume { self.resumes_in_a_row.saturating_add(1) } else { 0 };
        let (_, waiter) = self.waiting[kind.index()].pop_front()?;
        self.active[kind.index()] += 1;
        Some((kind, waiter))
    }

    /// New sessions leave a quarter of the room to those that go on: opening one takes what others answer, and if those do
    /// not answer, going on must still be possible.
    fn has_room(&self, kind: Opening) -> bool {
        let all = self.bounds.concurrency;
        let of_kind = if kind == Opening::Identify { all - all / 4 } else { all };
        self.active.iter().sum::<usize>() < all && self.active[kind.index()] < of_kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queue(concurrency: usize, waiting: usize) -> Queue<u32> {
        Queue::new(Bounds { concurrency, waiting })
    }

    #[test]
    fn those_who_go_on_are_first_and_nobody_starves() {
        let mut queue = queue(1, 100);
        assert_eq!(queue.enter(Opening::Identify, 0), Entered::Admitted);
        for n in 0..30 {
            queue.enter(Opening::Identify, n);
            queue.enter(Opening::Resume, n);
        }
        let (mut order, mut kind) = (Vec::new(), Opening::Identify);
        for _ in 0..60 {
            queue.leave(kind);
            let (next, n) = queue.next().expect("somebody waits");
            kind = next;
            order.push((next, n));
        }
        let first: Vec<_> = order.iter().take(9).map(|(kind, _)| *kind).collect();
        assert_eq!(first, [[Opening::Resume; 8].as_slice(), &[Opening::Identify]].concat());
        for kind in [Opening::Resume, Opening::Identify] {
            let of_kind: Vec<_> = order.iter().filter(|(k, _)| *k == kind).map(|(_, n)| *n).collect();
            assert_eq!(of_kind, (0..30).collect::<Vec<_>>(), "in the order in which they came");
        }
        assert!(queue.next().is_none());
    }

    #[test]
    fn new_sessions_that_hang_leave_room_to_go_on() {
        let mut queue = queue(8, 100);
        let begun = (0..8).filter(|n| queue.enter(Opening::Identify, *n) == Entered::Admitted).count();
        assert_eq!(begun, 6);
        assert_eq!(queue.enter(Opening::Resume, 0), Entered::Admitted);
    }

    #[test]
    fn a_full_queue_refuses_and_who_gives_up_makes_room() {
        let mut queue = queue(1, 1);
        assert_eq!(queue.enter(Opening::Resume, 0), Entered::Admitted);
        let Entered::Waits(ticket) = queue.enter(Opening::Resume, 1) else { panic!("there is a place") };
        assert_eq!(queue.enter(Opening::Resume, 2), Entered::Full);
        queue.give_up(Opening::Resume, ticket);
        assert!(matches!(queue.enter(Opening::Resume, 3), Entered::Waits(_)));
        queue.leave(Opening::Resume);
        assert_eq!(queue.next(), Some((Opening::Resume, 3)));
    }

    proptest! {
        #[test]
        fn no_more_than_the_bound_are_at_it_and_everybody_comes_to_it(
            steps in prop::collection::vec((any::<bool>(), any::<bool>()), 1..200), concurrency in 1usize..6,
        ) {
            let mut queue = queue(concurrency, 1_000);
            let (mut active, mut begun, mut came) = (Vec::new(), 0usize, 0usize);
            for (comes, resumes) in steps {
                let kind = if resumes { Opening::Resume } else { Opening::Identify };
                if comes {
                    came += 1;
                    if queue.enter(kind, came as u32) == Entered::Admitted {
                        active.push(kind);
                        begun += 1;
                    }
                } else if let Some(kind) = active.pop() {
                    queue.leave(kind);
                    while let Some((kind, _)) = queue.next() {
                        active.push(kind);
                        begun += 1;
                    }
                }
                prop_assert!(active.len() <= concurrency);
            }
            while let Some(kind) = active.pop() {
                queue.leave(kind);
                while let Some((kind, _)) = queue.next() {
                    active.push(kind);
                    begun += 1;
                    prop_assert!(active.len() <= concurrency);
                }
            }
            prop_assert_eq!(begun, came);
        }
    }
}
