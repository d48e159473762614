//! The routers: the one that answered last is asked first, the next one when it takes its time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clarion_proto::v1;
use clarion_proto::v1::router_client::RouterClient;
use clarion_runtime::{Address, Host, Peer};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tonic::{Code, Status};

/// How long a router may think before another one is asked, too.
const NEXT_AFTER: Duration = Duration::from_millis(300);
/// How long they may all take. A router waits a while itself for a slot that has no owner.
const PATIENCE: Duration = Duration::from_secs(2);

/// All routers.
pub(super) struct Routers {
    clients: Vec<RouterClient<Peer>>,
    /// The one that answered last.
    preferred: AtomicUsize,
}

impl Routers {
    pub(super) fn new(host: &Host, routers: &[Address]) -> Self {
        let clients = routers.iter().map(|address| RouterClient::new(host.peer(address))).collect();
        Self { clients, preferred: AtomicUsize::new(0) }
    }

    /// The routers, the one first that answered last.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (usize, RouterClient<Peer>)> {
        let (count, first) = (self.clients.len(), self.preferred.load(Ordering::Relaxed));
        (0..count).map(move |n| (first + n) % count).map(|n| (n, self.clients[n].clone()))
    }

    /// A router answers.
    pub(super) fn prefer(&self, router: usize) {
        self.preferred.store(router, Ordering::Relaxed);
    }

    /// A router does not answer: another one is asked first.
    pub(super) fn pass_over(&self, router: usize) {
        let next = (router + 1) % self.clients.len().max(1);
        // If another one has answered meanwhile, that one stays the first.
        let _ = self.preferred.compare_exchange(router, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks who owns something: the first answer counts.
    pub(super) async fn route(&self, request: v1::RouteRequest) -> Result<v1::RouteResponse, Status> {
        let asked = self.in_order().enumerate().map(|(turn, (router, mut client))| async move {
            tokio::time::sleep(NEXT_AFTER * turn as u32).await;
            (router, client.route(request).await)
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let answered = async {
            let mut last = Status::unavailable("there is no router");
            while let Some((router, answer)) = asked.next().await {
                match answer {
                    Ok(answer) => {
                        self.prefer(router);
                        return Ok(answer.into_inner());
                    }
                    // It is known that there is nothing to be found.
                    Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => {
                        return Err(status);
                    }
                    Err(status) => last = status,
                }
            }
            Err(last)
        };
        let late = |_| Err(Status::deadline_exceeded("no router answers"));
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or_else(late)
    }
}
