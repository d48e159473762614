//! The table of slots, followed: one router tells who owns what, and another one when that one falls silent.

use std::time::Duration;

use clarion_model::key::Slot;
use clarion_observability::log::{self, Fields};
use clarion_proto::v1;
use clarion_proto::v1::router_client::RouterClient;
use clarion_runtime::Peer;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{Directory, chance};

/// A router that says nothing for so long is not there: it says something once a second.
const SILENCE: Duration = Duration::from_secs(3);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

impl Directory {
    /// Follows the table until `stop`. Slots that have another owner are told.
    pub(crate) async fn follow(self, moved: mpsc::Sender<Vec<Slot>>, stop: CancellationToken) {
        let mut delay = FIRST_DELAY;
        let following = async {
            loop {
                let routers: Vec<_> = self.0.routers.in_order().collect();
                for (router, client) in routers {
                    let mut heard = false;
                    let Err(status) = self.follow_one(client, router, &moved, &mut heard).await else { return };
                    self.0.is_followed.send_replace(false);
                    self.0.routers.pass_over(router);
                    let detail = format!("router: {}", status.message());
                    log::PEER_UNREACHABLE.emit(Fields::detail(detail));
                    if heard {
                        delay = FIRST_DELAY;
                        break;
                    }
                }
                tokio::time::sleep(delay.mul_f64(0.5 + 0.5 * chance())).await;
                delay = (delay * 2).min(LONGEST_DELAY);
            }
        };
        let _ = stop.run_until_cancelled(following).await;
    }

    /// One stream to its end. `Ok`: nobody wants to know any more.
    async fn follow_one(
        &self,
        mut client: RouterClient<Peer>,
        router: usize,
        moved: &mpsc::Sender<Vec<Slot>>,
        heard: &mut bool,
    ) -> Result<(), Status> {
        let silent = |_| Status::deadline_exceeded("it says nothing");
        let mut changes =
            timeout(SILENCE, client.follow_slots(v1::FollowSlotsRequest {})).await.map_err(silent)??.into_inner();
        loop {
            let message = timeout(SILENCE, changes.message()).await.map_err(silent)??;
            let Some(changed) = message else { return Err(Status::unavailable("the stream ended")) };
            if !std::mem::replace(heard, true) {
                self.0.routers.prefer(router);
            }
            let slots = self.table_mut().apply(&changed);
            self.0.is_followed.send_replace(true);
            self.0.changed.send_modify(|n| *n += 1);
            if !slots.is_empty() && moved.send(slots).await.is_err() {
                return Ok(());
            }
        }
    }
}
