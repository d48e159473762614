//! Reactions: given and taken back. Giving twice is giving once. All of a kind are written with the emoji of its first.

use clarion_model::event::{GuildEvent, ReactionChange};
use clarion_model::limits;
use clarion_model::message::{Emoji, MessageView, Reaction};
use clarion_model::permission::Permissions;
use clarion_model::time::Timestamp;

use super::{Answer, Found, Outcome, Owner, React, access, emoji};
use crate::refusal::Refusal;

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
        let written = if react.add {
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
        let Some(emoji) = written else { return Ok(Outcome::Answer(Answer::Done)) };
        self.recent.touch(react.channel_id, react.id, Some(&view));
        let change = ReactionChange {
            channel_id: react.channel_id,
            message_id: react.id,
            message_author_id: view.message.author.id,
            user_id: react.user,
            emoji,
        };
        let event = if react.add { GuildEvent::ReactionAdd(change) } else { GuildEvent::ReactionRemove(change) };
        Ok(self.write_one(now, event, Answer::Done))
    }
}

/// Gives a reaction; answers it as it is to be written, if it is new.
fn add(view: &mut MessageView, react: &React, held: Permissions) -> Result<Option<Emoji>, Refusal> {
    if let Some(kind) = view.reactions.iter_mut().find(|kind| same(&kind.emoji, &react.emoji)) {
        let new = !kind.users.contains(&react.user);
        if new {
            kind.users.push(react.user);
        }
        return Ok(new.then(|| kind.emoji.clone()));
    }
    access::require(held, Permissions::ADD_REACTIONS)?;
    // Guilds have no emoji of their own.
    if react.emoji.id.is_some() || !emoji::is_one(&react.emoji.name) {
        return Err(Refusal::UNKNOWN_EMOJI);
    }
    if view.reactions.len() >= limits::REACTIONS_PER_MESSAGE {
        return Err(Refusal::TOO_MANY_REACTIONS);
    }
    view.reactions.push(Reaction { emoji: react.emoji.clone(), users: vec![react.user] });
    Ok(Some(react.emoji.clone()))
}

/// Takes a reaction back; answers it as it was written, if it was there.
fn remove(view: &mut MessageView, react: &React) -> Option<Emoji> {
    let given = |kind: &Reaction| same(&kind.emoji, &react.emoji) && kind.users.contains(&react.user);
    let at = view.reactions.iter().position(given)?;
    let kind = &mut view.reactions[at];
    let emoji = kind.emoji.clone();
    kind.users.retain(|user| *user != react.user);
    if kind.users.is_empty() {
        view.reactions.remove(at);
    }
    Some(emoji)
}

/// Whether two reactions are of one kind. A guild's own emoji is known by its id, whatever it is called.
pub(crate) fn same(a: &Emoji, b: &Emoji) -> bool {
    match (a.id, b.id) {
        (Some(a), Some(b)) => a == b,
        (None, None) => emoji::same(&a.name, &b.name),
        _ => false,
    }
}
