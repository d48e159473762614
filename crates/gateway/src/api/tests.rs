//! The objects against what client libraries need of them, field by field.

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

#[test]
fn users_and_members() {
    assert_eq!(value(&User::from(&account(1))), user_json(1));
    let me = json!({
        "system": false, "mfa_enabled": true, "banner": null, "accent_color": null, "verified": true, "email": null,
        "premium_type": 0, "locale": "en-US",
    });
    assert_eq!(value(&Me::from(&account(1))), with(user_json(1), me));
    let state = state();
    assert_eq!(value(&Member::from(&*state.members[&UserId(2)])), member_json(2));
    assert_eq!(value(&Member::bare(&state.members[&UserId(2)])), bare_member_json());
}

#[test]
fn channels_of_each_kind() {
    let state = state();
    let shown: Vec<_> = state.channels.values().map(|channel| value(&Channel::new(GUILD, channel))).collect();
    let speech = |last: Value| json!({"topic": null, "rate_limit_per_user": 0, "last_message_id": last, "last_pin_timestamp": null});
    let voice = json!({"bitrate": 64_000, "user_limit": 0, "rtc_region": null});
    assert_eq!(shown[0], with(channel_json(0, 1), speech(json!(MESSAGE.to_string()))));
    assert_eq!(shown[1], with(with(channel_json(2, 2), speech(Value::Null)), voice));
    assert_eq!(shown[2], channel_json(4, 3));
}

#[test]
fn a_guild_begins_with_everything() {
    let state = state();
    let doing = Doing { status: Status::Dnd, devices: Devices::one(Device::Web, Status::Dnd), ..Doing::default() };
    let members = state.members.values().map(|member| &**member);
    let there = voice_state();
    let created = dispatch::guild_create(
        &state,
        UserId(1),
        false,
        state.channels.values(),
        members,
        [(UserId(2), &doing)],
        [&there],
    );
    let (name, d) = read(&created);
    assert_eq!(name, "GUILD_CREATE");
    let named = json!({
        "id": GUILD.to_string(), "name": "guild", "icon": null, "description": null, "home_header": null, "splash": null,
        "discovery_splash": null, "features": [], "banner": null, "owner_id": "1", "application_id": null,
        "region": "local", "afk_channel_id": null, "afk_timeout": 300, "system_channel_id": null,
        "system_channel_flags": 0, "widget_enabled": false, "widget_channel_id": null, "verification_level": 0,
        "default_message_notifications": 0, "mfa_level": 0, "explicit_content_filter": 0,
        "roles": [role_json(9, "bots"), role_json(GUILD.0, "@everyone")],
    });
    let fixed = json!({
        "max_presences": null, "max_members": 500_000, "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25, "vanity_url_code": null, "premium_tier": 0, "premium_subscription_count": 0,
        "preferred_locale": "en-US", "rules_channel_id": null, "safety_alerts_channel_id": null,
        "public_updates_channel_id": null, "premium_progress_bar_enabled": false, "nsfw": false, "nsfw_level": 0,
        "emojis": [], "stickers": [], "hub_type": null, "latest_onboarding_question_id": null, "incidents_data": null,
    });
    let expected = with(named, fixed);
    let begun = json!({
        "joined_at": AT_TEXT, "large": false, "unavailable": false, "member_count": 3,
        "voice_states": [voice_json()],
        "members": [member_json(1), member_json(2), member_json(3)],
        "channels": state.channels.values().map(|channel| value(&Channel::new(GUILD, channel))).collect::<Vec<_>>(),
        "threads": [], "stage_instances": [], "guild_scheduled_events": [], "soundboard_sounds": [],
        "presences": [{
            "user": {"id": "2"}, "guild_id": GUILD.to_string(), "status": "dnd", "activities": [],
            "client_status": {"web": "dnd"},
        }],
    });
    assert_eq!(value(&Guild::from(&state)), expected);
    assert_eq!(d, with(expected.clone(), begun));
    let counts = json!({"approximate_member_count": 3, "approximate_presence_count": 1});
    assert_eq!(value(&Guild::from(&state).with_counts(3, 1)), with(expected, counts));
}

