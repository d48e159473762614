//! What operators see of a request.

use serde_json::json;
use tonic::Status;

use super::peer::{CHANNEL, ME, MESSAGE};
use super::*;

#[tokio::test]
async fn a_message_is_one_trace_from_the_request_on() {
    let edge = Edge::new().await;
    let path = format!("/channels/{CHANNEL}/messages");
    for _ in 0..2 {
        assert_eq!(edge.post(&path, &json!({"content": "secret words"})).await.status, 200);
    }
    let request = Request::builder().method("POST").uri(format!("/api/v10{path}"));
    let request = request.header(header::AUTHORIZATION, my_token()).header("x-request-id", "req-1");
    let request = request.header("x-trace-id", "0af7651916cd43dd8448eb211c80319c");
    let got = edge.send(request.body(Body::from(r#"{"content":"secret words"}"#)).expect("a request")).await;
    assert_eq!(got.header("x-request-id"), "req-1");
    assert_eq!(got.header("x-trace-id"), "0af7651916cd43dd8448eb211c80319c");

    let mine =
        |span: &&clarion_observability::recent::SpanRecord| span.trace_id.to_string() == got.header("x-trace-id");
    let spans = edge.capture.wait_for(|spans| spans.iter().filter(mine).count() >= 3).await.expect("three spans");
    let find = |name: &str| spans.iter().filter(mine).find(|span| span.name == name).expect("a span").clone();
    let (receive, authenticate, route) = (find("gateway.receive"), find("gateway.authenticate"), find("channel.route"));
    assert_eq!(receive.attribute("event_type").as_deref(), Some("message_create"));
    assert_eq!(receive.attribute("user_id"), Some(ME.to_string()));
    assert_eq!(receive.attribute("request_id").as_deref(), Some("req-1"));
    assert_eq!(authenticate.attribute("success").as_deref(), Some("true"));
    assert_eq!(route.attribute("cached").as_deref(), Some("true"));
    assert_eq!(route.attribute("target_server").as_deref(), Some("channel-0"));
    for child in [authenticate, route] {
        assert_eq!(child.parent_id.as_ref(), Some(&receive.span_id), "{}", child.name);
    }

    let sent = edge.capture.lines_of("message.sent");
    assert_eq!(sent.len(), 3);
    assert_eq!(
        (&sent[2]["message_id"], &sent[2]["channel_id"]),
        (&json!(MESSAGE.to_string()), &json!(CHANNEL.to_string()))
    );
    assert!(sent[2]["latency_ms"].as_f64().is_some_and(|latency| latency > 0.0), "{}", sent[2]);
    assert_eq!(sent[2]["request_id"], "req-1");
    let text = edge.capture.text();
    assert!(!text.contains("secret words") && !text.contains(&my_token()));
}

#[tokio::test]
async fn requests_are_counted_by_template_and_failures_by_kind() {
    let edge = Edge::new().await;
    let path = format!("/channels/{CHANNEL}/messages");
    edge.post(&path, &json!({"content": "x"})).await;
    edge.post(&path, &json!({"content": ""})).await;
    edge.fake.fail([Status::internal("oops")]);
    edge.post(&path, &json!({"content": "x"})).await;
    edge.get("/nowhere").await;
    let metrics = edge.capture.process().render_metrics();
    let has = |parts: &[&str]| {
        assert!(metrics.lines().any(|line| parts.iter().all(|part| line.contains(part))), "{parts:?} in {metrics}");
    };
    for status in ["200", "400", "500"] {
        let status = format!("http_response_status_code=\"{status}\"");
        has(&["http_server_request_duration", "http_route=\"/api/v10/channels/{channel}/messages\"", &status]);
    }
    has(&["http_server_request_duration", "http_route=\"unknown\"", "\"404\""]);
    has(&["message_send_total", " 3"]);
    has(&["message_send_failures", "error_type=\"invalid\"", " 1"]);
    has(&["message_send_failures", "error_type=\"server\"", " 1"]);
    has(&["api_errors", "status=\"500\"", " 1"]);
    let failed = edge.capture.lines_of("request.failed");
    assert_eq!((failed.len(), &failed[0]["level"]), (1, &json!("ERROR")));
    assert!(failed[0]["error"]["stack"].as_str().is_some_and(|stack| stack.contains("oops")), "{}", failed[0]);
    assert_eq!(edge.capture.lines_of("request.completed").len(), 3);
}
