//! One message sent is one trace.

use clarion_model::id::MessageId;
use clarion_observability::TraceContext;
use clarion_proto::v1;

use super::bench::*;
use crate::Config;
use crate::owner::tests::{ANN, STRANGER, TEXT};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_one_trace_to_the_follower() {
    let (bench, mut client) = Bench::with_guild(Config::default()).await;
    let mut gateway = Gateway::following(&mut client, None).await;
    gateway.snapshot().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mut request = tonic::Request::new(create(ANN, "hi"));
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    let view = client.create_message(request).await.unwrap().into_inner();
    let entry = gateway.entries(1).await.remove(0);
    let spans = bench
        .capture
        .wait_for(|spans| spans.iter().filter(|span| span.trace_id.to_string() == trace).count() == 3)
        .await
        .unwrap();
    let span = |name: &str| spans.iter().find(|span| span.trace_id.to_string() == trace && span.name == name).unwrap();
    let process = span("channel.process");
    assert_eq!(process.attribute("member_count").as_deref(), Some("3"));
    assert_eq!(span("db.write").parent_id, Some(process.span_id));
    let fanout = span("channel.fanout");
    assert_eq!(fanout.parent_id, Some(process.span_id));
    assert_eq!(fanout.attribute("recipient_count").as_deref(), Some("1"));
    let told = TraceContext::parse(&entry.traceparent).unwrap();
    assert_eq!((told.trace_id().unwrap(), told.span_id().unwrap()), (trace.to_owned(), fanout.span_id.to_string()));
    // It is kept with the message, whoever edits it.
    let id = view.message.unwrap().id;
    let edit = v1::EditMessageRequest {
        key: Some(KEY.into()),
        channel_id: TEXT.0,
        message_id: id,
        editor_id: ANN.0,
        content: Some("changed".into()),
        ..v1::EditMessageRequest::default()
    };
    client.edit_message(edit).await.unwrap();
    let stored = bench.store.stores().messages.get(TEXT, MessageId(id)).await.unwrap().unwrap().message;
    assert_eq!((stored.trace_id.unwrap().to_string().as_str(), stored.content.as_str()), (trace, "changed"));
    let log = bench.log().await;
    let kept = TraceContext::parse(&log[log.len() - 2].traceparent).unwrap();
    assert_eq!(kept.span_id().unwrap(), process.span_id.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_logged_once_without_what_was_said() {
    let (bench, mut client) = Bench::with_guild(Config::default()).await;
    client.create_message(create(STRANGER, "a secret")).await.unwrap_err();
    let is_denial = |line: &&serde_json::Value| line["event"] == "authz.denied";
    let lines = bench.capture.wait_for_lines(|lines| lines.iter().any(|line| is_denial(&line))).await.unwrap();
    assert_eq!(lines.iter().filter(is_denial).count(), 1);
    assert!(!bench.capture.text().contains("a secret"));
}
