//! The cache: what is worth keeping for seconds and may be lost, in small hashes that run out.
//!
//! A hash has a version that differs after every change, so that whoever changes it or lets it live longer can say which
//! one they know: when it ran out, or somebody else wrote, they are told and write the whole again. Nothing is evicted to
//! make room; what does not fit is refused, and runs out elsewhere. A Redis that was told to evict is counted.
//!
//! Beside hashes there are windows, in which so many are counted and no more, and rows, in which those who come at once have
//! their turns one after another.

mod config;
mod memory;
mod observed;
mod redis;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

pub use config::{Config, Kind, OpenError, RedisConfig, RedisUrl};
pub use memory::MemoryCache;
pub use observed::Observed;
pub use redis::{RedisCache, RedisInspection, inspect};

/// Where a hash lies: what kind it is, and which one of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey {
    prefix: &'static str,
    id: String,
}

/// Which state of a hash; no two states of one key have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(pub u64);

/// A hash as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hash {
    /// Which state of it.
    pub version: Version,
    /// What it holds.
    pub fields: BTreeMap<String, Bytes>,
}

/// So many in a time, which begins with the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Under which name it is counted. No hash lies there.
    pub key: CacheKey,
    /// How many.
    pub limit: u32,
    /// In which time.
    pub length: Duration,
}

/// How full a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Whether there was room for one more, which it now has.
    pub counted: bool,
    /// How many it has.
    pub used: u32,
    /// How long it lasts.
    pub ends_in: Duration,
}

/// A row of turns: a few at once, then one at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Under which name it is kept. No hash and no window lies there.
    pub key: CacheKey,
    /// How long a turn takes.
    pub every: Duration,
    /// How many need not wait for each other.
    pub at_once: u32,
    /// Who would have to wait longer is not let in.
    pub longest: Duration,
}

/// What came of asking for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// How long until it is there. `None`: there was no room in the window or in the row, and nothing has changed.
    pub wait: Option<Duration>,
    /// How full the window is.
    pub count: Count,
    /// How long until the row is as if nobody had come.
    pub clear_in: Duration,
}

/// How much a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes in use.
    pub used: u64,
    /// Bytes there are.
    pub allocated: u64,
    /// Hashes that it has thrown out to make room, since it began. None, unless it was told to.
    pub evicted: u64,
}

/// The cache did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// The hash is not at the version that was named: it ran out, or somebody else changed it.
    #[error("changed by somebody else, or ran out")]
    Conflict,
    /// There is no room.
    #[error("cache is full")]
    Full,
    /// It does not answer.
    #[error("cache failed: {0}")]
    Failed(String),
}

/// A cache. Every call is one step: nobody sees half of a change.
#[async_trait::async_trait]
pub trait Cache: Send + Sync {
    /// The ids of all hashes of a kind, in no order.
    async fn list(&self, prefix: &'static str) -> Result<Vec<String>, CacheError>;

    /// A whole hash; `None` when it is not there or has run out.
    async fn read(&self, key: &CacheKey) -> Result<Option<Hash>, CacheError>;

    /// Puts a whole hash in the place of whatever is there, to run out after `ttl`. One without fields is there, too.
    async fn replace(
        &self,
        key: &CacheKey,
        fields: BTreeMap<String, Bytes>,
        ttl: Duration,
    ) -> Result<Version, CacheError>;

    /// Sets fields of a hash at a known version, or takes those with `None` out of it, to run out `ttl` from now.
    async fn change(
        &self,
        key: &CacheKey,
        known: Version,
        changes: Vec<(String, Option<Bytes>)>,
        ttl: Duration,
    ) -> Result<Version, CacheError>;

    /// Lets a hash at a known version run out `ttl` from now.
    async fn renew(&self, key: &CacheKey, known: Version, ttl: Duration) -> Result<(), CacheError>;

    /// Takes a hash out, if it is there.
    async fn forget(&self, key: &CacheKey) -> Result<(), CacheError>;

    /// Counts one more in each window, one after another, up to the first that is full. Answers how full those are that were
    /// looked at: the last of them is full, or all have counted.
    async fn count(&self, windows: &[Window]) -> Result<Vec<Count>, CacheError>;

    /// Counts one more in a window and gives it a turn in a row, if there is room in both.
    async fn turn(&self, window: &Window, row: &Row) -> Result<Turn, CacheError>;

    /// Whether other processes use the same one.
    fn is_shared(&self) -> bool;

    /// How much it holds.
    async fn memory(&self) -> Result<Memory, CacheError>;
}

impl Row {
    /// How far the end of the row may lie ahead for those who need not wait.
    fn ahead(&self) -> Duration {
        self.every * self.at_once.max(1).saturating_sub(1)
    }
}

impl CacheKey {
    /// The hash of a kind with an id.
    pub fn new(prefix: &'static str, id: impl Into<String>) -> Self {
        Self { prefix, id: id.into() }
    }

    /// The kind, which is what operators may see of a key.
    pub fn prefix(&self) -> &'static str {
        self.prefix
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.prefix, self.id)
    }
}

impl CacheError {
    /// A bounded name for metrics and logs.
    pub fn error_type(&self) -> &'static str {
        match self {
            CacheError::Conflict => "conflict",
            CacheError::Full => "full",
            CacheError::Failed(_) => "failed",
        }
    }
}
