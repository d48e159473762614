//! The sessions here whose ids name other gateways: where they sit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::hub::Seat;

/// Seats by session id. A clone is the same table. It is no larger than the table of seats.
#[derive(Debug, Clone, Default)]
pub(crate) struct Adopted(Arc<Mutex<HashMap<String, Seat>>>);

impl Adopted {
    /// A session from elsewhere has a seat.
    pub(crate) fn learn(&self, id: &str, seat: Seat) {
        self.table().insert(id.to_owned(), seat);
    }

    /// The session on a seat is over.
    pub(crate) fn forget(&self, id: &str, seat: Seat) {
        let mut table = self.table();
        if table.get(id) == Some(&seat) {
            table.remove(id);
        }
    }

    /// Where a session from elsewhere sits.
    pub(crate) fn seat(&self, id: &str) -> Option<Seat> {
        self.table().get(id).copied()
    }

    /// All of them.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.table().keys().cloned().collect()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
