//! A log line says what it should and nothing it should not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_macros, reason = "libraries log with the macros that are forbidden here")]

use clarion_model::id::{ChannelId, GuildId, MessageId, UserId};
use clarion_observability::capture::Capture;
use clarion_observability::{
    ClientIp, ClientIpPolicy, Config, Content, Email, ErrorInfo, Fields, Origin, Token, log, span,
};

fn at_level(level: &str) -> Capture {
    Capture::with(&Config { log_level: level.into(), ..Config::default() }).unwrap()
}

#[test]
fn a_line_has_every_field_that_applies() {
    let capture = at_level("debug");
    capture.process().service("gateway", "gateway-0").in_scope(|| {
        log::REQUEST_COMPLETED.emit(Fields {
            user_id: Some(UserId(u64::MAX)),
            workspace_id: Some(GuildId(2)),
            channel_id: Some(ChannelId(3)),
            message_id: Some(MessageId(4)),
            device_id: Some("d".into()),
            request_id: Some("r \"quoted\"\n".into()),
            session_id: Some("s".into()),
            message_count: Some(5),
            message_length: Some(6),
            client_ip: Some(ClientIp::new("203.0.113.77".parse().unwrap())),
            endpoint: Some("POST /channels/{id}/messages"),
            retry_count: Some(7),
            success: Some(false),
            duration_ms: Some(8.123_456),
            latency_ms: Some(9.0),
            error: Some(ErrorInfo { kind: "timeout", detail: "slow: slower".into() }),
            detail: Some("short".into()),
            fatal: false,
        })
    });
    let line = &capture.lines()[0];
    let timestamp = line["timestamp"].as_str().unwrap();
    assert!(timestamp.len() == 24 && timestamp.ends_with('Z'), "{timestamp}");
    let rest = serde_json::json!({
        "timestamp": timestamp, "level": "DEBUG", "service": "gateway", "instance_id": "gateway-0", "environment": "development",
        "pid": std::process::id(), "event": "request.completed", "message": "request completed", "component": "gateway",
        "user_id": "18446744073709551615", "workspace_id": "2", "channel_id": "3", "message_id": "4", "device_id": "d",
        "request_id": "r \"quoted\"\n", "session_id": "s", "message_count": 5, "message_length": 6, "client_ip": "203.0.113.0/24",
        "endpoint": "POST /channels/{id}/messages", "retry_count": 7, "success": false, "duration_ms": 8.123, "latency_ms": 9,
        "error": {"type": "timeout", "stack": "slow: slower"}, "detail": "short",
    });
    assert_eq!(line, &rest);
}

#[test]
fn what_does_not_apply_is_absent() {
    let capture = at_level("info");
    capture.process().service("gateway", "g").in_scope(|| log::MESSAGE_SENT.emit(Fields::default()));
    let lines = capture.lines();
    let names: Vec<_> = lines[0].as_object().unwrap().keys().map(String::as_str).collect();
    let mut always =
        ["timestamp", "level", "service", "instance_id", "environment", "pid", "event", "message", "component"];
    always.sort_unstable();
    assert_eq!(names, always);
}

#[test]
fn fatal_is_critical() {
    let capture = at_level("critical");
    capture.process().service("channel", "c").in_scope(|| {
        log::REQUEST_FAILED.emit(Fields::default());
        log::STORAGE_FAILED.emit(Fields::default());
        log::REQUEST_FAILED.emit(Fields { fatal: true, ..Fields::default() });
    });
    let lines = capture.lines();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|l| l["level"] == "CRITICAL" && l["fatal"] == true));
}

#[test]
fn the_level_changes_for_every_service_while_they_run() {
    let capture = at_level("error");
    let services = [capture.process().service("gateway", "g"), capture.process().service("channel", "c")];
    let say = || services.iter().for_each(|s| s.in_scope(|| log::REQUEST_COMPLETED.emit(Fields::default())));
    say();
    assert!(capture.lines().is_empty());
    capture.process().set_log_level("debug").unwrap();
    say();
    assert_eq!(capture.lines().len(), 2);
    assert!(capture.process().set_log_level("loud").is_err());
    assert_eq!(capture.process().log_level(), "debug");
    capture.process().set_log_level("warning").unwrap();
    say();
    assert_eq!(capture.lines().len(), 2);
}

