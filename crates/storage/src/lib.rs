//! What lasts: a trait per noun, the stores behind them, and one suite of rules that each of them passes.
//!
//! There is one way to write: [`Logs::commit`], a batch of log entries. The rows that an entry changes are a function of
//! its event (`row.rs`), so the log and the rows cannot disagree: they are one atomic batch.

mod batch;
pub mod cache;
pub mod conformance;
pub mod embedded;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod growth;
pub mod index;
mod row;
pub mod scylla;

use std::sync::Arc;

use clarion_model::guild::GuildState;
use clarion_model::id::{ChannelId, GuildId, MessageId, UserId};
use clarion_model::key::{Epoch, Key, Position, Slot};
use clarion_model::message::{Anchor, MessageView, Nonce};
use clarion_model::user::UserState;

pub use batch::{Batch, Grown, LogPage, NonceRow, SlotRecord, Tail};
pub use error::{CommitError, OpenError, ReadError};

/// Handles to every noun of one store. Opened once by whoever composes the process.
#[derive(Clone)]
pub struct Stores {
    /// The logs, and the one way to write.
    pub logs: Arc<dyn Logs>,
    /// Messages and what hangs on them.
    pub messages: Arc<dyn Messages>,
    /// Guilds.
    pub guilds: Arc<dyn Guilds>,
    /// Accounts.
    pub users: Arc<dyn Users>,
    /// Slots and their epochs.
    pub slots: Arc<dyn Slots>,
    /// Which key a channel lies in.
    pub routes: Arc<dyn Routes>,
    /// Which keys there are.
    pub keys: Arc<dyn Keys>,
}

/// The log of each key.
#[async_trait::async_trait]
pub trait Logs: Send + Sync {
    /// Writes entries and the rows they change, all or nothing. When it returns `Ok` the batch is durable and the slot's
    /// epoch, read after the write, was still the batch's: it may be acknowledged. Batches of one key are written in the
    /// order of the calls; batches of different keys share a sync where they can.
    async fn commit(&self, batch: Batch) -> Result<(), CommitError>;

    /// Where the log of a key ends, for the owner who took the key's slot at `epoch`. What earlier epochs wrote is sealed
    /// at the tail that is returned: nothing of theirs can appear after it.
    async fn open(&self, key: Key, epoch: Epoch) -> Result<Tail, CommitError>;

    /// At most `limit` entries after a position, the earliest first. `complete` is false when entries directly after the
    /// position are no longer kept: the reader needs a snapshot.
    async fn read(&self, key: Key, after: Position, limit: usize) -> Result<LogPage, ReadError>;

    /// Forgets the entries up to and including a position.
    async fn trim(&self, key: Key, upto: Position) -> Result<(), CommitError>;
}

/// Messages of every channel. A view that is read here has its reactions, and `referenced` is `None`.
#[async_trait::async_trait]
pub trait Messages: Send + Sync {
    /// One message.
    async fn get(&self, channel: ChannelId, id: MessageId) -> Result<Option<MessageView>, ReadError>;

    /// A part of the history, newest first, at most `limit` messages.
    async fn page(&self, channel: ChannelId, anchor: Anchor, limit: usize) -> Result<Vec<MessageView>, ReadError>;

    /// The message that an author made last in a channel with a nonce, while it is remembered. A number is the same nonce
    /// as its text.
    async fn by_nonce(&self, channel: ChannelId, author: UserId, nonce: &Nonce)
    -> Result<Option<MessageId>, ReadError>;

    /// How many messages a channel has, of those up to and including an id.
    async fn count(&self, channel: ChannelId, upto: MessageId) -> Result<u64, ReadError>;
}

/// Guilds, as their rows say.
#[async_trait::async_trait]
pub trait Guilds: Send + Sync {
    /// A guild with its roles, channels and members.
    async fn get(&self, id: GuildId) -> Result<Option<GuildState>, ReadError>;
}

/// Accounts, as their rows say.
#[async_trait::async_trait]
pub trait Users: Send + Sync {
    /// An account with its tokens' hashes and its guilds.
    async fn get(&self, id: UserId) -> Result<Option<UserState>, ReadError>;
}

/// The epochs that decide who may write.
#[async_trait::async_trait]
pub trait Slots: Send + Sync {
    /// The epoch of a slot and who raised it last; epoch 0 and nobody before the first.
    async fn get(&self, slot: Slot) -> Result<SlotRecord, ReadError>;

    /// Takes slots: raises the epoch of each by one, durably, in the name of `owner`. From then on no batch of an earlier
    /// epoch is acknowledged. Answers in the order asked.
    async fn raise(&self, slots: &[Slot], owner: &str) -> Result<Vec<Epoch>, CommitError>;
}

/// The keys that hold messages, for who follows the logs of all of them.
#[async_trait::async_trait]
pub trait Keys: Send + Sync {
    /// The guilds and channels between people whose logs have grown after a mark, with where they end, and the mark of
    /// this answer. All of them when the mark is 0, or too long ago. May name some that have not grown.
    async fn grown(&self, since: u64) -> Result<Grown, ReadError>;

    /// Changes when some log has grown, durably.
    fn growth(&self) -> tokio::sync::watch::Receiver<u64>;
}

/// Where channels lie.
#[async_trait::async_trait]
pub trait Routes: Send + Sync {
    /// The key of a channel.
    async fn key_of(&self, channel: ChannelId) -> Result<Option<Key>, ReadError>;
}
