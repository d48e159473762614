//! Which rows of a key are its log: those on the chain of seals.

use std::collections::BTreeMap;

use super::Row;
use crate::key::{Epoch, Position};

/// The seals of a key, walked back from the newest: each one ends an older epoch and goes on before that end.
///
/// A seal that the walk does not meet was never acknowledged; neither it nor any row of its epoch is part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// First and last place of each stretch of the log, newest first. The newest one is open.
    stretches: Vec<(Position, Position)>,
}

impl Chain {
    /// Walks the seals given as epochs and what they continue after, in any order.
    pub fn new(seals: impl IntoIterator<Item = (Epoch, Position)>) -> Self {
        let seals: BTreeMap<_, _> = seals.into_iter().collect();
        let mut end = Position { epoch: Epoch(u64::MAX), offset: u64::MAX };
        let mut stretches = Vec::new();
        for (epoch, after) in seals.into_iter().rev() {
            if epoch <= end.epoch {
                stretches.push((epoch.start(), end));
                end = after;
            }
        }
        stretches.push((Position::START, end));
        Self { stretches }
    }

    /// Walks the seals among some rows of one key.
    pub fn of<'a, T: 'a>(rows: impl IntoIterator<Item = &'a Row<T>>) -> Self {
        Self::new(rows.into_iter().filter_map(|row| Some((row.position.epoch, row.seals()?))))
    }

    /// Whether a row that the store holds at this place is part of the log.
    pub fn holds(&self, place: Position) -> bool {
        self.stretches.iter().any(|(first, last)| (*first..=*last).contains(&place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    #[test]
    fn what_lies_beyond_a_seal_is_not_part_of_the_log() {
        let chain = Chain::new([(Epoch(1), Position::START), (Epoch(2), at(1, 5))]);
        assert!(chain.holds(at(1, 1)) && chain.holds(at(1, 5)));
        assert!(!chain.holds(at(1, 6)));
        assert!(chain.holds(at(2, 1)) && chain.holds(at(2, 1_000)));
    }

    #[test]
    fn a_seal_that_the_next_owner_did_not_see_is_passed_by() {
        // The owner of epoch 2 sealed late, and saw less than the owner of epoch 3.
        let chain = Chain::new([(Epoch(3), at(1, 6)), (Epoch(2), at(1, 5)), (Epoch(1), Position::START)]);
        assert!(chain.holds(at(1, 6)) && !chain.holds(at(1, 7)));
        assert!(!chain.holds(at(2, 0)) && !chain.holds(at(2, 1)));
        assert!(chain.holds(at(3, 1)));
    }

    #[test]
    fn epochs_in_which_nothing_was_written_leave_no_trace() {
        let chain = Chain::new([(Epoch(4), Position::START), (Epoch(9), at(4, 2))]);
        assert!(chain.holds(at(4, 2)) && !chain.holds(at(4, 3)) && !chain.holds(at(7, 1)) && chain.holds(at(9, 3)));
    }
}
