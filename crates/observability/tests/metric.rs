//! What `/metrics` shows is what the table says, and Prometheus likes it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use clarion_observability::capture::Capture;
use clarion_observability::metric::{self, *};
use clarion_observability::{Config, Process, SetupError};

fn everything() -> (Capture, String) {
    let capture = Capture::new().unwrap();
    let telemetry = capture.process().service("gateway", "gateway-0");
    let meter = telemetry.meter();
    let gateway = GatewayMetrics::new(meter);
    gateway.messages_received.with(EventType::Identify).increment(3);
    gateway.message_latency.with(EventType::Identify).record_duration(Duration::from_millis(30));
    gateway.request_duration.record(&http::Method::GET, "/channels/{id}", 200, Duration::from_millis(3));
    gateway.connections_active.increment(2.0);
    drop(gateway.connections_active.hold());
    let storage = StorageMetrics::new(meter);
    storage.query_errors.with(Operation::Route, QueryError::Io).increment(5);
    let (_channel, _router) = (ChannelMetrics::new(meter), RouterMetrics::new(meter));
    let _search = SearchMetrics::new(meter);
    let (_voice, _pool, _circuit) = (VoiceMetrics::new(meter), PoolMetrics::new(meter), CircuitMetrics::new(meter));
    let (_presence, _cache) = (PresenceMetrics::new(meter), CacheMetrics::new(meter));
    let text = capture.process().render_metrics();
    (capture, text)
}

#[test]
fn every_metric_of_the_table_is_shown_and_no_other() {
    let (_capture, text) = everything();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let shown: BTreeSet<_> = types.filter(|line| !line.starts_with("process_")).map(str::to_owned).collect();
    let table: BTreeSet<_> = metric::all().map(|d| format!("{} {}", d.prometheus_name(), d.kind.as_str())).collect();
    assert_eq!(shown, table);
}

#[test]
fn every_series_carries_the_constant_labels_and_its_own() {
    let (_capture, text) = everything();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty() && !line.starts_with("process_"))
    {
        for label in CONSTANT_LABELS {
            assert!(line.contains(&format!("{label}=\"")), "{label}: {line}");
        }
        let name = line.split('{').next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
        let row = metric::all().find(|d| d.prometheus_name() == name || d.prometheus_name() == base).unwrap();
        assert!(row.labels.iter().all(|l| line.contains(&format!("{}=\"", l.name))), "{line}");
    }
}

#[test]
fn counting_shows() {
    let (_capture, text) = everything();
    for (name, label, value) in [
        ("websocket_messages_received_total", "event_type=\"identify\"", "3"),
        ("websocket_connections_active", "gateway_instance=\"gateway-0\"", "2"),
        ("db_query_errors_total", "error_type=\"io\"", "5"),
        ("websocket_message_latency_seconds_bucket", "le=\"0.025\"", "0"),
        ("websocket_message_latency_seconds_bucket", "le=\"0.05\"", "1"),
        ("http_server_request_duration_seconds_count", "http_route=\"/channels/{id}\"", "1"),
    ] {
        let found = text.lines().any(|l| {
            l.starts_with(&format!("{name}{{"))
                && l.contains(label)
                && (!name.starts_with("db") || l.contains("operation=\"route\""))
                && l.ends_with(&format!(" {value}"))
        });
        assert!(found, "{name} {label} {value}");
    }
    assert!(text.contains("process_resident_memory_bytes{"));
}

#[test]
fn names_follow_from_the_dotted_ones() {
    let name = |dotted: &str| metric::all().find(|d| d.name == dotted).unwrap().prometheus_name();
    assert_eq!(name("websocket.messages.received"), "websocket_messages_received_total");
    assert_eq!(name("message.delivery.latency"), "message_delivery_latency_seconds");
    assert_eq!(name("gateway.replay.bytes"), "gateway_replay_bytes");
    assert_eq!(metric::all().map(|d| d.name).collect::<BTreeSet<_>>().len(), metric::all().count());
}

#[test]
fn thresholds_of_objectives_are_edges() {
    // How long a socket or a whole drain took is no objective; that of voice has edges of its own.
    let others = ["websocket.connection.duration", "websocket.shutdown.time"];
    let durations = metric::all().filter(|d| d.kind == Kind::Histogram && d.unit == Unit::Seconds);
    for histogram in durations.filter(|d| !others.contains(&d.name) && !d.name.starts_with("voice.")) {
        for edge in [0.01, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0] {
            assert!(histogram.buckets.contains(&edge), "{} {edge}", histogram.name);
        }
    }
}

#[test]
fn no_label_is_an_id() {
    for label in metric::all().flat_map(|d| d.labels) {
        let open = ["http_route", "http_response_status_code", "gateway_instance", "channel_server"];
        assert!(!label.values.is_empty() || open.contains(&label.name), "{}", label.name);
        assert!(!label.name.ends_with("_id") && label.name != "id", "{}", label.name);
    }
}

#[test]
fn routes_cannot_grow_without_bound() {
    let capture = Capture::new().unwrap();
    let gateway = GatewayMetrics::new(capture.process().service("gateway", "g").meter());
    for n in 0..6_000u16 {
        let method = if n % 2 == 0 { http::Method::GET } else { http::Method::from_bytes(b"BREW").unwrap() };
        // Templates are constants; a test has to invent some.
        let route: &'static str = Box::leak(format!("/{}", n / 10).into_boxed_str());
        gateway.request_duration.record(&method, route, 200 + n % 5, Duration::ZERO);
    }
    let text = capture.process().render_metrics();
    let series = text.lines().filter(|l| l.starts_with("http_server_request_duration_seconds_count{"));
    assert!(series.count() <= 2_010);
    assert!(text.contains("http_route=\"other\""));
}

#[test]
fn values_and_variants_agree() {
    for (index, kind) in SentType::VARIANTS.iter().enumerate() {
        assert_eq!((kind.index(), SentType::parse(kind.as_str())), (index, Some(*kind)));
    }
    assert_eq!(Status::of(404), Status::NotFound);
    assert_eq!(Status::of(418), Status::Other);
    assert_eq!(SentType::of("MESSAGE_CREATE"), SentType::MessageCreate);
    assert_eq!(
        (ChannelSize::of(100), ChannelSize::of(101), ChannelSize::of(1_001)),
        (ChannelSize::Small, ChannelSize::Medium, ChannelSize::Large)
    );
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let with = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        Process::new(&config)
    };
    assert!(matches!(with(|c| c.log_level = "loud".into()), Err(SetupError::Level(_))));
    assert!(matches!(with(|c| c.sample_ratio = f64::NAN), Err(SetupError::SampleRatio(_))));
    assert!(matches!(with(|c| c.otlp_endpoint = Some("collector:4317".into())), Err(SetupError::Endpoint(_))));
    assert!(matches!(with(|c| c.otlp_endpoint = Some("https://collector:4317".into())), Err(SetupError::Endpoint(_))));
    assert!(serde_json::from_str::<Config>(r#"{"region": "eu", "unknown": 1}"#).is_err());
    assert_eq!(serde_json::from_str::<Config>(r#"{"client_ip": "none"}"#).unwrap().region, "local");
}

#[test]
fn prometheus_likes_it() {
    let (_capture, text) = everything();
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("promtool is missing: the format was not checked");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && complaints.is_empty(), "{complaints}");
}
