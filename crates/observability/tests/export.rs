//! Sampled spans reach a collector over OTLP, and only those; and calls between services carry their trace.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use clarion_model::id::{ChannelId, UserId};
use clarion_observability::capture::Capture;
use clarion_observability::layer::{ClientLayer, ServerLayer};
use clarion_observability::{Config, Instrument, Origin, Remote, TraceContext, span};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status};
use tower::ServiceBuilder;
use tracing::instrument::WithSubscriber;

/// Hands on what it is sent.
struct Collector(mpsc::Sender<ExportTraceServiceRequest>);

/// Hands on what the server layer says about the caller.
struct Callee(mpsc::Sender<Remote>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Callee {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let remote = request.extensions().get::<Remote>().cloned().ok_or_else(|| Status::internal("no layer"))?;
        self.0.send(remote).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A free port and how to reach it.
async fn listen() -> (String, TcpListenerStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (format!("http://{}", listener.local_addr().unwrap()), TcpListenerStream::new(listener))
}

/// A collector that runs until the set is dropped.
async fn collector(tasks: &mut JoinSet<()>) -> (String, mpsc::Receiver<ExportTraceServiceRequest>) {
    let (endpoint, incoming) = listen().await;
    let (send, receive) = mpsc::channel(64);
    let server = Server::builder().add_service(TraceServiceServer::new(Collector(send)));
    tasks.spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });
    (endpoint, receive)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_carries_the_trace_the_request_and_the_user() {
    let mut tasks = JoinSet::new();
    let (endpoint, incoming) = listen().await;
    let (send, mut receive) = mpsc::channel(1);
    let server = Server::builder().layer(ServerLayer).add_service(TraceServiceServer::new(Callee(send)));
    tasks.spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });

    let capture = Capture::new().unwrap();
    let telemetry = capture.process().service("gateway", "g-0");
    let channel = Endpoint::from_shared(endpoint).unwrap().connect_lazy();
    let mut client = TraceServiceClient::new(ServiceBuilder::new().layer(ClientLayer).service(channel));
    let (outer, route) = telemetry.in_scope(|| {
        let outer = span::gateway_receive(&Origin::new_root("request-1"), "identify");
        span::record_user(&outer, UserId(42));
        let route = outer.in_scope(|| span::channel_route(None, ChannelId(1), false));
        (outer, route)
    });
    let expected = TraceContext::of(&route);
    let call = async move { client.export(ExportTraceServiceRequest::default()).await }.instrument(route);
    tasks.spawn(async move { drop(call.await.unwrap()) }.with_subscriber(telemetry.dispatch().clone()));
    let remote = receive.recv().await.unwrap();
    assert_eq!(remote.trace.traceparent(), expected.traceparent());
    assert_eq!((remote.request_id.as_deref(), remote.user_id), (Some("request-1"), Some(UserId(42))));
    drop(outer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_two_services_arrive_as_one_trace() {
    let mut tasks = JoinSet::new();
    let (endpoint, mut received) = collector(&mut tasks).await;
    let capture =
        Capture::with(&Config { otlp_endpoint: Some(endpoint), environment: "test".into(), ..Config::default() })
            .unwrap();
    let (gateway, channel) = (capture.process().service("gateway", "g-0"), capture.process().service("channel", "c-0"));
    let remote = gateway.in_scope(|| {
        let receive = span::gateway_receive(&Origin::new_root("r"), "identify");
        receive.in_scope(clarion_observability::Remote::of_current_span)
    });
    channel.in_scope(|| drop(span::channel_process(&remote, ChannelId(1), 2)));
    let process = capture.process().clone();
    tokio::task::spawn_blocking(move || process.flush()).await.unwrap();

    let mut spans = Vec::new();
    while spans.len() < 2 {
        let batch = tokio::time::timeout(Duration::from_secs(10), received.recv()).await.unwrap().unwrap();
        for resource in batch.resource_spans {
            let text = |key: &str| {
                let attributes = &resource.resource.as_ref().unwrap().attributes;
                let value =
                    attributes.iter().find(|a| a.key == key).and_then(|a| a.value.clone()).and_then(|v| v.value);
                format!("{value:?}")
            };
            assert!(text("deployment.environment.name").contains("test"));
            assert!(text("service.version").contains(env!("CARGO_PKG_VERSION")));
            let service = (text("service.name"), text("service.instance.id"));
            spans.extend(resource.scope_spans.into_iter().flat_map(|s| s.spans).map(|s| (service.clone(), s)));
        }
    }
    let find = |name: &str| spans.iter().find(|(_, s)| s.name == name).unwrap();
    let ((gateway, instance), outer) = find("gateway.receive");
    let ((channel, _), inner) = find("channel.process");
    assert!(gateway.contains("\"gateway\"") && instance.contains("\"g-0\"") && channel.contains("\"channel\""));
    assert_eq!(outer.trace_id, inner.trace_id);
    assert_eq!(outer.span_id, inner.parent_span_id);
    assert!(outer.parent_span_id.is_empty());
    assert!(
        !inner
            .attributes
            .iter()
            .any(|a| a.key.starts_with("code.") || a.key.starts_with("thread.") || a.key.ends_with("_ns"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_sampled_stays_here() {
    let mut tasks = JoinSet::new();
    let (endpoint, mut received) = collector(&mut tasks).await;
    let config = Config { otlp_endpoint: Some(endpoint), sample_ratio: 0.5, ..Config::default() };
    let capture = Capture::with(&config).unwrap();
    let telemetry = capture.process().service("gateway", "g-0");
    telemetry
        .in_scope(|| (0..200).for_each(|n| drop(span::gateway_receive(&Origin::new_root(n.to_string()), "heartbeat"))));
    let process = capture.process().clone();
    tokio::task::spawn_blocking(move || process.flush()).await.unwrap();
    let sampled = capture.spans().iter().filter(|s| s.sampled).count();
    assert!((40..160).contains(&sampled) && capture.spans().len() == 200, "{sampled}");
    let mut arrived = 0;
    while arrived < sampled {
        let batch = tokio::time::timeout(Duration::from_secs(10), received.recv()).await.unwrap().unwrap();
        arrived += batch.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum::<usize>();
    }
    assert_eq!(arrived, sampled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_holds_nobody_up() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", unused.local_addr().unwrap());
    let capture = Capture::with(&Config { otlp_endpoint: Some(endpoint), ..Config::default() }).unwrap();
    let telemetry = capture.process().service("gateway", "g-0");
    telemetry.in_scope(|| drop(span::gateway_receive(&Origin::new_root("r"), "heartbeat")));
    let process = capture.process().clone();
    let began = std::time::Instant::now();
    tokio::task::spawn_blocking(move || process.flush()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(capture.spans().len(), 1);
}
