//! The stream to a presence server: attended as long as the gateway works, and again whenever it breaks.
//!
//! It renews the lease of everything the gateway said by one heartbeat; a server that leaves a lease's heartbeats without
//! an answer is given up. Without a presence server the gateway serves on, and its clients see what was known last.

use std::time::{Duration, Instant};

use clarion_observability::log::{self, Fields};
use clarion_proto::v1;
use clarion_proto::v1::attend_request::Request;
use clarion_proto::v1::attend_response::Response;
use clarion_proto::v1::presences_client::PresencesClient;
use clarion_runtime::{Address, Peer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Requests that wait for the stream. A stream that takes no more is given up: everything is said again over another.
const REQUESTS: usize = 16_384;
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// Heartbeats in a lease.
const BEATS: u32 = 3;

/// What the hub hears of one of the presence servers.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Which one, by its number in the list.
    pub(crate) server: usize,
    pub(crate) what: What,
}

/// What there is to hear.
#[derive(Debug)]
pub(crate) enum What {
    /// It is attended: everything is to be said. The stream ends when the sender is dropped.
    Attended { requests: mpsc::Sender<v1::AttendRequest>, lease: Duration },
    /// What it tells.
    Told(Response),
    /// The stream is broken.
    Lost,
}

/// A presence server, and who hears of it.
pub(crate) struct Attendance {
    /// What this gateway is called.
    pub(crate) instance: String,
    /// The server's number in the list.
    pub(crate) server: usize,
    pub(crate) address: Address,
    pub(crate) peer: Peer,
    pub(crate) out: mpsc::Sender<Heard>,
}

/// Attends until nobody hears any more.
pub(crate) async fn attend(to: Attendance) {
    let mut delay = FIRST_DELAY;
    let mut attempts = 0;
    loop {
        let began = Instant::now();
        let why = tokio::select! {
            why = to.once(attempts) => why,
            () = to.out.closed() => return,
        };
        if !to.tell(What::Lost).await {
            return;
        }
        if began.elapsed() > LONGEST_DELAY {
            (delay, attempts) = (FIRST_DELAY, 0);
        }
        log::PEER_UNREACHABLE.emit(Fields::detail(format!("presence: {}: {why}", to.address)));
        attempts += 1;
        let mut chance = [0; 1];
        // Without chance, everybody waits equally long.
        let _ = getrandom::fill(&mut chance);
        tokio::select! {
            () = tokio::time::sleep(delay / 2 + delay * u32::from(chance[0]) / 256) => {}
            () = to.out.closed() => return,
        }
        delay = (delay * 2).min(LONGEST_DELAY);
    }
}

impl Attendance {
    /// `false`: nobody hears any more.
    async fn tell(&self, what: What) -> bool {
        self.out.send(Heard { server: self.server, what }).await.is_ok()
    }

    /// One stream, to its end; answers why it ended.
    async fn once(&self, attempts: u64) -> String {
        let (requests, waiting) = mpsc::channel(REQUESTS);
        let hello = Request::Hello(v1::AttendHello { gateway: self.instance.clone() });
        // There is room: nothing was said yet.
        let _ = requests.try_send(v1::AttendRequest { request: Some(hello) });
        let attended = PresencesClient::new(self.peer.clone()).attend(ReceiverStream::new(waiting)).await;
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
        if !self.tell(What::Attended { requests, lease }).await {
            return "stopping".to_owned();
        }
        log::PRESENCE_RECOVERED.emit(Fields { retry_count: Some(attempts), ..Fields::default() });
        let mut beat = tokio::time::interval(lease / BEATS);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Counted, not timed: where it is this gateway that hung, the server has answered all it was asked.
        let mut unanswered = 0;
        loop {
            tokio::select! {
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => {
                        unanswered = 0;
                        let Some(told) = answer.response else { continue };
                        if !self.tell(What::Told(told)).await {
                            return "stopping".to_owned();
                        }
                    }
                    Ok(None) => return "the stream ended".to_owned(),
                    Err(status) => return status.to_string(),
                },
                _ = beat.tick() => {
                    if unanswered == BEATS {
                        return "no sign of life for a lease".to_owned();
                    }
                    let Some(requests) = beating.upgrade() else { return "given up".to_owned() };
                    // A full queue is full of signs of life.
                    let _ = requests.try_send(v1::AttendRequest { request: Some(Request::Beat(true)) });
                    unanswered += 1;
                }
            }
        }
    }
}
