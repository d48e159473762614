//! A session outlives its socket: what it missed comes in order, once; or it is told at once that it cannot go on.

use clarion_e2e::{Cluster, Frame, Socket};
use serde_json::json;

const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;

/// Cuts a session's TCP connection through the admin API.
async fn control(cluster: &Cluster, session: &str, action: &str, body: serde_json::Value) -> anyhow::Result<()> {
    let url = format!("{}/admin/v1/sessions/{session}/{action}", cluster.admin_url());
    reqwest::Client::new().post(url).json(&body).send().await?.error_for_status()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_replayed_in_order_and_once() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let channel = cluster.demo().channel_id;
    let mut socket = cluster.session(cluster.bot(), 0, INTENTS).await?;
    let (session, seq) = (socket.session_id.clone(), socket.sequence);
    control(&cluster, &session, "drop", json!({})).await?;
    assert_eq!(socket.closed().await?, Frame::Broken);

    let api = cluster.api(cluster.other_bot(), 0);
    for n in 0..5 {
        api.send(channel, &format!("missed {n}")).await?;
    }
    // Serenity writes RESUME before it has read HELLO.
    let mut again = Socket::open(&cluster.demo().gateway).await?;
    again.resume(&cluster.bot().token, &session, seq).await?;
    api.send(channel, "after").await?;
    let mut numbers = Vec::new();
    let mut contents = Vec::new();
    let mut resumed = false;
    while !(resumed && contents.len() == 6) {
        match again.next().await? {
            Frame::Op { op: 0, t: Some(t), s: Some(s), d } => {
                numbers.push(s);
                if t == "MESSAGE_CREATE" {
                    contents.push(d["content"].as_str().unwrap_or_default().to_owned());
                } else if t == "RESUMED" {
                    assert!(d.is_object());
                    resumed = true;
                }
            }
            Frame::Op { op: 10, .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(contents, ["missed 0", "missed 1", "missed 2", "missed 3", "missed 4", "after"]);
    let expected: Vec<u64> = (seq + 1..=seq + 7).collect();
    assert_eq!(numbers, expected, "the original numbers, RESUMED among them");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_steals_a_socket_that_seems_open() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let mut old = cluster.session(cluster.bot(), 0, INTENTS).await?;
    let mut new = Socket::connect(&cluster.demo().gateway).await?;
    new.resume(&cluster.bot().token, &old.session_id, old.sequence).await?;
    new.dispatch("RESUMED").await?;
    assert!(!matches!(old.closed().await?, Frame::Op { .. }));
    cluster.api(cluster.other_bot(), 0).send(cluster.demo().channel_id, "to the new one").await?;
    assert_eq!(new.dispatch("MESSAGE_CREATE").await?["content"], "to the new one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_resumed_is_told_so() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let live = cluster.session(cluster.bot(), 0, INTENTS).await?;
    for (token, session, seq) in [
        (&cluster.bot().token, "0123456789abcdef0123456789abcdef".to_owned(), 1),
        (&cluster.other_bot().token, live.session_id.clone(), live.sequence),
        (&cluster.bot().token, live.session_id.clone(), live.sequence + 1_000),
    ] {
        let mut socket = Socket::connect(&cluster.demo().gateway).await?;
        socket.resume(token, &session, seq).await?;
        assert_eq!(socket.op(9).await?, json!(false));
        // The socket stays; one may start over on it.
        socket.identify(&cluster.bot().token, INTENTS).await?;
        socket.dispatch("READY").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_can_move_sessions() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let mut socket = cluster.session(cluster.bot(), 0, INTENTS).await?;
    let url = format!("{}/admin/v1/sessions", cluster.admin_url());
    let listed: serde_json::Value = reqwest::get(url).await?.json().await?;
    let listed = &listed["sessions"][0];
    assert_eq!((&listed["id"], &listed["connected"]), (&json!(socket.session_id), &json!(true)));
    assert_eq!(listed["user_id"], json!(cluster.bot().id));

    let session = socket.session_id.clone();
    control(&cluster, &session, "reconnect", json!({})).await?;
    socket.op(7).await?;
    control(&cluster, &session, "close", json!({ "code": 4000 })).await?;
    assert_eq!(socket.closed().await?, Frame::Close(4000));

    let mut again = Socket::connect(&cluster.demo().gateway).await?;
    again.resume(&cluster.bot().token, &session, socket.sequence).await?;
    again.dispatch("RESUMED").await?;
    control(&cluster, &session, "invalidate", json!({ "resumable": false })).await?;
    assert_eq!(again.op(9).await?, json!(false));
    let gone = control(&cluster, "no-such-session", "drop", json!({})).await;
    assert!(gone.is_err());
    Ok(())
}