#[test]
fn lines_carry_the_ids_around_them_at_every_level() {
    let capture = at_level("error");
    capture.process().service("gateway", "g").in_scope(|| {
        let receive = span::gateway_receive(&Origin::new_root("request-9"), "identify");
        span::record_session(&receive, "session-9");
        let inner = receive.in_scope(|| span::gateway_authenticate("bot"));
        span::record_user(&receive, UserId(9));
        inner.in_scope(|| log::REQUEST_FAILED.emit(Fields { user_id: Some(UserId(10)), ..Fields::default() }));
    });
    let line = &capture.lines()[0];
    assert_eq!((&line["request_id"], &line["session_id"]), (&"request-9".into(), &"session-9".into()));
    assert_eq!(line["user_id"], "10", "what is given wins");
    assert!(line["trace_id"].is_string() && line["span_id"].is_string());
    assert_eq!(capture.text().matches("user_id").count(), 1);
}

#[test]
fn libraries_are_heard_when_they_warn() {
    let capture = at_level("trace,clarion=trace");
    capture.process().service("gateway", "g").in_scope(|| {
        tracing::warn!(target: "hyper::proto", secret = "canary-field", "connection error");
        tracing::error!(target: "hyper::proto", "{}", "long ".repeat(1_000));
        tracing::info!(target: "h2::codec", "authorization: canary-header");
        tracing::trace!(target: "h2::codec", "authorization: canary-header");
    });
    let lines = capture.lines_of("library");
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["component"], &lines[0]["message"]), (&"hyper::proto".into(), &"connection error".into()));
    assert!(lines[1]["message"].as_str().unwrap().len() <= 512);
    assert!(!capture.text().contains("canary"));
}

#[test]
fn nothing_secret_reaches_a_line_a_span_a_metric_or_a_page() {
    let token = Token::new("canary-token-abcdefghijkl");
    let email = Email::new("canaryperson@example.org");
    let content = Content::new("canary words");
    let address = ClientIp::new("198.51.100.123".parse().unwrap());
    for client_ip in [ClientIpPolicy::Truncated, ClientIpPolicy::None] {
        let config = Config { log_level: "trace".into(), client_ip, ..Config::default() };
        let capture = Capture::with(&config).unwrap();
        capture.process().service("gateway", "g").in_scope(|| {
            let receive = span::gateway_receive(&Origin::new_root("r"), "identify");
            receive.in_scope(|| {
                for event in log::ALL {
                    event.emit(Fields {
                        client_ip: Some(address),
                        message_length: Some(content.len() as u64),
                        detail: Some(format!(
                            "{token} {token:?} {email} {email:?} {content} {content:?} {address} {address:?}"
                        )),
                        ..Fields::default()
                    });
                }
            });
        });
        let recent = capture.process().recent();
        let id = recent.list()[0].trace_id.to_string();
        let told =
            [capture.text(), capture.process().render_metrics(), recent.html_list(), recent.html_trace(&id).unwrap()]
                .concat();
        assert_eq!(capture.lines().len(), log::ALL.len());
        for secret in [
            token.expose(),
            email.expose(),
            content.expose(),
            "canary-token",
            "canaryperson",
            "canary words",
            "100.123",
        ] {
            assert!(!told.contains(secret), "{secret}");
        }
        assert_eq!(told.contains("198.51.100.0/24"), client_ip == ClientIpPolicy::Truncated);
        assert!(told.contains("***ijkl") && told.contains("cana***@example.org") && told.contains("[12 characters]"));
    }
}

#[test]
fn the_whole_address_only_when_asked_for() {
    let capture = Capture::with(&Config { client_ip: ClientIpPolicy::Full, ..Config::default() }).unwrap();
    let client_ip = Some(ClientIp::new("2001:db8::7".parse().unwrap()));
    capture
        .process()
        .service("gateway", "g")
        .in_scope(|| log::CONNECTION_CLOSED.emit(Fields { client_ip, ..Fields::default() }));
    assert_eq!(capture.lines()[0]["client_ip"], "2001:db8::7");
}
