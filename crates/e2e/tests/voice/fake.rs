//! A voice server that hears nothing: it joins the router, lets everybody in, and says what a test has it say.
#![allow(clippy::disallowed_methods)] // A fake's tasks end with their streams.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use clarion_e2e::{Cluster, PATIENCE};
use clarion_observability::TraceContext;
use clarion_proto::v1;
use clarion_proto::v1::join_request::Request as Joining;
use clarion_proto::v1::router_client::RouterClient;
use clarion_proto::v1::voice_notice::Notice;
use clarion_proto::v1::voice_server::{Voice, VoiceServer};
use clarion_runtime::{Address, Host, Listen};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// Of a session in a channel.
type Who = (u64, String);

/// The server. A clone is the same one.
#[derive(Clone)]
pub(crate) struct FakeVoice {
    pub(crate) instance: String,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    admitted: BTreeMap<Who, v1::VoicePermissions>,
    admissions: u64,
    /// How often somebody was told what they may do, who was there.
    allowed: u64,
    traces: Vec<String>,
    attending: Vec<mpsc::UnboundedSender<Result<v1::VoiceNotice, Status>>>,
    to_router: Option<mpsc::Sender<v1::JoinRequest>>,
}

impl FakeVoice {
    /// Starts one beside the services of a cluster; returns when it has joined.
    pub(crate) async fn start(cluster: &mut Cluster, instance: &str, region: &str) -> anyhow::Result<Self> {
        let fake = Self { instance: instance.to_owned(), inner: Arc::default() };
        let (served, hello) =
            (fake.clone(), v1::VoiceHello { region: region.to_owned(), url: format!("http://{instance}") });
        let bind = move |host: Host| async move {
            let listener = host.listen(&Listen::InProcess)?;
            let address = listener.address().to_string();
            served.join(&host, address, hello).await?;
            let routes = Routes::new(VoiceServer::new(served));
            Ok(((), async move { host.serve_grpc(listener, routes).await }))
        };
        cluster.clarion().process().start("voice", instance, 1, bind)?;
        Ok(fake)
    }

    async fn join(&self, host: &Host, address: String, hello: v1::VoiceHello) -> anyhow::Result<()> {
        let (requests, queue) = mpsc::channel(8);
        let (instance, kind) = (self.instance.clone(), v1::MemberKind::Voice.into());
        let hello = v1::JoinHello { instance, kind, address, voice: Some(hello) };
        requests.send(v1::JoinRequest { request: Some(Joining::Hello(hello)) }).await?;
        let mut router = RouterClient::new(host.peer(&Address::in_process("router-0")));
        let mut orders: Streaming<v1::JoinResponse> = router.join(ReceiverStream::new(queue)).await?.into_inner();
        self.lock().to_router = Some(requests);
        let beats = self.clone();
        host.spawn("orders", async move {
            let mut beat = tokio::time::interval(std::time::Duration::from_millis(500));
            loop {
                tokio::select! {
                    order = orders.message() => if !matches!(order, Ok(Some(_))) { return },
                    _ = beat.tick() => {
                        let router = beats.lock().to_router.clone();
                        let beat = v1::JoinRequest { request: Some(Joining::Beat(true)) };
                        let _ = router.map(|router| router.try_send(beat));
                    }
                }
            }
        });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics in here")
    }

    /// Tells the router that it drains.
    pub(crate) async fn drain(&self) -> anyhow::Result<()> {
        let router = self.lock().to_router.clone().expect("joined");
        Ok(router.send(v1::JoinRequest { request: Some(Joining::Leaving(true)) }).await?)
    }

    /// Tells whoever attends.
    pub(crate) fn say(&self, notice: Notice) {
        let told = v1::VoiceNotice { notice: Some(notice) };
        self.lock().attending.retain(|to| to.send(Ok(told.clone())).is_ok());
    }

