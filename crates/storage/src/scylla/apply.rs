//! Bringing the tables up to the log: the rows of entries that are part of it for ever.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clarion_model::id::{ChannelId, GuildId};
use clarion_model::limits::NONCE_TTL;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::change::{self, Change};
use super::client::{Client, Fault};
use super::record::Stored;
use super::schema::{self, user};

/// Changes of one slot on their way at a time.
const WIDTH: usize = 32;
/// Most buckets that are known to be listed; beyond, they are listed again.
const KNOWN: usize = 100_000;
/// A nonce stays a little longer than it counts, for clocks that differ.
const NONCE_SECONDS: i32 = NONCE_TTL.as_secs() as i32 + 60;

/// Writes the tables.
pub(super) struct Applier {
    client: Arc<Client>,
    /// Buckets of channels that are listed.
    listed: Mutex<HashSet<(i64, i32)>>,
}

impl Applier {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { client, listed: Mutex::default() }
    }

    /// Writes what entries change, until all of it is known to be written or the time is over.
    pub(super) async fn apply(&self, entries: &[Stored], deadline: Instant) -> Result<(), Fault> {
        let changes = change::of_all(entries).into_iter();
        let writes = stream::iter(changes.map(|(stamp, change)| self.write(stamp, change, deadline)));
        writes.buffer_unordered(WIDTH).try_collect().await
    }

    async fn write(&self, stamp: i64, change: Change, deadline: Instant) -> Result<(), Fault> {
        let (client, all) = (&self.client, &self.client.statements);
        match change {
            Change::State { key: (kind, id), part, sub, body: Some(body) } => {
                client.write(client.bind(&all.put_state, &(kind, id, part, sub, body, stamp)), deadline).await
            }
            Change::State { key: (kind, id), part, sub, body: None } => {
                client.write(client.bind(&all.delete_state, &(stamp, kind, id, part, sub)), deadline).await
            }
            Change::ReadStates { key: (kind, id), guild } => {
                let of = |channel| user::read_state(Some(GuildId(guild)), ChannelId(channel));
                let range = (stamp, kind, id, user::READ_STATE, of(0), of(u64::MAX));
                client.write(client.bind(&all.delete_states, &range), deadline).await
            }
            Change::Message { channel, id, body: Some(body) } => {
                let bucket = schema::bucket_of(id);
                self.list(channel, bucket, stamp, deadline).await?;
                client.write(client.bind(&all.put_message, &(channel, bucket, id, body, stamp)), deadline).await
            }
            Change::Message { channel, id, body: None } => {
                let row = (stamp, channel, schema::bucket_of(id), id);
                client.write(client.bind(&all.delete_message, &row), deadline).await?;
                client.write(client.bind(&all.delete_reactions, &row), deadline).await
            }
            Change::Reaction { channel, message, emoji: (emoji, text), user, put: Some((name, place)) } => {
                let row = (channel, schema::bucket_of(message), message, emoji, text, user, name, place, stamp);
                client.write(client.bind(&all.put_reaction, &row), deadline).await
            }
            Change::Reaction { channel, message, emoji: (emoji, text), user, put: None } => {
                let row = (stamp, channel, schema::bucket_of(message), message, emoji, text, user);
                client.write(client.bind(&all.delete_reaction, &row), deadline).await
            }
            Change::Route { channel, key: Some((kind, id)) } => {
                client.write(client.bind(&all.put_route, &(channel, kind, id, stamp)), deadline).await
            }
            Change::Route { channel, key: None } => {
                client.write(client.bind(&all.delete_route, &(stamp, channel)), deadline).await
            }
            Change::Nonce { channel, author, nonce, message, at } => {
                let row = (channel, author, nonce, message, at, NONCE_SECONDS, stamp);
                client.write(client.bind(&all.put_nonce, &row), deadline).await
            }
        }
    }

    /// Lists a bucket, before anything lies in it.
    async fn list(&self, channel: i64, bucket: i32, stamp: i64, deadline: Instant) -> Result<(), Fault> {
        let listed = || self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if listed().contains(&(channel, bucket)) {
            return Ok(());
        }
        self.client
            .write(self.client.bind(&self.client.statements.put_bucket, &(channel, bucket, stamp)), deadline)
            .await?;
        let mut listed = listed();
        if listed.len() >= KNOWN {
            listed.clear();
        }
        listed.insert((channel, bucket));
        Ok(())
    }
}
