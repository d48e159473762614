//! Connections of clients to the HTTP endpoint: not more than there may be, none for longer than it may take.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clarion_observability::log::{self, Fields};
use clarion_runtime::Host;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Most connections; more wait in the kernel.
const CONNECTIONS: usize = 1_024;
/// Longest wait for a request's headers, also between requests.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Longest life of a connection. A session needs one for moments.
const LIFE: Duration = Duration::from_secs(60);
/// After an error of accept, such as too many open files, which may pass.
const BREATH: Duration = Duration::from_millis(50);

/// Accepts until it is stopped.
pub(crate) async fn until(stop: CancellationToken, host: Host, listener: TcpListener, routes: Router) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = async {
            let permit = connections.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let Some(Some((accepted, permit))) = stop.run_until_cancelled(accepted).await else { return };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::ACCEPT_FAILED.emit(Fields::error("accept", &error));
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        // Only slower without.
        let _ = stream.set_nodelay(true);
        let (service, stop) = (TowerToHyperService::new(routes.clone()), stop.clone());
        host.spawn("voice http", async move {
            let serve = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_WITHIN)
                .serve_connection(TokioIo::new(stream), service);
            // How a client's connection ends is its own affair.
            let _ = stop.run_until_cancelled(tokio::time::timeout(LIFE, serve)).await;
            drop(permit);
        });
    }
}
