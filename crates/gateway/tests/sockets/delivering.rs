//! Who gets which event, in which form.

use clarion_model::event::{GuildEvent, Transient, UserEvent};
use clarion_model::guild::{Overwrite, OverwriteTarget};
use clarion_model::id::ChannelId;
use clarion_model::message::Nonce;
use clarion_model::permission::Permissions;
use clarion_model::presence::{Presence, Status};
use clarion_model::time::Timestamp;
use clarion_model::token;
use serde_json::json;

use crate::client::Client;
use crate::{CHANNEL, GUILD, Scene, USUAL, channel, member, message, user};

const NO_CONTENT: u64 = 1 | 1 << 9;

#[tokio::test]
async fn content_is_for_those_who_asked_wrote_or_are_mentioned() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2, 3, 4]);
    let mut clients = Vec::new();
    for (token, intents) in tokens.iter().zip([USUAL, NO_CONTENT, NO_CONTENT, NO_CONTENT]) {
        let mut client = Client::identified(scene.at, token, intents).await;
        client.dispatch("GUILD_CREATE").await;
        clients.push(client);
    }
    let GuildEvent::MessageCreate(mut view) = message(1, 2, "hello") else { unreachable!() };
    view.message.mentions.push(user(3));
    view.message.nonce = Some(Nonce::Text("n".into()));
    scene.world.commit(GUILD, GuildEvent::MessageCreate(view));
    let expected = [("hello", json!(null)), ("hello", json!("n")), ("hello", json!(null)), ("", json!(null))];
    for (client, (content, nonce)) in clients.iter_mut().zip(expected) {
        let got = client.dispatch("MESSAGE_CREATE").await;
        assert_eq!((&got["d"]["content"], &got["d"]["nonce"]), (&json!(content), &nonce));
    }
}

#[tokio::test]
async fn what_is_answered_is_for_those_who_may_read_that() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2, 3, 4, 5]);
    let mut clients = Vec::new();
    for (token, intents) in tokens.iter().zip([USUAL, NO_CONTENT, NO_CONTENT, NO_CONTENT, NO_CONTENT]) {
        let mut client = Client::identified(scene.at, token, intents).await;
        client.dispatch("GUILD_CREATE").await;
        clients.push(client);
    }
    let GuildEvent::MessageCreate(mut answered) = message(1, 3, "question") else { unreachable!() };
    answered.message.mentions.push(user(4));
    let GuildEvent::MessageCreate(mut view) = message(2, 2, "answer") else { unreachable!() };
    view.message.reply_to = Some(answered.message.id);
    view.message.nonce = Some(Nonce::Text("n".into()));
    view.referenced = Some(Box::new(answered));
    scene.world.commit(GUILD, GuildEvent::MessageCreate(view));
    let expected = [
        ("answer", "question", json!(null)),
        ("answer", "", json!("n")),
        ("", "question", json!(null)),
        ("", "question", json!(null)),
        ("", "", json!(null)),
    ];
    for (client, (content, answered, nonce)) in clients.iter_mut().zip(expected) {
        let got = client.dispatch("MESSAGE_CREATE").await;
        let shown = (&got["d"]["content"], &got["d"]["referenced_message"]["content"], &got["d"]["nonce"]);
        assert_eq!(shown, (&json!(content), &json!(answered), &nonce));
    }
}

#[tokio::test]
async fn channels_come_into_view_and_go_out_of_it() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2]);
    let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
    client.dispatch("GUILD_CREATE").await;
    let overwrite = |target, allow, deny| Overwrite { target, allow, deny };
    let hidden = overwrite(OverwriteTarget::Role(GUILD.everyone()), Permissions::NONE, Permissions::VIEW_CHANNEL);
    let shown = overwrite(OverwriteTarget::Member(user(1).id), Permissions::VIEW_CHANNEL, Permissions::NONE);
    let put = |overwrites| {
        let mut channel = channel(CHANNEL);
        channel.overwrites = overwrites;
        scene.world.commit(GUILD, GuildEvent::ChannelPut(channel));
    };
    put(Vec::new());
    client.dispatch("CHANNEL_UPDATE").await;
    put(vec![hidden]);
    client.dispatch("CHANNEL_DELETE").await;
    scene.world.commit(GUILD, message(1, 2, "unseen"));
    put(vec![hidden, shown]);
    client.dispatch("CHANNEL_CREATE").await;
    scene.world.commit(GUILD, message(2, 2, "seen"));
    assert_eq!(client.dispatch("MESSAGE_CREATE").await["d"]["content"], "seen");
    scene.world.commit(GUILD, GuildEvent::ChannelDelete(CHANNEL));
    client.dispatch("CHANNEL_DELETE").await;
    client.nothing_else().await;
}

