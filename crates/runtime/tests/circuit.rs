//! A circuit to a peer opens when the peer is away or hangs, and closes soon after it is back; what a peer answers never
//! opens it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::Request;
use axum::response::IntoResponse;
use axum::routing::post;
use clarion_observability::capture::Capture;
use clarion_runtime::{Address, Host, Listen, Peer, Process, never_reached};
use futures_util::future::join_all;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt;

/// Longer than any pause.
const BACK_WITHIN: Duration = Duration::from_secs(2);

/// A server that a test stops or has hang, and who calls it.
struct Bench {
    capture: Capture,
    process: Process,
    host: Host,
    at: SocketAddr,
    hangs: Arc<AtomicBool>,
}

impl Bench {
    fn new(circuit_breakers: bool) -> Self {
        let capture = Capture::new().expect("telemetry");
        let mut process = Process::new(capture.process().clone(), Duration::ZERO);
        process.circuit_breakers(circuit_breakers);
        let bind = |host: Host| async move {
            let draining = host.draining();
            Ok((host, async move {
                draining.cancelled().await;
                Ok(())
            }))
        };
        let host = process.start("client", "client-0", 1, bind).expect("a client");
        let mut bench = Self {
            capture,
            process,
            host,
            at: (Ipv4Addr::LOCALHOST, 0).into(),
            hangs: Arc::new(AtomicBool::new(false)),
        };
        bench.start();
        bench
    }

    /// Starts the server, where it was before.
    fn start(&mut self) {
        let (listen, hangs) = (Listen::Tcp(self.at), self.hangs.clone());
        let answer = move |of: &'static str| {
            let hangs = hangs.clone();
            async move {
                while hangs.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                [("content-type", "application/grpc"), ("grpc-status", of)].into_response()
            }
        };
        let (ok, no) = (answer.clone(), answer);
        let router =
            Router::new().route("/test/Ok", post(move || ok("0"))).route("/test/Unavailable", post(move || no("14")));
        let bind = |host: Host| async move {
            let listener = host.listen(&listen)?;
            let address = listener.address().clone();
            Ok((address, async move { host.serve_grpc(listener, Routes::from(router)).await }))
        };
        let address = self.process.start("server", "server-0", 1, bind).expect("a server").to_string();
        self.at = address.trim_start_matches("http://").parse().expect("an address");
    }

    /// As if it had died.
    fn stop(&mut self) {
        self.process.stop_one("server-0", true).expect("it stops");
    }

    fn peer(&self) -> Peer {
        self.host.peer(&Address::Http(format!("http://{}", self.at)))
    }

    async fn call(&self, path: &str) -> Result<(), Status> {
        let request = Request::post(format!("/test/{path}")).body(Body::empty()).expect("a request");
        self.peer().oneshot(request).await.map(drop).map_err(Status::from_error)
    }

    /// Calls until there is an answer.
    async fn back(&self) -> Duration {
        let begun = Instant::now();
        while let Err(status) = self.call("Ok").await {
            assert!(begun.elapsed() < BACK_WITHIN, "{status}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        begun.elapsed()
    }

    fn metric(&self, name: &str) -> f64 {
        let text = self.capture.process().render_metrics();
        let is_it = |line: &&str| line.starts_with(name) && line.contains("client") && line.contains("\"peer\"");
        let line = text.lines().find(is_it).unwrap_or_else(|| panic!("{name} in\n{text}"));
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    }

    fn lines(&self, event: &str) -> usize {
        self.capture.lines_of(event).len()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.process.stop_one("server-0", true);
        let _ = self.process.stop_one("client-0", true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_away_is_left_alone_until_it_is_back() {
    let mut bench = Bench::new(true);
    bench.host.telemetry().adopt_thread();
    bench.call("Ok").await.expect("an answer");
    assert_eq!((bench.metric("circuit_open{"), bench.metric("circuit_opened_total{")), (0.0, 0.0));
    tokio::task::block_in_place(|| bench.stop());
    let mut refused = 0;
    for _ in 0..100 {
        let status = bench.call("Ok").await.expect_err("nobody is there");
        refused += u32::from(status.message().contains("left alone"));
        assert!(refused == 0 || never_reached(&status), "{status:?}");
    }
    assert!(refused > 50, "{refused}");
    assert_eq!((bench.metric("circuit_open{"), bench.metric("circuit_opened_total{")), (1.0, 1.0));
    assert!(bench.metric("circuit_refused_total{") >= f64::from(refused));
    // A pause that has grown is no longer than the longest.
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert!(bench.call("Ok").await.is_err());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::task::block_in_place(|| bench.start());
    println!("away: an answer {:?} after it was back", bench.back().await);
    assert_eq!((bench.metric("circuit_open{"), bench.metric("circuit_opened_total{")), (0.0, 1.0));
    bench.call("Ok").await.expect("closed");
    assert_eq!((bench.lines("circuit.opened"), bench.lines("circuit.closed")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_hangs_is_left_alone_until_it_goes_on() {
    let bench = Bench::new(true);
    bench.call("Ok").await.expect("an answer");
    bench.hangs.store(true, Ordering::Relaxed);
    let hurried = |wait: u64| tokio::time::timeout(Duration::from_millis(wait), bench.call("Ok"));
    // Who leaves at once says nothing of the peer.
    assert!(join_all((0..30).map(|_| hurried(50))).await.iter().all(Result::is_err));
    assert_eq!(bench.metric("circuit_open{"), 0.0);
    assert!(join_all((0..30).map(|_| hurried(400))).await.iter().all(Result::is_err));
    assert_eq!(bench.metric("circuit_open{"), 1.0);
    let begun = Instant::now();
    let refused = join_all((0..30).map(|_| hurried(2_000))).await;
    let at_once = refused.iter().filter(|answer| matches!(answer, Ok(Err(status)) if never_reached(status))).count();
    // Who tries meanwhile waits; there are few of them.
    assert!(at_once >= 25, "{at_once} after {:?}", begun.elapsed());
    bench.hangs.store(false, Ordering::Relaxed);
    println!("hangs: an answer {:?} after it went on", bench.back().await);
    assert_eq!(bench.metric("circuit_open{"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_answers_opens_nothing() {
    let bench = Bench::new(true);
    for _ in 0..50 {
        bench.call("Unavailable").await.expect("an answer");
        bench.call("Unknown").await.expect("an answer");
    }
    assert_eq!((bench.metric("circuit_open{"), bench.metric("circuit_opened_total{")), (0.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_circuit_breakers_every_call_is_made() {
    let mut bench = Bench::new(false);
    bench.call("Ok").await.expect("an answer");
    tokio::task::block_in_place(|| bench.stop());
    for _ in 0..50 {
        assert!(bench.call("Ok").await.is_err());
    }
    assert_eq!((bench.metric("circuit_open{"), bench.metric("circuit_refused_total{")), (0.0, 0.0));
}
