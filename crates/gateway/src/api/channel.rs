//! Channels.

use clarion_model::guild::{
    Channel as GuildChannel, ChannelKind, Overwrite as Exception, OverwriteTarget, VoiceSettings,
};
use clarion_model::id::GuildId;
use serde::Serialize;

use super::{Id, Null};

/// A channel of a guild. What is said of text and of voice only is absent from the others.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Channel<'a> {
    id: Id,
    #[serde(rename = "type")]
    kind: u8,
    guild_id: Id,
    name: &'a str,
    position: u32,
    permission_overwrites: Vec<Overwrite>,
    parent_id: Option<Id>,
    flags: u32,
    nsfw: bool,
    #[serde(flatten)]
    speech: Option<Speech<'a>>,
    #[serde(flatten)]
    voice: Option<Voice<'a>>,
}

/// Of channels in which messages are.
#[derive(Debug, Clone, Serialize)]
struct Speech<'a> {
    topic: Option<&'a str>,
    rate_limit_per_user: u32,
    last_message_id: Option<Id>,
    last_pin_timestamp: Null,
}

/// Of channels in which people speak.
#[derive(Debug, Clone, Serialize)]
struct Voice<'a> {
    bitrate: u32,
    user_limit: u32,
    rtc_region: Option<&'a str>,
}

#[derive(Debug, Clone, Serialize)]
struct Overwrite {
    id: Id,
    #[serde(rename = "type")]
    kind: u8,
    allow: Id,
    deny: Id,
}

/// The API's number of a kind of channel.
fn number(kind: ChannelKind) -> u8 {
    match kind {
        ChannelKind::Text => 0,
        ChannelKind::Direct => 1,
        ChannelKind::Voice => 2,
        ChannelKind::Category => 4,
    }
}

impl<'a> Channel<'a> {
    pub(crate) fn new(guild_id: GuildId, channel: &'a GuildChannel) -> Self {
        let speech = Speech {
            topic: channel.topic.as_deref(),
            rate_limit_per_user: 0,
            last_message_id: channel.last_message_id.map(Id::from),
            last_pin_timestamp: None,
        };
        let VoiceSettings { user_limit, bitrate, rtc_region } = &channel.voice;
        let voice = Voice { bitrate: *bitrate, user_limit: *user_limit, rtc_region: rtc_region.as_deref() };
        Self {
            id: channel.id.into(),
            kind: number(channel.kind),
            guild_id: guild_id.into(),
            name: &channel.name,
            position: channel.position,
            permission_overwrites: channel.overwrites.iter().map(Overwrite::from).collect(),
            parent_id: channel.parent_id.map(Id::from),
            flags: 0,
            nsfw: false,
            speech: (channel.kind != ChannelKind::Category).then_some(speech),
            voice: (channel.kind == ChannelKind::Voice).then_some(voice),
        }
    }
}

impl From<&Exception> for Overwrite {
    fn from(overwrite: &Exception) -> Self {
        let (kind, id) = match overwrite.target {
            OverwriteTarget::Role(id) => (0, Id::from(id)),
            OverwriteTarget::Member(id) => (1, Id::from(id)),
        };
        Self { id, kind, allow: Id(overwrite.allow.0), deny: Id(overwrite.deny.0) }
    }
}
