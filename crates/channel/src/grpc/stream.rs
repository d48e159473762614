//! `Follow` beside the generated calls: its frames are encoded once, however many gateways follow.

use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes};
use clarion_proto::v1::channel_server::{ChannelServer, SERVICE_NAME};
use clarion_proto::v1::{self};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use prost::Message;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service as Calls, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};

use super::Api;
use crate::follow;
use crate::keys::Keys;

/// Largest request: a guild that is made with all its members.
const REQUEST_BYTES: usize = 64 << 20;

/// All calls of the channel server.
#[derive(Clone)]
pub(crate) struct Service {
    keys: Keys,
    unary: ChannelServer<Api>,
}

impl Service {
    pub(crate) fn new(keys: Keys) -> Self {
        let unary = ChannelServer::new(Api::new(keys.clone())).max_decoding_message_size(REQUEST_BYTES);
        Self { keys, unary }
    }
}

impl NamedService for Service {
    const NAME: &'static str = SERVICE_NAME;
}

impl Calls<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path().rsplit('/').next() == Some("Follow") {
            let follow = Follow(self.keys.clone());
            return Box::pin(async move { Ok(Grpc::new(Frames).streaming(follow, request).await) });
        }
        Calls::call(&mut self.unary, request)
    }
}

struct Follow(Keys);

impl StreamingService<v1::FollowRequest> for Follow {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<v1::FollowRequest>>) -> Self::Future {
        let outgoing = follow::serve(&self.0, request.into_inner());
        Box::pin(async move { Ok(Response::new(outgoing.map(Ok).boxed())) })
    }
}

/// Requests are decoded; responses are encoded already.
#[derive(Clone, Copy)]
struct Frames;

impl Codec for Frames {
    type Encode = Bytes;
    type Decode = v1::FollowRequest;
    type Encoder = Frames;
    type Decoder = Frames;

    fn encoder(&mut self) -> Frames {
        Frames
    }

    fn decoder(&mut self) -> Frames {
        Frames
    }
}

impl Encoder for Frames {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, frame: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(frame);
        Ok(())
    }
}

impl Decoder for Frames {
    type Item = v1::FollowRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<v1::FollowRequest>, Status> {
        let request = v1::FollowRequest::decode(buffer);
        request.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
