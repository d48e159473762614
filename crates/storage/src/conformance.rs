//! The rules that every store keeps, as one suite that is run over each of them, the real servers included.
//!
//! A rule that is broken panics, as a failed test does. Nothing here waits for time to pass, and every rule works under
//! ids of its own, so that a store that has been used before will do.

#![allow(clippy::unwrap_used)]

mod cache;
mod fencing;
mod log;
mod messages;
mod redis;
mod reopen;
mod state;

pub use cache::cache_suite;
pub use redis::RedisServer;

use std::future::Future;
use std::time::SystemTime;

use clarion_model::event::{Event, GuildEvent, LogEntry};
use clarion_model::guild::{Channel, ChannelKind, Guild};
use clarion_model::id::{self, ChannelId, GuildId, MessageId, UserId};
use clarion_model::key::{Epoch, Key, Position};
use clarion_model::message::{Message, MessageView, TraceId};
use clarion_model::time::Timestamp;
use clarion_model::user::User;

use crate::{Batch, CommitError, NonceRow, Stores};

/// Runs every rule over the store that `open` opens. It is called again, after what it gave last is dropped, to see what
/// has lasted.
pub async fn suite<S, F>(open: impl Fn() -> F)
where
    S: AsRef<Stores>,
    F: Future<Output = S>,
{
    let mut ids = Ids::new();
    {
        let opened = open().await;
        let stores = opened.as_ref();
        log::rules(stores, &mut ids).await;
        fencing::rules(stores, &mut ids).await;
        messages::rules(stores, &mut ids).await;
        state::rules(stores, &mut ids).await;
    }
    reopen::rules(open, &mut ids).await;
}

/// Ids that nobody has used, rising.
struct Ids(u64);

/// An owner of a key: writes at the next position of its epoch.
#[derive(Clone)]
struct Owner {
    stores: Stores,
    key: Key,
    epoch: Epoch,
    offset: u64,
}

impl Ids {
    fn new() -> Self {
        Self(id::first_of(now()))
    }

    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }

    fn guild(&mut self) -> Key {
        Key::Guild(GuildId(self.next()))
    }

    fn channel(&mut self) -> ChannelId {
        ChannelId(self.next())
    }

    fn message(&mut self) -> MessageId {
        MessageId(self.next())
    }

    fn user(&mut self) -> UserId {
        UserId(self.next())
    }

    fn messages(&mut self, count: usize) -> Vec<MessageId> {
        (0..count).map(|_| self.message()).collect()
    }
}

impl Owner {
    /// Takes the key's slot.
    async fn of(stores: &Stores, key: Key) -> Self {
        let epochs = stores.slots.raise(&[key.slot()], "conformance").await.unwrap();
        Self { stores: stores.clone(), key, epoch: epochs[0], offset: 0 }
    }

    /// A batch at the next positions.
    fn batch(&mut self, events: Vec<Event>) -> Batch {
        let entries = events.into_iter().map(|event| {
            self.offset += 1;
            let position = Position { epoch: self.epoch, offset: self.offset };
            LogEntry { key: self.key, position, at: now(), traceparent: String::new(), event }
        });
        let entries = entries.collect();
        Batch { key: self.key, epoch: self.epoch, entries, nonce: None }
    }

    async fn try_write(&mut self, events: Vec<Event>) -> Result<(), CommitError> {
        let batch = self.batch(events);
        self.stores.logs.commit(batch).await
    }

    /// Writes events of a guild, one batch.
    async fn write(&mut self, events: Vec<GuildEvent>) -> Vec<LogEntry> {
        let batch = self.batch(events.into_iter().map(Event::Guild).collect());
        self.stores.logs.commit(batch.clone()).await.unwrap();
        batch.entries
    }

    /// Writes a message with a nonce.
    async fn write_once(&mut self, message: Message, nonce: NonceRow) -> Result<(), CommitError> {
        let batch = self.batch(vec![Event::Guild(create(message))]);
        self.stores.logs.commit(Batch { nonce: Some(nonce), ..batch }).await
    }

    /// The whole log as it is kept.
    async fn log(&self) -> Vec<LogEntry> {
        let page = self.stores.logs.read(self.key, Position::START, usize::MAX).await.unwrap();
        assert!(page.complete);
        page.entries
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn user(id: UserId) -> User {
    User { id, username: format!("user-{id}"), global_name: Some("Ünïcode ✓".into()), bot: false }
}

fn guild(key: Key, owner: UserId) -> Guild {
    let (_, id) = key.parts();
    Guild { id: GuildId(id), name: "a guild".into(), owner_id: owner }
}

fn channel(id: ChannelId) -> Channel {
    Channel::new(id, ChannelKind::Text, "general")
}

fn message(channel_id: ChannelId, id: MessageId, content: &str) -> Message {
    Message {
        id,
        channel_id,
        guild_id: None,
        author: user(UserId(7)),
        content: content.into(),
        at: now(),
        edited_at: None,
        tts: false,
        mention_everyone: false,
        mentions: Vec::new(),
        mention_roles: Vec::new(),
        reply_to: None,
        embeds_json: String::new(),
        flags: 0,
        nonce: None,
        trace_id: Some(TraceId([7; 16])),
    }
}

fn view(message: Message) -> MessageView {
    MessageView { message, reactions: Vec::new(), referenced: None }
}

fn create(message: Message) -> GuildEvent {
    GuildEvent::MessageCreate(view(message))
}
