//! Voice: who is in which channel, where a session's media go, who is heard, and where servers stand.

use clarion_model::guild::GuildState;
use clarion_model::id::{ChannelId, GuildId};
use clarion_model::voice::VoiceState as State;
use serde::Serialize;

use super::{Id, Member, Null};

/// Where somebody is in voice. In a guild that is told as a whole neither the guild nor the membership stand beside it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VoiceState<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    guild_id: Option<Id>,
    channel_id: Option<Id>,
    user_id: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<Member<'a>>,
    session_id: &'a str,
    deaf: bool,
    mute: bool,
    self_deaf: bool,
    self_mute: bool,
    self_video: bool,
    suppress: bool,
    request_to_speak_timestamp: Null,
}

/// Where a session's media go. Beside what libraries know: Clarion's own.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VoiceServer<'a> {
    pub(crate) token: &'a str,
    pub(crate) guild_id: Id,
    /// Absent: the server is gone, and another one will be named.
    pub(crate) endpoint: Option<&'a str>,
    pub(crate) channel_id: Id,
    pub(crate) session_id: &'a str,
    /// Where the offer is posted.
    pub(crate) url: Option<&'a str>,
}

/// Who is heard in a room and in which of the listeners' audio slots. Clarion's own.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VoiceHeard {
    pub(crate) guild_id: Id,
    pub(crate) channel_id: Id,
    pub(crate) slots: Vec<Slot>,
}

/// One audio slot.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Slot {
    pub(crate) slot: u32,
    pub(crate) user_id: Id,
    pub(crate) speaking: bool,
}

/// Why a session is not let into a room. Clarion's own.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VoiceRefused<'a> {
    pub(crate) guild_id: Id,
    pub(crate) channel_id: Option<Id>,
    pub(crate) code: u32,
    pub(crate) message: &'a str,
}

/// Where there are voice servers.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VoiceRegion {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) optimal: bool,
    pub(crate) deprecated: bool,
    pub(crate) custom: bool,
}

impl<'a> VoiceState<'a> {
    /// As it stands in its guild.
    pub(crate) fn bare(state: &'a State) -> Self {
        Self {
            guild_id: None,
            channel_id: state.channel_id.map(Id::from),
            user_id: state.user_id.into(),
            member: None,
            session_id: &state.session_id,
            deaf: state.deaf,
            mute: state.mute,
            self_deaf: state.self_deaf,
            self_mute: state.self_mute,
            self_video: false,
            suppress: state.suppress,
            request_to_speak_timestamp: None,
        }
    }

    /// By itself. Somebody who has left the guild has no membership any more.
    pub(crate) fn new(guild: &'a GuildState, state: &'a State) -> Self {
        let member = guild.members.get(&state.user_id).map(|member| Member::from(&**member));
        Self { guild_id: Some(guild.guild.id.into()), member, ..Self::bare(state) }
    }
}

impl<'a> VoiceServer<'a> {
    /// Nowhere just now.
    pub(crate) fn none(guild: GuildId, channel: ChannelId, session_id: &'a str) -> Self {
        Self { token: "", guild_id: guild.into(), endpoint: None, channel_id: channel.into(), session_id, url: None }
    }
}
