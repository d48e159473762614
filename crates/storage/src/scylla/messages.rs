//! Messages: history bucket by bucket, empty ones passed over.

use std::collections::BTreeMap;
use std::time::SystemTime;

use async_trait::async_trait;
use clarion_model::id::{ChannelId, MessageId, UserId};
use clarion_model::limits::NONCE_TTL;
use clarion_model::message::{Anchor, Emoji, Message, MessageView, Nonce, Reaction};
use clarion_model::time::Timestamp;
use clarion_observability::metric::Operation;
use clarion_proto::v1;

use super::client::Client;
use super::handle::Handle;
use super::{change, record, schema};
use crate::Messages;
use crate::error::ReadError;

/// Buckets that are looked up at a time.
const BUCKETS: i32 = 16;

#[async_trait]
impl Messages for Handle {
    async fn get(&self, channel: ChannelId, id: MessageId) -> Result<Option<MessageView>, ReadError> {
        let client = &self.client;
        let read = async {
            let place = (channel.0 as i64, schema::bucket(id), schema::number(id.0));
            let found: Option<Body> = client.row(client.bind(&client.statements.message, &place)).await?;
            let messages = found.map(decode).transpose()?.into_iter().collect();
            Ok(views(client, channel, messages).await?.pop())
        };
        client.query(Operation::ReadMessage, "get", "messages", read).await
    }

    async fn page(&self, channel: ChannelId, anchor: Anchor, limit: usize) -> Result<Vec<MessageView>, ReadError> {
        let client = &self.client;
        let read = async {
            let messages = match anchor {
                Anchor::Latest => older(client, channel, i64::MAX, limit).await?,
                Anchor::Before(MessageId(0)) => Vec::new(),
                Anchor::Before(MessageId(id)) => older(client, channel, schema::number(id - 1), limit).await?,
                Anchor::After(id) => newer(client, channel, id, limit).await?,
                Anchor::Around(id) => {
                    let mut around = newer(client, channel, id, limit / 2).await?;
                    around.extend(older(client, channel, schema::number(id.0), limit - limit / 2).await?);
                    around
                }
            };
            views(client, channel, messages).await
        };
        client.query(Operation::ReadHistory, "range", "messages", read).await
    }

    async fn by_nonce(
        &self,
        channel: ChannelId,
        author: UserId,
        nonce: &Nonce,
    ) -> Result<Option<MessageId>, ReadError> {
        let client = &self.client;
        let read = async {
            let place = (channel.0 as i64, author.0 as i64, change::nonce(nonce));
            let row: Option<(i64, i64)> = client.row(client.bind(&client.statements.nonce, &place)).await?;
            let now = Timestamp::from(SystemTime::now());
            let remembered = row.filter(|(_, at)| now.since(Timestamp::from_micros(*at as u64)) < NONCE_TTL);
            Ok(remembered.map(|(id, _)| MessageId(id as u64)))
        };
        client.query(Operation::ReadNonce, "get", "nonces", read).await
    }

    async fn count(&self, channel: ChannelId, upto: MessageId) -> Result<u64, ReadError> {
        let client = &self.client;
        client.query(Operation::ReadHistory, "count", "messages", count(client, channel, upto)).await
    }
}

/// A message's row.
type Body = (i64, Vec<u8>);

fn decode((_, body): Body) -> Result<Message, ReadError> {
    record::value::<v1::Message, _>("messages", &body)
}

/// The newest messages up to an id, newest first.
async fn older(client: &Client, channel: ChannelId, upto: i64, limit: usize) -> Result<Vec<Message>, ReadError> {
    let of = channel.0 as i64;
    let mut found = Vec::new();
    let mut next = Some(schema::bucket_of(upto));
    while let Some(from) = next.take().filter(|_| found.len() < limit) {
        let buckets: Vec<(i32,)> =
            client.rows(client.bind(&client.statements.buckets_upto, &(of, from, BUCKETS))).await?;
        next = more(&buckets).and_then(|last| last.checked_sub(1));
        for (bucket,) in buckets {
            let left = i32::try_from(limit - found.len()).unwrap_or(i32::MAX);
            if left == 0 {
                break;
            }
            let rows: Vec<Body> =
                client.rows(client.bind(&client.statements.messages_upto, &(of, bucket, upto, left))).await?;
            for row in rows {
                found.push(decode(row)?);
            }
        }
    }
    Ok(found)
}

