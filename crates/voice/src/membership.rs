//! A voice server as a member of the cluster: the router knows where it is, how busy it is, and when it drains.

use std::time::Duration;

use clarion_observability::log::{self, Fields};
use clarion_proto::v1;
use clarion_proto::v1::join_request::Request;
use clarion_proto::v1::router_client::RouterClient;
use clarion_proto::v1::voice_client::VoiceClient;
use clarion_proto::v1::voice_notice::Notice;
use clarion_runtime::{Address, Host};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

const AGAIN: Duration = Duration::from_millis(500);
/// How often a router is told how busy the server is, or that it lives: often enough for the shortest lease.
const REPORT: Duration = Duration::from_millis(500);
/// Signs of life in a lease.
const BEATS: u32 = 3;

/// The server, as others reach it.
#[derive(Debug, Clone)]
pub struct Membership {
    /// Where the routers answer.
    pub routers: Vec<Address>,
    /// Where its gRPC service answers.
    pub address: Address,
    /// The region that its rooms are in.
    pub region: String,
    /// The base URL of its HTTP endpoint.
    pub url: String,
}

impl Membership {
    /// Stays a member for as long as it is polled.
    pub async fn keep(self, host: Host) -> std::convert::Infallible {
        let (busy, load) = watch::channel(0.0);
        let joins = self.routers.iter().map(|router| join(&host, &self, router, load.clone()));
        tokio::join!(listen(&host, &self, &busy), futures_util::future::join_all(joins)).0
    }
}

/// Hears from the server itself how busy it is.
async fn listen(host: &Host, member: &Membership, busy: &watch::Sender<f64>) -> std::convert::Infallible {
    loop {
        let request = v1::AttendVoiceRequest { gateway: format!("{}.member", host.instance()) };
        // It is not yet there, or not any more; or somebody else was told too slowly.
        if let Ok(stream) = VoiceClient::new(host.peer(&member.address)).attend(request).await {
            let mut stream = stream.into_inner();
            while let Ok(Some(notice)) = stream.message().await {
                if let Some(Notice::Load(load)) = notice.notice {
                    busy.send_replace(load.utilization);
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Joins a router, and again whenever that stream breaks.
async fn join(
    host: &Host,
    member: &Membership,
    router: &Address,
    mut load: watch::Receiver<f64>,
) -> std::convert::Infallible {
    loop {
        let (requests, queue) = mpsc::channel(4);
        let hello = v1::JoinHello {
            instance: host.instance().to_owned(),
            kind: v1::MemberKind::Voice.into(),
            address: member.address.to_string(),
            voice: Some(v1::VoiceHello { region: member.region.clone(), url: member.url.clone() }),
        };
        // There is room: nothing was sent yet.
        let _ = requests.try_send(v1::JoinRequest { request: Some(Request::Hello(hello)) });
        let why = match RouterClient::new(host.peer(router)).join(ReceiverStream::new(queue)).await {
            Err(status) => status.to_string(),
            Ok(orders) => stay(host, orders.into_inner(), &requests, &mut load).await,
        };
        log::PEER_UNREACHABLE.emit(Fields::detail(format!("router: {why}")));
        tokio::time::sleep(AGAIN).await;
    }
}

async fn stay(
    host: &Host,
    mut orders: tonic::Streaming<v1::JoinResponse>,
    requests: &mpsc::Sender<v1::JoinRequest>,
    load: &mut watch::Receiver<f64>,
) -> String {
    let (draining, mut leaving) = (host.draining(), false);
    let mut report = tokio::time::interval(REPORT);
    report.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    load.mark_changed();
    loop {
        let told = tokio::select! {
            order = orders.message() => match order {
                Ok(Some(welcome)) if welcome.lease_ms > 0 => {
                    let lease = Duration::from_millis(welcome.lease_ms.into());
                    report = tokio::time::interval(REPORT.min(lease / BEATS));
                    continue;
                }
                Ok(Some(_)) => continue,
                Ok(None) => return "the stream ended".to_owned(),
                Err(status) => return status.to_string(),
            },
            () = draining.cancelled(), if !leaving => {
                leaving = true;
                Request::Leaving(true)
            }
            _ = report.tick() => {
                if load.has_changed().unwrap_or(false) {
                    Request::Voice(v1::VoiceReport { utilization: *load.borrow_and_update() })
                } else {
                    Request::Beat(true)
                }
            }
        };
        // A stream that takes no more is broken, and says so.
        let _ = requests.try_send(v1::JoinRequest { request: Some(told) });
    }
}
