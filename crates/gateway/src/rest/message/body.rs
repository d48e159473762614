//! What clients send of a message, new or changed. Pure.

use clarion_model::id::{ChannelId, MessageId};
use clarion_model::key::Key;
use clarion_model::limits;
use clarion_model::message::Nonce;
use clarion_proto::v1;
use serde_json::Value;

use crate::api::Embed;
use crate::api::error::Fault;
use crate::rest::form::Form;
use crate::rest::refusal::Refusal;

/// The reference that is an answer; the others cannot be made here.
const ANSWER: u64 = 0;

/// A message to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::rest) struct New {
    pub(super) content: String,
    pub(super) nonce: Option<Nonce>,
    pub(super) enforce_nonce: bool,
    tts: bool,
    reply: Option<Reply>,
    embeds_json: String,
    flags: u64,
    allowed_mentions: Option<v1::AllowedMentions>,
}

/// Which message a new one answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reply {
    to: u64,
    must_exist: bool,
}

/// A change of a message; what is `None` stays.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::rest) struct Edit {
    content: Option<String>,
    embeds_json: Option<String>,
    flags: Option<u64>,
    allowed_mentions: Option<v1::AllowedMentions>,
}

impl New {
    pub(in crate::rest) fn read(mut form: Form, channel: ChannelId) -> Result<Self, Refusal> {
        let new = Self {
            content: form.text("content", limits::CONTENT).unwrap_or_default(),
            nonce: nonce(&mut form),
            enforce_nonce: form.flag("enforce_nonce").unwrap_or_default(),
            tts: form.flag("tts").unwrap_or_default(),
            reply: form.within("message_reference", |inner| reply(inner, channel)).flatten(),
            embeds_json: embeds(&mut form).unwrap_or_default(),
            flags: form.number("flags").unwrap_or_default(),
            allowed_mentions: allowed_mentions(&mut form),
        };
        let new = form.finish(new)?;
        if new.content.trim().is_empty() && new.embeds_json.is_empty() {
            return Err(Refusal::EMPTY_MESSAGE);
        }
        Ok(new)
    }

    pub(in crate::rest) fn request(&self, key: Key, channel: ChannelId, author_id: u64) -> v1::CreateMessageRequest {
        v1::CreateMessageRequest {
            key: Some(key.into()),
            channel_id: channel.0,
            author_id,
            content: self.content.clone(),
            nonce: self.nonce.as_ref().map(v1::Nonce::from),
            enforce_nonce: self.enforce_nonce,
            tts: self.tts,
            reply_to: self.reply.map(|reply| reply.to),
            reply_must_exist: self.reply.is_some_and(|reply| reply.must_exist),
            embeds_json: self.embeds_json.clone(),
            flags: self.flags,
            allowed_mentions: self.allowed_mentions.clone(),
        }
    }
}

impl Edit {
    pub(in crate::rest) fn read(mut form: Form) -> Result<Self, Refusal> {
        // To name a field and say null is to empty it.
        let (content, embeds_named) = (form.names("content"), form.names("embeds"));
        let edit = Self {
            content: content.then(|| form.text("content", limits::CONTENT).unwrap_or_default()),
            embeds_json: embeds_named.then(|| embeds(&mut form).unwrap_or_default()),
            flags: form.number("flags"),
            allowed_mentions: allowed_mentions(&mut form),
        };
        form.finish(edit)
    }

    pub(in crate::rest) fn request(
        &self,
        key: Key,
        channel: ChannelId,
        message: MessageId,
        editor_id: u64,
    ) -> v1::EditMessageRequest {
        v1::EditMessageRequest {
            key: Some(key.into()),
            channel_id: channel.0,
            message_id: message.0,
            editor_id,
            content: self.content.clone(),
            embeds_json: self.embeds_json.clone(),
            flags: self.flags,
            allowed_mentions: self.allowed_mentions.clone(),
        }
    }
}

/// A text, or a number; it comes back as what it was, unless the number is larger than the contract has or below zero,
/// which one library cannot read.
fn nonce(form: &mut Form) -> Option<Nonce> {
    let text = match form.value("nonce")? {
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), Some(_)) => return Some(Nonce::Number(number)),
            (Some(_), None) | (None, Some(_)) => number.to_string(),
            (None, None) => {
                form.fault("nonce", Fault::new("NONCE_TYPE_COERCE", "Must be a text or an integer."));
                return None;
            }
        },
        Value::String(text) => text,
        _ => {
            form.fault("nonce", Fault::new("NONCE_TYPE_COERCE", "Must be a text or an integer."));
            return None;
        }
    };
    if text.chars().count() > limits::NONCE {
        let message = format!("Must be {} or fewer in length.", limits::NONCE);
        form.fault("nonce", Fault::new("BASE_TYPE_MAX_LENGTH", message));
        return None;
    }
    Some(Nonce::Text(text))
}

fn embeds(form: &mut Form) -> Option<String> {
    match Embed::read_all(form.value("embeds")?) {
        Ok(embeds) => Some(Embed::stored(&embeds)),
        Err(wrong) => {
            let path = if wrong.path.is_empty() { "embeds".to_owned() } else { format!("embeds.{}", wrong.path) };
            form.fault(&path, Fault::new(wrong.code, wrong.message));
            None
        }
    }
}

fn reply(inner: &mut Form, channel: ChannelId) -> Option<Reply> {
    let must_exist = inner.flag("fail_if_not_exists").unwrap_or(true);
    if inner.number("type").unwrap_or(ANSWER) != ANSWER {
        inner.fault("type", Fault::new("BASE_TYPE_CHOICES", "Value must be one of {0}."));
        return None;
    }
    if inner.id("channel_id").is_some_and(|id| id != channel.0) {
        let message = "Cannot reply to a message of another channel.";
        inner.fault("channel_id", Fault::new("REPLIES_CANNOT_REFERENCE_OTHER_CHANNEL", message));
    }
    let named = inner.names("message_id");
    let to = inner.id("message_id");
    if to.is_none() && !named {
        inner.fault("message_id", Fault::new("BASE_TYPE_REQUIRED", "This field is required"));
    }
    to.map(|to| Reply { to, must_exist })
}

fn allowed_mentions(form: &mut Form) -> Option<v1::AllowedMentions> {
    form.within("allowed_mentions", |inner| {
        let parse = inner.list("parse").unwrap_or_default();
        let names = |kind: &str| parse.iter().any(|value| value.as_str() == Some(kind));
        let allowed = v1::AllowedMentions {
            everyone: names("everyone"),
            all_users: names("users"),
            all_roles: names("roles"),
            users: inner.ids("users").unwrap_or_default(),
            roles: inner.ids("roles").unwrap_or_default(),
            replied_user: inner.flag("replied_user").unwrap_or_default(),
        };
        let both = [("users", allowed.all_users, &allowed.users), ("roles", allowed.all_roles, &allowed.roles)];
        for (kind, all, some) in both {
            if all && !some.is_empty() {
                let message = format!("parse:[\"{kind}\"] and {kind}: [ids...] are mutually exclusive.");
                inner.fault("", Fault::new("MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message));
            }
            if some.len() > limits::MENTIONS {
                let message = format!("Must be {} or fewer in length.", limits::MENTIONS);
                inner.fault(kind, Fault::new("BASE_TYPE_MAX_LENGTH", message));
            }
        }
        allowed
    })
}

#[cfg(test)]
mod tests;
