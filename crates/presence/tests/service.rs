//! The presence server as gateways meet it.

use std::sync::Arc;
use std::time::Duration;

use clarion_observability::capture::Capture;
use clarion_presence::{Config, Deps, Server};
use clarion_proto::v1;
use clarion_proto::v1::attend_request::Request;
use clarion_proto::v1::attend_response::Response;
use clarion_proto::v1::presences_client::PresencesClient;
use clarion_runtime::{Address, Host, Peer, Process};
use clarion_storage::cache::{Config as CacheConfig, MemoryCache};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

const PATIENCE: Duration = Duration::from_secs(20);

/// A presence server, and a way to it.
struct Bench {
    capture: Capture,
    process: Process,
    cache: Arc<MemoryCache>,
    config: Config,
    peer: Peer,
}

/// A gateway's stream.
struct Gateway {
    requests: mpsc::Sender<v1::AttendRequest>,
    answers: Streaming<v1::AttendResponse>,
}

impl Bench {
    fn new(config: Config, memory_bytes: usize) -> Self {
        let capture = Capture::new().expect("a capture");
        let mut process = Process::new(capture.process().clone(), Duration::from_secs(5));
        let cache = Arc::new(MemoryCache::new(&CacheConfig { memory_bytes, ..CacheConfig::default() }));
        start(&mut process, &config, &cache);
        let bind = |host: Host| async move {
            let peer = host.peer(&Address::in_process("presence-0"));
            Ok((peer, async move {
                host.draining().cancelled_owned().await;
                Ok(())
            }))
        };
        let peer = process.start("gateway", "gateway-0", 1, bind).expect("it starts");
        Self { capture, process, cache, config, peer }
    }

    async fn attend(&self, name: &str) -> Gateway {
        let (requests, waiting) = mpsc::channel(1_024);
        let gateway = |answers| Gateway { requests: requests.clone(), answers };
        let hello = Request::Hello(v1::AttendHello { gateway: name.to_owned() });
        requests.send(v1::AttendRequest { request: Some(hello) }).await.expect("room");
        let answers = PresencesClient::new(self.peer.clone()).attend(ReceiverStream::new(waiting)).await;
        let mut gateway = gateway(answers.expect("it is let in").into_inner());
        assert!(matches!(gateway.next().await, Some(Response::Welcome(_))));
        gateway
    }

    fn metric(&self, series: &str) -> f64 {
        let text = self.capture.process().render_metrics();
        let parts: Vec<&str> = series.split(' ').collect();
        let lines = text.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    async fn until(&self, series: &str, expected: f64) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while self.metric(series) != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "{series} is {}, not {expected}", self.metric(series));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for service in ["gateway-0", "presence-0"] {
            let _ = self.process.stop_one(service, true);
        }
    }
}

fn start(process: &mut Process, config: &Config, cache: &Arc<MemoryCache>) {
    let (config, cache) = (config.clone(), cache.clone());
    let bind = |host| async move { Ok(((), Server::bind(config, Deps { cache }, host).await?.run())) };
    process.start("presence", "presence-0", 1, bind).expect("it starts");
}

impl Gateway {
    async fn say(&self, request: Request) {
        self.requests.send(v1::AttendRequest { request: Some(request) }).await.expect("it listens");
    }

    async fn word(&self, user_id: u64, status: v1::Status, activities: &[v1::Activity]) {
        let presence = v1::Presence { status: status.into(), activities: activities.to_vec(), devices: None };
        let words = vec![v1::Word { user_id, presence: Some(presence) }];
        self.say(Request::Words(v1::Words { words, ..Default::default() })).await;
    }

    async fn watch(&self, token: u64, users: impl IntoIterator<Item = u64>) {
        self.say(Request::Watch(v1::Watch { token, user_ids: users.into_iter().collect() })).await;
    }

    /// `None`: the stream has ended. Answers to beats are passed over.
    async fn next(&mut self) -> Option<Response> {
        loop {
            let answer = tokio::time::timeout(PATIENCE, self.answers.message()).await.expect("something comes");
            match answer.ok().flatten().and_then(|answer| answer.response) {
                Some(Response::Beat(_)) => {}
                other => return other,
            }
        }
    }

