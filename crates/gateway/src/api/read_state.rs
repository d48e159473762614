//! How far a person has read: an extension of the API, shown to people and never to bots.

use clarion_model::event::Unread;
use clarion_model::id::{ChannelId, MessageId};
use clarion_model::user::ReadState as State;
use serde::Serialize;

use super::Id;

/// How far a person has read in a channel.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct ReadState {
    channel_id: Id,
    /// `null`: never.
    last_read_id: Option<Id>,
}

/// The same, with what is unread behind it.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct UnreadState {
    #[serde(flatten)]
    state: ReadState,
    unread: u32,
    mentions: u32,
    /// Messages with larger ids are not in the counts.
    last_message_id: Option<Id>,
}

impl From<&State> for ReadState {
    fn from(state: &State) -> Self {
        Self { channel_id: state.channel_id.into(), last_read_id: Some(state.last_read_id.into()) }
    }
}

impl UnreadState {
    pub(crate) fn new(channel: ChannelId, last_read: Option<MessageId>, unread: &Unread) -> Self {
        Self {
            state: ReadState { channel_id: channel.into(), last_read_id: last_read.map(Id::from) },
            unread: unread.messages,
            mentions: unread.mentions,
            last_message_id: unread.last_message_id.map(Id::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use clarion_model::event::ReadStatePut;
    use clarion_model::id::{GuildId, UserId};
    use clarion_model::user::User;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::dispatch::{self, Ready};

    fn read(dispatch: &crate::frame::Dispatch) -> Value {
        serde_json::from_slice(&[b"{", &dispatch.body[..], b"}"].concat()).expect("JSON")
    }

    const STATE: State = State { channel_id: ChannelId(1), guild_id: Some(GuildId(2)), last_read_id: MessageId(3) };

    #[test]
    fn an_update_says_what_is_unread() {
        let unread = Unread { messages: 4, mentions: 1, last_message_id: Some(MessageId(9)) };
        let got = read(&dispatch::read_state_update(&ReadStatePut { state: STATE, unread }));
        let d = json!({"channel_id": "1", "last_read_id": "3", "unread": 4, "mentions": 1, "last_message_id": "9"});
        assert_eq!(got, json!({"t": "READ_STATE_UPDATE", "d": d}));
        let never = serde_json::to_value(UnreadState::new(ChannelId(1), None, &Unread::default())).expect("JSON");
        assert_eq!((&never["last_read_id"], &never["last_message_id"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn ready_has_them_for_people() {
        let user = User { id: UserId(1), username: "ann".into(), global_name: None, bot: false };
        let ready = Ready {
            user: &user,
            session_id: "abc",
            resume_gateway_url: "ws://host",
            guilds: &[],
            shard: (0, 1),
            read_states: Some(vec![ReadState::from(&STATE)]),
            instance: "gateway-0",
        };
        let got = read(&dispatch::ready(&ready));
        assert_eq!(got["d"]["read_states"], json!([{"channel_id": "1", "last_read_id": "3"}]));
        let got = read(&dispatch::ready(&Ready { read_states: None, ..ready }));
        assert_eq!(got["d"].get("read_states"), None);
    }
}
