//! Messages with what hangs on them.

use clarion_model::guild::GuildState;
use clarion_model::id::UserId;
use clarion_model::message::{Emoji as Sign, MessageView, Nonce as Mark, Reaction as Given};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Id, Member, Null, Time, User};

/// The API's types of message: said by itself, and said in answer to another.
const DEFAULT: u8 = 0;
const REPLY: u8 = 19;

/// Nothing, as an embeds array.
const NO_EMBEDS: &str = "[]";

/// To whom, and with what around it, a message is shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shown<'a> {
    /// Whose own reactions are marked.
    pub(crate) viewer: Option<UserId>,
    /// The guild whose memberships stand beside the users; dispatches have them, answers do not.
    pub(crate) guild: Option<&'a GuildState>,
    /// With the nonce, for its author.
    pub(crate) nonce: bool,
    /// Without what people wrote, for who may not read it.
    pub(crate) stripped: bool,
    /// The same of the message it answers: who may read the one may not be who may read the other.
    pub(crate) answered_stripped: bool,
}

/// A message.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Message<'a> {
    id: Id,
    #[serde(rename = "type")]
    kind: u8,
    channel_id: Id,
    author: User<'a>,
    content: &'a str,
    timestamp: Time,
    edited_timestamp: Option<Time>,
    tts: bool,
    mention_everyone: bool,
    mentions: Vec<Mention<'a>>,
    mention_roles: Vec<Id>,
    attachments: [(); 0],
    embeds: &'a RawValue,
    components: [(); 0],
    pinned: bool,
    flags: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_reference: Option<Reference>,
    /// Absent where it was not looked for; null where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    referenced_message: Option<Option<Box<Message<'a>>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reactions: Vec<Reaction<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<Nonce<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guild_id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<Member<'a>>,
}

/// What one reacts with.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Emoji<'a> {
    id: Option<Id>,
    name: &'a str,
}

#[derive(Debug, Clone, Serialize)]
struct Mention<'a> {
    #[serde(flatten)]
    user: User<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<Member<'a>>,
}

#[derive(Debug, Clone, Serialize)]
struct Reference {
    #[serde(rename = "type")]
    kind: u8,
    channel_id: Id,
    message_id: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    guild_id: Option<Id>,
}

#[derive(Debug, Clone, Serialize)]
struct Reaction<'a> {
    emoji: Emoji<'a>,
    count: usize,
    count_details: CountDetails,
    burst_colors: [Null; 0],
    me: bool,
    me_burst: bool,
}

#[derive(Debug, Clone, Serialize)]
struct CountDetails {
    burst: usize,
    normal: usize,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Nonce<'a> {
    Text(&'a str),
    Number(i64),
}

impl<'a> Message<'a> {
    pub(crate) fn new(view: &'a MessageView, shown: Shown<'a>) -> Self {
        let mut message = Self::one(view, shown);
        if view.message.reply_to.is_some() {
            // The answered message is shown by itself: not as a dispatch, and without the one it answers in turn.
            let inner = Shown { guild: None, nonce: false, stripped: shown.answered_stripped, ..shown };
            message.referenced_message =
                Some(view.referenced.as_deref().map(|answered| Box::new(Self::one(answered, inner))));
        }
        message
    }

    fn one(view: &'a MessageView, shown: Shown<'a>) -> Self {
        let said = &view.message;
        let member = |id: UserId| shown.guild.and_then(|guild| guild.members.get(&id)).map(|m| Member::bare(m));
        let reference = said.reply_to.map(|id| Reference {
            kind: 0,
            channel_id: said.channel_id.into(),
            message_id: id.into(),
            guild_id: said.guild_id.map(Id::from),
        });
        Self {
            id: said.id.into(),
            kind: if said.reply_to.is_some() { REPLY } else { DEFAULT },
            channel_id: said.channel_id.into(),
            author: (&said.author).into(),
            content: if shown.stripped { "" } else { &said.content },
            timestamp: Time(said.at),
            edited_timestamp: said.edited_at.map(Time),
            tts: said.tts,
            mention_everyone: said.mention_everyone,
            mentions: said.mentions.iter().map(|u| Mention { user: u.into(), member: member(u.id) }).collect(),
            mention_roles: said.mention_roles.iter().map(|id| Id::from(*id)).collect(),
            attachments: [],
            embeds: embeds(if shown.stripped { "" } else { &said.embeds_json }),
            components: [],
            pinned: false,
            flags: said.flags,
            message_reference: reference,
            referenced_message: None,
            reactions: view.reactions.iter().map(|given| Reaction::new(given, shown.viewer)).collect(),
            nonce: said.nonce.as_ref().filter(|_| shown.nonce).map(Nonce::from),
            guild_id: said.guild_id.filter(|_| shown.guild.is_some()).map(Id::from),
            member: member(said.author.id),
        }
    }
}

/// What is stored as embeds; what is no list of JSON would spoil the whole object and is left out.
fn embeds(json: &str) -> &RawValue {
    let list = Some(json).filter(|json| json.trim_start().starts_with('['));
    let parsed = list.and_then(|list| serde_json::from_str(list).ok());
    parsed.unwrap_or_else(|| serde_json::from_str(NO_EMBEDS).expect("an empty array is JSON"))
}

impl<'a> From<&'a Sign> for Emoji<'a> {
    fn from(sign: &'a Sign) -> Self {
        Self { id: sign.id.map(Id), name: &sign.name }
    }
}

impl<'a> Reaction<'a> {
    fn new(given: &'a Given, viewer: Option<UserId>) -> Self {
        Self {
            emoji: (&given.emoji).into(),
            count: given.users.len(),
            count_details: CountDetails { burst: 0, normal: given.users.len() },
            burst_colors: [],
            me: viewer.is_some_and(|viewer| given.users.contains(&viewer)),
            me_burst: false,
        }
    }
}

impl<'a> From<&'a Mark> for Nonce<'a> {
    fn from(mark: &'a Mark) -> Self {
        match mark {
            Mark::Text(text) => Self::Text(text),
            Mark::Number(number) => Self::Number(*number),
        }
    }
}
