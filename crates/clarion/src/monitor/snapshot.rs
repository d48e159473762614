//! One look at a server: its health and what it did since the look before. Pure but for the clock on a line.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::metrics::{Scrape, quantile, risen};

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";
/// Fields of a log line that are shown in places of their own, or say nothing here.
const ELSEWHERE: &[&str] = &["timestamp", "level", "service", "instance_id", "event", "message", "environment", "pid"];

/// What is shown.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Snapshot {
    /// Why there is nothing to show.
    unreachable: Option<String>,
    ready: bool,
    /// What is not as it should be, part by part.
    parts: BTreeMap<String, String>,
    /// Rates a second, and numbers as they are.
    numbers: BTreeMap<&'static str, f64>,
    /// p99 in milliseconds.
    p99_ms: BTreeMap<&'static str, f64>,
    /// What went wrong since the look before, by kind.
    errors: BTreeMap<String, f64>,
}

impl Snapshot {
    pub(super) fn new(
        health: Result<Value, String>,
        before: Option<&Scrape>,
        now: Option<&Scrape>,
        since: Duration,
    ) -> Self {
        let (health, now) = match (health, now) {
            (Ok(health), Some(now)) => (health, now),
            (Err(why), _) => return Self { unreachable: Some(why), ..Self::default() },
            (Ok(_), None) => return Self { unreachable: Some("/metrics does not answer".into()), ..Self::default() },
        };
        let ready = health["ready"] == true;
        let mut snapshot = Self { ready, parts: parts(&health, now), ..Self::default() };
        for (name, metric) in [
            ("connections", "websocket_connections_active"),
            ("sessions", "gateway_sessions"),
            ("sends pending", "websocket_sends_pending"),
            ("queue depth", "message_queue_depth"),
            ("rss MiB", "process_resident_memory_bytes"),
        ] {
            snapshot.numbers.insert(name, now.sum(metric));
        }
        snapshot.numbers.entry("rss MiB").and_modify(|bytes| *bytes /= 1_048_576.0);
        if let Some(before) = before {
            snapshot.compare(before, now, since.as_secs_f64().max(1e-3));
        }
        snapshot
    }

    fn compare(&mut self, before: &Scrape, now: &Scrape, seconds: f64) {
        for (name, metric) in [
            ("messages/s", "message_send_total"),
            ("deliveries/s", "message_delivery_total"),
            ("frames in/s", "websocket_messages_received_total"),
            ("frames out/s", "websocket_messages_sent_total"),
            ("queries/s", "db_queries_total"),
            ("log lines/s", "telemetry_log_lines_total"),
            ("cpu cores", "process_cpu_seconds_total"),
        ] {
            self.numbers.insert(name, risen(before.sum(metric), now.sum(metric)) / seconds);
        }
        for (name, metric) in [
            ("send", "message_send_latency_seconds"),
            ("delivery", "message_delivery_latency_seconds"),
            ("api", "http_server_request_duration_seconds"),
            ("commit", "db_commit_latency_seconds"),
        ] {
            if let Some(p99) = quantile(before, now, metric, 0.99) {
                self.p99_ms.insert(name, p99 * 1e3);
            }
        }
        for (metric, label) in [
            ("websocket_errors_total", "error_type"),
            ("message_send_failures_total", "error_type"),
            ("message_delivery_failures_total", "error_type"),
            ("api_errors_total", "status"),
            ("db_query_errors_total", "error_type"),
            ("channel_fanout_failures_total", ""),
        ] {
            for series in now.all(metric) {
                let value = series.labels.get(label).map_or("", String::as_str);
                let name = format!("{} {value}", metric.trim_end_matches("_total")).trim_end().to_owned();
                *self.errors.entry(name).or_default() += series.value;
            }
            for series in before.all(metric) {
                let value = series.labels.get(label).map_or("", String::as_str);
                let name = format!("{} {value}", metric.trim_end_matches("_total")).trim_end().to_owned();
                self.errors.entry(name).and_modify(|count| *count = risen(series.value, *count));
            }
        }
        self.errors.retain(|_, count| *count > 0.0);
    }

    /// As text, in a few lines.
    pub(super) fn shown(&self, colour: bool) -> String {
        let paint = |with: &str, text: &str| if colour { format!("{with}{text}{PLAIN}") } else { text.to_owned() };
        if let Some(why) = &self.unreachable {
            return format!("{} {}", clock(), paint(RED, &format!("NOT REACHED: {why}")));
        }
        let healthy = self.ready && self.parts.values().all(|state| state == "ok");
        let mut text = format!(
            "{} {}",
            clock(),
            paint(if healthy { GREEN } else { RED }, if healthy { "healthy" } else { "NOT HEALTHY" })
        );
        // Writing to a string cannot fail.
        for (part, state) in &self.parts {
            let state = if state == "ok" { state.clone() } else { paint(RED, state) };
            let _ = write!(text, "  {part} {state}");
        }
        let _ = write!(text, "\n        ");
        for (name, value) in &self.numbers {
            let digits = usize::from(*value < 10.0 && value.fract() != 0.0) * 2;
            let _ = write!(text, "  {name} {value:.digits$}");
        }
        if !self.p99_ms.is_empty() {
            let _ = write!(text, "\n          p99");
            for (name, ms) in &self.p99_ms {
                let _ = write!(text, "  {name} {ms:.1} ms");
            }
        }
        for (name, count) in &self.errors {
            let _ = write!(text, "\n          {}", paint(YELLOW, &format!("{count:.0} × {name}")));
        }
        text
    }
}