#[tokio::test]
async fn structure_is_told_to_those_who_asked() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2]);
    let mut client = Client::identified(scene.at, &tokens[0], 1 | 1 << 1).await;
    client.dispatch("GUILD_CREATE").await;
    let mut guild = scene.world.guild(GUILD);
    guild.guild.name = "another".into();
    scene.world.commit(GUILD, GuildEvent::GuildPut(guild.guild.clone()));
    assert_eq!(client.dispatch("GUILD_UPDATE").await["d"]["name"], "another");
    let mut role = guild.roles[&GUILD.everyone()].clone();
    role.id = clarion_model::id::RoleId(77);
    scene.world.commit(GUILD, GuildEvent::RolePut(role.clone()));
    client.dispatch("GUILD_ROLE_CREATE").await;
    scene.world.commit(GUILD, GuildEvent::RolePut(role));
    client.dispatch("GUILD_ROLE_UPDATE").await;
    scene.world.commit(GUILD, GuildEvent::RoleDelete(clarion_model::id::RoleId(77)));
    client.dispatch("GUILD_ROLE_DELETE").await;
    scene.world.commit(GUILD, GuildEvent::ChannelPut(channel(ChannelId(CHANNEL.0 + 1))));
    client.dispatch("CHANNEL_CREATE").await;
    scene.world.commit(GUILD, GuildEvent::MemberPut(member(3)));
    client.dispatch("GUILD_MEMBER_ADD").await;
    scene.world.commit(GUILD, GuildEvent::MemberPut(member(3)));
    client.dispatch("GUILD_MEMBER_UPDATE").await;
    scene.world.commit(GUILD, GuildEvent::MemberRemove(user(3)));
    client.dispatch("GUILD_MEMBER_REMOVE").await;
    client.nothing_else().await;
}

#[tokio::test]
async fn guilds_are_joined_and_left_whichever_log_says_so_first() {
    let scene = Scene::new();
    scene.guild(&[2]);
    let token = scene.world.add_user(&user(1), &[]);
    let mut client = Client::identified(scene.at, &token, USUAL).await;
    let id = user(1).id;
    for _ in 0..2 {
        scene.world.commit_user(id, UserEvent::GuildJoined(GUILD));
        scene.world.commit(GUILD, GuildEvent::MemberPut(member(1)));
        client.dispatch("GUILD_CREATE").await;
        scene.world.commit(GUILD, message(1, 2, "hello"));
        client.dispatch("MESSAGE_CREATE").await;
        scene.world.commit(GUILD, GuildEvent::MemberRemove(user(1)));
        scene.world.commit_user(id, UserEvent::GuildLeft(GUILD));
        client.dispatch("GUILD_DELETE").await;
        scene.world.commit(GUILD, GuildEvent::MemberPut(member(1)));
        scene.world.commit_user(id, UserEvent::GuildJoined(GUILD));
        client.dispatch("GUILD_CREATE").await;
        scene.world.commit_user(id, UserEvent::GuildLeft(GUILD));
        client.dispatch("GUILD_DELETE").await;
        scene.world.commit(GUILD, GuildEvent::MemberRemove(user(1)));
    }
    client.nothing_else().await;
}

#[tokio::test]
async fn a_revoked_token_closes_its_sessions() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1]);
    let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
    scene.world.commit_user(user(1).id, UserEvent::TokenRevoked { hash: token::hash(&tokens[0]) });
    assert_eq!(client.closed().await, Some(4004));
    let mut again = Client::connect(scene.at).await;
    again.op(10).await;
    again.identify(&tokens[0], USUAL).await;
    assert_eq!(again.closed().await, Some(4004));
}

#[tokio::test]
async fn presence_and_typing_ride_along() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2]);
    let mut client = Client::identified(scene.at, &tokens[0], 1 | 1 << 8 | 1 << 11).await;
    client.dispatch("GUILD_CREATE").await;
    let presence = Presence { status: Status::Dnd, ..Presence::default() };
    scene.world.show(user(2).id, &presence);
    let got = client.dispatch("PRESENCE_UPDATE").await;
    assert_eq!((&got["d"]["status"], &got["d"]["user"]), (&json!("dnd"), &json!({"id": user(2).id.to_string()})));
    let at = Timestamp::from_millis(1_795_168_656_123);
    scene.world.ride(GUILD, &Transient::Typing { channel_id: CHANNEL, user_id: user(2).id, at });
    assert_eq!(client.dispatch("TYPING_START").await["d"]["timestamp"], 1_795_168_656);
}

#[tokio::test]
async fn the_presence_server_learns_who_is_there() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1]);
    let statuses =
        || scene.world.words().iter().map(|p| p.presence.clone().unwrap_or_default().status).collect::<Vec<_>>();
    let until = async |count: usize| {
        while statuses().len() < count {
            tokio::task::yield_now().await;
        }
        statuses()
    };
    let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
    assert_eq!(until(1).await, [1]);
    client.say(json!({"op": 3, "d": {"status": "idle", "since": 0.0, "activities": [], "afk": false}})).await;
    assert_eq!(until(2).await, [1, 2]);
    scene.world.break_attendance();
    assert_eq!(until(3).await, [1, 2, 2]);
    client.close(1000).await;
    assert_eq!(until(4).await, [1, 2, 2, 0]);
}

#[tokio::test]
async fn a_client_that_pauses_gets_everything_in_order() {
    const MESSAGES: u64 = 6_000;
    let scene = Scene::with(|config| (config.outbox_bytes, config.replay_bytes) = (64 << 20, 128 << 20));
    let tokens = scene.guild(&[1, 2]);
    let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
    client.dispatch("GUILD_CREATE").await;
    let filler = "x".repeat(1_900);
    for n in 0..MESSAGES {
        scene.world.commit(GUILD, message(n, 2, &format!("{n} {filler}")));
    }
    for n in 0..MESSAGES {
        let got = client.dispatch("MESSAGE_CREATE").await;
        assert!(got["d"]["content"].as_str().is_some_and(|c| c.starts_with(&format!("{n} "))));
    }
    client.nothing_else().await;
}
