//! The router's side of `router.proto`.

mod slots;

use std::pin::Pin;
use std::time::Duration;

use clarion_model::id::ChannelId;
use clarion_model::key::{Epoch, Key};
use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{Cached, RouterMetrics};
use clarion_observability::{Instrument, Remote, Span, span};
use clarion_proto as proto;
use clarion_proto::join_request::Request as Joining;
use clarion_proto::route_request::What;
use clarion_runtime::{Address, Host};
use clarion_storage::Stores;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::table::{Table, slot};

/// The service.
#[derive(Clone)]
pub(crate) struct Grpc {
    pub(crate) host: Host,
    pub(crate) stores: Stores,
    pub(crate) table: Table,
    pub(crate) metrics: RouterMetrics,
    pub(crate) owner_wait: Duration,
    pub(crate) lease: Duration,
}

#[tonic::async_trait]
impl proto::router_server::Router for Grpc {
    async fn route(&self, request: Request<proto::RouteRequest>) -> Result<Response<proto::RouteResponse>, Status> {
        let from = request.extensions().get::<Remote>().cloned().unwrap_or_default();
        let what = request.into_inner().what.ok_or_else(|| Status::invalid_argument("what"))?;
        let channel = match &what {
            What::ChannelId(id) => Some(ChannelId(*id)),
            What::Key(_) => None,
        };
        let span = channel.map_or_else(Span::none, |id| span::channel_route(Some(&from.trace), id, false));
        let answer = self.find(what).instrument(span.clone()).await;
        match &answer {
            Ok(found) => span::routed(&span, &found.server),
            Err(status) if status.code() == tonic::Code::NotFound => {}
            Err(_) => span::fail(&span, "no_owner"),
        }
        self.metrics.routes.with(Cached::No).increment(1);
        answer.map(Response::new)
    }

    type JoinStream = Pin<Box<dyn Stream<Item = Result<proto::JoinResponse, Status>> + Send>>;

    async fn join(
        &self,
        request: Request<Streaming<proto::JoinRequest>>,
    ) -> Result<Response<Self::JoinStream>, Status> {
        let mut inbound = request.into_inner();
        let Some(proto::JoinRequest { request: Some(Joining::Hello(hello)) }) = inbound.message().await? else {
            return Err(Status::invalid_argument("the first message is not hello"));
        };
        let address: Address = hello.address.parse().map_err(|_| Status::invalid_argument("address"))?;
        let kind = proto::MemberKind::try_from(hello.kind).unwrap_or_default();
        let (serial, mut orders) = self.table.join(&hello.instance, kind, address);
        match kind {
            proto::MemberKind::Voice => self.table.speaks(&hello.instance, hello.voice.clone().unwrap_or_default()),
            proto::MemberKind::Gateway => self.table.greet(&hello.instance),
            proto::MemberKind::Channel | proto::MemberKind::Unknown => {}
        }
        let member = |detail| Fields { detail: Some(format!("{} {detail}", hello.instance)), ..Fields::default() };
        log::MEMBER_JOINED.emit(member(kind.as_str_name().to_owned()));

        let (answers, stream) = tokio::sync::mpsc::channel(1);
        let welcome = proto::JoinResponse { lease_ms: self.lease.as_millis() as u32, ..Default::default() };
        // The queue is new and has room for it.
        let _ = answers.try_send(Ok(welcome));
        let (table, instance, draining) = (self.table.clone(), hello.instance.clone(), self.host.draining());
        self.host.spawn("member", async move {
            loop {
                tokio::select! {
                    message = inbound.message() => match message {
                        Ok(Some(message)) => {
                            table.heard(&instance);
                            reported(&table, &instance, message);
                        }
                        Ok(None) | Err(_) => break,
                    },
                    order = orders.recv() => {
                        let Some(order) = order else { break };
                        if answers.send(Ok(order)).await.is_err() { break }
                    }
                    () = draining.cancelled() => break,
                }
            }
            table.gone(&instance, serial);
            log::MEMBER_LEFT.emit(Fields { detail: Some(instance), ..Fields::default() });
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    type FollowSlotsStream = Pin<Box<dyn Stream<Item = Result<proto::SlotsChanged, Status>> + Send>>;

    async fn follow_slots(
        &self,
        _: Request<proto::FollowSlotsRequest>,
    ) -> Result<Response<Self::FollowSlotsStream>, Status> {
        let (changes, stream) = tokio::sync::mpsc::channel(1);
        self.host.spawn("slots", slots::tell(self.table.clone(), changes, self.host.draining()));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn list_members(
        &self,
        _: Request<proto::ListMembersRequest>,
    ) -> Result<Response<proto::ListMembersResponse>, Status> {
        Ok(Response::new(proto::ListMembersResponse { members: self.table.all_members() }))
    }

    async fn place_voice(
        &self,
        request: Request<proto::PlaceVoiceRequest>,
    ) -> Result<Response<proto::VoiceServer>, Status> {
        let from = request.extensions().get::<Remote>().cloned().unwrap_or_default();
        let request = request.into_inner();
        let span = span::voice_place(&from, ChannelId(request.channel_id));
        let placed = self.table.place_voice(ChannelId(request.channel_id), &request.region);
        match placed {
            Some(server) => {
                span::routed(&span, &server.instance);
                Ok(Response::new(server))
            }
            None => {
                span::fail(&span, "no_voice_server");
                Err(Status::unavailable("there is no voice server"))
            }
        }
    }
}

impl Grpc {
    async fn find(&self, what: What) -> Result<proto::RouteResponse, Status> {
        let key = match what {
            What::ChannelId(id) => self
                .stores
                .routes
                .key_of(ChannelId(id))
                .await
                .map_err(|_| Status::unavailable("the store does not answer"))?
                .ok_or_else(|| Status::not_found("no such channel"))?,
            What::Key(key) => Key::try_from(key).map_err(|_| Status::invalid_argument("key"))?,
        };
        let owner = self.table.owner_within(key.slot(), self.owner_wait).await;
        let owner = owner.ok_or_else(|| Status::unavailable("the slot has no owner just now"))?;
        Ok(proto::RouteResponse {
            key: Some(key.into()),
            slot: u32::from(key.slot().0),
            epoch: owner.epoch.0,
            server: owner.server,
            address: owner.address.to_string(),
        })
    }
}

fn reported(table: &Table, instance: &str, message: proto::JoinRequest) {
    match message.request {
        Some(Joining::Held(held)) => {
            table.held(instance, held.slots.into_iter().map(|s| (slot(s.slot), Epoch(s.epoch))));
        }
        Some(Joining::Refused(refused)) => table.refused(instance, refused.slots.into_iter().map(slot)),
        Some(Joining::Leaving(true)) => table.leaving(instance),
        Some(Joining::Voice(report)) => table.reported(instance, report),
        Some(Joining::Rooms(rooms)) => table.rooms(instance, rooms),
        Some(Joining::Leaving(false) | Joining::Hello(_) | Joining::Beat(_)) | None => {}
    }
}
