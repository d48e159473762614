//! What goes wrong between a store and an index.

use clarion_observability::metric::{IndexError as Counted, Label};
use clarion_storage::ReadError;
use clarion_storage::index::IndexError;

/// Something did not answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The index.
    Index(IndexError),
    /// The store that it is fed from.
    Store(ReadError),
}

impl Failure {
    /// What it is counted as.
    pub(crate) fn counted(&self) -> Counted {
        match self {
            Self::Index(error) => counted(error),
            Self::Store(_) => Counted::Store,
        }
    }

    pub(crate) fn error(&self) -> &dyn std::error::Error {
        match self {
            Self::Index(error) => error,
            Self::Store(error) => error,
        }
    }
}

/// What an index's error is counted as.
pub(crate) fn counted(error: &IndexError) -> Counted {
    Counted::parse(error.error_type()).unwrap_or(Counted::Unavailable)
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Store(error)
    }
}
