//! Guilds with their channels, roles and members.

use super::*;

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
