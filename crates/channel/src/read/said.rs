//! What one author said in a channel: for who takes it back.

use clarion_model::id::{ChannelId, MessageId, UserId};
use clarion_model::limits::HISTORY_PAGE;
use clarion_model::message::Anchor;

use super::Reads;
use crate::keys::Failure;
use crate::owner;

/// Most pages of a history that one call reads.
const PAGES: usize = 10;

/// A part of what an author said, newest first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SaidBy {
    /// At most a page of messages; all that there are of the author between the first and the last of them.
    pub(crate) ids: Vec<MessageId>,
    /// Before which message to go on; `None` when there is no more.
    pub(crate) before: Option<MessageId>,
}

impl Reads {
    /// Looks for messages of an author with ids after one and before another, the newest first. Ends with the first page
    /// that has some, and after some pages that have none.
    pub(crate) async fn said_by(
        &self,
        truth: &owner::Shared,
        author: UserId,
        channel: ChannelId,
        after: MessageId,
        mut before: Option<MessageId>,
    ) -> Result<SaidBy, Failure> {
        let limit = HISTORY_PAGE as usize;
        for _ in 0..PAGES {
            let applied = truth.read().applied;
            let page = self.page(channel, before.map_or(Anchor::Latest, Anchor::Before), limit, applied).await?;
            let wanted = |id: &MessageId| *id > after;
            let of_author = page.iter().filter(|view| view.message.author.id == author).map(|view| view.message.id);
            let ids: Vec<MessageId> = of_author.filter(wanted).collect();
            let last = page.last().map(|view| view.message.id).filter(wanted);
            before = last.filter(|_| page.len() == limit);
            if before.is_none() || !ids.is_empty() {
                return Ok(SaidBy { ids, before });
            }
        }
        Ok(SaidBy { ids: Vec::new(), before })
    }
}
