//! The stream to the presence server: attended as long as the gateway works, and again whenever it breaks.
//!
//! It renews the lease of everything the gateway said by one heartbeat. Without a presence server the gateway serves on,
//! and its clients see what was known last.

use std::time::{Duration, Instant};

use clarion_observability::log::{self, Fields};
use clarion_observability::metric::GatewayMetrics;
use clarion_proto::v1;
use clarion_proto::v1::attend_request::Request;
use clarion_proto::v1::attend_response::Response;
use clarion_proto::v1::presences_client::PresencesClient;
use clarion_runtime::Peer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Requests that wait for the stream. A stream that takes no more is given up: everything is said again over another.
const REQUESTS: usize = 16_384;
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// Heartbeats in a lease.
const BEATS: u32 = 3;

/// What the hub hears of the presence server.
#[derive(Debug)]
pub(crate) enum Heard {
    /// It is attended: everything is to be said. The stream ends when the sender is dropped.
    Attended { requests: mpsc::Sender<v1::AttendRequest>, lease: Duration },
    /// What it tells.
    Told(Response),
    /// The stream is broken.
    Lost,
}

/// Attends until nobody hears any more.
pub(crate) async fn attend(instance: String, server: Peer, metrics: GatewayMetrics, out: mpsc::Sender<Heard>) {
    let mut delay = FIRST_DELAY;
    let mut attempts = 0;
    loop {
        let began = Instant::now();
        let why = tokio::select! {
            why = once(&instance, server.clone(), &metrics, &out, attempts) => why,
            () = out.closed() => return,
        };
        metrics.presence_attended.set(0.0);
        if out.send(Heard::Lost).await.is_err() {
            return;
        }
        if began.elapsed() > LONGEST_DELAY {
            (delay, attempts) = (FIRST_DELAY, 0);
        }
        log::PEER_UNREACHABLE.emit(Fields::detail(format!("presence: {why}")));
        attempts += 1;
        let mut chance = [0; 1];
        // Without chance, everybody waits equally long.
        let _ = getrandom::fill(&mut chance);
        tokio::select! {
            () = tokio::time::sleep(delay / 2 + delay * u32::from(chance[0]) / 256) => {}
            () = out.closed() => return,
        }
        delay = (delay * 2).min(LONGEST_DELAY);
    }
}

/// One stream, to its end; answers why it ended.
async fn once(
    instance: &str,
    server: Peer,
    metrics: &GatewayMetrics,
    out: &mpsc::Sender<Heard>,
    attempts: u64,
) -> String {
    let (requests, waiting) = mpsc::channel(REQUESTS);
    let hello = Request::Hello(v1::AttendHello { gateway: instance.to_owned() });
    // There is room: nothing was said yet.
    let _ = requests.try_send(v1::AttendRequest { request: Some(hello) });
    let attended = PresencesClient::new(server).attend(ReceiverStream::new(waiting)).await;
    let mut answers = match attended {
        Ok(answers) => answers.into_inner(),
        Err(status) => return status.to_string(),
    };
    let welcome = match answers.message().await {
        Ok(Some(v1::AttendResponse { response: Some(Response::Welcome(welcome)) })) => welcome,
        Ok(_) => return "no welcome".to_owned(),
        Err(status) => return status.to_string(),
    };
    let lease = Duration::from_millis(welcome.lease_ms.max(1).into());
    let beating = requests.downgrade();
    if out.send(Heard::Attended { requests, lease }).await.is_err() {
        return "stopping".to_owned();
    }
    metrics.presence_attended.set(1.0);
    log::PRESENCE_RECOVERED.emit(Fields { retry_count: Some(attempts), ..Fields::default() });
    let mut beat = tokio::time::interval(lease / BEATS);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            answer = answers.message() => match answer {
                Ok(Some(answer)) => {
                    let Some(told) = answer.response else { continue };
                    if out.send(Heard::Told(told)).await.is_err() {
                        return "stopping".to_owned();
                    }
                }
                Ok(None) => return "the stream ended".to_owned(),
                Err(status) => return status.to_string(),
            },
            _ = beat.tick() => {
                let Some(requests) = beating.upgrade() else { return "given up".to_owned() };
                // A full queue is full of signs of life.
                let _ = requests.try_send(v1::AttendRequest { request: Some(Request::Beat(true)) });
            }
        }
    }
}
