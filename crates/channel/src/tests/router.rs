//! A router for tests: gives slots to whom the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::bench::PATIENCE;
use clarion_model::key::SLOTS;
use clarion_proto::v1::join_request::Request as Report;
use clarion_proto::v1::router_server;
use clarion_proto::v1::{
    FollowSlotsRequest, JoinRequest, JoinResponse, ListMembersRequest, ListMembersResponse, PlaceVoiceRequest,
    RouteRequest, RouteResponse, SlotsChanged, VoiceServer,
};
use clarion_runtime::Host;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

/// Which slots each instance says it holds.
type Held = BTreeMap<String, BTreeSet<u32>>;

#[derive(Clone)]
pub(super) struct TestRouter(Arc<State>);

struct State {
    members: Mutex<BTreeMap<String, mpsc::Sender<JoinResponse>>>,
    held: watch::Sender<Held>,
}

impl TestRouter {
    pub(super) fn new() -> Self {
        Self(Arc::new(State { members: Mutex::default(), held: watch::channel(Held::new()).0 }))
    }

    pub(super) async fn give_all(&self, instance: &str) {
        self.order(instance, JoinResponse { take: (0..SLOTS.into()).collect(), ..JoinResponse::default() }).await;
        self.until(|held| held.get(instance).is_some_and(|slots| slots.len() == usize::from(SLOTS))).await;
    }

    pub(super) async fn release_all(&self, instance: &str) {
        self.order(instance, JoinResponse { release: (0..SLOTS.into()).collect(), ..JoinResponse::default() }).await;
        self.until(|held| held.get(instance).is_none_or(BTreeSet::is_empty)).await;
    }

    /// Waits until the reports are so.
    pub(super) async fn until(&self, wanted: impl FnMut(&Held) -> bool) {
        let mut held = self.0.held.subscribe();
        match tokio::time::timeout(PATIENCE, held.wait_for(wanted)).await {
            Ok(held) => drop(held.unwrap()),
            Err(_) => panic!("not reported: {:?}", self.counts()),
        };
    }

    /// How many slots each says it holds.
    fn counts(&self) -> BTreeMap<String, usize> {
        self.0.held.borrow().iter().map(|(instance, slots)| (instance.clone(), slots.len())).collect()
    }

    async fn order(&self, instance: &str, order: JoinResponse) {
        self.until(|held| held.contains_key(instance)).await;
        let member = self.0.members.lock().unwrap()[instance].clone();
        member.send(order).await.unwrap();
    }
}

/// The router as a service.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) router: TestRouter,
    pub(super) host: Host,
}

#[async_trait]
impl router_server::Router for Served {
    type FollowSlotsStream = BoxStream<SlotsChanged>;

    async fn follow_slots(&self, _: Request<FollowSlotsRequest>) -> Result<Response<Self::FollowSlotsStream>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    type JoinStream = BoxStream<JoinResponse>;

    async fn route(&self, _: Request<RouteRequest>) -> Result<Response<RouteResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn place_voice(&self, _: Request<PlaceVoiceRequest>) -> Result<Response<VoiceServer>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn list_members(&self, _: Request<ListMembersRequest>) -> Result<Response<ListMembersResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn join(&self, request: Request<Streaming<JoinRequest>>) -> Result<Response<Self::JoinStream>, Status> {
        let (orders, queue) = mpsc::channel(16);
        let (state, mut reports) = (self.router.0.clone(), request.into_inner());
        let ended = self.host.draining();
        self.host.spawn("member", async move {
            let mut instance = String::new();
            while let Some(Ok(Some(report))) = ended.run_until_cancelled(reports.message()).await {
                match report.request {
                    Some(Report::Hello(hello)) => {
                        instance = hello.instance;
                        state.members.lock().unwrap().insert(instance.clone(), orders.clone());
                    }
                    Some(Report::Held(held)) => state.held.send_modify(|all| {
                        all.insert(instance.clone(), held.slots.iter().map(|slot| slot.slot).collect());
                    }),
                    Some(Report::Refused(_) | Report::Beat(_) | Report::Voice(_) | Report::Rooms(_)) | None => {}
                    Some(Report::Leaving(_)) => {
                        let all = JoinResponse { release: (0..SLOTS.into()).collect(), ..JoinResponse::default() };
                        let _ = orders.send(all).await;
                    }
                }
            }
            state.members.lock().unwrap().remove(&instance);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(queue).map(Ok))))
    }
}
