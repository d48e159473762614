//! One request is one trace, across services that share nothing but headers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::convert::Infallible;
use std::time::Duration;

use clarion_model::id::{ChannelId, UserId};
use clarion_observability::capture::Capture;
use clarion_observability::layer::{ClientLayer, ServerLayer};
use clarion_observability::recent::SpanRecord;
use clarion_observability::{Config, Fields, Instrument, Origin, Remote, Telemetry, TraceContext, log, span};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::runtime::Runtime;
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// A runtime whose threads belong to one service.
fn runtime(telemetry: &Telemetry) -> Runtime {
    let telemetry = telemetry.clone();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().on_thread_start(move || telemetry.adopt_thread()).build().unwrap()
}

fn span<'a>(spans: &'a [SpanRecord], name: &str) -> &'a SpanRecord {
    spans.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

/// A channel server as far as telemetry sees it: what it answers is where its fan-out was.
async fn channel_server(request: Request<()>) -> Result<Response<TraceContext>, Infallible> {
    let remote = request.extensions().get::<Remote>().cloned().unwrap_or_default();
    let work = async {
        tokio::task::yield_now().await;
        span::db_write("commit", "log").in_scope(|| ());
        log::MESSAGE_SENT.emit(Fields::default());
        let fanout = span::channel_fanout(ChannelId(7), 1);
        TraceContext::of(&fanout)
    };
    Ok(Response::new(work.instrument(span::channel_process(&remote, ChannelId(7), 3)).await))
}

async fn gateway(origin: Origin, channel: &Runtime) -> TraceContext {
    let receive = span::gateway_receive(&origin, "POST /channels/{id}/messages");
    let work = async {
        let authenticate = span::gateway_authenticate("bot");
        span::authenticated(&authenticate, true);
        drop(authenticate);
        span::record_user(&tracing::Span::current(), UserId(42));
        let route = span::channel_route(None, ChannelId(7), true);
        span::routed(&route, "channel-0");
        drop(route);
        log::AUTH_SUCCEEDED.emit(Fields::default());
        let server = ServiceBuilder::new().layer(ServerLayer).service_fn(channel_server);
        let handle = channel.handle().clone();
        // What a network does: the callee runs on its own runtime.
        let network = service_fn(move |request: Request<()>| {
            let (server, handle) = (server.clone(), handle.clone());
            async move { handle.spawn(server.oneshot(request)).await.unwrap() }
        });
        let client = ServiceBuilder::new().layer(ClientLayer).service(network);
        client.oneshot(Request::new(())).await.unwrap().into_body()
    };
    let fanout = work.instrument(receive).await;
    let deliver = span::gateway_deliver(&fanout, "MESSAGE_CREATE");
    span::delivered(&deliver, 2, 1, Duration::from_millis(4));
    fanout
}

