//! The stream of a gateway, from its hello to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clarion_proto::v1;
use clarion_proto::v1::attend_request::Request as Asked;
use clarion_proto::v1::presences_server::Presences;
use clarion_runtime::Host;
use clarion_storage::cache::Observed;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::actor::{Answer, Attendance, Command};
use crate::keeper;

/// How long a gateway may take to say who it is.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// Longest name of a gateway.
const NAME: usize = 128;

/// Takes gateways' streams.
pub(crate) struct Grpc {
    pub(crate) host: Host,
    pub(crate) actor: mpsc::Sender<Command>,
    pub(crate) cache: Arc<Observed>,
    pub(crate) queue: usize,
    pub(crate) streams: AtomicU64,
}

#[tonic::async_trait]
impl Presences for Grpc {
    type AttendStream = ReceiverStream<Answer>;

    async fn attend(
        &self,
        request: Request<Streaming<v1::AttendRequest>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        let mut requests = request.into_inner();
        let hello = tokio::time::timeout(HELLO_WITHIN, requests.message()).await;
        let hello = hello.map_err(|_| Status::deadline_exceeded("no hello"))??;
        let Some(Asked::Hello(v1::AttendHello { gateway })) = hello.and_then(|first| first.request) else {
            return Err(Status::invalid_argument("the first request is hello"));
        };
        if gateway.is_empty() || gateway.len() > NAME {
            return Err(Status::invalid_argument("not a gateway's name"));
        }
        // Without the cache it says everything again, which it does in any case.
        let found = keeper::found(&self.cache, self.host.instance(), &gateway).await.unwrap_or_default();
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        let (queue, answers) = mpsc::channel(self.queue.max(1));
        let ended = CancellationToken::new();
        let to = Attendance { queue, ended: ended.clone() };
        let join = Command::Join { stream, gateway: gateway.into(), to, found };
        self.actor.send(join).await.map_err(|_| Status::unavailable("stopping"))?;
        self.host.spawn("attendance", listen(stream, requests, self.actor.clone(), ended));
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

/// Hands on what a gateway says, as fast as the actor takes it.
async fn listen(
    stream: u64,
    mut requests: Streaming<v1::AttendRequest>,
    actor: mpsc::Sender<Command>,
    ended: CancellationToken,
) {
    while let Some(Ok(Some(request))) = ended.run_until_cancelled(requests.message()).await {
        let Some(request) = request.request else { continue };
        let heard = Command::Heard { stream, at: Instant::now(), request };
        if actor.send(heard).await.is_err() {
            return;
        }
    }
    // An actor that is gone has no streams.
    let _ = actor.send(Command::Left { stream }).await;
}
