//! Messages: said, changed, taken back.

use clarion_model::event::{Event, GuildEvent, Transient};
use clarion_model::id::{ChannelId, MessageId, UserId};
use clarion_model::key::Position;
use clarion_model::limits;
use clarion_model::message::{Message, MessageView, Nonce};
use clarion_model::permission::Permissions;
use clarion_model::time::Timestamp;
use clarion_storage::NonceRow;

use super::mention::mentions;
use super::recent::{NonceKey, Used};
use super::{Answer, EditMessage, Found, NewMessage, Outcome, Owner, access};
use crate::refusal::Refusal;

/// The flags that a sender may set: no previews, no notification.
const SENDER_FLAGS: u64 = 1 << 2 | 1 << 12;
/// The flag that an editor may set: no previews.
const EDITOR_FLAGS: u64 = 1 << 2;

impl Owner {
    pub(super) fn create_message(&mut self, now: Timestamp, new: NewMessage, found: Found) -> Result<Outcome, Refusal> {
        let truth = self.truth.clone();
        let truth = truth.read();
        let guild = truth.state.guild().map_err(|_| Refusal::UNKNOWN_CHANNEL)?;
        let held = access::readable(guild, new.author, new.channel_id)?;
        access::require(held, Permissions::SEND_MESSAGES)?;
        check_nonce(new.nonce.as_ref())?;
        if let Some(outcome) = self.made_before(now, truth.applied, &new, &found)? {
            return Ok(outcome);
        }
        check_body(&new.content, &new.embeds_json, held)?;
        if new.tts {
            access::require(held, Permissions::SEND_TTS_MESSAGES)?;
        }
        let referenced = self.referenced(&new, held, found.referenced)?;
        let author = guild.members.get(&new.author).ok_or(Refusal::MISSING_ACCESS)?.user.clone();
        let replied = referenced.as_ref().map(|view| &view.message.author);
        let named = mentions(&new.content, new.allowed_mentions.as_ref(), guild, held, replied);
        let guild_id = guild.guild.id;
        drop(truth);

        let id = self.sequence.next_id(now);
        let message = Message {
            id,
            channel_id: new.channel_id,
            guild_id: Some(guild_id),
            author,
            content: new.content,
            at: now,
            edited_at: None,
            tts: new.tts,
            mention_everyone: named.everyone,
            mentions: named.users,
            mention_roles: named.roles,
            reply_to: new.reply_to.filter(|_| referenced.is_some()),
            embeds_json: new.embeds_json,
            flags: new.flags & SENDER_FLAGS,
            nonce: new.nonce.clone(),
            trace_id: new.trace_id,
        };
        let view = MessageView { message, reactions: Vec::new(), referenced: referenced.map(Box::new) };
        self.recent.touch(new.channel_id, id, Some(&view));
        // Every nonce is remembered: the next who uses it may ask.
        let nonce = new.nonce.map(|nonce| {
            let used = Used { position: self.sequence.upcoming(), view: view.clone() };
            self.recent.use_nonce(NonceKey::new(new.channel_id, new.author, &nonce), used);
            NonceRow { channel_id: new.channel_id, author_id: new.author, nonce, message_id: id, at: now }
        });
        let event = Event::Guild(GuildEvent::MessageCreate(view.clone()));
        Ok(self.write(now, vec![event], nonce, Answer::Message(Box::new(view))))
    }

    /// What to answer to an author who asks whether they used the nonce before, and did.
    ///
    /// Who repeats a send must not make a second message, even when the first is gone by now. Here it is shown as it was
    /// made while that is known; later there is nothing to show but that it is unknown.
    fn made_before(
        &self,
        now: Timestamp,
        applied: Position,
        new: &NewMessage,
        found: &Found,
    ) -> Result<Option<Outcome>, Refusal> {
        let Some(nonce) = new.nonce.as_ref().filter(|_| new.enforce_nonce) else { return Ok(None) };
        let used = self.recent.nonce(&NonceKey::new(new.channel_id, new.author, nonce));
        if let Some(used) = used.filter(|used| now.since(used.view.message.at) < limits::NONCE_TTL) {
            return Ok(Some(if used.position > applied {
                Outcome::Join(used.position)
            } else {
                Outcome::Answer(Answer::Duplicate(Box::new(used.view.clone())))
            }));
        }
        match &found.same_nonce {
            None => Ok(None),
            Some((_, Some(view))) => Ok(Some(Outcome::Answer(Answer::Duplicate(Box::new(view.clone()))))),
            Some((_, None)) => Err(Refusal::UNKNOWN_MESSAGE),
        }
    }