#[test]
fn a_guild_of_which_only_the_id_is_known() {
    let id = GUILD.to_string();
    assert_eq!(read(&dispatch::guild_delete(GUILD)).1, json!({"id": id}));
    let partial = value(&PartialGuild::new(&state(), UserId(1), Permissions(8), false));
    let expected = json!({
        "id": id, "name": "guild", "icon": null, "banner": null, "owner": true, "permissions": "8", "features": [],
    });
    assert_eq!(partial, expected);
}

#[test]
fn messages_in_answers_and_in_dispatches() {
    let (state, view) = (state(), said(MESSAGE));
    assert_eq!(value(&Message::new(&view, Shown::default())), message_json(MESSAGE));
    let nonce = Shown { nonce: true, ..Shown::default() };
    assert_eq!(value(&Message::new(&view, nonce)), with(message_json(MESSAGE), json!({"nonce": 123})));

    let (name, full) = read(&dispatch::message_create(&view, Shown { guild: Some(&state), ..Shown::default() }));
    let more = json!({
        "guild_id": GUILD.to_string(), "member": bare_member_json(),
        "mentions": [with(user_json(2), json!({"member": bare_member_json()}))],
    });
    assert_eq!((name.as_str(), full), ("MESSAGE_CREATE", with(message_json(MESSAGE), more.clone())));

    let stripped = Shown { guild: Some(&state), stripped: true, ..Shown::default() };
    let (_, stripped) = read(&dispatch::message_update(&view, stripped));
    let nothing = json!({"content": "", "embeds": [], "attachments": [], "components": []});
    assert_eq!(stripped, with(with(message_json(MESSAGE), more), nothing));
}

#[test]
fn an_answer_shows_what_it_answers_or_that_it_is_gone() {
    let mut view = said(MESSAGE);
    view.message.reply_to = Some(MessageId(7));
    let reference =
        json!({"type": 0, "channel_id": CHANNEL.to_string(), "message_id": "7", "guild_id": GUILD.to_string()});
    let gone = value(&Message::new(&view, Shown::default()));
    assert_eq!((&gone["type"], &gone["message_reference"]), (&json!(19), &reference));
    assert_eq!(gone.get("referenced_message"), Some(&Value::Null));

    let mut inner = said(MessageId(7));
    inner.message.reply_to = Some(MessageId(6));
    view.referenced = Some(Box::new(inner));
    let state = state();
    let shown = Shown { guild: Some(&state), nonce: true, ..Shown::default() };
    let shown = value(&Message::new(&view, shown));
    let inner = &shown["referenced_message"];
    assert_eq!(inner["id"], "7");
    for absent in ["nonce", "member", "guild_id", "referenced_message"] {
        assert_eq!(inner.get(absent), None, "{absent}");
    }
    for (stripped, answered_stripped) in [(false, false), (false, true), (true, false), (true, true)] {
        let shown = value(&Message::new(&view, Shown { stripped, answered_stripped, ..Shown::default() }));
        let is_empty = |content: &Value| content == "";
        let empty = (is_empty(&shown["content"]), is_empty(&shown["referenced_message"]["content"]));
        assert_eq!(empty, (stripped, answered_stripped));
    }
}

#[test]
fn reactions_are_counted_and_ones_own_marked() {
    let mut view = said(MESSAGE);
    let emoji = Sign { id: None, name: "👍".into() };
    view.reactions = vec![Reaction { emoji: emoji.clone(), users: vec![UserId(1), UserId(2)] }];
    let reaction = |viewer| value(&Message::new(&view, Shown { viewer, ..Shown::default() }))["reactions"].clone();
    let expected = |me| {
        json!([{
            "emoji": {"id": null, "name": "👍"}, "count": 2, "count_details": {"burst": 0, "normal": 2},
            "burst_colors": [], "me": me, "me_burst": false,
        }])
    };
    assert_eq!((reaction(Some(UserId(2))), reaction(Some(UserId(3)))), (expected(true), expected(false)));

    let change = ReactionChange {
        channel_id: CHANNEL,
        message_id: MESSAGE,
        message_author_id: UserId(1),
        user_id: UserId(2),
        emoji,
    };
    let removed = json!({
        "user_id": "2", "type": 0, "message_id": MESSAGE.to_string(), "emoji": {"id": null, "name": "👍"},
        "channel_id": CHANNEL.to_string(), "burst": false, "guild_id": GUILD.to_string(),
    });
    let added = json!({"message_author_id": "1", "burst_colors": [], "member": member_json(2)});
    assert_eq!(read(&dispatch::reaction_remove(&change, Some(GUILD))).1, removed);
    assert_eq!(read(&dispatch::reaction_add(&change, Some(&state()))).1, with(removed, added));
}

