//! Membership: the router says which slots to take and to release, and is told what is held and what was lost.
//!
//! Without the router nothing moves, and what is held is served on: the store, not the router, decides who may write.

use std::time::Duration;

use clarion_model::key::{SLOTS, Slot};
use clarion_observability::{Fields, log};
use clarion_proto::v1::join_request::Request;
use clarion_proto::v1::router_client::RouterClient;
use clarion_proto::v1::{JoinHello, JoinRequest, JoinResponse, MemberKind, SlotEpoch, SlotsHeld, SlotsLost};
use clarion_runtime::{Address, Peer};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::keys::Keys;

/// Reports that may wait to be sent.
const QUEUE: usize = 64;
/// How long released slots may take to finish what is on its way. The store keeps later owners safe from the rest.
const RELEASE: Duration = Duration::from_secs(2);
/// How long a store that could not take slots is left alone.
const RAISE_AGAIN: Duration = Duration::from_millis(500);
/// How long the router may take to hear the last report.
const FAREWELL: Duration = Duration::from_secs(1);
const RETRY_LEAST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(2);

/// This server as a member.
pub(crate) struct Membership {
    keys: Keys,
    router: Address,
    /// Where others reach this server.
    address: Address,
    /// Slots that turned out to have another owner.
    fenced: mpsc::Receiver<Slot>,
}

/// Why a stream to the router ended.
enum End {
    /// All slots were handed over, or the time for it is over.
    Drained,
    /// It broke.
    Broken(Status),
}

impl Membership {
    pub(crate) fn new(keys: Keys, router: Address, address: Address, fenced: mpsc::Receiver<Slot>) -> Self {
        Self { keys, router, address, fenced }
    }

    /// Stays a member until the drain is over; no slot is held after it.
    pub(crate) async fn run(mut self) {
        let draining = self.keys.host().draining();
        let mut wait = RETRY_LEAST;
        loop {
            let joined = Instant::now();
            match self.stay().await {
                End::Drained => break,
                End::Broken(_) if draining.is_cancelled() => break,
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
        let left: Vec<Slot> = self.keys.held().into_iter().map(|(slot, _)| slot).collect();
        self.release(&left).await;
    }

    /// One stream to the router.
    async fn stay(&mut self) -> End {
        let (reports, queue) = mpsc::channel(QUEUE);
        self.drop_fenced().await;
        let hello = JoinHello {
            instance: self.keys.host().instance().to_owned(),
            kind: MemberKind::Channel.into(),
            address: self.address.to_string(),
        };
        // The queue is new and has room for these.
        let _ = reports.try_send(request(Request::Hello(hello)));
        let _ = reports.try_send(self.held());
        let mut client = RouterClient::new(self.keys.host().peer(&self.router));
        let mut answers = match join(&mut client, queue).await {
            Ok(answers) => answers,
            Err(status) => return End::Broken(status),
        };
        let (draining, mut deadline) = (self.keys.host().draining(), None);
        loop {
            if deadline.is_some() && self.keys.held().is_empty() {
                // What is dropped now would be cut off; the router ends the stream when it has heard everything.
                drop(reports);
                let _ = timeout(FAREWELL, async { while let Ok(Some(_)) = answers.message().await {} }).await;
                return End::Drained;
            }
            let limit = deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => self.obey(answer, &reports).await,
                    Ok(None) => return End::Broken(Status::unavailable("the router closed the stream")),
                    Err(status) => return End::Broken(status),
                },
                Some(slot) = self.fenced.recv() => {
                    // It may have been given back in the meantime.
                    if !self.keys.held().iter().any(|(held, _)| *held == slot) {
                        report(&reports, lost(&[slot])).await;
                    }
                }
                () = draining.cancelled(), if deadline.is_none() => {
                    deadline = Some(Instant::now() + Duration::from_secs(self.keys.config().drain_s));
                    report(&reports, request(Request::Leaving(true))).await;
                }
                () = tokio::time::sleep_until(limit), if deadline.is_some() => return End::Drained,
            }
        }
    }

