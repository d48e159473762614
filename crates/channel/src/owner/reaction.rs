//! Reactions: given and taken back. Giving twice is giving once.

use clarion_model::event::{GuildEvent, ReactionChange};
use clarion_model::limits;
use clarion_model::message::{Emoji, MessageView, Reaction};
use clarion_model::permission::Permissions;
use clarion_model::time::Timestamp;

use super::{Answer, Found, Outcome, Owner, React, access};
use crate::refusal::Refusal;

/// Longest sequence of characters that is one emoji: a family, or a flag with its tags.
const EMOJI_CHARS: usize = 16;

impl Owner {
    pub(super) fn react(&mut self, now: Timestamp, react: React, found: Found) -> Result<Outcome, Refusal> {
        let held = {
            let truth = self.truth.read();
            let guild = truth.state.guild().map_err(|_| Refusal::UNKNOWN_CHANNEL)?;
            access::readable(guild, react.actor, react.channel_id)?
        };
        access::require(held, Permissions::READ_MESSAGE_HISTORY)?;
        let mut view =
            self.recent.message(react.channel_id, react.id, found.message).ok_or(Refusal::UNKNOWN_MESSAGE)?;
        let changed = if react.add {
            if react.user != react.actor {
                return Err(Refusal::MISSING_PERMISSIONS);
            }
            add(&mut view, &react, held)?
        } else {
            if react.user != react.actor {
                access::require(held, Permissions::MANAGE_MESSAGES)?;
            }
            remove(&mut view, &react)
        };
        if !changed {
            return Ok(Outcome::Answer(Answer::Done));
        }
        self.recent.touch(react.channel_id, react.id, Some(&view));
        let change = ReactionChange {
            channel_id: react.channel_id,
            message_id: react.id,
            message_author_id: view.message.author.id,
            user_id: react.user,
            emoji: react.emoji,
        };
        let event = if react.add { GuildEvent::ReactionAdd(change) } else { GuildEvent::ReactionRemove(change) };
        Ok(self.write_one(now, event, Answer::Done))
    }
}

fn add(view: &mut MessageView, react: &React, held: Permissions) -> Result<bool, Refusal> {
    if let Some(kind) = view.reactions.iter_mut().find(|kind| same(&kind.emoji, &react.emoji)) {
        let new = !kind.users.contains(&react.user);
        if new {
            kind.users.push(react.user);
        }
        return Ok(new);
    }
    access::require(held, Permissions::ADD_REACTIONS)?;
    if !is_emoji(&react.emoji) {
        return Err(Refusal::UNKNOWN_EMOJI);
    }
    if view.reactions.len() >= limits::REACTIONS_PER_MESSAGE {
        return Err(Refusal::TOO_MANY_REACTIONS);
    }
    view.reactions.push(Reaction { emoji: react.emoji.clone(), users: vec![react.user] });
    Ok(true)
}

fn remove(view: &mut MessageView, react: &React) -> bool {
    let Some(at) = view.reactions.iter().position(|kind| same(&kind.emoji, &react.emoji)) else { return false };
    let users = &mut view.reactions[at].users;
    let before = users.len();
    users.retain(|user| *user != react.user);
    let changed = users.len() < before;
    if users.is_empty() {
        view.reactions.remove(at);
    }
    changed
}

/// A guild's own emoji is known by its id, whatever it is called.
pub(crate) fn same(a: &Emoji, b: &Emoji) -> bool {
    match (a.id, b.id) {
        (Some(a), Some(b)) => a == b,
        (None, None) => a.name == b.name,
        _ => false,
    }
}

/// Whether somebody can react with it. Guilds have no emoji of their own.
fn is_emoji(emoji: &Emoji) -> bool {
    let text = &emoji.name;
    emoji.id.is_none()
        && text.chars().count() <= EMOJI_CHARS
        && !text.is_ascii()
        && !text.chars().any(|c| c.is_alphabetic() || c.is_whitespace() || c.is_control())
}
