//! Whether index and store agree: counted channel by channel, now and then, and put right where they do not.
//!
//! Only messages are compared that the index has been past. What is in the index and not in the store is gone, and goes;
//! what is in the store and not in the index is put there; either is right whatever else happens meanwhile.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use clarion_model::id::{ChannelId, MessageId};
use clarion_model::key::Key;
use clarion_model::message::Anchor;
use clarion_storage::Stores;
use clarion_storage::index::{Change, Index};

use crate::failure::Failure;
use crate::refill::{PAGE, channels, documents};

/// Times that a difference is seen before it is one: a deletion may be on its way into the index.
const LOOKS: u32 = 3;

/// A pass over all channels, one step at a time.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    keys: VecDeque<(Key, MessageId)>,
    channels: VecDeque<(ChannelId, MessageId)>,
    looks: u32,
    repairing: Option<Repair>,
}

#[derive(Debug, Clone, Copy)]
struct Repair {
    channel: ChannelId,
    after: MessageId,
    upto: MessageId,
}

/// What a step came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// On to the next one.
    Agreed,
    /// They differ; it is to be looked at again after a moment.
    LookAgain,
    /// This is to be written.
    Repair(Vec<Change>),
    /// Everything was compared.
    Over,
}

impl Audit {
    /// Begins a pass over these keys, each with the newest message that the index has been past.
    pub(crate) fn new(keys: impl IntoIterator<Item = (Key, MessageId)>) -> Self {
        Self { keys: keys.into_iter().collect(), ..Self::default() }
    }

    /// Compares one channel, or puts a page of it right.
    pub(crate) async fn step(&mut self, stores: &Stores, index: &Arc<dyn Index>) -> Result<Step, Failure> {
        if let Some(repair) = self.repairing {
            return self.repair(stores, index, repair).await;
        }
        let Some((channel, upto)) = self.channels.front().copied() else {
            let Some((key, upto)) = self.keys.pop_front() else { return Ok(Step::Over) };
            self.channels = channels(stores, key).await?.into_iter().map(|channel| (channel, upto)).collect();
            return Ok(Step::Agreed);
        };
        let (indexed, stored) = (index.count(channel, upto).await?, stores.messages.count(channel, upto).await?);
        if indexed == stored {
            self.channels.pop_front();
            self.looks = 0;
            return Ok(Step::Agreed);
        }
        self.looks += 1;
        if self.looks < LOOKS {
            return Ok(Step::LookAgain);
        }
        self.channels.pop_front();
        self.looks = 0;
        self.repairing = Some(Repair { channel, after: MessageId(0), upto });
        Ok(Step::Agreed)
    }

    async fn repair(&mut self, stores: &Stores, index: &Arc<dyn Index>, repair: Repair) -> Result<Step, Failure> {
        let Repair { channel, after, upto } = repair;
        let mut page = stores.messages.page(channel, Anchor::After(after), PAGE).await?;
        page.reverse();
        let is_last = page.len() < PAGE || page.last().is_some_and(|view| view.message.id >= upto);
        page.retain(|view| view.message.id <= upto);
        let reached = if is_last { upto } else { page.last().map_or(upto, |view| view.message.id) };
        let range = after.0.saturating_add(1)..=reached.0;
        // More than there can be, unless they are there twice.
        let indexed = index.ids(channel, range.clone(), 4 * PAGE).await?;
        let known: BTreeSet<MessageId> = indexed.iter().copied().collect();
        let there: BTreeSet<MessageId> = page.iter().map(|view| view.message.id).collect();
        let mut changes: Vec<Change> = Vec::new();
        if known.len() < indexed.len() {
            // Some are there twice: the whole range anew.
            changes.push(Change::Clear(channel, range));
            changes.extend(documents(stores, page).await?.into_iter().map(Change::Add));
        } else {
            changes.extend(known.difference(&there).map(|id| Change::Delete(*id)));
            page.retain(|view| !known.contains(&view.message.id));
            changes.extend(documents(stores, page).await?.into_iter().map(Change::Put));
        }
        self.repairing = (!is_last).then_some(Repair { after: reached, ..repair });
        Ok(if changes.is_empty() { Step::Agreed } else { Step::Repair(changes) })
    }
}
