//! What can go wrong with a store, one enum an operation.

use clarion_model::key::Epoch;

/// A batch was not written, or nobody can say whether it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The slot was taken by somebody else: nothing of this epoch is acknowledged any more.
    #[error("slot was taken at epoch {}", .0.0)]
    Fenced(Epoch),
    /// The disk has less room than `min_free`, or had for the batch before this one; nothing was written.
    #[error("store has no room")]
    Full,
    /// The store did not answer in time: what was being written may or may not be there. The slot has to be given up, and
    /// whoever takes it next finds out.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The store cannot write any more; what was being written may or may not be there. The process must end.
    #[error("store failed: {0}")]
    Failed(String),
}

/// A read did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The store did not answer.
    #[error("store cannot be read: {0}")]
    Failed(String),
    /// A stored record is not what its key says it is.
    #[error("stored record is damaged: {0}")]
    Damaged(String),
}

/// A store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("another process uses {0}")]
    Locked(String),
    /// Its schema is newer than this program.
    #[error("{path} has schema version {found}, this program knows {known}")]
    Schema {
        /// Which store.
        path: String,
        /// What it has.
        found: u32,
        /// What this program can read.
        known: u32,
    },
    /// Anything else that the store says.
    #[error("cannot open {path}: {reason}")]
    Failed {
        /// Which store.
        path: String,
        /// What it said.
        reason: String,
    },
}

impl CommitError {
    /// A bounded name for metrics and logs.
    pub fn error_type(&self) -> &'static str {
        match self {
            CommitError::Fenced(_) => "fenced",
            CommitError::Full => "full",
            CommitError::Unknown(_) => "unknown",
            CommitError::Failed(_) => "failed",
        }
    }
}

impl ReadError {
    /// A bounded name for metrics and logs.
    pub fn error_type(&self) -> &'static str {
        match self {
            ReadError::Failed(_) => "failed",
            ReadError::Damaged(_) => "damaged",
        }
    }
}
