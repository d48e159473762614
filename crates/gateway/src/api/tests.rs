//! The objects against what client libraries need of them, field by field.

mod dispatches;
mod guilds;
mod messages;

use std::sync::Arc;

use clarion_model::event::ReactionChange;
use clarion_model::guild::{
    Channel as GuildChannel, ChannelKind, Guild as Named, GuildState, Member as Membership, Overwrite, OverwriteTarget,
    Role as GuildRole,
};
use clarion_model::id::{ChannelId, GuildId, MessageId, RoleId, UserId};
use clarion_model::message::{Emoji as Sign, Message as Said, MessageView, Nonce, Reaction, TraceId};
use clarion_model::permission::Permissions;
use clarion_model::presence::{Activity, Device, Devices, Presence as Doing, Status};
use clarion_model::time::Timestamp;
use clarion_model::user::User as Account;
use clarion_model::voice::VoiceState as Speaking;
use serde::Serialize;
use serde_json::{Value, json};

use super::dispatch::{self, MembersChunk, Ready};
use super::*;
use crate::frame::Dispatch;

const GUILD: GuildId = GuildId(1_562_404_440_927_895_000);
const CHANNEL: ChannelId = ChannelId(1_562_404_440_927_895_001);
const MESSAGE: MessageId = MessageId(1_562_404_440_927_895_002);
const AT: Timestamp = Timestamp::from_micros(1_795_168_680_519_865);
const AT_TEXT: &str = "2026-11-20T09:58:00.519865+00:00";

fn account(id: u64) -> Account {
    Account { id: UserId(id), username: format!("name{id}"), global_name: None, bot: true }
}

fn state() -> GuildState {
    let role = |id, name: &str| GuildRole {
        id,
        name: name.into(),
        color: 255,
        hoist: false,
        position: 1,
        permissions: Permissions(2_248_473_465_835_073),
        mentionable: false,
    };
    let named = Named { id: GUILD, name: "guild".into(), owner_id: UserId(1) };
    let mut state = GuildState::new(named, role(GUILD.everyone(), "@everyone"));
    state.roles.insert(RoleId(9), role(RoleId(9), "bots"));
    for (n, kind) in [(1, ChannelKind::Text), (2, ChannelKind::Voice), (3, ChannelKind::Category)] {
        let id = ChannelId(CHANNEL.0 - 1 + n);
        let overwrites = vec![
            Overwrite { target: OverwriteTarget::Role(RoleId(9)), allow: Permissions(0), deny: Permissions(1_024) },
            Overwrite { target: OverwriteTarget::Member(UserId(2)), allow: Permissions(1), deny: Permissions(0) },
        ];
        let channel = GuildChannel {
            position: n as u32,
            overwrites,
            last_message_id: (n == 1).then_some(MESSAGE),
            ..GuildChannel::new(id, kind, format!("channel{n}"))
        };
        state.channels.insert(id, channel);
    }
    for id in 1..=3 {
        let member = Membership {
            user: account(id),
            nick: None,
            roles: vec![RoleId(9)],
            joined_at: AT,
            mute: false,
            deaf: false,
        };
        state.members.insert(UserId(id), Arc::new(member));
    }
    state
}

fn voice_state() -> Speaking {
    Speaking {
        user_id: UserId(2),
        channel_id: Some(ChannelId(CHANNEL.0 + 1)),
        session_id: "s".into(),
        self_mute: true,
        self_deaf: false,
        mute: false,
        deaf: false,
        suppress: true,
        priority: false,
    }
}

fn voice_json() -> Value {
    json!({
        "channel_id": (CHANNEL.0 + 1).to_string(), "user_id": "2", "session_id": "s", "deaf": false, "mute": false,
        "self_deaf": false, "self_mute": true, "self_video": false, "suppress": true,
        "request_to_speak_timestamp": null,
    })
}

fn said(id: MessageId) -> MessageView {
    let message = Said {
        id,
        channel_id: CHANNEL,
        guild_id: Some(GUILD),
        author: account(1),
        content: "words".into(),
        at: AT,
        edited_at: None,
        tts: false,
        mention_everyone: false,
        mentions: vec![account(2)],
        mention_roles: vec![RoleId(9)],
        reply_to: None,
        embeds_json: r#"[{"type":"rich","title":"t"}]"#.into(),
        flags: 0,
        nonce: Some(Nonce::Number(123)),
        trace_id: Some(TraceId([0xab; 16])),
    };
    MessageView { message, reactions: Vec::new(), referenced: None }
}

fn value(object: &impl Serialize) -> Value {
    serde_json::from_slice(&encode(object)).expect("JSON")
}

/// The name and the data of a dispatch.
fn read(dispatch: &Dispatch) -> (String, Value) {
    let text = format!("{{{}}}", std::str::from_utf8(&dispatch.body).expect("text"));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    (value["t"].as_str().expect("a name").to_owned(), value["d"].clone())
}

fn user_json(id: u64) -> Value {
    json!({
        "id": id.to_string(), "username": format!("name{id}"), "discriminator": "0", "global_name": null, "avatar": null,
        "bot": true, "public_flags": 0, "flags": 0, "avatar_decoration_data": null, "primary_guild": null,
    })
}

fn bare_member_json() -> Value {
    json!({
        "nick": null, "avatar": null, "banner": null, "roles": ["9"], "joined_at": AT_TEXT, "premium_since": null,
        "deaf": false, "mute": false, "flags": 0, "pending": false, "communication_disabled_until": null,
    })
}

fn with(mut object: Value, more: Value) -> Value {
    object.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    object
}

fn member_json(id: u64) -> Value {
    with(bare_member_json(), json!({"user": user_json(id)}))
}

fn role_json(id: u64, name: &str) -> Value {
    json!({
        "id": id.to_string(), "name": name, "color": 255,
        "colors": {"primary_color": 255, "secondary_color": null, "tertiary_color": null},
        "hoist": false, "icon": null, "unicode_emoji": null, "position": 1, "permissions": "2248473465835073",
        "managed": false, "mentionable": false, "flags": 0,
    })
}

fn channel_json(kind: u8, n: u64) -> Value {
    json!({
        "id": (CHANNEL.0 - 1 + n).to_string(), "type": kind, "guild_id": GUILD.to_string(), "name": format!("channel{n}"),
        "position": n, "parent_id": null, "flags": 0, "nsfw": false,
        "permission_overwrites": [
            {"id": "9", "type": 0, "allow": "0", "deny": "1024"}, {"id": "2", "type": 1, "allow": "1", "deny": "0"},
        ],
    })
}

fn message_json(id: MessageId) -> Value {
    json!({
        "id": id.to_string(), "type": 0, "channel_id": CHANNEL.to_string(), "author": user_json(1), "content": "words",
        "timestamp": AT_TEXT, "edited_timestamp": null, "tts": false, "mention_everyone": false,
        "mentions": [user_json(2)], "mention_roles": ["9"], "attachments": [], "embeds": [{"type": "rich", "title": "t"}],
        "components": [], "pinned": false, "flags": 0,
    })
}

#[test]
fn instants_have_six_digits_and_an_offset() {
    assert_eq!(Time(AT).to_string(), AT_TEXT);
    assert_eq!(Time(Timestamp::from_millis(0)).to_string(), "1970-01-01T00:00:00.000000+00:00");
    assert_eq!(Time(Timestamp::from_micros(u64::MAX)).to_string(), "9999-12-30T22:00:00.999999+00:00");
}