    /// The statuses that are told next.
    async fn told(&mut self) -> Vec<(u64, v1::Status)> {
        match self.next().await {
            Some(Response::Changes(changes)) => {
                let status = |change: &v1::PresenceChange| change.presence.clone().unwrap_or_default().status();
                changes.changes.iter().map(|change| (change.user_id, status(change))).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

fn config() -> Config {
    Config { lease_ms: 300, ..Config::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_say_hello_is_refused() {
    let bench = Bench::new(config(), 1 << 20);
    let hello = |gateway: &str| Request::Hello(v1::AttendHello { gateway: gateway.to_owned() });
    for first in [Request::Beat(true), hello(""), hello(&"x".repeat(1_000))] {
        let (requests, waiting) = mpsc::channel(1);
        requests.send(v1::AttendRequest { request: Some(first) }).await.expect("room");
        let refused = PresencesClient::new(bench.peer.clone()).attend(ReceiverStream::new(waiting)).await;
        assert_eq!(refused.expect_err("refused").code(), tonic::Code::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_hangs_loses_its_words_and_its_stream() {
    let bench = Bench::new(config(), 1 << 20);
    let (mut hung, mut alive) = (bench.attend("hung").await, bench.attend("alive").await);
    alive.watch(1, [7]).await;
    assert!(matches!(alive.next().await, Some(Response::Answered(1))));
    hung.word(7, v1::Status::Dnd, &[]).await;
    assert_eq!(alive.told().await, [(7, v1::Status::Dnd)]);
    // The stream of the one stays open, but nothing comes over it.
    let requests = alive.requests.clone();
    let beating = async {
        while requests.send(v1::AttendRequest { request: Some(Request::Beat(true)) }).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        told = alive.told() => assert_eq!(told, [(7, v1::Status::Offline)]),
        () = beating => panic!("the living one was not listened to any more"),
    }
    assert_eq!(hung.next().await, None, "it is to attend again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_begins_anew_finds_words_in_the_cache() {
    let mut bench = Bench::new(Config { lease_ms: 10_000, ..config() }, 1 << 20);
    let first = bench.attend("first").await;
    first.word(7, v1::Status::Idle, &[]).await;
    bench.until("presence_users_online{ status=\"idle\"", 1.0).await;
    // The word has been kept when the hash is larger than an empty one.
    bench.until("cache_lookups_total{ result=\"miss\"", 1.0).await;
    let kept = async {
        use clarion_storage::cache::{Cache, CacheKey};
        let key = CacheKey::new("presence:gateway", "presence-0/first");
        while bench.cache.read(&key).await.ok().flatten().is_none_or(|hash| hash.fields.is_empty()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, kept).await.expect("kept");
    bench.process.stop_one("presence-0", true).expect("it stops");
    start(&mut bench.process, &bench.config, &bench.cache);
    let mut second = bench.attend("second").await;
    second.watch(1, [7, 8]).await;
    assert_eq!(second.told().await, [(7, v1::Status::Idle)]);
    bench.until("cache_lookups_total{ result=\"hit\"", 1.0).await;
    // The first one comes back and does not say it again.
    let again = bench.attend("first").await;
    again.say(Request::AllSaid(true)).await;
    assert!(matches!(second.next().await, Some(Response::Answered(1))));
    assert_eq!(second.told().await, [(7, v1::Status::Offline)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cache_refuses_is_counted_and_told_all_the_same() {
    let bench = Bench::new(config(), 1);
    let mut gateway = bench.attend("gateway").await;
    gateway.watch(1, [7]).await;
    assert!(matches!(gateway.next().await, Some(Response::Answered(1))));
    gateway.word(7, v1::Status::Online, &[]).await;
    assert_eq!(gateway.told().await, [(7, v1::Status::Online)]);
    let waited = tokio::time::timeout(PATIENCE, async {
        while bench.metric("presence_update_failures_total{ error_type=\"cache\"") == 0.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok());
    assert!(bench.metric("cache_errors_total{ error_type=\"full\"") >= 1.0);
    assert!(!bench.capture.lines_of("presence.not_kept").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn words_and_watches_have_a_bound_and_bad_ones_are_counted() {
    let bench = Bench::new(Config { words: 1, watched: 1, ..config() }, 1 << 20);
    let mut gateway = bench.attend("gateway").await;
    gateway.watch(1, [7, 8]).await;
    assert!(matches!(gateway.next().await, Some(Response::Answered(1))));
    gateway.word(7, v1::Status::Online, &[]).await;
    gateway.word(8, v1::Status::Online, &[]).await;
    gateway.word(0, v1::Status::Online, &[]).await;
    assert_eq!(gateway.told().await, [(7, v1::Status::Online)]);
    bench.until("presence_update_failures_total{ error_type=\"full\"", 2.0).await;
    bench.until("presence_update_failures_total{ error_type=\"invalid\"", 1.0).await;
    bench.until("presence_subscriptions_active{", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_does_not_read_is_cut_off() {
    let bench = Bench::new(Config { queue: 4, lease_ms: 10_000, ..config() }, 64 << 20);
    let slow = bench.attend("slow").await;
    let text = "x".repeat(120);
    let activity =
        |n: u32| v1::Activity { name: format!("{n}{text}"), state: Some(text.clone()), ..Default::default() };
    let activities: Vec<_> = (0..5).map(activity).collect();
    for user in 1..=256 {
        slow.word(user, v1::Status::Online, &activities).await;
    }
    // Each asks for a third of a megabyte, and nothing is read.
    for token in 0..64 {
        let watch = Request::Watch(v1::Watch { token, user_ids: (1..=256).collect() });
        if slow.requests.send(v1::AttendRequest { request: Some(watch) }).await.is_err() {
            break;
        }
    }
    bench.until("presence_update_failures_total{ error_type=\"slow_watcher\"", 1.0).await;
    bench.until("presence_gateways{", 0.0).await;
    assert_eq!(bench.capture.lines_of("presence.watcher_cut_off").len(), 1);
    bench.until("presence_users_online{ status=\"online\"", 256.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_another_server_counts_is_told_and_not_counted() {
    let bench = Bench::new(config(), 1 << 20);
    let mut gateway = bench.attend("gateway").await;
    gateway.watch(1, [7]).await;
    assert!(matches!(gateway.next().await, Some(Response::Answered(1))));
    let word = |spare| {
        let presence = Some(v1::Presence { status: v1::Status::Idle.into(), ..Default::default() });
        Request::Words(v1::Words { words: vec![v1::Word { user_id: 7, presence }], spare, ..Default::default() })
    };
    gateway.say(word(true)).await;
    assert_eq!(gateway.told().await, [(7, v1::Status::Idle)]);
    let counted = |status| bench.metric(&format!("presence_users_online{{ status=\"{status}\""));
    assert_eq!((counted("idle"), bench.metric("presence_update_total{")), (0.0, 0.0));
    assert_eq!(bench.metric("presence_events_total{"), 0.0);
    gateway.say(word(false)).await;
    bench.until("presence_users_online{ status=\"idle\"", 1.0).await;
}
