//! Native clients that come, wait for the first packet that is said to them, and go: so many a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clarion_proto::v1;
use clarion_proto::v1::voice_client::VoiceClient;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tonic::transport::Channel as GrpcChannel;

use crate::bare::{Bare, Connected, OPUS};

/// The room, and the first of its people.
const ROOM: u64 = 900_000;
/// Longest wait for a first packet.
const PATIENCE: Duration = Duration::from_secs(10);
const FRAME: Duration = Duration::from_millis(20);

/// Has them come; answers how many did and how long they took from their offer to the first packet, in ms.
pub(crate) async fn run(client: VoiceClient<GrpcChannel>, rate: u32, seconds: u32) -> anyhow::Result<Value> {
    ensure!(rate > 0 && seconds > 0, "so many a second, for so many seconds");
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let mut speaker = enter(&client, &http, 0).await?.1;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let talk = std::thread::spawn(move || {
        let begun = Instant::now();
        for n in 1u32.. {
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            speaker.say(OPUS, n as u16, n.wrapping_mul(960), &[0x5A; 80]);
            std::thread::sleep((begun + n * FRAME).saturating_duration_since(Instant::now()));
            if n % 100 == 0 {
                speaker.check();
            }
        }
    });
    let begun = Instant::now();
    let mut under_way = Vec::new();
    for n in 1..=u64::from(rate * seconds) {
        tokio::time::sleep_until((begun + Duration::from_secs(1) * (n as u32 - 1) / rate).into()).await;
        let (client, http) = (client.clone(), http.clone());
        #[allow(clippy::disallowed_methods, reason = "no service: it ends with the program")]
        under_way.push(tokio::spawn(async move { come_and_go(&client, &http, n).await }));
    }
    let all = join_all(under_way).await;
    let took = begun.elapsed();
    stop.store(true, Ordering::Relaxed);
    let _ = talk.join();
    let mut times: Vec<Duration> = all.into_iter().filter_map(|one| one.ok()?.ok()).collect();
    times.sort_unstable();
    let at = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)));
    let ms = |share| at(share).map(|time| (time.as_secs_f64() * 1e4).round() / 10.0);
    let asked = u64::from(rate * seconds);
    let per_second = (times.len() as f64 / took.as_secs_f64() * 10.0).round() / 10.0;
    Ok(json!({
        "asked": asked, "joined": times.len(), "per_second": per_second, "p50": ms(0.5), "p95": ms(0.95), "worst": ms(1.0),
    }))
}

async fn come_and_go(client: &VoiceClient<GrpcChannel>, http: &reqwest::Client, n: u64) -> anyhow::Result<Duration> {
    let (admitted, mut connected, began) = enter(client, http, n).await?;
    let took = tokio::task::spawn_blocking(move || {
        while began.elapsed() < PATIENCE {
            if connected.hear().is_some() {
                return Some(began.elapsed());
            }
        }
        None
    });
    let took = took.await?.context("nothing was heard")?;
    http.delete(&admitted.url).bearer_auth(&admitted.token).send().await?.error_for_status()?;
    Ok(took)
}

/// A client is admitted, posts its offer and connects; when it posted.
async fn enter(
    client: &VoiceClient<GrpcChannel>,
    http: &reqwest::Client,
    n: u64,
) -> anyhow::Result<(v1::AdmitResponse, Connected, Instant)> {
    let participant = v1::Participant { channel_id: ROOM, user_id: ROOM + n, session_id: format!("native-{n}") };
    let permissions = Some(v1::VoicePermissions { speak: true, listen: true, ..v1::VoicePermissions::default() });
    let request = v1::AdmitRequest { participant: Some(participant), guild_id: 1, permissions, ..Default::default() };
    let admitted = client.clone().admit(request).await?.into_inner();
    let bare = Bare::new(10_000 + n as u32);
    let offer = bare.offer(8);
    let began = Instant::now();
    let request = http.post(&admitted.url).bearer_auth(&admitted.token).header("content-type", "application/sdp");
    let answer = request.body(offer).send().await?.error_for_status()?.text().await?;
    let connected = tokio::task::spawn_blocking(move || bare.connect(&answer)).await?;
    Ok((admitted, connected, began))
}
