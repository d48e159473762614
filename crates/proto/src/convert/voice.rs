//! Voice states.

use clarion_model::id::{ChannelId, UserId};
use clarion_model::voice::VoiceState;

use super::{Invalid, id, maybe_id};
use crate::v1;

impl From<&VoiceState> for v1::VoiceState {
    fn from(state: &VoiceState) -> Self {
        Self {
            user_id: state.user_id.0,
            channel_id: state.channel_id.map(|channel| channel.0),
            session_id: state.session_id.clone(),
            self_mute: state.self_mute,
            self_deaf: state.self_deaf,
            mute: state.mute,
            deaf: state.deaf,
            suppress: state.suppress,
            priority: state.priority,
        }
    }
}

impl TryFrom<v1::VoiceState> for VoiceState {
    type Error = Invalid;
    fn try_from(state: v1::VoiceState) -> Result<Self, Invalid> {
        Ok(Self {
            user_id: id(state.user_id, UserId, "voice_state.user_id")?,
            channel_id: maybe_id(state.channel_id, ChannelId, "voice_state.channel_id")?,
            session_id: state.session_id,
            self_mute: state.self_mute,
            self_deaf: state.self_deaf,
            mute: state.mute,
            deaf: state.deaf,
            suppress: state.suppress,
            priority: state.priority,
        })
    }
}
