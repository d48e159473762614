//! `/metrics` is what Prometheus expects, moves with what happens, and holds no ids.

use std::io::Write;
use std::process::{Command, Stdio};

use clarion_e2e::Cluster;
use reqwest::Method;

const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;

/// The value of a series whose name and labels contain all of `parts`, summed.
fn sum(text: &str, name: &str, parts: &[&str]) -> f64 {
    text.lines()
        .filter(|line| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']))
        .filter(|line| parts.iter().all(|part| line.contains(part)))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_clean_and_move() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let mut socket = cluster.session(cluster.bot(), 0, INTENTS).await?;
    let api = cluster.api(cluster.bot(), 0);
    let scrape = async || -> anyhow::Result<String> {
        Ok(reqwest::get(format!("{}/metrics", cluster.admin_url())).await?.text().await?)
    };
    let fanouts = |text: &str| sum(text, "message_fanout_total", &["channel_size_bucket=\"small\""]);
    let before = fanouts(&scrape().await?);
    let sent = api.send(cluster.demo().channel_id, "counted").await?;
    socket.dispatch("MESSAGE_CREATE").await?;
    api.get(&format!("/channels/{}/messages", cluster.demo().channel_id)).await?;
    let (status, _) = api.call(Method::GET, "/channels/1234567890123456789", None).await?;
    assert_eq!(status, 404);

    let text = scrape().await?;
    assert_eq!(fanouts(&text) - before, 1.0);
    for (name, labels, expected) in [
        ("websocket_connections_active", vec!["gateway_instance=\"gateway-0\""], 1.0),
        ("websocket_messages_received_total", vec!["event_type=\"identify\""], 1.0),
        ("message_send_total", vec![], 1.0),
        ("message_send_latency_seconds_count", vec![], 1.0),
        ("message_delivery_latency_seconds_count", vec![], 1.0),
        ("gateway_health_status", vec![], 1.0),
        ("router_slots_unowned", vec![], 0.0),
    ] {
        assert_eq!(sum(&text, name, &labels), expected, "{name} {labels:?}\n{text}");
    }
    assert!(sum(&text, "db_query_latency_seconds_count", &["operation=\"commit\""]) > 0.0);
    assert!(sum(&text, "http_server_request_duration_seconds_count", &["404"]) >= 1.0);

    let demo = cluster.demo();
    let ids = [demo.guild_id.to_string(), demo.channel_id.to_string(), cluster.bot().id.to_string()];
    let ids = ids.iter().map(String::as_str).chain(sent["id"].as_str()).chain([socket.session_id.as_str()]);
    for id in ids {
        assert!(!text.contains(id), "an id is in a label: {id}");
    }
    let digits = |value: &str| value.len() >= 15 && value.bytes().all(|b| b.is_ascii_digit());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let values = line.split('"').skip(1).step_by(2);
        assert!(!values.clone().any(digits), "{line}");
    }
    promtool(&text)
}

/// `promtool check metrics` has nothing to say.
fn promtool(text: &str) -> anyhow::Result<()> {
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("MISSING: promtool: the names and texts of the metrics were not checked");
        return Ok(());
    };
    child.stdin.take().expect("piped").write_all(text.as_bytes())?;
    let out = child.wait_with_output()?;
    let said = [out.stdout, out.stderr].concat();
    assert!(out.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    Ok(())
}
