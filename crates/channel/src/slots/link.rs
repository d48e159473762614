//! The stream to one router: says what is held, hears orders, and is opened again whenever it breaks.

use std::future::pending;
use std::time::Duration;

use clarion_model::key::Slot;
use clarion_observability::{Fields, log};
use clarion_proto::v1::join_request::Request;
use clarion_proto::v1::router_client::RouterClient;
use clarion_proto::v1::{JoinHello, JoinRequest, JoinResponse, MemberKind, SlotEpoch, SlotsHeld, SlotsRefused};
use clarion_runtime::{Address, Peer};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Hand, jitter};

/// Reports that may wait to be sent. What has changed meanwhile is said in one when there is room.
const QUEUE: usize = 4;
/// How often a sign of life is given before the router has said how often it wants one.
const BEAT: Duration = Duration::from_millis(500);
/// Signs of life in a lease.
const BEATS: u32 = 3;
/// How long the router may take to hear the last report.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long the router may take to answer at all.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY_LEAST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(1);

/// The way to one router.
pub(super) struct Link<'a> {
    hand: &'a Hand,
    router: Address,
    /// The drain is over.
    drained: watch::Receiver<bool>,
}

/// What has to be said.
struct Due {
    leaving: bool,
    held: bool,
    beat: bool,
    refused: Vec<Slot>,
}

/// Why a stream ended.
enum End {
    /// All slots were handed over, or the time for it is over.
    Drained,
    /// It broke.
    Broken(Status),
}

impl<'a> Link<'a> {
    pub(super) fn new(hand: &'a Hand, router: Address, drained: watch::Receiver<bool>) -> Self {
        Self { hand, router, drained }
    }

    /// Keeps a stream to the router until the drain is over, or the router is away while it goes on.
    pub(super) async fn run(self) {
        let draining = self.hand.keys().host().draining();
        let mut wait = RETRY_LEAST;
        loop {
            let joined = Instant::now();
            match self.stay().await {
                End::Drained => return,
                End::Broken(_) if draining.is_cancelled() => return,
                End::Broken(status) => {
                    if joined.elapsed() > RETRY_MOST {
                        wait = RETRY_LEAST;
                    }
                    let error = log::ErrorInfo { kind: "router", detail: status.message().to_owned() };
                    let detail = Some(self.router.to_string());
                    log::PEER_UNREACHABLE.emit(Fields { error: Some(error), detail, ..Fields::default() });
                }
            }
            let _ = draining.run_until_cancelled(sleep(wait + jitter(wait))).await;
            wait = (wait * 2).min(RETRY_MOST);
        }
    }

    /// One stream.
    async fn stay(&self) -> End {
        let keys = self.hand.keys();
        self.hand.drop_fenced().await;
        let mut changes = keys.held_changes();
        let (reports, queue) = mpsc::channel(QUEUE);
        // The queue is new and has room for these.
        let _ = reports.try_send(request(Request::Hello(self.hello())));
        let _ = reports.try_send(self.held());
        let mut client = RouterClient::new(keys.host().peer(&self.router));
        let mut orders = match join(&mut client, queue).await {
            Ok(orders) => orders,
            Err(status) => return End::Broken(status),
        };
        let (draining, mut drained) = (keys.host().draining(), self.drained.clone());
        let mut due = Due { leaving: false, held: false, beat: false, refused: Vec::new() };
        let (mut beat, mut is_leaving) = (beats(BEAT), false);
        // At most one; the next one is read when it is carried out.
        let mut obeying: Option<BoxFuture<'_, Vec<Slot>>> = None;
        let end = loop {
            let is_free = obeying.is_none();
            let obeyed = async {
                match obeying.as_mut() {
                    Some(order) => order.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                order = orders.message(), if is_free => match order {
                    Ok(Some(order)) => {
                        if order.lease_ms > 0 {
                            beat = beats(Duration::from_millis(order.lease_ms.into()) / BEATS);
                        }
                        obeying = Some(self.hand.obey(order).boxed());
                    }
                    Ok(None) => break End::Broken(Status::unavailable("the router closed the stream")),
                    Err(status) => break End::Broken(status),
                },
                refused = obeyed => {
                    obeying = None;
                    due.refused.extend(refused);
                }
                _ = changes.changed() => due.held = true,
                _ = beat.tick() => due.beat = true,
                () = draining.cancelled(), if !is_leaving => (is_leaving, due.leaving) = (true, true),
                // Nothing new comes after it.
                _ = drained.wait_for(|drained| *drained), if !due.any() => break End::Drained,
                room = reports.reserve(), if due.any() => match room {
                    Ok(room) => room.send(self.next(&mut due)),
                    Err(_) => break End::Broken(Status::unavailable("the router does not listen")),
                }
            }
        };
        if let Some(order) = obeying {
            // What was begun is finished: half of it would be told nobody.
            order.await;
        }
        if matches!(end, End::Drained) {
            // What is dropped now would be cut off; the router ends the stream when it has heard everything.
            let _ = reports.send(self.held()).await;
            drop(reports);
            let _ = timeout(FAREWELL, async { while let Ok(Some(_)) = orders.message().await {} }).await;
        }
        end
    }

    /// What is to be said first.
    fn next(&self, due: &mut Due) -> JoinRequest {
        if std::mem::take(&mut due.leaving) {
            return request(Request::Leaving(true));
        }
        if std::mem::take(&mut due.held) {
            return self.held();
        }
        if !due.refused.is_empty() {
            let slots = std::mem::take(&mut due.refused).into_iter().map(|slot| slot.0.into()).collect();
            return request(Request::Refused(SlotsRefused { slots }));
        }
        due.beat = false;
        request(Request::Beat(true))
    }

    fn hello(&self) -> JoinHello {
        JoinHello {
            instance: self.hand.keys().host().instance().to_owned(),
            kind: MemberKind::Channel.into(),
            address: self.hand.address().to_string(),
            voice: None,
        }
    }

    fn held(&self) -> JoinRequest {
        let slots = self.hand.keys().held().into_iter();
        let slots = slots.map(|(slot, epoch)| SlotEpoch { slot: slot.0.into(), epoch: epoch.0 }).collect();
        request(Request::Held(SlotsHeld { slots }))
    }
}

impl Due {
    fn any(&self) -> bool {
        self.leaving || self.held || self.beat || !self.refused.is_empty()
    }
}

fn beats(every: Duration) -> Interval {
    let mut beat = interval(every.max(Duration::from_millis(10)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

async fn join(
    client: &mut RouterClient<Peer>,
    queue: mpsc::Receiver<JoinRequest>,
) -> Result<Streaming<JoinResponse>, Status> {
    match timeout(PATIENCE, client.join(ReceiverStream::new(queue))).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Status::deadline_exceeded("the router does not answer")),
    }
}

fn request(request: Request) -> JoinRequest {
    JoinRequest { request: Some(request) }
}
