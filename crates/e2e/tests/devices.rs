//! A person's devices: each receives everything, each knows what was read on the others, and one that was away is told
//! exactly what it missed.

use std::path::Path;

use anyhow::Context;
use clarion::Topology;
use clarion_e2e::{Api, Cluster, Frame, Program, Socket};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");
const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;
const STATES: &str = "/users/@me/read-states";

fn two_gateways() -> Topology {
    Topology { gateways: 2, ..Topology::default() }
}

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap_or_default().to_owned()
}

/// Says how far one has read, and expects it to be accepted.
async fn put(api: &Api, channel: impl std::fmt::Display, last: &str, manual: bool) -> anyhow::Result<Value> {
    let body = json!({ "last_read_id": last, "manual": manual });
    let (status, body) = api.call(Method::PUT, &format!("{STATES}/{channel}"), Some(body)).await?;
    anyhow::ensure!(status == StatusCode::OK, "{status}: {body}");
    Ok(body)
}

/// The state of a channel: last read, unread, mentions.
async fn state(api: &Api, channel: impl std::fmt::Display) -> anyhow::Result<(Option<String>, u64, u64)> {
    let states = api.get(STATES).await?;
    let states = states.as_array().context("a list")?;
    let of_channel = |state: &&Value| state["channel_id"] == channel.to_string();
    let state = states.iter().find(of_channel).context("the channel")?;
    let count = |name: &str| state[name].as_u64().context("a count");
    Ok((state["last_read_id"].as_str().map(str::to_owned), count("unread")?, count("mentions")?))
}

/// The ids of everything said in a channel after a message, the oldest first.
async fn history_after(api: &Api, channel: impl std::fmt::Display, after: &str) -> anyhow::Result<Vec<String>> {
    let mut ids: Vec<String> = Vec::new();
    loop {
        let after = ids.last().map_or(after, String::as_str);
        let page = api.get(&format!("/channels/{channel}/messages?limit=100&after={after}")).await?;
        let page = page.as_array().context("a page")?;
        if page.is_empty() {
            return Ok(ids);
        }
        ids.extend(page.iter().rev().map(id));
    }
}

/// The names and data of what comes, up to a message with this content.
async fn until(socket: &mut Socket, content: &str) -> anyhow::Result<Vec<(String, Value)>> {
    let mut seen = Vec::new();
    loop {
        match socket.next().await? {
            Frame::Op { op: 0, t: Some(t), d, .. } => {
                let last = t == "MESSAGE_CREATE" && d["content"] == content;
                // Presence is not logged: how often it comes is a matter of the moment.
                if t != "PRESENCE_UPDATE" {
                    seen.push((t, d));
                }
                if last {
                    return Ok(seen);
                }
            }
            Frame::Op { .. } => {}
            end => anyhow::bail!("{end:?} before {content}"),
        }
    }
}

