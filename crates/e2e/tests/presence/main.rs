//! Who is there: on several devices, through losses of sockets, gateways and the presence server, in small guilds and large.

mod dying;

use std::time::{Duration, Instant};

use clarion::Topology;
use clarion::demo::Account;
use clarion_e2e::{Cluster, Frame, PATIENCE, Socket};
use clarion_model::event::GuildEvent;
use clarion_model::guild::Member;
use clarion_model::id::UserId;
use clarion_model::time::Timestamp;
use clarion_model::user::User;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// GUILDS, GUILD_MEMBERS and GUILD_PRESENCES.
const INTENTS: u64 = 1 | 1 << 1 | 1 << 8;
/// Longest silence after which nothing more is expected: changes are told within a second.
const QUIET: Duration = Duration::from_millis(1_800);

/// A session, with more in its IDENTIFY; and the guild as it came.
async fn enter(cluster: &Cluster, account: &Account, gateway: usize, more: Value) -> anyhow::Result<(Socket, Value)> {
    let at = cluster.gateway(gateway);
    let mut socket = Socket::connect(&format!("ws://{at}")).await?;
    let mut d = json!({"token": account.token, "intents": INTENTS, "properties": {}});
    d.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    socket.send(json!({"op": 2, "d": d})).await?;
    socket.dispatch("READY").await?;
    let guild = socket.dispatch("GUILD_CREATE").await?;
    Ok((socket, guild))
}

/// A client that is done with its session.
async fn leave(mut socket: Socket) -> anyhow::Result<()> {
    let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    socket.send_raw(Message::Close(Some(frame))).await?;
    socket.closed().await.map(drop)
}

/// A client's own word.
async fn set(socket: &mut Socket, status: &str, activity: Option<&str>) -> anyhow::Result<()> {
    let activities: Vec<Value> = activity.iter().map(|name| json!({"name": name, "type": 0})).collect();
    let d = json!({"status": status, "activities": activities, "since": null, "afk": false});
    socket.send(json!({"op": 3, "d": d})).await
}

/// The next presence of a user that is as asked; answers how many others of that user came before it.
async fn until(socket: &mut Socket, user: UserId, is: impl Fn(&Value) -> bool) -> anyhow::Result<(Value, usize)> {
    let mut others = 0;
    loop {
        let seen = socket.dispatch("PRESENCE_UPDATE").await?;
        if seen["user"]["id"] == user.to_string() {
            if is(&seen) {
                return Ok((seen, others));
            }
            others += 1;
        }
    }
}

async fn until_status(socket: &mut Socket, user: UserId, status: &str) -> anyhow::Result<Value> {
    Ok(until(socket, user, |seen| seen["status"] == status).await?.0)
}

/// The presences of a user that come until nothing more does.
async fn rest(socket: &mut Socket, user: UserId) -> anyhow::Result<Vec<Value>> {
    let (mut seen, deadline) = (Vec::new(), Instant::now() + QUIET);
    while let Ok(frame) = tokio::time::timeout_at(deadline.into(), socket.next()).await {
        match frame? {
            Frame::Op { t: Some(t), d, .. } if t == "PRESENCE_UPDATE" && d["user"]["id"] == user.to_string() => {
                seen.push(d);
            }
            Frame::Op { .. } => {}
            end => anyhow::bail!("{end:?}"),
        }
    }
    Ok(seen)
}

