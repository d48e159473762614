//! How connections end: whoever closes, what was on its way arrives before the close does.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, Got};
use crate::{GUILD, Scene, USUAL, message};

const HEARTBEAT: &str = r#"{"op":1,"d":null}"#;

#[tokio::test]
async fn a_client_that_closes_gets_its_echo() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1]);
    for code in [1000, 4200] {
        Client::identified(scene.at, &tokens[0], 0).await.close(code).await;
        let mut client = Client::connect(scene.at).await;
        client.op(10).await;
        client.close(code).await;
    }
    let mut client = Client::connect(scene.at).await;
    assert!(matches!(client.got().await, Got::Payload(_)));
}

#[tokio::test]
async fn what_was_answered_arrives_before_the_close() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1]);
    let mut waiting = Client::connect(scene.at).await;
    waiting.op(10).await;
    let mut live = Client::identified(scene.at, &tokens[0], 0).await;
    // The other one's IDENTIFY counts, too.
    for (client, acknowledged) in [(&mut waiting, 120), (&mut live, 119)] {
        client.burst((0..130).map(|_| HEARTBEAT.to_owned())).await;
        for n in 0..acknowledged {
            assert!(matches!(client.got().await, Got::Payload(p) if p["op"] == 11), "acknowledgement {n}");
        }
        assert_eq!(client.closed().await, Some(4008));
    }
}

#[tokio::test]
async fn a_session_that_is_started_twice_at_once_is_started() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1]);
    let identify = json!({"op": 2, "d": {"token": tokens[0], "intents": USUAL, "properties": {}}}).to_string();
    let mut client = Client::connect(scene.at).await;
    client.op(10).await;
    client.burst([identify.clone(), identify]).await;
    client.dispatch("READY").await;
    assert_eq!(client.closed().await, Some(4005));
}

#[tokio::test]
async fn an_answer_from_behind_the_gateway_arrives_before_the_close() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2]);
    for _ in 0..10 {
        let mut client = Client::identified(scene.at, &tokens[0], 1 | 1 << 1).await;
        client.dispatch("GUILD_CREATE").await;
        let ask = json!({"op": 8, "d": {"guild_id": GUILD.0, "query": "", "limit": 0}}).to_string();
        client.burst([ask, "junk".to_owned()]).await;
        client.dispatch("GUILD_MEMBERS_CHUNK").await;
        assert_eq!(client.closed().await, Some(4002));
    }
}

#[tokio::test]
async fn more_than_a_socket_takes_at_once_arrives_before_the_close() {
    const MESSAGES: u64 = 1_500;
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2]);
    let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
    client.dispatch("GUILD_CREATE").await;
    let mut other = Client::identified(scene.at, &tokens[1], USUAL).await;
    other.dispatch("GUILD_CREATE").await;
    let (session, seen) = (client.session.clone(), client.seen);
    client.close(4000).await;
    let filler = "x".repeat(1_900);
    for n in 0..MESSAGES {
        scene.world.commit(GUILD, message(n, 2, &filler));
        other.dispatch("MESSAGE_CREATE").await;
    }
    let mut again = Client::connect(scene.at).await;
    again.op(10).await;
    again.seen = seen;
    again.resume(&tokens[0], &session, seen).await;
    again.send(Message::text("junk")).await;
    for _ in 0..MESSAGES {
        again.dispatch("MESSAGE_CREATE").await;
    }
    again.dispatch("RESUMED").await;
    assert_eq!(again.closed().await, Some(4002));
}
