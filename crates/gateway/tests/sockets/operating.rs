//! What operators see and do, and how a gateway goes.

use std::time::Duration;

use clarion_proto::v1;
use clarion_proto::v1::control_session_request::Action;
use clarion_proto::v1::gateway_client::GatewayClient;
use clarion_runtime::Listen;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::Channel as Grpc;

use crate::client::{Client, Got};
use crate::{GUILD, Scene, USUAL, message};

async fn operator(scene: &Scene) -> GatewayClient<Grpc> {
    let address = loop {
        match scene.world.gateway() {
            Some(address) => break address,
            None => tokio::task::yield_now().await,
        }
    };
    GatewayClient::connect(address).await.expect("the gateway answers")
}

fn reachable(config: &mut clarion_gateway::Config) {
    config.rpc = Listen::Tcp(([127, 0, 0, 1], 0).into());
}

#[tokio::test]
async fn one_event_is_one_span_whoever_gets_it() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2, 3]);
    let mut clients = Vec::new();
    for token in &tokens {
        let mut client = Client::identified(scene.at, token, USUAL).await;
        client.dispatch("GUILD_CREATE").await;
        clients.push(client);
    }
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    scene.world.commit_traced(GUILD, message(1, 2, "hello"), parent);
    for client in &mut clients {
        client.dispatch("MESSAGE_CREATE").await;
    }
    let spans =
        scene.capture.wait_for(|spans| spans.iter().any(|s| s.name == "gateway.deliver")).await.expect("a span");
    let delivered: Vec<_> = spans.iter().filter(|s| s.name == "gateway.deliver").collect();
    assert_eq!(delivered.len(), 1);
    assert_eq!(delivered[0].trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(delivered[0].attribute("recipient_count").as_deref(), Some("3"));
    assert_eq!(delivered[0].attribute("failed_count").as_deref(), Some("0"));
    let metrics = scene.capture.process().render_metrics();
    let counted = metrics.lines().find(|l| l.starts_with("message_delivery_total")).expect("a counter");
    assert!(counted.ends_with(" 3"), "{counted}");
    let received = spans.iter().filter(|s| s.name == "gateway.receive").count();
    assert_eq!((received, spans.iter().filter(|s| s.name == "gateway.authenticate").count()), (3, 3));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go_and_comes_back_for_the_rest() {
    // The proportions are the default's.
    let scene = Scene::with(|config| (config.outbox_bytes, config.replay_bytes) = (64 << 10, 256 << 10));
    let tokens = scene.guild(&[1, 2]);
    let mut slow = Client::identified(scene.at, &tokens[0], USUAL).await;
    let mut other = Client::identified(scene.at, &tokens[1], USUAL).await;
    other.dispatch("GUILD_CREATE").await;
    let content = "x".repeat(1_900);
    let mut sent = 0;
    while scene.capture.lines_of("slow_consumer.closed").is_empty() {
        assert!(sent < 20_000, "the slow client was never let go");
        for _ in 0..50 {
            scene.world.commit(GUILD, message(sent, 2, &content));
            sent += 1;
        }
        for _ in 0..50 {
            other.dispatch("MESSAGE_CREATE").await;
        }
    }
    assert_eq!(slow.closed().await, Some(4000));
    other.nothing_else().await;

    // READY, the guild, and so many messages.
    let (last, seen) = (sent + 2, slow.seen);
    assert!(seen < last);
    let mut again = Client::connect(scene.at).await;
    again.op(10).await;
    again.resume(&tokens[0], &slow.session, seen).await;
    for n in seen + 1..=last {
        again.dispatch("MESSAGE_CREATE").await;
        assert_eq!(again.seen, n);
    }
    again.dispatch("RESUMED").await;
}

#[tokio::test]
async fn what_many_sessions_keep_counts_once_and_no_longer_than_it_is_kept() {
    let scene = Scene::with(|_| {});
    let tokens = scene.guild(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let mut clients = Vec::new();
    for token in &tokens {
        let mut client = Client::identified(scene.at, token, USUAL).await;
        client.dispatch("GUILD_CREATE").await;
        clients.push(client);
    }
    let (content, count) = ("x".repeat(1_900), 100);
    let held = || scene.metric("gateway_replay_bytes");
    let before = held();
    for sent in 0..count {
        scene.world.commit(GUILD, message(sent, 2, &content));
    }
    for client in &mut clients {
        for _ in 0..count {
            client.dispatch("MESSAGE_CREATE").await;
        }
    }
    let kept = (count as usize * content.len()) as f64;
    scene.until(|| held() - before >= kept).await;
    let counted = held() - before;
    assert!(counted < 2.0 * kept, "{counted} bytes for messages of {kept}");
    for client in clients {
        client.close(1000).await;
    }
    scene.until(|| held() == 0.0).await;
}

#[tokio::test]
async fn operators_see_sessions_and_act_on_them() {
    let scene = Scene::with(reachable);
    let tokens = scene.guild(&[1]);
    let mut operator = operator(&scene).await;
    let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
    client.dispatch("GUILD_CREATE").await;
    let listed = operator.list_sessions(v1::ListSessionsRequest {}).await.expect("a list").into_inner().sessions;
    assert_eq!((listed.len(), listed[0].guilds, listed[0].sequence, listed[0].connected), (1, 1, 2, true));
    assert_eq!((&listed[0].id, listed[0].client_ip.as_str()), (&client.session, "127.0.0.0/24"));
    let id = client.session.clone();
    let mut act = async |action| {
        let request = v1::ControlSessionRequest { id: id.clone(), action: Some(action) };
        operator.control_session(request).await.expect("an answer").into_inner().found
    };
    assert!(act(Action::Reconnect(true)).await);
    client.op(7).await;
    assert!(act(Action::Close(4_000)).await);
    assert_eq!(client.closed().await, Some(4000));
    let mut client = resumed(&scene, &tokens[0], &id, 2).await;
    assert!(act(Action::Drop(true)).await);
    assert!(matches!(client.got().await, Got::Closed(None)));
    let mut client = resumed(&scene, &tokens[0], &id, 3).await;
    assert!(act(Action::Invalidate(true)).await);
    assert_eq!(client.op(9).await["d"], true);
    client.resume(&tokens[0], &id, 4).await;
    client.dispatch("RESUMED").await;
    assert!(act(Action::Invalidate(false)).await);
    assert_eq!(client.op(9).await["d"], false);
    client.resume(&tokens[0], &id, 5).await;
    client.op(9).await;
    assert!(!act(Action::Drop(true)).await);
}

async fn resumed(scene: &Scene, token: &str, id: &str, seen: u64) -> Client {
    let mut client = Client::connect(scene.at).await;
    client.op(10).await;
    client.seen = seen;
    client.resume(token, id, seen).await;
    client.dispatch("RESUMED").await;
    client
}

#[tokio::test]
async fn a_drain_sends_clients_elsewhere_and_ends() {
    let mut scene = Scene::with(|config| config.drain_ms = 100);
    let tokens = scene.guild(&[1]);
    let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
    client.dispatch("GUILD_CREATE").await;
    let mut waiting = Client::connect(scene.at).await;
    waiting.op(10).await;
    let clients = async move {
        client.op(7).await;
        let first = client.closed().await;
        drop(client);
        (first, waiting.closed().await)
    };
    let (codes, report) = tokio::join!(clients, scene.stop());
    assert_eq!(codes, (Some(1012), Some(1012)));
    let report = report.expect("it ran");
    assert!(report.cut_off.is_empty() && report.failed.is_empty(), "{report:?}");
    assert!(report.took < Duration::from_secs(5), "{report:?}");
}

#[tokio::test]
async fn probes_and_a_page_are_served_beside_sockets() {
    let scene = Scene::new();
    for (path, status, part) in [
        ("/health", "200", r#"{"status":"ok"}"#),
        ("/healthz/", "200", r#""status":"healthy""#),
        ("/readyz", "200", r#""ready":true"#),
        ("/", "200", "Clarion"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(scene.at).await.expect("a connection");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(part), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_connection_leaves_its_lines_in_the_log() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1]);
    let session = Client::identified(scene.at, &tokens[0], USUAL).await.close(1000).await;
    let lines = scene
        .capture
        .wait_for_lines(|lines| lines.iter().any(|l| l["event"] == "connection.closed"))
        .await
        .expect("the line");
    let of = |event: &str| lines.iter().find(|l| l["event"] == event).cloned().unwrap_or_default();
    let closed = of("connection.closed");
    assert_eq!((&closed["session_id"], &closed["client_ip"]), (&json!(session), &json!("127.0.0.0/24")));
    assert!(closed["message_count"].as_u64() >= Some(2) && closed["duration_ms"].is_number(), "{closed}");
    assert_eq!(of("connection.established")["request_id"], closed["request_id"]);
    assert_eq!(of("session.started")["session_id"], json!(session));
}
