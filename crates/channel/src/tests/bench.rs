//! A process with a store, a router and channel servers, and what tests ask of them.

use clarion_model::event::{Event, GuildEvent, LogEntry};
use clarion_model::id::{MessageId, UserId};
use clarion_model::key::{Key, Position};
use clarion_observability::capture::Capture;
use clarion_proto::v1::channel_client::ChannelClient;
use clarion_proto::v1::follow_request::Request;
use clarion_proto::v1::follow_response::Response;
use clarion_proto::v1::router_server::RouterServer;
use clarion_proto::v1::{self, FollowKey, FollowRequest};
use clarion_runtime::{Address, Host, Listen, Peer, Process};
use clarion_storage::Stores;
use clarion_storage::embedded::{self, Embedded};
use prost::Message as _;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Status, Streaming};

use super::router::{Served, TestRouter};
use crate::owner::tests::{GUILD, TEXT, guild};
use crate::{Config, Deps, Server};

pub(super) const KEY: Key = Key::Guild(GUILD);
/// The longest a test waits for what is to come.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) type Client = ChannelClient<Peer>;

pub(super) struct Bench {
    pub(super) capture: Capture,
    pub(super) router: TestRouter,
    pub(super) process: Process,
    pub(super) store: Embedded,
    router_address: Address,
    host: Host,
    _directory: tempfile::TempDir,
}

impl Bench {
    /// A store and a router.
    pub(super) fn new() -> Self {
        let capture = Capture::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let config = embedded::Config {
            path: directory.path().join("store"),
            sync: embedded::Sync::None,
            ..embedded::Config::default()
        };
        let store = Embedded::open(&config, &capture.process().service("storage", "storage-1")).unwrap();
        let mut process = Process::new(capture.process().clone(), Duration::from_secs(10));
        let router = TestRouter::new();
        let served = router.clone();
        let start = process.start("router", "router-1", 1, move |host| async move {
            let listener = host.listen(&Listen::InProcess)?;
            let address = listener.address().clone();
            let routes = Routes::new(RouterServer::new(Served { router: served, host: host.clone() }));
            let serving = host.clone();
            Ok(((address, host), async move { serving.serve_grpc(listener, routes).await }))
        });
        let (router_address, host) = start.unwrap();
        Self { capture, router, process, store, router_address, host, _directory: directory }
    }

    /// A channel server that owns everything, and a guild.
    pub(super) async fn with_guild(config: Config) -> (Self, Client) {
        let mut bench = Self::new();
        let stores = bench.store.stores();
        let mut client = bench.start("channel-1", config, stores).await;
        client.create_guild(v1::CreateGuildRequest { state: Some((&guild()).into()) }).await.unwrap();
        (bench, client)
    }

    /// Starts a channel server and gives it all slots.
    pub(super) async fn start(&mut self, instance: &str, config: Config, stores: Stores) -> Client {
        let deps = Deps { stores, routers: vec![self.router_address.clone()] };
        let start = self.process.start("channel", instance, 2, move |host| async move {
            let server = Server::bind(config, deps, host).await?;
            Ok((server.address().clone(), server.run()))
        });
        let address = start.unwrap();
        self.router.give_all(instance).await;
        ChannelClient::new(self.host.peer(&address)).max_decoding_message_size(64 << 20)
    }

    /// All of the guild's log that is kept.
    pub(super) async fn log(&self) -> Vec<LogEntry> {
        let page = self.store.stores().logs.read(KEY, Position::START, 100_000).await.unwrap();
        assert!(page.complete);
        page.entries
    }

    /// Waits until a metric has a value.
    pub(super) async fn until_metric(&self, start: &str, value: &str) {
        let seen = async {
            loop {
                let metrics = self.capture.process().render_metrics();
                if metrics.lines().any(|line| line.starts_with(start) && line.ends_with(&format!(" {value}"))) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, seen).await.is_err() {
            let metrics = self.capture.process().render_metrics();
            panic!(
                "{start} is not {value}: {:?}",
                metrics.lines().filter(|l| l.starts_with(start)).collect::<Vec<_>>()
            );
        }
    }
}

pub(super) fn create(author: UserId, content: &str) -> v1::CreateMessageRequest {
    v1::CreateMessageRequest {
        key: Some(KEY.into()),
        channel_id: TEXT.0,
        author_id: author.0,
        content: content.into(),
        ..v1::CreateMessageRequest::default()
    }
}

pub(super) fn create_once(author: UserId, content: &str, nonce: &str) -> v1::CreateMessageRequest {
    v1::CreateMessageRequest {
        nonce: Some(v1::Nonce { kind: Some(v1::nonce::Kind::Text(nonce.into())) }),
        enforce_nonce: true,
        ..create(author, content)
    }
}

pub(super) async fn send(client: &mut Client, author: UserId, content: &str) -> MessageId {
    let view = client.create_message(create(author, content)).await.unwrap().into_inner();
    MessageId(view.message.unwrap().id)
}

pub(super) fn refusal(status: &Status) -> v1::Refusal {
    v1::Refusal::decode(status.details()).unwrap()
}

/// A gateway's stream.
pub(super) struct Gateway {
    requests: mpsc::Sender<FollowRequest>,
    pub(super) responses: Streaming<v1::FollowResponse>,
}

impl Gateway {
    pub(super) async fn join(client: &mut Client) -> Self {
        let (requests, queue) = mpsc::channel(64);
        let gateway = v1::FollowHello { gateway: "gateway".into() };
        requests.send(FollowRequest { request: Some(Request::Hello(gateway)) }).await.unwrap();
        let responses = client.follow(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Self { requests, responses }
    }

    /// Joins and follows the guild.
    pub(super) async fn following(client: &mut Client, after: Option<Position>) -> Self {
        let gateway = Self::join(client).await;
        gateway.follow(KEY, after).await;
        gateway
    }

    pub(super) async fn follow(&self, key: Key, after: Option<Position>) {
        let follow = FollowKey { key: Some(key.into()), after: after.map(Into::into) };
        self.ask(Request::Follow(follow)).await;
    }

    pub(super) async fn ask(&self, request: Request) {
        self.requests.send(FollowRequest { request: Some(request) }).await.unwrap();
    }

    /// The next thing it is told; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<Response> {
        let next = tokio::time::timeout(PATIENCE, self.responses.message()).await.expect("something is to come");
        next.ok().flatten().and_then(|response| response.response)
    }

    /// The position of the snapshot that comes next.
    pub(super) async fn snapshot(&mut self) -> (Position, v1::Snapshot) {
        match self.next().await {
            Some(Response::Snapshot(snapshot)) => (snapshot.position.unwrap().into(), snapshot),
            other => panic!("not a snapshot: {other:?}"),
        }
    }

    /// The next so many entries; what is not an entry is passed over.
    pub(super) async fn entries(&mut self, count: usize) -> Vec<LogEntry> {
        let mut entries = Vec::new();
        while entries.len() < count {
            match self.next().await {
                Some(Response::Entry(entry)) => entries.push(LogEntry::try_from(entry).unwrap()),
                Some(_) => {}
                None => panic!("the stream ended after {} of {count}", entries.len()),
            }
        }
        entries
    }
}

/// What is the same in the log and on a stream.
pub(super) fn essence(entries: &[LogEntry]) -> Vec<(Position, Event)> {
    entries.iter().map(|entry| (entry.position, entry.event.clone())).collect()
}

pub(super) fn created(entry: &LogEntry) -> Option<(MessageId, &str)> {
    match &entry.event {
        Event::Guild(GuildEvent::MessageCreate(view)) => Some((view.message.id, &view.message.content)),
        _ => None,
    }
}
