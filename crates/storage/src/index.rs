//! The index: messages found by what they say. Fed from the logs, so it can be lost: the stores have everything.
//!
//! An index says *which* messages match, never what they are: whoever asks reads them from their owner, who knows what is
//! there now and who may see it. How far each key's log has gone into the index is kept in the index itself and changes
//! with it, in one commit: after a crash the follower goes on exactly where the index is.

mod config;
pub mod conformance;
mod document;
mod embedded;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod meilisearch;
mod progress;
pub mod query;
pub mod text;

use std::ops::RangeInclusive;
use std::sync::Arc;

use clarion_model::id::{ChannelId, GuildId, MessageId};
use clarion_model::key::{Key, Position};

pub use config::{Config, Kind, Secret};
pub use document::{Document, host_mark, mark};
pub use embedded::Folder;
pub use meilisearch::Meilisearch;
pub use query::{Clause, Query, Sort};

/// One index.
#[async_trait::async_trait]
pub trait Index: Send + Sync {
    /// How far each key has got.
    async fn progress(&self) -> Result<Vec<Progress>, IndexError>;

    /// Makes changes, in order, all or nothing. When it returns they are durable and searches see them.
    async fn write(&self, changes: Vec<Change>) -> Result<(), IndexError>;

    /// Which messages match.
    async fn search(&self, query: Query) -> Result<Found, IndexError>;

    /// How many messages of a channel are in the index, of those up to and including an id.
    async fn count(&self, channel: ChannelId, upto: MessageId) -> Result<u64, IndexError>;

    /// The ids of a channel's messages that lie in a range, rising; at most `limit`.
    async fn ids(
        &self,
        channel: ChannelId,
        range: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<MessageId>, IndexError>;

    /// Whether it is still there. Cheap.
    async fn check(&self) -> Result<(), IndexError>;

    /// How large it is.
    async fn size(&self) -> Result<Size, IndexError>;
}

/// Where indexes lie: the one that serves, and at times another one that is being built.
#[async_trait::async_trait]
pub trait Indexes: Send + Sync {
    /// The index that serves; nothing when there is none, or not of this version.
    async fn current(&self) -> Result<Option<Arc<dyn Index>>, IndexError>;

    /// A new, empty index beside it. What an earlier attempt left is forgotten.
    async fn create(&self) -> Result<Arc<dyn Index>, IndexError>;

    /// Has the index that was created last serve from now on; the one before it is forgotten.
    async fn promote(&self) -> Result<(), IndexError>;
}

/// Where the settings have indexes lie: every place has all messages, for the case that another one is gone.
pub fn places(config: &Config) -> Result<Vec<Arc<dyn Indexes>>, IndexError> {
    match config.kind {
        Kind::Embedded => Ok(vec![Arc::new(Folder::new(config.clone()))]),
        Kind::Meilisearch if config.urls.is_empty() => {
            Err(IndexError::Invalid("search.index.urls names no Meilisearch server".into()))
        }
        Kind::Meilisearch => {
            let open = |url: &String| Meilisearch::new(url, config).map(|server| Arc::new(server) as _);
            config.urls.iter().map(open).collect()
        }
    }
}

/// What is done to an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A message that is not in the index.
    Add(Document),
    /// A message as it is now; it may be in the index as it was.
    Put(Document),
    /// A message goes.
    Delete(MessageId),
    /// The messages of a channel whose ids lie in the range go.
    Clear(ChannelId, RangeInclusive<u64>),
    /// All messages of a guild go that lie in other channels.
    Keep(GuildId, Vec<ChannelId>),
    /// How far a key has got.
    Progress(Progress),
}

/// How far a key's log, or its history, has gone into the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Which key.
    pub key: Key,
    /// The last entry of its log that is in the index.
    pub position: Position,
    /// Whether everything that the log had at some moment has been in the index: answers are whole, if a little late.
    pub ready: bool,
    /// The history is being read from the store, because the log did not reach back.
    pub refill: Option<Refill>,
}

/// How far the reading of a history has got: channels in the order of their ids, messages in the order of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refill {
    /// The channel that is being read.
    pub channel: ChannelId,
    /// Its messages up to and including this one are in the index.
    pub after: MessageId,
    /// What is newer than this comes from the log.
    pub upto: MessageId,
}

/// What a search finds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// How many messages match.
    pub total: u64,
    /// Those that were asked for, in the order that was asked for.
    pub hits: Vec<Hit>,
}

/// A message that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// Where.
    pub channel: ChannelId,
    /// Which.
    pub id: MessageId,
}

/// How large an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Messages in it.
    pub messages: u64,
    /// What it takes, in bytes.
    pub bytes: u64,
}

/// An index did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It is gone or damaged, and has to be built anew.
    #[error("index is lost: {0}")]
    Lost(String),
    /// It does not do it now, and may later. Nothing was changed.
    #[error("index does not answer: {0}")]
    Unavailable(String),
    /// There is no room for more. Nothing was changed.
    #[error("index has no room: {0}")]
    Full(String),
    /// What was asked makes no sense to it.
    #[error("index does not take it: {0}")]
    Invalid(String),
}

impl IndexError {
    /// A bounded name for metrics and logs.
    pub fn error_type(&self) -> &'static str {
        match self {
            IndexError::Lost(_) => "lost",
            IndexError::Unavailable(_) => "unavailable",
            IndexError::Full(_) => "full",
            IndexError::Invalid(_) => "invalid",
        }
    }
}
