//! What a gateway says to those who keep the protocol and to those who do not.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::client::Client;
use crate::{Scene, USUAL};

#[tokio::test]
async fn a_session_begins_with_ready_and_its_guilds() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1]);
    for path in ["/?v=10&encoding=json", "/?v=10", "/gateway?v=9", "/gateway/?v=10&compress=zlib-stream"] {
        let mut client = Client::connect_to(scene.at, path).await;
        let hello = client.op(10).await;
        assert_eq!(hello["d"]["heartbeat_interval"], 41_250);
        client.identify(&format!("Bot {}", tokens[0]), USUAL).await;
        let ready = client.dispatch("READY").await;
        assert_eq!((&ready["d"]["v"], &ready["d"]["guilds"][0]["unavailable"]), (&json!(10), &json!(true)));
        assert_eq!(ready["d"]["resume_gateway_url"], format!("ws://{}", scene.at));
        let guild = client.dispatch("GUILD_CREATE").await;
        assert_eq!((&guild["s"], &guild["d"]["unavailable"]), (&json!(2), &json!(false)));
        assert_eq!(guild["d"]["members"][0]["user"]["username"], "user1");
        assert_eq!(guild["d"]["channels"][0]["name"], "general");
    }
}

#[tokio::test]
async fn heartbeats_are_answered_before_a_session_and_in_it() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1]);
    let mut client = Client::connect(scene.at).await;
    client.op(10).await;
    client.say(json!({"op": 1, "d": null})).await;
    client.op(11).await;
    client.identify(&tokens[0], 0).await;
    client.dispatch("READY").await;
    client.send(Message::Binary(br#"{"op":1,"d":1}"#.to_vec().into())).await;
    client.op(11).await;
    client.send(Message::Ping("x".into())).await;
    client.nothing_else().await;
}

#[tokio::test]
async fn who_breaks_the_protocol_is_told_how() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1]);
    let long = format!(r#"{{"op":1,"d":"{}"}}"#, "x".repeat(5_000));
    let token = &tokens[0];
    let said = [
        ("nonsense".to_owned(), 4002),
        (long, 4002),
        (r#"{"op":3,"d":{}}"#.to_owned(), 4003),
        (r#"{"op":99,"d":{}}"#.to_owned(), 4001),
        (json!({"op": 2, "d": {"token": "nonsense", "intents": 1}}).to_string(), 4004),
        (json!({"op": 2, "d": {"intents": 1, "properties": {}}}).to_string(), 4004),
        (json!({"op": 2, "d": {"token": token, "intents": 1u64 << 40}}).to_string(), 4013),
        (json!({"op": 2, "d": {"token": token, "intents": 1, "shard": [3, 2]}}).to_string(), 4010),
    ];
    for (text, code) in said {
        let mut client = Client::connect(scene.at).await;
        client.op(10).await;
        client.send(Message::text(text.clone())).await;
        assert_eq!(client.closed().await, Some(code), "{}", &text[..text.len().min(60)]);
    }
    let mut client = Client::connect_to(scene.at, "/?v=6&encoding=json").await;
    assert_eq!(client.closed().await, Some(4012));
    let mut client = Client::identified(scene.at, token, 0).await;
    client.identify(token, 0).await;
    assert_eq!(client.closed().await, Some(4005));
    let mut client = Client::identified(scene.at, token, 0).await;
    client.send(Message::Binary(vec![0xff, 0xfe].into())).await;
    assert_eq!(client.closed().await, Some(4002));
}

#[tokio::test]
async fn too_many_frames_end_the_connection() {
    let scene = Scene::new();
    let mut client = Client::connect(scene.at).await;
    client.op(10).await;
    for _ in 0..121 {
        client.say(json!({"op": 1, "d": null})).await;
    }
    assert_eq!(client.closed().await, Some(4008));
}

#[tokio::test]
async fn a_client_that_misses_its_heartbeats_is_closed_and_may_resume() {
    let scene = Scene::with(|config| config.heartbeat_interval_ms = 200);
    let tokens = scene.guild(&[1]);
    let mut client = Client::identified(scene.at, &tokens[0], 0).await;
    assert_eq!(client.closed().await, Some(4000));
    let mut again = Client::connect(scene.at).await;
    again.op(10).await;
    again.resume(&tokens[0], &client.session, 1).await;
    again.dispatch("RESUMED").await;
}

#[tokio::test]
async fn shards_share_the_guilds() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1]);
    let mine = (crate::GUILD.0 >> 22) % 2;
    for shard in 0..2 {
        let mut client = Client::connect(scene.at).await;
        client.op(10).await;
        client.say(json!({"op": 2, "d": {"token": tokens[0], "intents": USUAL, "shard": [shard, 2]}})).await;
        let ready = client.dispatch("READY").await;
        assert_eq!(ready["d"]["shard"], json!([shard, 2]));
        if shard == mine {
            client.dispatch("GUILD_CREATE").await;
        }
        client.nothing_else().await;
    }
}

#[tokio::test]
async fn a_presence_in_broken_words_does_not_end_the_connection() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1]);
    let presence = r#"{"status":"dnd","activities":[{"name":"\ud800","type":0}],"since":null,"afk":false}"#;
    let mut client = Client::connect(scene.at).await;
    client.op(10).await;
    let identify = format!(r#"{{"op":2,"d":{{"token":"{}","intents":1,"presence":{presence}}}}}"#, tokens[0]);
    client.send(Message::text(identify)).await;
    client.dispatch("READY").await;
    client.dispatch("GUILD_CREATE").await;
    client.send(Message::text(format!(r#"{{"op":3,"d":{presence}}}"#))).await;
    client.nothing_else().await;
}

#[tokio::test]
async fn a_host_that_is_none_is_not_where_one_resumes() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1]);
    for (host, told) in [("chat.example:81", "chat.example:81".to_owned()), ("evil/\"x", scene.at.to_string())] {
        let mut request = format!("ws://{}/", scene.at).into_client_request().expect("a request");
        request.headers_mut().insert("host", host.parse().expect("a header's value"));
        let (socket, _) = tokio_tungstenite::connect_async(request).await.expect("a socket");
        let mut client = Client { socket, session: String::new(), seen: 0 };
        client.op(10).await;
        client.identify(&tokens[0], 0).await;
        assert_eq!(client.dispatch("READY").await["d"]["resume_gateway_url"], format!("ws://{told}"));
    }
}
