//! Reading a history from the stores, page by page, where the log does not reach back.
//!
//! It begins at the tail of the log as it was at one moment: messages up to the last id of that moment come from the
//! store, everything after that moment from the log. Of a message that was changed in between, the store says the newer;
//! the log says it once more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clarion_model::id::{ChannelId, MessageId, UserId};
use clarion_model::key::Key;
use clarion_model::message::{Anchor, MessageView};
use clarion_storage::index::{Change, Document, Progress, Refill};
use clarion_storage::{ReadError, Stores, Tail};

use crate::keys::Known;

/// Messages that are read at a time.
pub(crate) const PAGE: usize = 500;

/// What to do next about a key, and how many messages that took to read.
pub(crate) struct Step {
    pub(crate) changes: Vec<Change>,
    pub(crate) progress: Progress,
    pub(crate) read: usize,
}

/// The channels whose messages lie under a key, in the order of their ids.
pub(crate) async fn channels(stores: &Stores, key: Key) -> Result<Vec<ChannelId>, ReadError> {
    let id = match key {
        Key::Guild(id) => id,
        // Its rows lie under the same id.
        Key::Direct(id) => return Ok(vec![id]),
        Key::User(_) => return Ok(Vec::new()),
    };
    Ok(stores.guilds.get(id).await?.map(|state| state.channels.into_keys().collect()).unwrap_or_default())
}

/// Begins: the log is followed from its present end, once the history up to there is read.
pub(crate) async fn begin(stores: &Stores, known: &Known, tail: Tail) -> Result<Step, ReadError> {
    let channels = channels(stores, known.progress.key).await?;
    let first = channels.first().copied();
    let upto = MessageId(tail.last_id);
    let refill = first.map(|channel| Refill { channel, after: MessageId(0), upto });
    let progress = Progress { position: tail.position, refill, ..known.progress.clone() };
    let progress = Progress { ready: progress.ready || refill.is_none(), ..progress };
    // Channels that went while nobody looked.
    let changes = match known.progress.key {
        Key::Guild(guild) => vec![Change::Keep(guild, channels)],
        _ => Vec::new(),
    };
    Ok(Step { changes, progress, read: 0 })
}

/// Reads the next page. What is in the index of the same range of ids is replaced.
pub(crate) async fn go_on(stores: &Stores, known: &Known, refill: Refill) -> Result<Step, ReadError> {
    let Refill { channel, after, upto } = refill;
    let mut page = stores.messages.page(channel, Anchor::After(after), PAGE).await?;
    page.reverse();
    let is_last = page.len() < PAGE || page.last().is_some_and(|view| view.message.id > upto);
    page.retain(|view| view.message.id <= upto);
    let reached = if is_last { upto } else { page.last().map_or(upto, |view| view.message.id) };
    let read = page.len();
    let mut changes = Vec::with_capacity(read + 2);
    if reached > after {
        changes.push(Change::Clear(channel, after.0 + 1..=reached.0));
    }
    changes.extend(documents(stores, page).await?.into_iter().map(Change::Add));
    let next = if is_last {
        let next = channels(stores, known.progress.key).await?.into_iter().find(|id| *id > channel);
        next.map(|channel| Refill { channel, after: MessageId(0), upto })
    } else {
        Some(Refill { after: reached, ..refill })
    };
    let ready = known.progress.ready || next.is_none();
    Ok(Step { changes, progress: Progress { refill: next, ready, ..known.progress.clone() }, read })
}

/// Messages as documents, with the authors of those that they answer.
pub(crate) async fn documents(stores: &Stores, views: Vec<MessageView>) -> Result<Vec<Document>, ReadError> {
    let mut authors: BTreeMap<MessageId, UserId> = views.iter().map(|v| (v.message.id, v.message.author.id)).collect();
    let mut documents = Vec::with_capacity(views.len());
    for view in &views {
        let answered = match view.message.reply_to {
            Some(id) if view.referenced.is_none() => match authors.get(&id) {
                Some(author) => Some(*author),
                None => {
                    let answered = stores.messages.get(view.message.channel_id, id).await?;
                    let author = answered.map(|view| view.message.author.id);
                    author.inspect(|author| {
                        authors.insert(id, *author);
                    })
                }
            },
            _ => None,
        };
        documents.push(Document::new(view, answered));
    }
    Ok(documents)
}

/// How much may be read in a second.
pub(crate) struct Allowance {
    per_s: usize,
    left: usize,
    since: Instant,
}

impl Allowance {
    pub(crate) fn new(per_s: u32) -> Self {
        Self { per_s: per_s.max(1) as usize, left: 0, since: Instant::now() - Duration::from_secs(1) }
    }

    pub(crate) fn is_left(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            (self.left, self.since) = (self.per_s, Instant::now());
        }
        self.left > 0
    }

    pub(crate) fn take(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count);
    }
}