#[test]
fn what_is_stored_wrong_does_not_spoil_a_message() {
    let mut view = said(MESSAGE);
    for bad in ["", "nonsense", "[", "[] []"] {
        view.message.embeds_json = bad.into();
        assert_eq!(value(&Message::new(&view, Shown::default()))["embeds"], json!([]), "{bad}");
    }
}

#[test]
fn a_session_begins() {
    let account = account(1);
    let ready = Ready {
        user: &account,
        session_id: "abc",
        resume_gateway_url: "ws://host",
        guilds: &[GUILD],
        shard: (0, 1),
        read_states: None,
        instance: "gateway-0",
    };
    let (name, d) = read(&dispatch::ready(&ready));
    assert_eq!(name, "READY");
    assert_eq!(d["user"]["mfa_enabled"], json!(true));
    let expected = json!({
        "v": 10, "user_settings": {}, "user": d["user"], "session_type": "normal", "session_id": "abc",
        "resume_gateway_url": "ws://host", "relationships": [], "private_channels": [], "presences": [],
        "guilds": [{"id": GUILD.to_string(), "unavailable": true}], "geo_ordered_rtc_regions": [],
        "application": {"id": "1", "flags": 565_248, "flags_new": "565248"}, "shard": [0, 1], "_trace": ["gateway-0"],
    });
    assert_eq!(d, expected);
}

#[test]
fn the_small_dispatches() {
    let (state, guild) = (state(), GUILD.to_string());
    let expect = |dispatch: Dispatch, name: &str, d: Value| assert_eq!(read(&dispatch), (name.to_owned(), d));
    let deleted = json!({"id": MESSAGE.to_string(), "channel_id": CHANNEL.to_string(), "guild_id": guild});
    expect(dispatch::message_delete(Some(GUILD), CHANNEL, MESSAGE), "MESSAGE_DELETE", deleted);
    let typing = json!({
        "channel_id": CHANNEL.to_string(), "user_id": "2", "timestamp": 1_795_168_680, "guild_id": guild,
        "member": member_json(2),
    });
    expect(dispatch::typing_start(CHANNEL, UserId(2), AT, Some(&state)), "TYPING_START", typing);
    let role = json!({"guild_id": guild, "role": role_json(9, "bots")});
    expect(dispatch::guild_role_create(GUILD, &state.roles[&RoleId(9)]), "GUILD_ROLE_CREATE", role.clone());
    expect(dispatch::guild_role_update(GUILD, &state.roles[&RoleId(9)]), "GUILD_ROLE_UPDATE", role);
    expect(
        dispatch::guild_role_delete(GUILD, RoleId(9)),
        "GUILD_ROLE_DELETE",
        json!({"guild_id": guild, "role_id": "9"}),
    );
    let member = with(member_json(2), json!({"guild_id": guild}));
    expect(dispatch::guild_member_add(GUILD, &state.members[&UserId(2)]), "GUILD_MEMBER_ADD", member.clone());
    expect(dispatch::guild_member_update(GUILD, &state.members[&UserId(2)]), "GUILD_MEMBER_UPDATE", member);
    let removed = json!({"guild_id": guild, "user": user_json(2)});
    expect(dispatch::guild_member_remove(GUILD, &account(2)), "GUILD_MEMBER_REMOVE", removed);
}

