//! The rows of one group of batches before they are written: the last change of each row counts.
//!
//! The database gives all rows of one write the same number, so a row may be in it once only.

use std::collections::BTreeMap;

use super::db::{View, record};
use super::schema::Table;
use crate::error::ReadError;

/// What becomes of each row: a value, or nothing.
pub(super) type Rows = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

/// A change of one row, or of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Put(Table, Vec<u8>, Vec<u8>),
    Delete(Table, Vec<u8>),
    /// Every row whose key starts so.
    DeletePrefix(Table, Vec<u8>),
}

/// Changes on top of a state.
pub(super) struct Pending<'a> {
    base: View<'a>,
    rows: Rows,
}

impl Change {
    /// What it takes to keep and to write it, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Change::Put(_, key, value) => key.len() + value.len(),
            Change::Delete(_, key) | Change::DeletePrefix(_, key) => key.len(),
        }
    }
}

impl<'a> Pending<'a> {
    pub(super) fn new(base: View<'a>) -> Self {
        Self { base, rows: Rows::new() }
    }

    /// The state that the changes are on top of, without them.
    pub(super) fn base(&self) -> &View<'a> {
        &self.base
    }

    pub(super) fn apply(&mut self, change: Change) -> Result<(), ReadError> {
        match change {
            Change::Put(table, key, value) => {
                self.rows.insert((table, key), Some(value));
            }
            Change::Delete(table, key) => self.delete(table, key),
            Change::DeletePrefix(table, prefix) => self.delete_prefix(table, prefix)?,
        }
        Ok(())
    }

    pub(super) fn put<R: prost::Message>(&mut self, table: Table, key: Vec<u8>, record: &R) {
        self.rows.insert((table, key), Some(record.encode_to_vec()));
    }

    pub(super) fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.rows.insert((table, key), None);
    }

    /// A record as it will be.
    pub(super) fn record<R: prost::Message + Default>(&self, table: Table, key: &[u8]) -> Result<Option<R>, ReadError> {
        match self.rows.get(&(table, key.to_vec())) {
            Some(value) => value.as_deref().map(|value| record(table, value)).transpose(),
            None => self.base.record(table, key),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn into_rows(self) -> Rows {
        self.rows
    }

    fn delete_prefix(&mut self, table: Table, prefix: Vec<u8>) -> Result<(), ReadError> {
        for row in self.base.prefix(table, &prefix) {
            self.rows.insert((table, row?.0.to_vec()), None);
        }
        let added = self.rows.range_mut((table, prefix.clone())..);
        for (_, value) in added.take_while(|((of, key), _)| *of == table && key.starts_with(&prefix)) {
            *value = None;
        }
        Ok(())
    }
}