/// The oldest messages after an id, newest first.
async fn newer(client: &Client, channel: ChannelId, after: MessageId, limit: usize) -> Result<Vec<Message>, ReadError> {
    let (of, after) = (channel.0 as i64, schema::number(after.0));
    let mut found = Vec::new();
    let mut next = Some(schema::bucket_of(after));
    while let Some(from) = next.take().filter(|_| found.len() < limit) {
        let buckets: Vec<(i32,)> =
            client.rows(client.bind(&client.statements.buckets_from, &(of, from, BUCKETS))).await?;
        next = more(&buckets).and_then(|last| last.checked_add(1));
        for (bucket,) in buckets {
            let left = i32::try_from(limit - found.len()).unwrap_or(i32::MAX);
            if left == 0 {
                break;
            }
            let rows: Vec<Body> =
                client.rows(client.bind(&client.statements.messages_after, &(of, bucket, after, left))).await?;
            for row in rows {
                found.push(decode(row)?);
            }
        }
    }
    found.reverse();
    Ok(found)
}

/// How many messages there are up to an id: one look a bucket.
async fn count(client: &Client, channel: ChannelId, upto: MessageId) -> Result<u64, ReadError> {
    let (of, upto) = (channel.0 as i64, schema::number(upto.0));
    let mut count = 0;
    let mut next = Some(schema::bucket_of(upto));
    while let Some(from) = next.take() {
        let buckets: Vec<(i32,)> =
            client.rows(client.bind(&client.statements.buckets_upto, &(of, from, BUCKETS))).await?;
        next = more(&buckets).and_then(|last| last.checked_sub(1));
        for (bucket,) in buckets {
            let each = |(found,): (i64,)| {
                count += found as u64;
                Ok(std::ops::ControlFlow::Continue(()))
            };
            client.pages(client.bind(&client.statements.messages_count, &(of, bucket, upto)), each).await?;
        }
    }
    Ok(count)
}

/// The last bucket of a full answer: behind it there may be more.
fn more(buckets: &[(i32,)]) -> Option<i32> {
    if buckets.len() < BUCKETS as usize { None } else { buckets.last().map(|(bucket,)| *bucket) }
}

/// Messages, newest first, with their reactions: one look a bucket.
async fn views(client: &Client, channel: ChannelId, messages: Vec<Message>) -> Result<Vec<MessageView>, ReadError> {
    let mut given: BTreeMap<i64, Vec<(i64, Emoji, UserId)>> = BTreeMap::new();
    for messages in messages.chunk_by(|a, b| schema::bucket(a.id) == schema::bucket(b.id)) {
        let (Some(newest), Some(oldest)) = (messages.first(), messages.last()) else { continue };
        let (first, last) = (schema::number(oldest.id.0), schema::number(newest.id.0));
        type Columns = (i64, i64, i64, Option<String>, Option<i64>);
        let range = (channel.0 as i64, schema::bucket(newest.id), first, last);
        let each = |(message, emoji, user, name, place): Columns| {
            let emoji = Emoji { id: (emoji != 0).then_some(emoji as u64), name: name.unwrap_or_default() };
            given.entry(message).or_default().push((place.unwrap_or_default(), emoji, UserId(user as u64)));
            Ok(std::ops::ControlFlow::Continue(()))
        };
        client.pages(client.bind(&client.statements.reactions, &range), each).await?;
    }
    let view = |message: Message| {
        let reactions = given.remove(&schema::number(message.id.0)).map(in_order).unwrap_or_default();
        MessageView { message, reactions, referenced: None }
    };
    Ok(messages.into_iter().map(view).collect())
}

/// By kind, the kind whose first is the earliest first; the users of a kind in the order in which they came.
fn in_order(mut given: Vec<(i64, Emoji, UserId)>) -> Vec<Reaction> {
    given.sort_by_key(|(place, ..)| *place);
    let mut kinds: Vec<Reaction> = Vec::new();
    for (_, emoji, user) in given {
        match kinds.iter_mut().find(|kind| kind.emoji == emoji) {
            Some(kind) => kind.users.push(user),
            None => kinds.push(Reaction { emoji, users: vec![user] }),
        }
    }
    kinds
}