    async fn obey(&self, answer: JoinResponse, reports: &mpsc::Sender<JoinRequest>) {
        let release = slots(&answer.release);
        if !release.is_empty() {
            self.release(&release).await;
            report(reports, lost(&release)).await;
        }
        let asked = slots(&answer.take);
        if asked.is_empty() {
            return;
        }
        let held: Vec<Slot> = self.keys.held().into_iter().map(|(slot, _)| slot).collect();
        let new: Vec<Slot> = asked.iter().copied().filter(|slot| !held.contains(slot)).collect();
        if self.take(&new).await {
            report(reports, self.held()).await;
        } else {
            report(reports, lost(&new)).await;
        }
    }

    /// Makes slots this server's own.
    async fn take(&self, slots: &[Slot]) -> bool {
        if slots.is_empty() {
            return true;
        }
        let raised = self.keys.stores().slots.raise(slots, self.keys.host().instance()).await;
        let epochs = match raised {
            Ok(epochs) => epochs,
            Err(error) => {
                log::SLOT_LOST.emit(Fields::error(error.error_type(), &error));
                // The router asks again at once; the store is given time.
                tokio::time::sleep(RAISE_AGAIN + jitter(RAISE_AGAIN)).await;
                return false;
            }
        };
        for (slot, epoch) in slots.iter().zip(epochs) {
            self.keys.hold(*slot, epoch);
        }
        self.keys.metrics().takeovers.increment(slots.len() as u64);
        log::SLOT_TAKEN.emit(Fields::detail(describe(slots)));
        true
    }

    async fn release(&self, slots: &[Slot]) {
        if slots.is_empty() {
            return;
        }
        let _ = timeout(RELEASE, self.keys.release(slots)).await;
        log::SLOT_LOST.emit(Fields::detail(describe(slots)));
    }

    /// While nobody could tell, slots may have gone to others.
    async fn drop_fenced(&self) {
        for (slot, epoch) in self.keys.held() {
            if let Ok(record) = self.keys.stores().slots.get(slot).await
                && record.epoch > epoch
            {
                self.keys.fenced(slot, epoch);
            }
        }
    }

    fn held(&self) -> JoinRequest {
        let slots = self.keys.held().into_iter();
        let slots = slots.map(|(slot, epoch)| SlotEpoch { slot: slot.0.into(), epoch: epoch.0 }).collect();
        request(Request::Held(SlotsHeld { slots }))
    }
}

async fn join(
    client: &mut RouterClient<Peer>,
    queue: mpsc::Receiver<JoinRequest>,
) -> Result<Streaming<JoinResponse>, Status> {
    let deadline = Instant::now() + RETRY_MOST;
    match timeout_at(deadline, client.join(ReceiverStream::new(queue))).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Status::deadline_exceeded("the router does not answer")),
    }
}

/// A report that cannot be sent is made again when the stream is.
async fn report(reports: &mpsc::Sender<JoinRequest>, report: JoinRequest) {
    let _ = reports.send(report).await;
}

fn request(request: Request) -> JoinRequest {
    JoinRequest { request: Some(request) }
}

fn lost(slots: &[Slot]) -> JoinRequest {
    request(Request::Lost(SlotsLost { slots: slots.iter().map(|slot| slot.0.into()).collect() }))
}

fn slots(numbers: &[u32]) -> Vec<Slot> {
    numbers.iter().filter_map(|number| u16::try_from(*number).ok()).filter(|n| *n < SLOTS).map(Slot).collect()
}

/// Slots as ranges, for people.
fn describe(slots: &[Slot]) -> String {
    let mut numbers: Vec<u16> = slots.iter().map(|slot| slot.0).collect();
    numbers.sort_unstable();
    let ranges = numbers.chunk_by(|a, b| a + 1 == *b).map(|range| match range {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    ranges.collect::<Vec<_>>().join(",")
}

/// Up to half as long again, so that many do not come back at once.
fn jitter(wait: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness there is just no jitter.
    let _ = getrandom::fill(&mut random);
    wait * u32::from(random[0]) / 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_described_as_ranges() {
        let slots = [5, 1, 2, 3, 9, 10].map(Slot);
        assert_eq!(describe(&slots), "1-3,5,9-10");
    }
}
