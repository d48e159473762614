//! What goes with a ban: what the banned said in a channel lately, many messages in one write.

use clarion_model::event::{Event, GuildEvent};
use clarion_model::id::{ChannelId, MessageId, UserId};
use clarion_model::time::Timestamp;

use super::{Actor, Answer, Outcome, Owner, access};
use crate::refusal::Refusal;

/// Messages of somebody who is banned, which somebody who may ban takes back.
#[derive(Debug, Clone)]
pub(crate) struct Purge {
    pub(crate) channel_id: ChannelId,
    pub(crate) actor: Actor,
    pub(crate) author: UserId,
    /// All that the author has in the channel between the first and the last of them.
    pub(crate) ids: Vec<MessageId>,
}

impl Owner {
    pub(super) fn purge(&mut self, now: Timestamp, purge: Purge) -> Result<Outcome, Refusal> {
        let Purge { channel_id, actor, author, mut ids } = purge;
        access::purge(self.truth.read().state.guild()?, actor, author, channel_id)?;
        // Some may have gone since they were read.
        ids.retain(|id| !self.recent.is_gone(channel_id, author, *id));
        let (Some(first), Some(last)) = (ids.iter().min().copied(), ids.iter().max().copied()) else {
            return Ok(Outcome::Answer(Answer::Done));
        };
        self.recent.purge(channel_id, author, first, last);
        let gone = ids.into_iter().map(|id| Event::Guild(GuildEvent::MessageDelete { channel_id, id }));
        Ok(self.write(now, gone.collect(), None, Answer::Done))
    }
}
