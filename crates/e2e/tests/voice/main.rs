//! Voice as clients meet it over the gateway's socket: who is where, where one's media go, and what ends it.

#[path = "../../../voice/tests/calls/bare.rs"]
#[allow(dead_code, reason = "the voice server's own tests use the rest")]
mod bare;
#[path = "../../../voice/tests/calls/caller.rs"]
#[allow(dead_code, reason = "the voice server's own tests use the rest")]
mod caller;
mod churn;
mod fake;
mod handed;
mod moved;
mod process;
mod real;

use std::time::Duration;

use clarion::Topology;
use clarion_e2e::{Cluster, Frame, Socket};
use clarion_proto::v1;
use clarion_proto::v1::voice_notice::Notice;
use fake::FakeVoice;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// GUILDS and GUILD_VOICE_STATES.
const INTENTS: u64 = 1 | 1 << 7;

async fn ask(socket: &mut Socket, cluster: &Cluster, channel: Option<u64>, mute: bool) -> anyhow::Result<()> {
    let guild = cluster.demo().guild_id;
    let channel = channel.map(|channel| channel.to_string());
    let d = json!({"guild_id": guild.to_string(), "channel_id": channel, "self_mute": mute, "self_deaf": false});
    socket.send(json!({"op": 4, "d": d})).await
}

/// A cluster without voice servers of its own.
async fn without() -> anyhow::Result<Cluster> {
    Cluster::with(Topology { voice_servers: 0, ..Topology::default() }, |_| {}).await
}

fn lounge(cluster: &Cluster) -> u64 {
    cluster.demo().voice_channel_id.0
}

async fn state(socket: &mut Socket) -> anyhow::Result<Value> {
    socket.dispatch("VOICE_STATE_UPDATE").await
}

async fn server(socket: &mut Socket) -> anyhow::Result<Value> {
    socket.dispatch("VOICE_SERVER_UPDATE").await
}

