//! The streams to channel servers: one each, over which every key that the server owns is followed.

use std::collections::HashMap;

use clarion_observability::log::{self, Fields};
use clarion_proto::v1;
use clarion_proto::v1::channel_client::ChannelClient;
use clarion_proto::v1::follow_request::Request;
use clarion_runtime::{Address, Host, Peer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Requests that wait for a stream. One that takes no more is broken: all it was asked for is asked again.
const REQUESTS: usize = 16_384;

/// What a stream brings.
#[derive(Debug)]
pub(super) struct Brought {
    /// Over which stream.
    pub(super) stream: u64,
    /// `None`: it is broken.
    pub(super) response: Option<v1::FollowResponse>,
}

/// All open streams.
pub(super) struct Streams {
    host: Host,
    /// What the gateway is called.
    name: String,
    stop: CancellationToken,
    out: mpsc::Sender<Brought>,
    open: HashMap<Address, Stream>,
    last: u64,
}

struct Stream {
    id: u64,
    requests: mpsc::Sender<v1::FollowRequest>,
}

impl Streams {
    /// None yet. What they bring goes to `out`.
    pub(super) fn new(host: Host, name: String, stop: CancellationToken, out: mpsc::Sender<Brought>) -> Self {
        Self { host, name, stop, out, open: HashMap::new(), last: 0 }
    }

    /// The stream to a server, opened if need be.
    pub(super) fn to(&mut self, address: &Address, client: impl FnOnce() -> ChannelClient<Peer>) -> u64 {
        if let Some(stream) = self.open.get(address) {
            return stream.id;
        }
        self.last += 1;
        let (requests, waiting) = mpsc::channel(REQUESTS);
        let stream = Stream { id: self.last, requests };
        let (out, stop, id, client) = (self.out.clone(), self.stop.clone(), self.last, client());
        let detail = address.to_string();
        self.host.spawn("follow", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                why = pump(client, waiting, id, &out) => {
                    log::PEER_UNREACHABLE.emit(Fields::detail(format!("{detail}: {why}")));
                    // Without a hub there is nobody to follow again.
                    let _ = out.send(Brought { stream: id, response: None }).await;
                }
            }
        });
        let hello = Request::Hello(v1::FollowHello { gateway: self.name.clone() });
        // There is room: nothing else has been asked yet.
        let _ = stream.requests.try_send(v1::FollowRequest { request: Some(hello) });
        self.open.insert(address.clone(), stream);
        self.last
    }

    /// Asks something of a stream. False: it is gone or takes no more; it will report that it is broken.
    pub(super) fn ask(&mut self, stream: u64, request: Request) -> bool {
        let Some((address, open)) = self.open.iter().find(|(_, s)| s.id == stream) else { return false };
        let sent = open.requests.try_send(v1::FollowRequest { request: Some(request) }).is_ok();
        if !sent {
            // Without its sender the stream ends.
            let address = address.clone();
            self.open.remove(&address);
        }
        sent
    }

    /// The server at the other end.
    pub(super) fn address(&self, stream: u64) -> Option<&Address> {
        self.open.iter().find(|(_, s)| s.id == stream).map(|(address, _)| address)
    }

    /// A stream is broken.
    pub(super) fn close(&mut self, stream: u64) {
        self.open.retain(|_, s| s.id != stream);
    }
}

/// Brings what a server sends until the stream ends; answers why it did.
async fn pump(
    mut client: ChannelClient<Peer>,
    requests: mpsc::Receiver<v1::FollowRequest>,
    stream: u64,
    out: &mpsc::Sender<Brought>,
) -> String {
    let mut responses = match client.follow(ReceiverStream::new(requests)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return status.to_string(),
    };
    loop {
        match responses.message().await {
            Ok(Some(response)) => {
                if out.send(Brought { stream, response: Some(response) }).await.is_err() {
                    return "stopping".to_owned();
                }
            }
            Ok(None) => return "stream ended".to_owned(),
            Err(status) => return status.to_string(),
        }
    }
}