/// Identifies anew and reads the READY.
async fn ready(url: &str, token: &str) -> anyhow::Result<(Socket, Value)> {
    let mut socket = Socket::connect(url).await?;
    socket.identify(token, INTENTS).await?;
    let ready = socket.dispatch("READY").await?;
    socket.dispatch("GUILD_CREATE").await?;
    Ok((socket, ready))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_device_receives_everything() -> anyhow::Result<()> {
    let cluster = Cluster::with(two_gateways(), |_| {}).await?;
    let (ada, channel) = (cluster.demo().users[0].clone(), cluster.demo().channel_id);
    let mut devices = Vec::new();
    for gateway in [0, 1, 1] {
        devices.push(cluster.session(&ada, gateway, INTENTS).await?);
    }
    let (mut bot, told) = ready(&cluster.demo().gateway, &cluster.bot().token).await?;
    assert_eq!(told.get("read_states"), None, "bots are told nothing of read states");
    let api = cluster.api(cluster.other_bot(), 0);
    let first = id(&api.send(channel, "first").await?);
    let path = format!("/channels/{channel}/messages/{first}");
    api.call(Method::PATCH, &path, Some(json!({ "content": "changed" }))).await?;
    cluster.api(&ada, 1).send(channel, "her own").await?;
    // What is read on one device is read on all.
    let answer = put(&cluster.extension(&ada, 1), channel, &first, false).await?;
    assert_eq!((&answer["unread"], &answer["mentions"]), (&json!(0), &json!(0)));
    // It comes by another log than messages do: the last message is sent when it has come.
    let mut updates = Vec::new();
    for device in &mut devices {
        updates.push(device.dispatch("READ_STATE_UPDATE").await?);
    }
    assert_eq!(updates, vec![answer; 3]);
    api.send(channel, "last").await?;
    for device in &mut devices {
        let seen = until(device, "last").await?;
        let names: Vec<_> = seen.iter().map(|(t, d)| (t.as_str(), d["content"].as_str().unwrap_or_default())).collect();
        let expected = [
            ("MESSAGE_CREATE", "first"),
            ("MESSAGE_UPDATE", "changed"),
            ("MESSAGE_CREATE", "her own"),
            ("MESSAGE_CREATE", "last"),
        ];
        assert_eq!(names, expected);
    }
    let seen = until(&mut bot, "last").await?;
    assert!(seen.iter().all(|(t, _)| t.starts_with("MESSAGE_")), "{seen:?}");
    let (status, refused) = cluster.extension(cluster.bot(), 0).call(Method::GET, STATES, None).await?;
    assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!(20_001)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_is_told_exactly_what_they_missed() -> anyhow::Result<()> {
    let cluster = Cluster::with(two_gateways(), |_| {}).await?;
    let ada = cluster.demo().users[0].clone();
    let (busy, calm) = (cluster.demo().channel_id, cluster.demo().second_channel_id);
    let (sender, hers, reads) = (cluster.api(cluster.bot(), 0), cluster.api(&ada, 0), cluster.extension(&ada, 0));
    sender.send(busy, "before she has ever read").await?;
    assert_eq!(state(&reads, busy).await?, (None, 1, 0));
    assert_eq!(state(&reads, calm).await?, (None, 0, 0));
    // What she has read, and what she says herself, is not unread.
    let read = id(&sender.send(busy, "read").await?);
    put(&reads, busy, &read, false).await?;
    hers.send(busy, "her own").await?;
    assert_eq!(state(&reads, busy).await?, (Some(read.clone()), 0, 0));

    // Nobody is there while 250 messages are sent in two channels.
    let (mut missed, mut missed_calm) = (Vec::new(), Vec::new());
    for n in 0..250 {
        let content = match n % 50 {
            4 => format!("for <@{}>", ada.id),
            9 => "for @everyone".to_owned(),
            _ => format!("missed {n}"),
        };
        match n % 5 {
            4 => missed_calm.push(id(&sender.send(calm, &content).await?)),
            _ => missed.push(id(&sender.send(busy, &content).await?)),
        }
    }
    // Of the 50 in the calm channel every one of the two kinds came five times.
    let states = json!([{ "channel_id": busy, "last_read_id": read }]);
    let (mut phone, told) = ready(&cluster.demo().gateway, &ada.token).await?;
    assert_eq!(told["read_states"], states);
    assert_eq!(state(&reads, busy).await?, (Some(read.clone()), 100, 0), "100 and more");
    assert_eq!(state(&reads, calm).await?, (None, 50, 10));
    let own = history_after(&hers, busy, &read).await?;
    assert_eq!(own[1..], missed, "after her own message, all that she missed");
    assert_eq!(history_after(&hers, calm, "0").await?, missed_calm);

    // She reads on one device; the other one knows.
    let mut laptop = cluster.session(&ada, 1, INTENTS).await?;
    let there = cluster.extension(&ada, 1);
    let newest = missed_calm.last().context("missed")?;
    let steps = [(busy, &missed[159], false, 40, 0), (calm, newest, false, 0, 0), (calm, &missed_calm[0], true, 49, 9)];
    for (channel, last, manual, unread, mentions) in steps {
        let answer = put(&there, channel, last, manual).await?;
        assert_eq!((&answer["unread"], &answer["mentions"]), (&json!(unread), &json!(mentions)));
        for device in [&mut phone, &mut laptop] {
            assert_eq!(device.dispatch("READ_STATE_UPDATE").await?, answer);
        }
        assert_eq!(state(&reads, channel).await?, (Some(last.clone()), unread, mentions));
    }
    // What is older, or known, is told to nobody.
    put(&reads, busy, &read, false).await?;
    put(&reads, busy, &missed[159], true).await?;
    put(&reads, busy, &missed[160], false).await?;
    assert_eq!(phone.dispatch("READ_STATE_UPDATE").await?["last_read_id"], json!(missed[160]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_resumes_gets_what_was_read_elsewhere() -> anyhow::Result<()> {
    let cluster = Cluster::with(two_gateways(), |_| {}).await?;
    let (ada, channel) = (cluster.demo().users[0].clone(), cluster.demo().channel_id);
    let mut phone = cluster.session(&ada, 0, INTENTS).await?;
    let mut laptop = cluster.session(&ada, 1, INTENTS).await?;
    let url = format!("{}/admin/v1/sessions/{}/drop", cluster.admin_url(), phone.session_id);
    reqwest::Client::new().post(url).json(&json!({})).send().await?.error_for_status()?;
    assert_eq!(phone.closed().await?, Frame::Broken);

    let api = cluster.api(cluster.bot(), 0);
    let mut expected = Vec::new();
    for n in 0..5 {
        let said = api.send(channel, &format!("missed {n}")).await?;
        // The two logs have no order between them: the next is sent when this has been seen.
        laptop.dispatch("MESSAGE_CREATE").await?;
        let answer = put(&cluster.extension(&ada, 1), channel, &id(&said), false).await?;
        assert_eq!(laptop.dispatch("READ_STATE_UPDATE").await?, answer);
        expected.push(("MESSAGE_CREATE".to_owned(), id(&said)));
        expected.push(("READ_STATE_UPDATE".to_owned(), id(&said)));
    }
    let mut again = Socket::connect(&cluster.demo().gateway).await?;
    again.resume(&ada.token, &phone.session_id, phone.sequence).await?;
    let mut seen = Vec::new();
    let mut last = phone.sequence;
    loop {
        let Frame::Op { op: 0, t: Some(t), s: Some(s), d } = again.next().await? else { continue };
        assert!(s > last, "{s} after {last}");
        last = s;
        match t.as_str() {
            "RESUMED" => break,
            "MESSAGE_CREATE" => seen.push((t, id(&d))),
            "READ_STATE_UPDATE" => seen.push((t, d["last_read_id"].as_str().unwrap_or_default().to_owned())),
            _ => {}
        }
    }
    let of =
        |name: &str, all: &[(String, String)]| -> Vec<_> { all.iter().filter(|(t, _)| t == name).cloned().collect() };
    for name in ["MESSAGE_CREATE", "READ_STATE_UPDATE"] {
        assert_eq!(of(name, &seen), of(name, &expected), "in order, once");
    }
    Ok(())
}

/// Ends a program in one of the two ways.
async fn end(mut program: Program, kill: bool) -> anyhow::Result<()> {
    if kill {
        return program.kill().await;
    }
    let process = program.id().context("it runs")?.to_string();
    std::process::Command::new("kill").args(["-TERM", &process]).status()?;
    program.ended().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_outlives_the_process() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let mut known = (None, 0, 0);
    for kill in [false, true, true, false] {
        let program = Program::start(Path::new(PROGRAM), data.path(), &[], &[]).await?;
        let (demo, api) = (program.demo().clone(), program.api());
        let (channel, base) = (demo.channel_id, format!("{}/x", demo.api));
        let reads = Api::new(&base, &demo.users[1].token);
        assert_eq!(state(&reads, channel).await?, known);
        let mut last = String::new();
        for n in 0..7 {
            last = id(&api.send(channel, &format!("{n} for <@{}>", demo.users[1].id)).await?);
            if n == 4 {
                // Acknowledged, and at once gone with the process.
                known = (Some(last.clone()), 2, 2);
            }
        }
        let (Some(read), ..) = &known else { anyhow::bail!("nothing is known") };
        put(&reads, channel, read, false).await?;
        put(&reads, channel, &last, false).await?;
        let answer = put(&reads, channel, read, true).await?;
        assert_eq!((&answer["last_read_id"], &answer["unread"]), (&json!(read), &json!(2)));
        end(program, kill).await?;
    }
    Ok(())
}