    /// A participant's media have ended.
    pub(crate) fn lose(&self, channel_id: u64, user_id: u64, session_id: &str, reason: &str) {
        self.lock().admitted.remove(&(channel_id, session_id.to_owned()));
        let participant = Some(v1::Participant { channel_id, user_id, session_id: session_id.to_owned() });
        self.say(Notice::Left(v1::ParticipantLeft { participant, reason: reason.to_owned() }));
    }

    /// What a session may do in a channel, if it is admitted.
    pub(crate) fn permissions(&self, channel: u64, session: &str) -> Option<v1::VoicePermissions> {
        self.lock().admitted.get(&(channel, session.to_owned())).copied()
    }

    /// A gateway listens, and has asked who of those it believes here is here still.
    pub(crate) fn is_checked(&self) -> bool {
        let inner = self.lock();
        !inner.attending.is_empty() && inner.allowed > 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().admitted.is_empty()
    }

    /// The traces in which it admitted.
    pub(crate) fn traces(&self) -> Vec<String> {
        self.lock().traces.clone()
    }

    /// Waits until something is so here.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !is(self) {
            anyhow::ensure!(begun.elapsed() < PATIENCE, "{}: {what} did not happen", self.instance);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

fn who(participant: Option<v1::Participant>) -> Result<Who, Status> {
    let participant = participant.ok_or_else(|| Status::invalid_argument("participant"))?;
    Ok((participant.channel_id, participant.session_id))
}

#[tonic::async_trait]
impl Voice for FakeVoice {
    type AttendStream = UnboundedReceiverStream<Result<v1::VoiceNotice, Status>>;

    async fn admit(&self, request: Request<v1::AdmitRequest>) -> Result<Response<v1::AdmitResponse>, Status> {
        let trace = request.metadata().get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let trace = TraceContext::parse(trace).and_then(|trace| trace.trace_id()).unwrap_or_default();
        let request = request.into_inner();
        let who = who(request.participant)?;
        let mut inner = self.lock();
        inner.traces.push(trace);
        inner.admissions += 1;
        inner.admitted.insert(who.clone(), request.permissions.unwrap_or_default());
        Ok(Response::new(v1::AdmitResponse {
            token: format!("{}-{}", self.instance, inner.admissions),
            endpoint: self.instance.clone(),
            url: format!("http://{}/v1/voice/{}", self.instance, who.1),
        }))
    }

    async fn answer(&self, request: Request<v1::AnswerRequest>) -> Result<Response<v1::AnswerResponse>, Status> {
        let v1::AnswerRequest { session_id, token, offer } = request.into_inner();
        let answer = format!("{} answers {session_id}, {token}: {offer}", self.instance);
        match offer.as_str() {
            "bad" => Err(Status::invalid_argument("offer: it is bad")),
            _ if !token.starts_with(&self.instance) => Err(Status::permission_denied("the token is void")),
            _ => Ok(Response::new(v1::AnswerResponse { answer })),
        }
    }

    async fn allow(&self, request: Request<v1::AllowRequest>) -> Result<Response<v1::AllowResponse>, Status> {
        let request = request.into_inner();
        let who = who(request.participant)?;
        let mut inner = self.lock();
        match inner.admitted.get_mut(&who) {
            Some(permissions) => *permissions = request.permissions.unwrap_or_default(),
            None => return Err(Status::not_found("not admitted")),
        }
        inner.allowed += 1;
        Ok(Response::new(v1::AllowResponse {}))
    }

    async fn dismiss(&self, request: Request<v1::DismissRequest>) -> Result<Response<v1::DismissResponse>, Status> {
        let who = who(request.into_inner().participant)?;
        self.lock().admitted.remove(&who);
        Ok(Response::new(v1::DismissResponse {}))
    }

    async fn attend(&self, _: Request<v1::AttendVoiceRequest>) -> Result<Response<Self::AttendStream>, Status> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.lock().attending.push(sender);
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }
}