/// Enters the lounge and waits until it is let in.
async fn enter(socket: &mut Socket, cluster: &Cluster) -> anyhow::Result<Value> {
    ask(socket, cluster, Some(lounge(cluster)), false).await?;
    state(socket).await?;
    server(socket).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_enters_and_everybody_hears_of_it() -> anyhow::Result<()> {
    let mut cluster =
        Cluster::with(Topology { channel_servers: 2, gateways: 2, voice_servers: 0, ..Topology::default() }, |_| {})
            .await?;
    let voice = FakeVoice::start(&mut cluster, "voice-0", "here").await?;
    let (ada, bot) = (cluster.demo().users[0].clone(), cluster.bot().clone());
    let mut hers = cluster.session(&ada, 0, INTENTS).await?;
    let mut other = cluster.session(&bot, 1, INTENTS).await?;
    let (mut deaf, channel) = (cluster.session(&bot, 1, 1).await?, lounge(&cluster));

    ask(&mut hers, &cluster, Some(channel), true).await?;
    for socket in [&mut hers, &mut other] {
        let told = state(socket).await?;
        assert_eq!(told["channel_id"], channel.to_string());
        assert_eq!(
            (&told["user_id"], &told["member"]["user"]["id"]),
            (&json!(ada.id.to_string()), &json!(ada.id.to_string()))
        );
        assert_eq!(
            (&told["self_mute"], &told["self_deaf"], &told["mute"]),
            (&json!(true), &json!(false), &json!(false))
        );
    }
    let told = server(&mut hers).await?;
    assert_eq!((&told["token"], &told["endpoint"]), (&json!("voice-0-1"), &json!("voice-0")));
    assert_eq!(told["guild_id"], cluster.demo().guild_id.to_string());
    assert_eq!(told["session_id"], hers.session_id);
    assert_eq!(told["url"], format!("http://voice-0/v1/voice/{}", hers.session_id));
    let said = voice.permissions(channel, &hers.session_id).expect("admitted");
    assert_eq!((said.speak, said.listen, said.self_mute), (true, true, true));

    // One who comes now sees who is there.
    let mut late = Socket::connect(&format!("ws://{}", cluster.gateway(1))).await?;
    late.identify(&bot.token, INTENTS).await?;
    let guild = late.dispatch("GUILD_CREATE").await?;
    assert_eq!(guild["voice_states"][0]["session_id"], hers.session_id);

    // Speaking again is a change of the same participant.
    ask(&mut hers, &cluster, Some(channel), false).await?;
    assert_eq!(state(&mut other).await?["self_mute"], false);
    voice
        .until("speaks again", |voice| !voice.permissions(channel, &hers.session_id).expect("there").self_mute)
        .await?;

    ask(&mut hers, &cluster, None, false).await?;
    assert_eq!(state(&mut other).await?["channel_id"], Value::Null);
    voice.until("dismissed", FakeVoice::is_empty).await?;

    // Nobody else was told where her media go, and who did not ask for voice states was told nothing.
    for socket in [&mut other, &mut deaf] {
        cluster.api(&ada, 0).send(cluster.demo().channel_id, "end").await?;
        let guild = cluster.demo().guild_id.to_string();
        socket.send(json!({"op": 8, "d": {"guild_id": guild, "user_ids": [ada.id.to_string()], "limit": 1}})).await?;
        loop {
            match socket.next().await? {
                Frame::Op { t: Some(t), .. } if t == "GUILD_MEMBERS_CHUNK" => break,
                Frame::Op { t: Some(t), .. } => assert!(!t.starts_with("VOICE"), "{t}"),
                _ => {}
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_wish_to_the_voice_server() -> anyhow::Result<()> {
    let mut cluster = without().await?;
    let voice = FakeVoice::start(&mut cluster, "voice-0", "").await?;
    let ada = cluster.demo().users[0].clone();
    let mut hers = cluster.session(&ada, 0, INTENTS).await?;
    enter(&mut hers, &cluster).await?;
    let trace = voice.traces().pop().expect("admitted in a trace");
    let spans = cluster.capture().spans().into_iter().filter(|span| span.trace_id.to_string() == trace);
    let names: Vec<_> = spans.map(|span| span.name).collect();
    for name in ["gateway.receive", "channel.process", "channel.fanout", "voice.place", "voice.admit"] {
        assert!(names.iter().any(|there| there == name), "{name} in {names:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_is_in_no_channel_any_more() -> anyhow::Result<()> {
    let mut cluster =
        Cluster::with(Topology { channel_servers: 1, gateways: 2, voice_servers: 0, ..Topology::default() }, |_| {})
            .await?;
    let voice = FakeVoice::start(&mut cluster, "voice-0", "").await?;
    let (ada, bot) = (cluster.demo().users[0].clone(), cluster.bot().clone());
    let mut other = cluster.session(&bot, 1, INTENTS).await?;
    let mut hers = cluster.session(&ada, 0, INTENTS).await?;
    enter(&mut hers, &cluster).await?;
    state(&mut other).await?;
    let close = tokio_tungstenite::tungstenite::protocol::CloseFrame { code: 1000.into(), reason: "".into() };
    hers.send_raw(tokio_tungstenite::tungstenite::Message::Close(Some(close))).await?;
    assert_eq!(state(&mut other).await?["channel_id"], Value::Null);
    voice.until("dismissed", FakeVoice::is_empty).await?;

    // A gateway that dies takes its sessions with it.
    let mut hers = cluster.session(&ada, 0, INTENTS).await?;
    enter(&mut hers, &cluster).await?;
    state(&mut other).await?;
    tokio::task::block_in_place(|| cluster.clarion().process().stop_one("gateway-0", true))?;
    assert_eq!(state(&mut other).await?["channel_id"], Value::Null);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_voice_server_is_told_of_another_one() -> anyhow::Result<()> {
    let mut cluster = without().await?;
    let first = FakeVoice::start(&mut cluster, "voice-0", "").await?;
    let ada = cluster.demo().users[0].clone();
    let mut hers = cluster.session(&ada, 0, INTENTS).await?;
    assert_eq!(enter(&mut hers, &cluster).await?["endpoint"], "voice-0");

    // Drained: both servers are there until the client has gone over.
    let second = FakeVoice::start(&mut cluster, "voice-1", "").await?;
    first.drain().await?;
    assert_eq!(server(&mut hers).await?["endpoint"], Value::Null);
    assert_eq!(server(&mut hers).await?["endpoint"], "voice-1");
    assert!(!first.is_empty(), "still heard there");
    first.lose(lounge(&cluster), ada.id.0, &hers.session_id, "left");

    // Dead.
    let third = FakeVoice::start(&mut cluster, "voice-2", "").await?;
    tokio::task::block_in_place(|| cluster.clarion().process().stop_one("voice-1", true))?;
    assert_eq!(server(&mut hers).await?["endpoint"], Value::Null);
    assert_eq!(server(&mut hers).await?["endpoint"], "voice-2");
    assert!(!second.is_empty() && third.permissions(lounge(&cluster), &hers.session_id).is_some());

    // Vanished: the server saw nothing of the client for too long. A gateway that has just begun to listen asks first who
    // is there, and lets in again who is not: that has to be over.
    third.until("checked", FakeVoice::is_checked).await?;
    third.lose(lounge(&cluster), ada.id.0, &hers.session_id, "vanished");
    assert_eq!(state(&mut hers).await?["channel_id"], Value::Null);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_heard_is_told_to_people_in_the_room() -> anyhow::Result<()> {
    let mut cluster = without().await?;
    let voice = FakeVoice::start(&mut cluster, "voice-0", "").await?;
    let (ada, bot, channel) = (cluster.demo().users[0].clone(), cluster.bot().clone(), lounge(&cluster));
    let mut hers = cluster.session(&ada, 0, INTENTS).await?;
    let mut bots = cluster.session(&bot, 0, INTENTS).await?;
    enter(&mut hers, &cluster).await?;
    state(&mut bots).await?;
    enter(&mut bots, &cluster).await?;
    let heard = |speaking| {
        let slots = vec![v1::SlotHeard { slot: 3, user_id: bot.id.0, speaking }];
        Notice::Heard(v1::RoomHeard { channel_id: channel, slots })
    };
    // The stream may be on its way still.
    let told = loop {
        voice.say(heard(true));
        match tokio::time::timeout(Duration::from_millis(300), hers.dispatch("VOICE_HEARD")).await {
            Ok(told) => break told?,
            Err(_) => continue,
        }
    };
    assert_eq!(told["slots"], json!([{"slot": 3, "user_id": bot.id.to_string(), "speaking": true}]));
    assert_eq!(told["channel_id"], channel.to_string());
    ask(&mut bots, &cluster, None, false).await?;
    loop {
        match bots.next().await? {
            Frame::Op { t: Some(t), d, .. } if t == "VOICE_STATE_UPDATE" && d["channel_id"].is_null() => break,
            Frame::Op { t: Some(t), .. } => assert_ne!(t, "VOICE_HEARD", "bots are not told"),
            _ => {}
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_owner_is_told_again_who_is_there() -> anyhow::Result<()> {
    let mut cluster =
        Cluster::with(Topology { channel_servers: 2, gateways: 2, voice_servers: 0, ..Topology::default() }, |_| {})
            .await?;
    let voice = FakeVoice::start(&mut cluster, "voice-0", "").await?;
    let (ada, bot) = (cluster.demo().users[0].clone(), cluster.bot().clone());
    let mut hers = cluster.session(&ada, 0, INTENTS).await?;
    let mut other = cluster.session(&bot, 1, INTENTS).await?;
    enter(&mut hers, &cluster).await?;
    state(&mut other).await?;
    cluster.api(&ada, 0).send(cluster.demo().channel_id, "who owns this?").await?;
    let owner = cluster.capture().spans().into_iter().filter(|span| span.name == "channel.route");
    let named = |span: clarion_observability::recent::SpanRecord| {
        let name = span.attributes.into_iter().find(|attribute| attribute.key.as_str() == "target_server");
        name.map(|attribute| attribute.value.to_string())
    };
    let owner = owner.filter_map(named).last().expect("the guild has an owner");
    tokio::task::block_in_place(|| cluster.clarion().process().stop_one(&owner, true))?;
    // The change shows that the owner there is knows of her; that it is the first one shows that she was never away.
    ask(&mut hers, &cluster, Some(lounge(&cluster)), true).await?;
    let told = state(&mut other).await?;
    assert_eq!((&told["channel_id"], &told["self_mute"]), (&json!(lounge(&cluster).to_string()), &json!(true)));
    let doubted = tokio::time::timeout(Duration::from_secs(7), state(&mut other)).await;
    assert!(doubted.is_err(), "she stays: {doubted:?}");
    let mut late = Socket::connect(&format!("ws://{}", cluster.gateway(1))).await?;
    late.identify(&bot.token, INTENTS).await?;
    assert_eq!(late.dispatch("GUILD_CREATE").await?["voice_states"][0]["session_id"], hers.session_id);
    assert!(voice.permissions(lounge(&cluster), &hers.session_id).is_some(), "her media went on");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_why_they_are_not_let_in() -> anyhow::Result<()> {
    let cluster = without().await?;
    let (ada, text) = (cluster.demo().users[0].clone(), cluster.demo().channel_id.0);
    let mut hers = cluster.session(&ada, 0, INTENTS).await?;
    ask(&mut hers, &cluster, Some(text), false).await?;
    let told = hers.dispatch("VOICE_REFUSED").await?;
    assert_eq!((&told["code"], &told["channel_id"]), (&json!(50_024), &json!(text.to_string())));

    // Without a voice server one is there, and waits for one.
    ask(&mut hers, &cluster, Some(lounge(&cluster)), false).await?;
    assert_eq!(state(&mut hers).await?["channel_id"], lounge(&cluster).to_string());
    assert_eq!(server(&mut hers).await?["endpoint"], Value::Null);
    let mut cluster = cluster;
    let _voice = FakeVoice::start(&mut cluster, "voice-0", "").await?;
    assert_eq!(server(&mut hers).await?["endpoint"], "voice-0");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_silenced_moved_and_put_out_over_the_api() -> anyhow::Result<()> {
    let mut cluster = without().await?;
    let voice = FakeVoice::start(&mut cluster, "voice-0", "").await?;
    let (ada, bot) = (cluster.demo().users[0].clone(), cluster.bot().clone());
    let (grace, channel) = (cluster.demo().users[1].clone(), lounge(&cluster));
    let guild = cluster.demo().guild_id;
    let mut hers = cluster.session(&grace, 0, INTENTS).await?;
    let path = format!("/guilds/{guild}/members/{}", grace.id);
    let (status, body) = cluster.api(&bot, 0).call(Method::PATCH, &path, Some(json!({"mute": true}))).await?;
    assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!(40_032)), "{body}");
    enter(&mut hers, &cluster).await?;

    let (status, body) = cluster.api(&grace, 0).call(Method::PATCH, &path, Some(json!({"mute": true}))).await?;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    let (status, body) = cluster.api(&ada, 0).call(Method::PATCH, &path, Some(json!({"mute": true}))).await?;
    assert_eq!((status, &body["mute"]), (StatusCode::OK, &json!(true)), "{body}");
    assert_eq!(state(&mut hers).await?["mute"], true);
    voice.until("silenced", |voice| !voice.permissions(channel, &hers.session_id).expect("there").speak).await?;

    let path_channels = format!("/guilds/{guild}/channels");
    let small = json!({"name": "small", "type": 2, "user_limit": 1, "bitrate": 32_000, "rtc_region": "here"});
    let (status, small) = cluster.api(&ada, 0).call(Method::POST, &path_channels, Some(small)).await?;
    assert_eq!(status, StatusCode::CREATED, "{small}");
    assert_eq!(
        (&small["user_limit"], &small["bitrate"], &small["rtc_region"]),
        (&json!(1), &json!(32_000), &json!("here"))
    );
    let to = json!({"channel_id": small["id"]});
    let (status, body) = cluster.api(&ada, 0).call(Method::PATCH, &path, Some(to)).await?;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(state(&mut hers).await?["channel_id"], small["id"]);
    assert_eq!(server(&mut hers).await?["channel_id"], small["id"]);
    voice.until("gone from there", |voice| voice.permissions(channel, &hers.session_id).is_none()).await?;

    let (status, body) = cluster.api(&ada, 0).call(Method::PATCH, &path, Some(json!({"channel_id": null}))).await?;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(state(&mut hers).await?["channel_id"], Value::Null);
    voice.until("nobody is left", FakeVoice::is_empty).await?;

    let regions = cluster.api(&bot, 0).get("/voice/regions").await?;
    assert_eq!(regions, json!([]), "it named none");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_may_go_by_any_gateway() -> anyhow::Result<()> {
    let mut cluster =
        Cluster::with(Topology { channel_servers: 1, gateways: 2, presence_servers: 1, voice_servers: 0 }, |_| {})
            .await?;
    let _voice = FakeVoice::start(&mut cluster, "voice-0", "").await?;
    let ada = cluster.demo().users[0].clone();
    let mut hers = cluster.session(&ada, 0, INTENTS).await?;
    let told = enter(&mut hers, &cluster).await?;
    let offer = |gateway, change: &dyn Fn(&mut Value)| {
        let mut body = json!({"url": told["url"], "token": told["token"], "sdp": "mine"});
        change(&mut body);
        let api = cluster.extension(&ada, gateway);
        async move { api.call(Method::POST, "/voice", Some(body)).await }
    };
    let expected = format!("voice-0 answers {}, voice-0-1: mine", hers.session_id);
    for gateway in [0, 1] {
        let (status, body) = offer(gateway, &|_| {}).await?;
        assert_eq!((status, body), (StatusCode::CREATED, json!({ "sdp": expected })));
    }
    // Nobody is asked but those whom the routers name.
    for (field, value) in [
        ("url", json!("http://127.0.0.1:9/v1/voice/x")),
        ("url", json!("http://voice-0.evil/v1/voice/x")),
        ("url", json!("http://voice-0/admin")),
        ("token", json!("another")),
        ("sdp", json!("bad")),
        ("sdp", json!("x".repeat(70_000))),
        ("sdp", Value::Null),
    ] {
        let (status, body) = offer(0, &|body| body[field] = value.clone()).await?;
        assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!(50_035)), "{field}: {body}");
        assert!(body["errors"][field]["_errors"][0]["message"].is_string(), "{field}: {body}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_has_a_voice_server_that_takes_the_token() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let ada = cluster.demo().users[0].clone();
    let mut hers = cluster.session(&ada, 0, INTENTS).await?;
    ask(&mut hers, &cluster, Some(lounge(&cluster)), false).await?;
    state(&mut hers).await?;
    let told = loop {
        // It may come a moment after the gateway.
        let told = server(&mut hers).await?;
        if !told["endpoint"].is_null() {
            break told;
        }
    };
    let (url, token) = (told["url"].as_str().unwrap_or_default(), told["token"].as_str().unwrap_or_default());
    let offer = |token: &str| {
        let request = reqwest::Client::new().post(url).bearer_auth(token);
        request.header("content-type", "application/sdp").body("no offer").send()
    };
    assert_eq!(offer("another").await?.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(offer(token).await?.status(), StatusCode::BAD_REQUEST, "the token opens; what is sent is no offer");
    Ok(())
}