#[test]
fn a_presence_names_its_user_by_the_id_alone() {
    let activity = Activity { name: "chess".into(), kind: 0, state: None, url: None, created_at_ms: 1_795_168_656_782 };
    let doing = Doing {
        status: Status::Idle,
        activities: vec![activity],
        devices: Devices { desktop: Status::Offline, mobile: Status::Idle, web: Status::Offline },
    };
    let (_, d) = read(&dispatch::presence_update(GUILD, UserId(2), &doing));
    let id = d["activities"][0]["id"].clone();
    assert!(id.is_string());
    let expected = json!({
        "user": {"id": "2"}, "guild_id": GUILD.to_string(), "status": "idle", "client_status": {"mobile": "idle"},
        "activities": [{"id": id, "name": "chess", "type": 0, "created_at": 1_795_168_656_782_u64}],
    });
    assert_eq!(d, expected);
    let (_, gone) = read(&dispatch::presence_update(GUILD, UserId(2), &Doing::default()));
    assert_eq!((&gone["status"], &gone["client_status"]), (&json!("offline"), &json!({})));
}

#[test]
fn what_one_client_does_is_readable_to_all_others() {
    let url = |url: &str| {
        let activity =
            Activity { name: "live".into(), kind: 1, state: None, url: Some(url.into()), created_at_ms: u64::MAX };
        let doing = Doing { status: Status::Online, activities: vec![activity], ..Doing::default() };
        read(&dispatch::presence_update(GUILD, UserId(2), &doing)).1["activities"][0].clone()
    };
    for fine in ["https://www.twitch.tv/someone", "HTTP://a-b.example:8080/x?y#z"] {
        assert_eq!(url(fine)["url"], fine);
    }
    for no_url in [
        "",
        "someone",
        "https://",
        "https://a b/",
        "http://[",
        "http://a:99999/",
        "http://a:b/",
        "http://1.2.3.400/",
        "http://a..b/",
        "http://xn--a/",
        "http://u@h/",
        "mailto:a@b.example",
    ] {
        assert_eq!(url(no_url).get("url"), None, "{no_url}");
    }
    assert_eq!(url("")["created_at"], 253_402_300_799_999_u64);
}

#[test]
fn members_come_in_chunks() {
    let state = state();
    let doing = Doing::default();
    let mut chunk = MembersChunk {
        guild_id: GUILD,
        members: vec![&state.members[&UserId(1)]],
        index: 0,
        count: 2,
        not_found: Vec::new(),
        presences: None,
        nonce: None,
    };
    let plain = json!({"guild_id": GUILD.to_string(), "members": [member_json(1)], "chunk_index": 0, "chunk_count": 2});
    assert_eq!(read(&dispatch::guild_members_chunk(&chunk)).1, plain);
    chunk.not_found = vec![UserId(77)];
    chunk.nonce = Some("n");
    chunk.presences = Some(vec![(UserId(1), &doing)]);
    let (_, d) = read(&dispatch::guild_members_chunk(&chunk));
    assert_eq!(
        (&d["not_found"], &d["nonce"], &d["presences"][0]["status"]),
        (&json!(["77"]), &json!("n"), &json!("offline"))
    );
}

#[test]
fn voice_as_libraries_know_it_and_with_what_is_clarions_own() {
    let state = state();
    let (name, d) = read(&dispatch::voice_state_update(&state, &voice_state()));
    let whose = json!({"guild_id": GUILD.to_string(), "member": member_json(2)});
    assert_eq!((name.as_str(), &d), ("VOICE_STATE_UPDATE", &with(voice_json(), whose)));
    let (_, left) =
        read(&dispatch::voice_state_update(&state, &Speaking { user_id: UserId(7), ..voice_state() }.left()));
    assert_eq!((&left["channel_id"], left.get("member")), (&Value::Null, None));

    let (name, d) = read(&dispatch::voice_server_update(&VoiceServer::none(GUILD, CHANNEL, "s")));
    let gone = json!({
        "token": "", "guild_id": GUILD.to_string(), "endpoint": null, "channel_id": CHANNEL.to_string(),
        "session_id": "s", "url": null,
    });
    assert_eq!((name.as_str(), d), ("VOICE_SERVER_UPDATE", gone));

    let slots = vec![Slot { slot: 1, user_id: UserId(2).into(), speaking: true }];
    let heard = VoiceHeard { guild_id: GUILD.into(), channel_id: CHANNEL.into(), slots };
    let (name, d) = read(&dispatch::voice_heard(&heard));
    assert_eq!((name.as_str(), &d["slots"]), ("VOICE_HEARD", &json!([{"slot": 1, "user_id": "2", "speaking": true}])));
}
