//! Voice with nothing stood in for: a voice server, WebRTC clients, a receiver of traces, and a real Prometheus.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clarion::Topology;
use clarion_e2e::otlp::{Receiver, edges};
use clarion_e2e::{Cluster, PATIENCE, Socket};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{INTENTS, ask, lounge};
use crate::caller::Caller;
use crate::moved::connect;

/// Goes into the lounge and connects to the server that is named.
async fn call(socket: &mut Socket, cluster: &Cluster, speaks: bool) -> anyhow::Result<Caller> {
    ask(socket, cluster, Some(lounge(cluster)), false).await?;
    Ok(connect(socket, speaks).await?.0)
}

async fn until(what: &str, is: impl Fn() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !is() {
        ensure!(begun.elapsed() < PATIENCE, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn op_4_to_the_first_packet_is_one_trace() -> anyhow::Result<()> {
    let (receiver, address) = Receiver::start().await?;
    let export = |config: &mut clarion::Config| config.telemetry.otlp_endpoint = Some(format!("http://{address}"));
    let cluster = Cluster::with(Topology::default(), export).await?;
    let (ada, bot) = (cluster.demo().users[0].clone(), cluster.bot().clone());
    let (mut hers, mut bots) = (cluster.session(&ada, 0, INTENTS).await?, cluster.session(&bot, 0, INTENTS).await?);
    let speaker = call(&mut hers, &cluster, true).await?;
    let listener = call(&mut bots, &cluster, false).await?;
    speaker.say(7);
    until("the speaker is heard", || listener.times(7) > 10).await?;

    for account in [&ada, &bot] {
        let of = |span: &&clarion_e2e::otlp::Span| span.text("user_id") == account.id.to_string();
        let joined = || receiver.spans().iter().filter(|span| span.name == "voice.join").find(of).cloned();
        until("the join is exported", || joined().is_some()).await?;
        let join = joined().context("the join")?;
        let expected = [
            "gateway.receive@gateway-0 < -",
            "channel.process@channel-0 < gateway.receive@gateway-0",
            "channel.fanout@channel-0 < channel.process@channel-0",
            "voice.admit@gateway-0 < channel.fanout@channel-0",
            "voice.place@router-0 < voice.admit@gateway-0",
            "voice.join@voice-0 < voice.admit@gateway-0",
            "voice.answer@voice-0 < voice.join@voice-0",
            "voice.ice@voice-0 < voice.join@voice-0",
            "voice.dtls@voice-0 < voice.join@voice-0",
            "voice.first_rtp@voice-0 < voice.join@voice-0",
        ];
        let spans = receiver.trace(&join.trace, expected.len()).await?;
        let edges = edges(&spans);
        for edge in expected {
            assert!(edges.iter().any(|there| there == edge), "{edge} in {edges:#?}");
        }
        // One stage after the other, all of them within the join. Each begins just before the one before it ends.
        let stage = |name: &str| spans.iter().find(|span| span.name == name).context("a stage");
        let mut from = join.began;
        for name in ["voice.answer", "voice.ice", "voice.dtls", "voice.first_rtp"] {
            let stage = stage(name)?;
            assert!(stage.began >= from && stage.began + stage.took <= join.began + join.took, "{name}: {stage:?}");
            from = stage.began;
        }
    }
    Ok(())
}

/// A real Prometheus that looks at one process every second. Ended when dropped.
struct Prometheus {
    url: String,
    _child: Child,
    _folder: TempDir,
}

impl Prometheus {
    /// `None`, and a line that says so, where there is none.
    async fn start(target: &str) -> anyhow::Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: clarion\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        std::fs::write(&config, text)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let Ok(child) = child else {
            println!("MISSING: prometheus: the voice metrics were not looked at with it");
            return Ok(None);
        };
        Ok(Some(Self { url: format!("http://{address}"), _child: child, _folder: folder }))
    }

    /// The sum of a query's results; `None` without any, and while it cannot be asked.
    async fn query(&self, query: &str) -> Option<f64> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().ok()?;
        let request = http.get(format!("{}/api/v1/query", self.url)).query(&[("query", query)]);
        let answer: Value = serde_json::from_str(&request.send().await.ok()?.text().await.ok()?).ok()?;
        let results = answer["data"]["result"].as_array().filter(|results| !results.is_empty())?;
        results.iter().map(|result| result["value"][1].as_str()?.parse::<f64>().ok()).sum()
    }

    async fn until(&self, query: &str, is: impl Fn(f64) -> bool) -> anyhow::Result<f64> {
        let begun = Instant::now();
        loop {
            let value = self.query(query).await;
            match value.filter(|value| is(*value)) {
                Some(value) => return Ok(value),
                None => ensure!(begun.elapsed() < 2 * PATIENCE, "{query}: {value:?}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn voice_metrics_move_in_a_real_prometheus() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let admin = cluster.admin_url();
    let Some(prometheus) = Prometheus::start(admin.strip_prefix("http://").context("an address")?).await? else {
        return Ok(());
    };
    prometheus.until("sfu_servers", |servers| servers == 1.0).await?;
    prometheus.until("voice_users_active", |users| users == 0.0).await?;

    let (ada, bot) = (cluster.demo().users[0].clone(), cluster.bot().clone());
    let (mut hers, mut bots) = (cluster.session(&ada, 0, INTENTS).await?, cluster.session(&bot, 0, INTENTS).await?);
    let one = call(&mut hers, &cluster, true).await?;
    let two = call(&mut bots, &cluster, true).await?;
    one.say(1);
    two.say(2);
    prometheus.until("voice_users_active{region=\"local\"}", |users| users == 2.0).await?;
    prometheus.until("voice_rooms", |rooms| rooms == 1.0).await?;
    prometheus.until("voice_joins_total{result=\"joined\"}", |joins| joins == 2.0).await?;
    prometheus.until("voice_join_latency_seconds_count", |joins| joins == 2.0).await?;
    let sent = prometheus.until("voice_packets_total{direction=\"down\"}", |packets| packets > 50.0).await?;
    prometheus.until("voice_packets_total{direction=\"down\"}", |packets| packets > sent + 50.0).await?;
    // Windows of quality close every ten seconds.
    for name in ["voice_mos", "voice_packet_loss_ratio", "voice_latency_seconds", "voice_round_trip_seconds"] {
        prometheus.until(&format!("{name}_count{{region=\"local\"}}"), |windows| windows >= 1.0).await?;
    }
    let score = prometheus.until("voice_mos_sum / voice_mos_count", |_| true).await?;
    assert!((4.0..4.42).contains(&score), "{score}");
    prometheus.until("voice_quality_reports_total", |reports| reports > 5.0).await?;
    prometheus.until("sfu_utilization_ratio", |share| (0.0..1.0).contains(&share)).await?;

    ask(&mut hers, &cluster, None, false).await?;
    ask(&mut bots, &cluster, None, false).await?;
    prometheus.until("voice_users_active", |users| users == 0.0).await?;
    prometheus.until("voice_leaves_total{reason=\"dismissed\"}", |left| left == 2.0).await?;
    Ok(())
}
