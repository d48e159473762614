//! Accepting connections: not more than there may be, each served by a task of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use clarion_runtime::Host;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use crate::rest::ClientAddress;

/// Longest wait for a request's headers, also between requests.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// How long a drain waits for the end of a request that has begun.
const ENDED_WITHIN: Duration = Duration::from_secs(2);
/// After an error of accept, such as too many open files, which may pass.
const BREATH: Duration = Duration::from_millis(50);

/// Whom a request is from, and the leave to be connected. A socket takes it along.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(super) permit: Arc<OwnedSemaphorePermit>,
}

/// Accepts connections until the drain begins.
pub(super) async fn until_drained(host: &Host, listener: TcpListener, routes: Router, connections: Arc<Semaphore>) {
    let draining = host.draining();
    loop {
        let accepted = async {
            // Those beyond the bound wait in the kernel's queue.
            let permit = connections.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let (accepted, permit) = tokio::select! {
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => return,
            },
            () = draining.cancelled() => return,
        };
        match accepted {
            Ok((stream, address)) => {
                let peer = Peer { address, permit: Arc::new(permit) };
                host.spawn("http", serve(host.clone(), stream, routes.clone(), peer));
            }
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
}

async fn serve(host: Host, stream: TcpStream, routes: Router, peer: Peer) {
    // Only slower without.
    let _ = stream.set_nodelay(true);
    let service = routes.map_request(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ClientAddress(peer.address.ip()));
        request.extensions_mut().insert(peer.clone());
        request.map(axum::body::Body::new)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let draining = host.draining();
    // Errors are the client's: it went away or spoke something else.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = draining.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    // Who has not finished a request by then is as good as gone.
    let _ = tokio::time::timeout(ENDED_WITHIN, connection).await;
}