/// Each part of the product that the server says something of, and how it is.
fn parts(health: &Value, now: &Scrape) -> BTreeMap<String, String> {
    let ok = |fine: bool, bad: &str| if fine { "ok".to_owned() } else { bad.to_owned() };
    let not_ready = if health["shutting_down"] == true { "shutting down" } else { "not ready" };
    let mut parts = BTreeMap::from([("process".to_owned(), ok(health["ready"] == true, not_ready))]);
    for gateway in now.all("gateway_health_status") {
        let name = gateway.labels.get("instance").cloned().unwrap_or_default();
        parts.insert(name, ok(gateway.value > 0.0, "cannot serve"));
    }
    for server in now.all("message_queue_depth") {
        let name = server.labels.get("instance").cloned().unwrap_or_default();
        parts.insert(name, ok(server.value <= 10_000.0, "queue over 10,000"));
    }
    let unowned = now.sum("router_slots_unowned");
    parts.insert("router".to_owned(), ok(unowned == 0.0, &format!("{unowned:.0} slots without an owner")));
    if !now.all("db_queries_queued").is_empty() {
        let full = now.sum_where("db_query_errors_total", "error_type", |kind| kind == "full");
        parts.insert("storage".to_owned(), ok(full == 0.0, "has been full"));
    }
    parts
}

/// A log line as JSON, or as the text it is.
pub(super) fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| line.into())
}

/// A log line for people: when, how bad, who, what, and the rest.
pub(super) fn shown(line: &str, colour: bool) -> String {
    let Value::Object(fields) = parsed(line) else { return printable(line) };
    let text = |name: &str| printable(fields.get(name).and_then(Value::as_str).unwrap_or_default());
    let (level, timestamp) = (text("level"), text("timestamp"));
    let time = timestamp.split(['T', '.']).nth(1).unwrap_or_default();
    let level = match (colour, level.as_str()) {
        (true, "WARN") => format!("{YELLOW}{level}{PLAIN}"),
        (true, "ERROR" | "CRITICAL") => format!("{RED}{level}{PLAIN}"),
        _ => level,
    };
    let mut out = format!("{time} {level} {} {} {}", text("instance_id"), text("event"), text("message"));
    for (name, value) in fields.iter().filter(|(name, _)| !ELSEWHERE.contains(&name.as_str())) {
        // Writing to a string cannot fail.
        let _ = match value.as_str() {
            Some(value) => write!(out, " {name}={}", printable(value)),
            None => write!(out, " {name}={}", printable(&value.to_string())),
        };
    }
    out
}

/// Without what a terminal would take for orders.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The time of day, UTC.
pub(super) fn clock() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    format!("{:02}:{:02}:{:02}", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FIRST: &str = "message_send_total{instance=\"gateway-0\"} 100\nwebsocket_errors_total{error_type=\"closed\"} 1\n\
                         gateway_health_status{instance=\"gateway-0\"} 1\n";
    const SECOND: &str = "message_send_total{instance=\"gateway-0\"} 300\nwebsocket_errors_total{error_type=\"closed\"} 4\n\
                          gateway_health_status{instance=\"gateway-0\"} 0\nrouter_slots_unowned 0\n";

    #[test]
    fn rates_and_errors_are_of_the_time_between_two_looks() {
        let (first, second) = (Scrape::read(FIRST), Scrape::read(SECOND));
        let ready = Ok(json!({"ready": true}));
        let snapshot = Snapshot::new(ready, Some(&first), Some(&second), Duration::from_secs(10));
        assert_eq!(snapshot.numbers["messages/s"], 20.0);
        assert_eq!(snapshot.errors, BTreeMap::from([("websocket_errors closed".to_owned(), 3.0)]));
        let text = snapshot.shown(false);
        assert!(text.contains("NOT HEALTHY") && text.contains("gateway-0 cannot serve"), "{text}");
        assert!(!text.contains('\x1b'));
        assert!(snapshot.shown(true).contains(RED));
    }

    #[test]
    fn a_server_that_is_not_there_is_said_to_be_so() {
        let text = Snapshot::new(Err("nobody".into()), None, None, Duration::ZERO).shown(false);
        assert!(text.contains("NOT REACHED: nobody"), "{text}");
    }

    #[test]
    fn a_log_line_is_readable_and_harmless() {
        let line = r#"{"timestamp":"2026-01-02T03:04:05.678Z","level":"WARN","service":"gateway","instance_id":"gateway-0","event":"auth.failed","message":"authentication failed","client_ip":"127.0.0.0/24","detail":"\u001b[31mred"}"#;
        let text = shown(line, false);
        assert_eq!(
            text,
            "03:04:05 WARN gateway-0 auth.failed authentication failed client_ip=127.0.0.0/24 detail= [31mred"
        );
        assert!(shown(line, true).contains(YELLOW));
    }
}