    /// The message that a new one answers.
    fn referenced(
        &self,
        new: &NewMessage,
        held: Permissions,
        read: Option<MessageView>,
    ) -> Result<Option<MessageView>, Refusal> {
        let Some(id) = new.reply_to else { return Ok(None) };
        access::require(held, Permissions::READ_MESSAGE_HISTORY)?;
        let view = self.recent.message(new.channel_id, id, read);
        if view.is_none() && new.reply_must_exist {
            return Err(Refusal::field("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message"));
        }
        Ok(view)
    }

    pub(super) fn edit_message(&mut self, now: Timestamp, edit: EditMessage, found: Found) -> Result<Outcome, Refusal> {
        let truth = self.truth.clone();
        let truth = truth.read();
        let guild = truth.state.guild().map_err(|_| Refusal::UNKNOWN_CHANNEL)?;
        let held = access::readable(guild, edit.editor, edit.channel_id)?;
        let mut view = self.recent.message(edit.channel_id, edit.id, found.message).ok_or(Refusal::UNKNOWN_MESSAGE)?;
        if view.message.author.id != edit.editor {
            return Err(Refusal::NOT_THE_AUTHOR);
        }
        let referenced =
            view.message.reply_to.and_then(|id| self.recent.message(edit.channel_id, id, found.referenced));
        let message = &mut view.message;
        // Embeds that are kept were allowed when they came.
        let needs = if edit.embeds_json.is_some() { held } else { held.union(Permissions::EMBED_LINKS) };
        message.content = edit.content.unwrap_or_else(|| std::mem::take(&mut message.content));
        message.embeds_json = edit.embeds_json.unwrap_or_else(|| std::mem::take(&mut message.embeds_json));
        check_body(&message.content, &message.embeds_json, needs)?;
        if let Some(flags) = edit.flags {
            message.flags = message.flags & !EDITOR_FLAGS | flags & EDITOR_FLAGS;
        }
        let replied = referenced.as_ref().map(|view| &view.message.author);
        let named = mentions(&message.content, edit.allowed_mentions.as_ref(), guild, held, replied);
        message.mention_everyone = named.everyone;
        message.mentions = named.users;
        message.mention_roles = named.roles;
        message.edited_at = Some(now);
        drop(truth);
        self.recent.touch(edit.channel_id, edit.id, Some(&view));
        view.referenced = referenced.map(Box::new);
        Ok(self.write_one(now, GuildEvent::MessageUpdate(view.clone()), Answer::Message(Box::new(view))))
    }

    pub(super) fn delete_message(
        &mut self,
        now: Timestamp,
        channel_id: ChannelId,
        id: MessageId,
        actor: UserId,
        found: Found,
    ) -> Result<Outcome, Refusal> {
        let held = {
            let truth = self.truth.read();
            let guild = truth.state.guild().map_err(|_| Refusal::UNKNOWN_CHANNEL)?;
            access::readable(guild, actor, channel_id)?
        };
        let view = self.recent.message(channel_id, id, found.message).ok_or(Refusal::UNKNOWN_MESSAGE)?;
        if view.message.author.id != actor {
            access::require(held, Permissions::MANAGE_MESSAGES)?;
        }
        self.recent.touch(channel_id, id, None);
        Ok(self.write_one(now, GuildEvent::MessageDelete { channel_id, id }, Answer::Done))
    }

    pub(super) fn start_typing(
        &self,
        now: Timestamp,
        channel_id: ChannelId,
        user_id: UserId,
    ) -> Result<Outcome, Refusal> {
        let truth = self.truth.read();
        let guild = truth.state.guild().map_err(|_| Refusal::UNKNOWN_CHANNEL)?;
        let held = access::readable(guild, user_id, channel_id)?;
        access::require(held, Permissions::SEND_MESSAGES)?;
        Ok(Outcome::Tell(Transient::Typing { channel_id, user_id, at: now }))
    }
}

fn check_nonce(nonce: Option<&Nonce>) -> Result<(), Refusal> {
    match nonce {
        Some(Nonce::Text(text)) if text.chars().count() > limits::NONCE => {
            Err(Refusal::too_long("nonce", limits::NONCE))
        }
        _ => Ok(()),
    }
}

fn check_body(content: &str, embeds_json: &str, held: Permissions) -> Result<(), Refusal> {
    let embeds = !matches!(embeds_json, "" | "[]");
    if content.trim().is_empty() && !embeds {
        return Err(Refusal::EMPTY_MESSAGE);
    }
    if content.chars().count() > limits::CONTENT {
        return Err(Refusal::too_long("content", limits::CONTENT));
    }
    if embeds_json.len() > limits::EMBED_BYTES {
        return Err(Refusal::too_long("embeds", limits::EMBED_BYTES));
    }
    if embeds {
        access::require(held, Permissions::EMBED_LINKS)?;
    }
    Ok(())
}
