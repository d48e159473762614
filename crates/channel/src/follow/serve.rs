//! One gateway's stream, from its first request to its end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use clarion_model::key::{Key, Position};
use clarion_observability::metric::GaugeGuard;
use clarion_proto::v1::follow_request::Request;
use clarion_proto::v1::{self};
use futures_util::{Stream as Frames, StreamExt};
use std::collections::BTreeSet;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Stream, moved};
use crate::actor::Message;
use crate::keys::Keys;

/// What goes out to a follower; ends when it is cut off or the server drains.
pub(crate) struct Outgoing {
    frames: ReceiverStream<Bytes>,
    cut_off: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Ends the stream when nobody reads it any more.
    _read: DropGuard,
    _counted: GaugeGuard,
}

impl Frames for Outgoing {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.cut_off.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        self.frames.poll_next_unpin(cx)
    }
}

/// Serves a follower's requests until it goes away or is cut off.
pub(crate) fn serve<R, E>(keys: &Keys, requests: R) -> Outgoing
where
    R: Frames<Item = Result<v1::FollowRequest, E>> + Send + Unpin + 'static,
    E: Send + 'static,
{
    let (queue, frames) = mpsc::channel(keys.config().follower_queue.max(1));
    let cut_off = keys.streams_end().child_token();
    let stream = Stream { id: keys.next_id(), gateway: Arc::from(""), queue, cut_off: cut_off.clone() };
    let serving = Serving { keys: keys.clone(), stream, followed: BTreeSet::new() };
    keys.host().spawn("follower", serving.run(requests));
    Outgoing {
        frames: ReceiverStream::new(frames),
        cut_off: Box::pin(cut_off.clone().cancelled_owned()),
        _read: cut_off.drop_guard(),
        _counted: keys.metrics().follow_streams.hold(),
    }
}

struct Serving {
    keys: Keys,
    stream: Stream,
    followed: BTreeSet<Key>,
}

impl Serving {
    async fn run<R, E>(mut self, mut requests: R)
    where
        R: Frames<Item = Result<v1::FollowRequest, E>> + Unpin,
    {
        let cut_off: CancellationToken = self.stream.cut_off.clone();
        while let Some(Some(Ok(request))) = cut_off.run_until_cancelled(requests.next()).await {
            self.handle(request).await;
        }
        cut_off.cancel();
        for key in std::mem::take(&mut self.followed) {
            self.keys.tell_active(key, Message::Unfollow { stream: self.stream.id }).await;
        }
    }

    async fn handle(&mut self, request: v1::FollowRequest) {
        match request.request {
            Some(Request::Follow(follow)) => {
                let Some(Ok(key)) = follow.key.map(Key::try_from) else { return };
                self.follow(key, follow.after.map(Position::from)).await;
            }
            Some(Request::Unfollow(key)) => {
                let Ok(key) = Key::try_from(key) else { return };
                if self.followed.remove(&key) {
                    self.keys.tell_active(key, Message::Unfollow { stream: self.stream.id }).await;
                }
            }
            Some(Request::Hello(hello)) => self.stream.gateway = hello.gateway.into(),
            None => {}
        }
    }

    async fn follow(&mut self, key: Key, after: Option<Position>) {
        let message = Message::Follow { stream: self.stream.clone(), after };
        if self.keys.tell(key, message).await {
            self.followed.insert(key);
        } else {
            self.stream.send(moved(key)).await;
        }
    }
}
