//! Voice states: who of a guild is in which voice channel, and how.

use crate::id::{ChannelId, UserId};

/// Where in a guild a user is in voice. One a user and guild; it lasts no longer than the gateway session it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoiceState {
    /// Who.
    pub user_id: UserId,
    /// Where; `None` when the user has left.
    pub channel_id: Option<ChannelId>,
    /// The gateway session that is there.
    pub session_id: String,
    /// The user does not speak.
    pub self_mute: bool,
    /// The user does not listen.
    pub self_deaf: bool,
    /// The user is not heard in this guild.
    pub mute: bool,
    /// The user hears nothing in this guild.
    pub deaf: bool,
    /// The user may not speak in this channel.
    pub suppress: bool,
    /// The user is heard above others.
    pub priority: bool,
}

impl VoiceState {
    /// The same, after the user has left.
    pub fn left(self) -> Self {
        Self { channel_id: None, ..self }
    }

    /// Whether others may hear the user.
    pub fn may_speak(&self) -> bool {
        !self.mute && !self.suppress
    }
}
