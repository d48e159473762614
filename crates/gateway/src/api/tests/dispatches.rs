//! What comes over the socket beside guilds and messages.

use super::*;

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
