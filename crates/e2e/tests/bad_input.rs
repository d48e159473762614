//! What a client does wrong is answered in the API's own shape, naming the field, and harms nobody else.

use anyhow::Context;
use clarion_e2e::{Api, Cluster, Frame, Socket};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;

/// Sends what is wrong, in a session or before one, and expects a close code.
async fn closes(cluster: &Cluster, identified: bool, wrong: Message, code: u16) -> anyhow::Result<()> {
    let mut socket = Socket::connect(&cluster.demo().gateway).await?;
    if identified {
        socket.identify(&cluster.bot().token, INTENTS).await?;
        socket.dispatch("READY").await?;
    }
    let what = format!("{wrong:?}").chars().take(80).collect::<String>();
    socket.send_raw(wrong).await?;
    assert_eq!(socket.closed().await.context(what.clone())?, Frame::Close(code), "{what}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_frames_close_their_own_socket_only() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let mut witness = cluster.session(cluster.other_bot(), 0, INTENTS).await?;
    let identify = |token: &str, more: Value| {
        let mut d = json!({ "token": token, "intents": INTENTS, "properties": {} });
        d.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        Message::text(json!({ "op": 2, "d": d }).to_string())
    };
    let token = cluster.bot().token.clone();
    let mut tampered = token.clone();
    tampered.replace_range(token.len() - 4.., "AAAA");

    closes(&cluster, true, Message::text("{\"op\":"), 4002).await?;
    closes(&cluster, true, Message::text("[1, 2]"), 4002).await?;
    closes(&cluster, true, Message::text("{\"op\": 99, \"d\": null}"), 4001).await?;
    closes(&cluster, true, Message::text(format!("{{\"op\":1,\"d\":null,\"x\":\"{}\"}}", "y".repeat(5_000))), 4002)
        .await?;
    closes(&cluster, true, identify(&token, json!({})), 4005).await?;
    closes(&cluster, false, identify("not-a-token", json!({})), 4004).await?;
    closes(&cluster, false, identify(&tampered, json!({})), 4004).await?;
    closes(&cluster, false, identify(&token, json!({ "shard": [2, 2] })), 4010).await?;
    closes(&cluster, false, identify(&token, json!({ "intents": 1_u64 << 40 })), 4013).await?;
    closes(&cluster, false, Message::text("{\"op\":3,\"d\":{\"status\":\"idle\"}}"), 4003).await?;
    // Bytes that are no text, in a text frame.
    closes(&cluster, true, Message::binary(vec![0xff, 0xfe, b'{', 0x80]), 4002).await?;

    cluster.api(cluster.bot(), 0).send(cluster.demo().channel_id, "still here").await?;
    assert_eq!(witness.dispatch("MESSAGE_CREATE").await?["content"], "still here");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_closes_with_rate_limited() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let mut socket = cluster.session(cluster.bot(), 0, INTENTS).await?;
    for _ in 0..130 {
        if socket.send(json!({ "op": 1, "d": null })).await.is_err() {
            break;
        }
    }
    assert_eq!(socket.closed().await?, Frame::Close(4008));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_sessions_and_its_requests() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let admin = reqwest::Client::new();
    let post = async |path: &str, body: Value| -> anyhow::Result<Value> {
        let url = format!("{}/admin/v1/{path}", cluster.admin_url());
        Ok(admin.post(url).json(&body).send().await?.error_for_status()?.json().await?)
    };
    let issued = post("tokens", json!({ "user_id": cluster.bot().id, "label": "test" })).await?;
    let token = issued["token"].as_str().unwrap_or_default().to_owned();
    let api = Api::new(&format!("{}/v10", cluster.demo().api), &token);
    assert_eq!(api.get("/users/@me").await?["id"], json!(cluster.bot().id));
    let mut socket = Socket::connect(&cluster.demo().gateway).await?;
    socket.identify(&token, INTENTS).await?;
    socket.dispatch("READY").await?;
    let mut other = cluster.session(cluster.bot(), 0, INTENTS).await?;

    post("tokens/revoke", json!({ "token": token })).await?;
    assert_eq!(socket.closed().await?, Frame::Close(4004));
    let (status, body) = api.call(Method::GET, "/users/@me", None).await?;
    assert_eq!((status.as_u16(), body), (401, json!({ "message": "401: Unauthorized", "code": 0 })));
    let mut again = Socket::connect(&cluster.demo().gateway).await?;
    again.identify(&token, INTENTS).await?;
    assert_eq!(again.closed().await?, Frame::Close(4004));

    // The account's other token holds.
    cluster.api(cluster.bot(), 0).send(cluster.demo().channel_id, "still here").await?;
    assert_eq!(other.dispatch("MESSAGE_CREATE").await?["content"], "still here");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_name_what_is_wrong() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let api = cluster.api(cluster.bot(), 0);
    let messages = format!("/channels/{}/messages", cluster.demo().channel_id);
    let post = async |body: Value| api.call(Method::POST, &messages, Some(body)).await;

    let (status, body) = post(json!({ "content": "x".repeat(2_001) })).await?;
    assert_eq!((status.as_u16(), &body["code"]), (400, &json!(50035)));
    assert!(body["errors"]["content"]["_errors"][0]["message"].is_string(), "{body}");
    let (status, body) = post(json!({ "content": "é".repeat(2_000) })).await?;
    assert_eq!(status, 200, "characters are counted, not bytes: {body}");
    let (status, body) = post(json!({ "content": "x", "nonce": "n".repeat(26) })).await?;
    assert_eq!((status.as_u16(), &body["code"]), (400, &json!(50035)));
    assert!(body["errors"]["nonce"]["_errors"][0]["code"].is_string(), "{body}");
    let (status, body) = post(json!({ "content": "" })).await?;
    assert_eq!((status.as_u16(), &body["code"]), (400, &json!(50006)));
    let (status, body) = post(json!({ "content": { "a": 1 } })).await?;
    assert_eq!((status.as_u16(), &body["code"]), (400, &json!(50035)), "{body}");

    let raw = async |bytes: Vec<u8>| -> anyhow::Result<(u16, Value)> {
        let request = api.request(Method::POST, &messages).header("content-type", "application/json").body(bytes);
        let answer = request.send().await?;
        assert_eq!(answer.headers()["content-type"], "application/json");
        Ok((answer.status().as_u16(), answer.json().await?))
    };
    for bytes in [b"{\"content\":".to_vec(), b"{\"content\":\"\xff\xfe\"}".to_vec(), b"nonsense".to_vec()] {
        let (status, body) = raw(bytes).await?;
        assert_eq!((status, body["code"].is_number(), body["message"].is_string()), (400, true, true), "{body}");
    }
    let (status, body) = raw(vec![b' '; 30 << 20]).await?;
    assert_eq!((status, body["message"].is_string()), (413, true), "{body}");

    for (path, status, code) in [
        ("/channels/1234567890123456789/messages", 404, 10003),
        ("/guilds/1234567890123456789", 404, 10004),
        ("/users/1234567890123456789", 404, 10013),
        (&format!("{messages}/1234567890123456789"), 404, 10008),
        (&format!("/guilds/{}/members/1234567890123456789", cluster.demo().guild_id), 404, 10007),
        ("/no/such/thing", 404, 0),
    ] {
        let (got, body) = api.call(Method::GET, path, None).await?;
        assert_eq!((got.as_u16(), &body["code"]), (status, &json!(code)), "{path}: {body}");
        assert!(body["message"].is_string(), "{body}");
    }
    let (status, body) = api.call(Method::GET, "/channels/nonsense", None).await?;
    assert!(status.is_client_error() && body["message"].is_string(), "{status} {body}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_so() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let bot = cluster.api(cluster.bot(), 0);
    let person = cluster.api(&cluster.demo().users[1], 0);
    let channel = cluster.demo().channel_id;
    let message = bot.send(channel, "mine").await?;
    let path = format!("/channels/{channel}/messages/{}", message["id"].as_str().unwrap_or_default());
    let (status, body) = person.call(Method::PATCH, &path, Some(json!({ "content": "yours" }))).await?;
    assert_eq!((status.as_u16(), &body["code"]), (403, &json!(50005)));
    let (status, body) = person.call(Method::DELETE, &path, None).await?;
    assert_eq!((status.as_u16(), &body["code"]), (403, &json!(50013)));

    // An account that is in no guild sees nothing of it.
    let http = reqwest::Client::new();
    let admin = format!("{}/admin/v1", cluster.admin_url());
    let user: Value =
        http.post(format!("{admin}/users")).json(&json!({ "username": "stranger" })).send().await?.json().await?;
    let token: Value =
        http.post(format!("{admin}/tokens")).json(&json!({ "user_id": user["id"] })).send().await?.json().await?;
    let stranger = Api::new(&format!("{}/v10", cluster.demo().api), token["token"].as_str().unwrap_or_default());
    let (status, body) = stranger.call(Method::GET, &path, None).await?;
    assert_eq!((status.as_u16(), &body["code"]), (403, &json!(50001)));
    assert_eq!(stranger.get("/users/@me/guilds").await?, json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_is_not_for_web_pages() -> anyhow::Result<()> {
    let cluster = Cluster::with(clarion::Topology::default(), |config| {
        config.admin.token = Some("let me in".to_owned());
    })
    .await?;
    let http = reqwest::Client::new();
    let ask = async |headers: &[(&str, &str)]| -> anyhow::Result<u16> {
        let mut request = http.get(format!("{}/admin/v1/sessions", cluster.admin_url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.send().await?.status().as_u16())
    };
    let token = ("authorization", "Bearer let me in");
    assert_eq!(ask(&[token]).await?, 200);
    assert_eq!(ask(&[]).await?, 401);
    assert_eq!(ask(&[("authorization", "Bearer let me im")]).await?, 401);
    assert_eq!(ask(&[token, ("origin", "https://example.com")]).await?, 403);
    assert_eq!(ask(&[token, ("sec-fetch-site", "cross-site")]).await?, 403);
    // A name of somebody else's that leads here.
    assert_eq!(ask(&[token, ("host", "rebound.example.com")]).await?, 421);
    assert_eq!(cluster.capture().lines_of("security.event").len(), 4);
    Ok(())
}