/// The sum of the series of a metric whose labels contain all of `parts`.
async fn metric(cluster: &Cluster, name: &str, parts: &[&str]) -> anyhow::Result<f64> {
    let text = reqwest::get(format!("{}/metrics", cluster.admin_url())).await?.text().await?;
    let lines = text.lines().filter(|line| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']));
    let lines = lines.filter(|line| parts.iter().all(|part| line.contains(part)));
    Ok(lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
}

async fn metric_is(cluster: &Cluster, name: &str, parts: &[&str], expected: f64) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let value = metric(cluster, name, parts).await?;
        if value == expected {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "{name} {parts:?} is {value}, not {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_strongest_word_of_several_devices_counts() -> anyhow::Result<()> {
    let cluster = Cluster::with(Topology { gateways: 2, ..Topology::default() }, |_| {}).await?;
    let (viewer, user) = (cluster.other_bot(), cluster.bot());
    let (mut watching, _) = enter(&cluster, viewer, 1, json!({})).await?;

    let desktop = json!({"properties": {"browser": "Discord Client"}, "presence": {"status": "idle"}});
    let (mut desktop, _) = enter(&cluster, user, 0, desktop).await?;
    let seen = until_status(&mut watching, user.id, "idle").await?;
    assert_eq!(
        (&seen["client_status"], &seen["user"]),
        (&json!({"desktop": "idle"}), &json!({"id": user.id.to_string()}))
    );
    assert_eq!(seen["guild_id"], cluster.demo().guild_id.to_string());

    // On the other gateway, to which the viewer is connected.
    let mobile = json!({"properties": {"browser": "Discord Android"}});
    let (mut mobile, guild) = enter(&cluster, user, 1, mobile).await?;
    let seen = until_status(&mut watching, user.id, "online").await?;
    assert_eq!(seen["client_status"], json!({"desktop": "idle", "mobile": "online"}));
    let listed = guild["presences"].as_array().expect("a list").iter().map(|p| (&p["user"]["id"], &p["status"]));
    assert!(listed.clone().any(|p| p == (&json!(user.id.to_string()), &json!("idle"))), "{guild}");

    set(&mut desktop, "dnd", Some("chess")).await?;
    let seen = until_status(&mut watching, user.id, "dnd").await?;
    assert_eq!(seen["activities"][0]["name"], "chess");
    set(&mut mobile, "online", Some("go")).await?;
    let (seen, _) = until(&mut watching, user.id, |seen| seen["activities"][1]["name"] == "go").await?;
    assert_eq!((&seen["status"], &seen["activities"][0]["name"]), (&json!("dnd"), &json!("chess")));

    // Not to be seen on one device: the other one is.
    set(&mut desktop, "invisible", Some("chess")).await?;
    let seen = until_status(&mut watching, user.id, "online").await?;
    assert_eq!(
        (&seen["client_status"], seen["activities"].as_array().map(Vec::len)),
        (&json!({"mobile": "online"}), Some(1))
    );
    set(&mut mobile, "invisible", None).await?;
    let seen = until_status(&mut watching, user.id, "offline").await?;
    assert_eq!((&seen["client_status"], &seen["activities"]), (&json!({}), &json!([])));

    set(&mut mobile, "idle", None).await?;
    until_status(&mut watching, user.id, "idle").await?;
    leave(mobile).await?;
    until_status(&mut watching, user.id, "offline").await?;
    set(&mut desktop, "dnd", None).await?;
    until_status(&mut watching, user.id, "dnd").await?;
    metric_is(&cluster, "presence_users_online", &["status=\"dnd\""], 1.0).await?;
    metric_is(&cluster, "presence_users_online", &["status=\"online\""], 1.0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_may_be_resumed_is_there_and_one_that_has_ended_is_not() -> anyhow::Result<()> {
    let cluster = Cluster::with(Topology::default(), |config| config.gateway.resume_window_s = 2).await?;
    let (viewer, user) = (cluster.other_bot(), cluster.bot());
    let (mut watching, _) = enter(&cluster, viewer, 0, json!({})).await?;
    let (mut session, _) = enter(&cluster, user, 0, json!({"presence": {"status": "dnd"}})).await?;
    until_status(&mut watching, user.id, "dnd").await?;

    let url = format!("{}/admin/v1/sessions/{}/drop", cluster.admin_url(), session.session_id);
    reqwest::Client::new().post(url).json(&json!({})).send().await?.error_for_status()?;
    assert_eq!(session.closed().await?, Frame::Broken);
    let mut again = Socket::connect(&cluster.demo().gateway).await?;
    again.resume(&user.token, &session.session_id, session.sequence).await?;
    again.dispatch("RESUMED").await?;
    assert_eq!(rest(&mut watching, user.id).await?, Vec::<Value>::new(), "nobody noticed");

    // Lost without a word, and not resumed.
    drop(again);
    until_status(&mut watching, user.id, "offline").await?;

    let (session, _) = enter(&cluster, user, 0, json!({})).await?;
    until_status(&mut watching, user.id, "online").await?;
    leave(session).await?;
    until_status(&mut watching, user.id, "offline").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_changes_are_a_few_frames_and_the_last_one_is_right() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let (viewer, user) = (cluster.other_bot(), cluster.bot());
    let (mut watching, _) = enter(&cluster, viewer, 0, json!({})).await?;
    let (mut session, _) = enter(&cluster, user, 0, json!({})).await?;
    until_status(&mut watching, user.id, "online").await?;
    assert_eq!(rest(&mut watching, user.id).await?, Vec::<Value>::new());
    let began = Instant::now();
    for n in 0..100 {
        let status = if n % 2 == 0 { "idle" } else { "dnd" };
        set(&mut session, status, Some(&format!("round {n}"))).await?;
    }
    let (last, others) = until(&mut watching, user.id, |seen| seen["activities"][0]["name"] == "round 99").await?;
    assert_eq!(last["status"], "dnd");
    let most = began.elapsed().as_secs() as usize + 2;
    assert!(others < most, "{others} before the last one, within {:?}", began.elapsed());
    assert_eq!(rest(&mut watching, user.id).await?, Vec::<Value>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_large_guild_one_hears_of_those_asked_for() -> anyhow::Result<()> {
    let topology = Topology { gateways: 2, ..Topology::default() };
    let mut cluster = Cluster::with(topology, |_| {}).await?;
    let guild = cluster.demo().guild_id;
    let admin = cluster.clarion().admin().clone();
    let mut joining = tokio::task::JoinSet::new();
    for n in 0..1_001_u64 {
        let user = User { id: UserId(5_000_000 + n), username: format!("crowd{n}"), global_name: None, bot: true };
        let member = Member {
            user,
            nick: None,
            roles: Vec::new(),
            joined_at: Timestamp::from_millis(1_700_000_000_000),
            mute: false,
            deaf: false,
        };
        let admin = admin.clone();
        joining.spawn(async move { admin.change_guild(guild, GuildEvent::MemberPut(member)).await });
        if joining.len() == 64 {
            joining.join_next().await.expect("there is one")??;
        }
    }
    while let Some(joined) = joining.join_next().await {
        joined??;
    }
    let (viewer, user) = (cluster.other_bot(), cluster.bot());
    let (mut session, _) = enter(&cluster, user, 1, json!({})).await?;
    let (mut watching, came) = enter(&cluster, viewer, 0, json!({"large_threshold": 250})).await?;
    assert_eq!((&came["large"], came["member_count"].as_u64().is_some_and(|n| n > 1_001)), (&json!(true), true));
    // Only those who are there, wherever they are connected.
    let ids = |list: &Value| -> Vec<String> {
        list.as_array().expect("a list").iter().filter_map(|m| m["user"]["id"].as_str().map(str::to_owned)).collect()
    };
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    let expected = sorted(vec![user.id.to_string(), viewer.id.to_string()]);
    assert_eq!(sorted(ids(&came["members"])), expected);
    assert_eq!(sorted(ids(&came["presences"])), expected);

    // Nobody asked for anybody.
    set(&mut session, "idle", None).await?;
    metric_is(&cluster, "presence_users_online", &["status=\"idle\""], 1.0).await?;
    assert_eq!(rest(&mut watching, user.id).await?, Vec::<Value>::new());

    // One of two asks: the answer has it, and what comes after it comes, to that one alone.
    let (mut deaf, _) = enter(&cluster, viewer, 0, json!({})).await?;
    let d = json!({"guild_id": guild.to_string(), "user_ids": [user.id.to_string()], "limit": 0, "presences": true});
    watching.send(json!({"op": 8, "d": d})).await?;
    let chunk = watching.dispatch("GUILD_MEMBERS_CHUNK").await?;
    assert_eq!(
        (&chunk["presences"][0]["status"], ids(&chunk["presences"])),
        (&json!("idle"), vec![user.id.to_string()])
    );
    set(&mut session, "dnd", None).await?;
    let (_, others) = until(&mut watching, user.id, |seen| seen["status"] == "dnd").await?;
    assert_eq!(others, 0, "what the answer said is not said again");
    assert_eq!(rest(&mut deaf, user.id).await?, Vec::<Value>::new());
    metric_is(&cluster, "presence_subscriptions_active", &[], 1.0).await?;
    leave(watching).await?;
    metric_is(&cluster, "presence_subscriptions_active", &[], 0.0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_metrics_move_and_a_change_is_a_trace() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let (viewer, user) = (cluster.other_bot(), cluster.bot());
    let (mut watching, _) = enter(&cluster, viewer, 0, json!({})).await?;
    let (mut session, _) = enter(&cluster, user, 0, json!({})).await?;
    until_status(&mut watching, user.id, "online").await?;
    metric_is(&cluster, "presence_users_online", &["status=\"online\""], 2.0).await?;
    set(&mut session, "dnd", None).await?;
    until_status(&mut watching, user.id, "dnd").await?;
    set(&mut session, "dnd", Some("chess")).await?;
    until(&mut watching, user.id, |seen| seen["activities"][0]["name"] == "chess").await?;
    leave(session).await?;
    until_status(&mut watching, user.id, "offline").await?;
    for (name, label, expected) in [
        ("presence_users_online", "status=\"online\"", 1.0),
        ("presence_users_online", "status=\"dnd\"", 0.0),
        ("presence_update_total", "service=\"presence\"", 5.0),
        ("presence_update_latency_seconds_count", "update_type=\"connect\"", 2.0),
        ("presence_update_latency_seconds_count", "update_type=\"status_change\"", 2.0),
        ("presence_update_latency_seconds_count", "update_type=\"disconnect\"", 1.0),
        ("presence_events_total", "event_type=\"online\"", 2.0),
        ("presence_events_total", "event_type=\"dnd\"", 1.0),
        ("presence_events_total", "event_type=\"activity\"", 1.0),
        ("presence_events_total", "event_type=\"offline\"", 1.0),
        ("presence_gateways", "service=\"presence\"", 1.0),
        ("cache_lookups_total", "result=\"miss\"", 1.0),
    ] {
        metric_is(&cluster, name, &[label], expected).await?;
    }
    assert!(metric(&cluster, "presence_subscriptions_active", &[]).await? >= 2.0);
    assert!(metric(&cluster, "cache_memory_used_bytes", &[]).await? > 0.0);
    assert_eq!(metric(&cluster, "presence_update_failures_total", &[]).await?, 0.0);
    let spans = cluster.capture().spans();
    let update = spans.iter().find(|span| span.name == "presence.update").expect("a span");
    let cause = spans.iter().find(|span| Some(span.span_id) == update.parent_id).expect("its parent");
    assert_eq!(cause.name, "gateway.receive");
    assert!(spans.iter().any(|span| span.name == "cache.lookup"));
    Ok(())
}
