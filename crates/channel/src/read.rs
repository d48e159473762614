//! Reads: from the store, permitted by the key's current state, without a turn in its queue.
//!
//! Concurrent reads of the same page share one query. Two reads are the same only if no entry was applied between them,
//! so whoever wrote reads what they wrote.

mod said;
mod unread;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use clarion_model::id::{ChannelId, MessageId, UserId};
use clarion_model::key::Position;
use clarion_model::message::{Anchor, Emoji, MessageView};
use clarion_model::permission::Permissions;
use clarion_model::user::User;
use clarion_storage::{ReadError, Stores};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared, join_all};

use crate::keys::Failure;
use crate::owner::{self, access};
use crate::refusal::Refusal;
pub(crate) use said::SaidBy;

/// Shared queries remembered before finished ones are cleared away.
const SHARED: usize = 256;

type Page = Arc<Vec<MessageView>>;
type Query = BoxFuture<'static, Result<Page, ReadError>>;

/// Which page: channel, kind of anchor, its id, how many, and what of the log was applied.
type PageKey = (ChannelId, u8, u64, usize, Position);

/// The reading side of all keys.
#[derive(Clone)]
pub(crate) struct Reads {
    stores: Stores,
    pages: Arc<Mutex<HashMap<PageKey, WeakShared<Query>>>>,
}

impl From<ReadError> for Failure {
    fn from(_: ReadError) -> Self {
        Failure::Unavailable("the store does not answer")
    }
}

impl Reads {
    pub(crate) fn new(stores: Stores) -> Self {
        Self { stores, pages: Arc::default() }
    }

    /// One message, with the one it answers.
    pub(crate) async fn message(
        &self,
        truth: &owner::Shared,
        actor: UserId,
        channel: ChannelId,
        id: MessageId,
    ) -> Result<MessageView, Failure> {
        access::require(held(truth, actor, channel)?.0, Permissions::READ_MESSAGE_HISTORY)?;
        let mut view = self.stores.messages.get(channel, id).await?.ok_or(Refusal::UNKNOWN_MESSAGE)?;
        if let Some(reply_to) = view.message.reply_to {
            view.referenced = self.stores.messages.get(channel, reply_to).await?.map(Box::new);
        }
        Ok(view)
    }

    /// A part of the history, newest first. Who may not read history gets none.
    pub(crate) async fn messages(
        &self,
        truth: &owner::Shared,
        actor: UserId,
        channel: ChannelId,
        anchor: Anchor,
        limit: usize,
    ) -> Result<Page, Failure> {
        let (held, applied) = held(truth, actor, channel)?;
        if !held.contains(Permissions::READ_MESSAGE_HISTORY) {
            return Ok(Page::default());
        }
        Ok(self.page(channel, anchor, limit, applied).await?)
    }

    /// Messages from anywhere in the guild, with those that they answer. What is gone, and what the actor may not read, is
    /// left out and not told apart.
    pub(crate) async fn several(
        &self,
        truth: &owner::Shared,
        actor: UserId,
        messages: &[(ChannelId, MessageId)],
    ) -> Result<Vec<MessageView>, Failure> {
        let readable: BTreeSet<ChannelId> = access::history(truth.read().state.guild()?, actor)?.collect();
        let asked = messages.iter().filter(|(channel, _)| readable.contains(channel));
        let read = asked.map(|(channel, id)| self.message(truth, actor, *channel, *id));
        let mut found = Vec::with_capacity(messages.len());
        for view in join_all(read).await {
            match view {
                Ok(view) => found.push(view),
                // It went, or the permission did, a moment ago.
                Err(Failure::Refused(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(found)
    }

    /// Who reacted with an emoji, by id.
    pub(crate) async fn reactions(
        &self,
        truth: &owner::Shared,
        actor: UserId,
        message: (ChannelId, MessageId),
        emoji: &Emoji,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<User>, Failure> {
        let (channel, id) = message;
        access::require(held(truth, actor, channel)?.0, Permissions::READ_MESSAGE_HISTORY)?;
        let view = self.stores.messages.get(channel, id).await?.ok_or(Refusal::UNKNOWN_MESSAGE)?;
        let Some(kind) = view.reactions.into_iter().find(|kind| owner::reaction::same(&kind.emoji, emoji)) else {
            return Ok(Vec::new());
        };
        let mut ids: Vec<UserId> = kind.users.into_iter().filter(|id| after.is_none_or(|after| *id > after)).collect();
        ids.sort_unstable();
        ids.truncate(limit);
        let mut users = Vec::with_capacity(ids.len());
        for id in ids {
            users.extend(self.user(truth, id).await?);
        }
        Ok(users)
    }

    /// A user, as the guild knows them, or their account if they have left.
    async fn user(&self, truth: &owner::Shared, id: UserId) -> Result<Option<User>, Failure> {
        let member = truth.read().state.guild()?.members.get(&id).map(|member| member.user.clone());
        Ok(match member {
            Some(user) => Some(user),
            None => self.stores.users.get(id).await?.map(|state| state.user),
        })
    }

    fn page(&self, channel: ChannelId, anchor: Anchor, limit: usize, applied: Position) -> Shared<Query> {
        let (kind, id) = match anchor {
            Anchor::Latest => (0, 0),
            Anchor::Before(id) => (1, id.0),
            Anchor::After(id) => (2, id.0),
            Anchor::Around(id) => (3, id.0),
        };
        let key = (channel, kind, id, limit, applied);
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = pages.get(&key).and_then(WeakShared::upgrade) {
            return same;
        }
        let stores = self.stores.clone();
        let query: Query = Box::pin(async move { read_page(&stores, channel, anchor, limit).await.map(Arc::new) });
        let query = query.shared();
        if pages.len() >= SHARED {
            pages.retain(|_, query| query.upgrade().is_some());
        }
        if let Some(weak) = query.downgrade() {
            pages.insert(key, weak);
        }
        query
    }
}

/// What an actor may do in a channel, and of what place in the log that is.
fn held(truth: &owner::Shared, actor: UserId, channel: ChannelId) -> Result<(Permissions, Position), Refusal> {
    let truth = truth.read();
    let guild = truth.state.guild().map_err(|_| Refusal::UNKNOWN_CHANNEL)?;
    Ok((access::readable(guild, actor, channel)?, truth.applied))
}

/// A page with the messages that its messages answer.
async fn read_page(
    stores: &Stores,
    channel: ChannelId,
    anchor: Anchor,
    limit: usize,
) -> Result<Vec<MessageView>, ReadError> {
    let mut views = stores.messages.page(channel, anchor, limit).await?;
    let mut known: HashMap<MessageId, Option<MessageView>> = HashMap::new();
    let answered: Vec<MessageId> = views.iter().filter_map(|view| view.message.reply_to).collect();
    for view in views.iter().filter(|view| answered.contains(&view.message.id)) {
        known.insert(view.message.id, Some(view.clone()));
    }
    let missing: Vec<MessageId> = answered.into_iter().filter(|id| !known.contains_key(id)).collect();
    let read = join_all(missing.iter().map(|id| stores.messages.get(channel, *id))).await;
    for (id, view) in missing.into_iter().zip(read) {
        known.insert(id, view?);
    }
    for view in &mut views {
        let referenced = view.message.reply_to.and_then(|id| known.get(&id).cloned().flatten());
        view.referenced = referenced.map(Box::new);
    }
    Ok(views)
}
