//! What a member has not read: counted from the newest message back, and no further than has to be.
//!
//! A channel with nothing new is not looked into. Of one with much new, at most [`PAGES`] pages are read, the same ones
//! for everybody who asks at the same moment.

use std::collections::BTreeMap;

use clarion_model::event::Unread;
use clarion_model::guild::{ChannelKind, GuildState, Member};
use clarion_model::id::{ChannelId, GuildId, MessageId, UserId, first_of};
use clarion_model::key::Position;
use clarion_model::limits::{HISTORY_PAGE, UNREAD};
use clarion_model::message::{Anchor, Message};
use clarion_model::permission::{Permissions, in_channel};
use clarion_storage::ReadError;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::Reads;
use crate::keys::Failure;
use crate::owner::{self, access};
use crate::refusal::Refusal;

const PAGE: usize = HISTORY_PAGE as usize;
/// Most pages read of a channel. More than one is needed only when the reader has written much of the newest one.
const PAGES: usize = 4;
/// Channels that are looked into at a time.
const AT_A_TIME: usize = 8;

/// What is unread in the channels that a member sees.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) channels: Vec<(ChannelId, Unread)>,
    /// Of the channels asked about, those that do not exist.
    pub(crate) gone: Vec<ChannelId>,
    /// The guild they are in.
    pub(crate) guild: GuildId,
}

/// The part of a channel to count in.
#[derive(Debug, Clone, Copy)]
struct Part {
    channel: ChannelId,
    after: MessageId,
    upto: Option<MessageId>,
    /// Whether the reader may read what was said before.
    readable: bool,
}

impl Reads {
    /// What `reader` has not read, in one channel or in all that they see. `read` says how far they have read; in a channel
    /// that is not there, all since they joined is unread.
    pub(crate) async fn unread(
        &self,
        truth: &owner::Shared,
        reader: UserId,
        read: &BTreeMap<ChannelId, MessageId>,
        only: Option<ChannelId>,
    ) -> Result<Counted, Failure> {
        let (member, parts, mut counted, applied) = {
            let truth = truth.read();
            let unknown = if only.is_some() { Refusal::UNKNOWN_CHANNEL } else { Refusal::UNKNOWN_GUILD };
            let guild = truth.state.guild().map_err(|_| unknown)?;
            if let Some(channel) = only {
                access::readable(guild, reader, channel)?;
            }
            let member = guild.members.get(&reader).ok_or(Refusal::MISSING_ACCESS)?.clone();
            let gone = read.keys().filter(|id| !guild.channels.contains_key(id)).copied().collect();
            let counted = Counted { channels: Vec::new(), gone, guild: guild.guild.id };
            (member.clone(), parts(guild, &member, read, only), counted, truth.applied)
        };
        let counts = stream::iter(parts).map(|part| self.count(part, &member, applied));
        counted.channels = counts.buffered(AT_A_TIME).try_collect().await?;
        Ok(counted)
    }

    async fn count(&self, part: Part, reader: &Member, applied: Position) -> Result<(ChannelId, Unread), ReadError> {
        let mut unread = Unread { last_message_id: part.upto, ..Unread::default() };
        let Some(upto) = part.upto.filter(|upto| part.readable && *upto > part.after) else {
            return Ok((part.channel, unread));
        };
        let mut anchor = Anchor::Latest;
        for _ in 0..PAGES {
            let page = self.page(part.channel, anchor, PAGE, applied).await?;
            for message in page.iter().map(|view| &view.message) {
                if message.id <= part.after || unread.messages as usize == UNREAD {
                    return Ok((part.channel, unread));
                }
                if message.id <= upto && message.author.id != reader.user.id {
                    unread.messages += 1;
                    unread.mentions += u32::from(mentions(message, reader));
                }
            }
            match page.last() {
                Some(oldest) if page.len() == PAGE => anchor = Anchor::Before(oldest.message.id),
                _ => break,
            }
        }
        Ok((part.channel, unread))
    }
}

/// Where to count: in one channel, or in all that hold messages and may be seen.
fn parts(
    guild: &GuildState,
    member: &Member,
    read: &BTreeMap<ChannelId, MessageId>,
    only: Option<ChannelId>,
) -> Vec<Part> {
    let joined = MessageId(first_of(member.joined_at));
    let asked = guild.channels.values().filter(|channel| only.is_none_or(|only| only == channel.id));
    asked
        .filter(|channel| channel.kind != ChannelKind::Category)
        .filter_map(|channel| {
            let held = in_channel(guild, member.user.id, channel.id)?;
            held.contains(Permissions::VIEW_CHANNEL).then(|| Part {
                channel: channel.id,
                after: read.get(&channel.id).copied().unwrap_or(joined),
                upto: channel.last_message_id,
                readable: held.contains(Permissions::READ_MESSAGE_HISTORY),
            })
        })
        .collect()
}

fn mentions(message: &Message, reader: &Member) -> bool {
    message.mention_everyone
        || message.mentions.iter().any(|user| user.id == reader.user.id)
        || message.mention_roles.iter().any(|role| reader.roles.contains(role))
}