#[test]
fn one_message_is_one_trace() {
    let capture = Capture::new().unwrap();
    let (edge, middle) =
        (capture.process().service("gateway", "gateway-0"), capture.process().service("channel", "channel-0"));
    let (edge_runtime, middle_runtime) = (runtime(&edge), runtime(&middle));
    let middle_runtime = std::sync::Arc::new(middle_runtime);
    let its = middle_runtime.clone();
    let mut headers = HeaderMap::new();
    headers.insert("x-trace-id", HeaderValue::from_static("0af7651916cd43dd8448eb211c80319c"));
    let origin = Origin::from_headers(&headers, 1.0, "request-1");
    let told = edge_runtime.block_on(edge_runtime.spawn(async move { gateway(origin, &its).await })).unwrap();
    let spans = edge_runtime.block_on(capture.wait_for(|spans| spans.len() == 7)).unwrap();

    assert!(spans.iter().all(|s| s.trace_id.to_string() == "0af7651916cd43dd8448eb211c80319c"), "{spans:#?}");
    assert_eq!(told.trace_id().unwrap(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(span(&spans, "gateway.receive").parent_id, None, "the trace was adopted, its parent is nobody");
    for (inner, outer, service) in [
        ("gateway.authenticate", "gateway.receive", "gateway"),
        ("channel.route", "gateway.receive", "gateway"),
        ("channel.process", "gateway.receive", "channel"),
        ("db.write", "channel.process", "channel"),
        ("channel.fanout", "channel.process", "channel"),
        ("gateway.deliver", "channel.fanout", "gateway"),
    ] {
        let inner = span(&spans, inner);
        assert_eq!(inner.parent_id, Some(span(&spans, outer).span_id), "{} in {outer}", inner.name);
        assert_eq!(inner.service, service);
    }
    for (name, attribute, value) in [
        ("gateway.receive", "user_id", "42"),
        ("gateway.receive", "request_id", "request-1"),
        ("gateway.authenticate", "success", "true"),
        ("channel.route", "target_server", "channel-0"),
        ("channel.process", "member_count", "3"),
        ("channel.process", "user_id", "42"),
        ("gateway.deliver", "recipient_count", "2"),
        ("gateway.deliver", "failed_count", "1"),
        ("gateway.deliver", "duration", "0.004"),
        ("db.write", "table", "log"),
    ] {
        assert_eq!(span(&spans, name).attribute(attribute).as_deref(), Some(value), "{name} {attribute}");
    }
    assert!(span(&spans, "db.write").attribute("duration").is_some());

    let sent = &capture.lines_of("message.sent")[0];
    assert_eq!(sent["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(sent["span_id"], span(&spans, "channel.process").span_id.to_string());
    assert_eq!((&sent["service"], &sent["instance_id"]), (&"channel".into(), &"channel-0".into()));
    assert_eq!((&sent["request_id"], &sent["user_id"]), (&"request-1".into(), &"42".into()));
    assert_eq!(sent["channel_id"], "7");
    assert_eq!(capture.lines_of("auth.succeeded")[0]["service"], "gateway");

    let summary = &capture.process().recent().list()[0];
    assert_eq!(
        (summary.root.as_str(), summary.spans, summary.services.clone()),
        ("gateway.receive", 7, vec!["gateway", "channel"])
    );
}

#[test]
fn a_trace_that_is_not_kept_still_has_its_id() {
    for recent_traces in [0, 10] {
        let config = Config { sample_ratio: 0.0, recent_traces, ..Config::default() };
        let capture = Capture::with(&config).unwrap();
        let told = capture.process().service("gateway", "g").in_scope(|| {
            let receive = span::gateway_receive(&Origin::new_root("r"), "heartbeat");
            receive.in_scope(|| log::AUTH_FAILED.emit(Fields::default()));
            TraceContext::of(&receive)
        });
        assert!(told.exists() && !told.is_sampled());
        assert_eq!(capture.lines()[0]["trace_id"].as_str(), told.trace_id().as_deref());
        assert_eq!(capture.spans().len(), recent_traces.min(1), "recorded only while there is a ring");
    }
}

#[test]
fn a_request_does_not_join_the_trace_its_thread_is_in() {
    let capture = Capture::new().unwrap();
    capture.process().service("gateway", "g").in_scope(|| {
        let first = span::gateway_receive(&Origin::new_root("1"), "heartbeat");
        let second = first.in_scope(|| span::gateway_receive(&Origin::new_root("2"), "heartbeat"));
        assert_ne!(TraceContext::of(&first).trace_id(), TraceContext::of(&second).trace_id());
        let orphan = first.in_scope(|| span::channel_process(&Remote::default(), ChannelId(1), 0));
        assert_ne!(TraceContext::of(&first).trace_id(), TraceContext::of(&orphan).trace_id());
    });
}

#[test]
fn work_nobody_asked_for_is_no_trace() {
    let capture = Capture::new().unwrap();
    capture.process().service("channel", "c").in_scope(|| drop(span::db_query("read_log", "log")));
    assert!(capture.spans().is_empty());
}

#[test]
fn work_can_join_a_trace_without_a_span_of_its_own() {
    let capture = Capture::new().unwrap();
    let trace = TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
    capture.process().service("channel", "c").in_scope(|| {
        span::in_trace(&trace, || {
            drop(span::db_query("read_log", "log"));
            log::FOLLOW_RESTARTED.emit(Fields::default());
        });
        log::SLOT_LOST.emit(Fields::default());
    });
    assert_eq!(capture.spans()[0].trace_id.to_string(), trace.trace_id().unwrap());
    assert_eq!(capture.lines_of("follow.restarted")[0]["trace_id"].as_str(), trace.trace_id().as_deref());
    assert_eq!(capture.lines_of("slot.lost")[0].get("trace_id"), None);
}

#[test]
fn a_failure_is_a_status_and_a_type() {
    let capture = Capture::new().unwrap();
    capture.process().service("gateway", "g").in_scope(|| {
        let receive = span::gateway_receive(&Origin::new_root("1"), "identify");
        span::fail(&receive, "auth_failed");
    });
    let spans = capture.spans();
    assert_eq!(spans[0].error.as_deref(), Some("auth_failed"));
    assert_eq!(spans[0].attribute("error.type").as_deref(), Some("auth_failed"));
    assert!(capture.process().recent().list()[0].error);
}

#[test]
fn old_traces_make_room_and_long_ones_are_cut() {
    let capture = Capture::with(&Config { recent_traces: 2, ..Config::default() }).unwrap();
    let telemetry = capture.process().service("gateway", "g");
    telemetry.in_scope(|| {
        for request in ["1", "2", "3"] {
            let receive = span::gateway_receive(&Origin::new_root(request), "heartbeat");
            receive.in_scope(|| (0..600).for_each(|_| drop(span::gateway_authenticate("bot"))));
        }
    });
    let recent = capture.process().recent();
    assert_eq!(recent.list().len(), 2);
    assert!(recent.list().iter().all(|t| t.spans == 512 && t.overflowed == 89));
    assert_eq!(recent.overflowed(), 3 * 89);
    assert!(
        capture
            .process()
            .render_metrics()
            .lines()
            .any(|l| l.starts_with("telemetry_spans_overflowed_total{") && l.ends_with(" 267"))
    );
}

#[test]
fn pages_hold_the_trace_and_cannot_be_broken_out_of() {
    let capture = Capture::new().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-trace-id", HeaderValue::from_static("<script>alert(1)</script>"));
    capture.process().service("gateway", "<b>&").in_scope(|| {
        let receive = span::gateway_receive(&Origin::from_headers(&headers, 1.0, "\"><img>"), "identify");
        receive.in_scope(|| drop(span::gateway_authenticate("bot")));
    });
    let recent = capture.process().recent();
    let id = recent.list()[0].trace_id.to_string();
    let (list, trace) = (recent.html_list(), recent.html_trace(&id).unwrap());
    assert!(list.contains(&id) && trace.contains("gateway.authenticate"));
    for page in [&list, &trace] {
        assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("<b>&<"), "{page}");
    }
    assert!(recent.html_trace("00000000000000000000000000000001").is_none() && recent.html_trace("junk").is_none());
    let json = serde_json::to_value(recent.get(&id).unwrap()).unwrap();
    assert_eq!(json[0]["attributes"]["event_type"], "identify");
    assert_eq!(json[1]["parent_id"], json[0]["span_id"]);
    assert!(serde_json::to_value(recent.list()).unwrap()[0]["duration_ms"].is_f64());
}
