//! Accepting connections: not more than there may be, each served by a task of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use clarion_observability::log::{self, Fields};
use clarion_runtime::Host;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use crate::rest::ClientAddress;

/// Longest wait for a request's headers, also between requests.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// Connections whose first request is being read. When thousands come at once, more of them would stand in line for the
/// threads in front of those that are established; the kernel keeps them meanwhile.
const HANDSHAKES: usize = 64;
/// After so long without a word a connection counts no more among those: it takes no work while it says nothing.
const QUIET: Duration = Duration::from_millis(50);
/// And after so long in any case, so that those who begin a request and do not end it keep nobody out.
const COUNTED: Duration = Duration::from_millis(250);
/// How long a drain waits for the end of a request that has begun.
const ENDED_WITHIN: Duration = Duration::from_secs(2);
/// What the kernel keeps for a client that does not read, besides what the outbox holds; sockets have it from their
/// listener. Left to itself the kernel takes megabytes for each. Linux doubles it for its own bookkeeping.
const SEND_BUFFER: u32 = 256 << 10;
/// And of that, what has not been sent at all. The rest waits in the outbox, where all who are given an event share its
/// bytes: each copy for a client that does not read would be time that the others wait. One that reads asks for more
/// before so much is sent.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 16 << 10;
/// Connections that the kernel completes and keeps until they are accepted.
const BACKLOG: u32 = 1_024;
/// After an error of accept, such as too many open files, which may pass.
const BREATH: Duration = Duration::from_millis(50);
/// How often it is said that connections cannot be accepted.
const TOLD_AGAIN: Duration = Duration::from_secs(1);

/// Whom a request is from, and the leave to be connected. A socket takes it along.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Where it was reached.
    pub(crate) local: SocketAddr,
    pub(super) permit: Arc<OwnedSemaphorePermit>,
}

/// Listens for clients.
pub(super) fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart need not wait for the last connections of the one before.
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until the drain begins.
pub(super) async fn until_drained(host: &Host, listener: TcpListener, routes: Router, connections: Arc<Semaphore>) {
    let draining = host.draining();
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let mut told = None;
    loop {
        let accepted = async {
            // Those beyond the bound wait in the kernel's queue.
            let permit = connections.clone().acquire_owned().await.ok()?;
            let handshake = handshakes.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, permit, handshake))
        };
        let (accepted, permit, handshake) = tokio::select! {
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => return,
            },
            () = draining.cancelled() => return,
        };
        match accepted {
            Ok((stream, address)) => {
                // Without an address of its own it is gone already.
                let Ok(local) = stream.local_addr() else { continue };
                let peer = Peer { address, local, permit: Arc::new(permit) };
                host.spawn("http", serve(host.clone(), stream, routes.clone(), peer, handshake));
            }
            Err(error) => {
                // Such as too many open files: once a second is enough to be told.
                if told.is_none_or(|at: Instant| at.elapsed() > TOLD_AGAIN) {
                    told = Some(Instant::now());
                    log::ACCEPT_FAILED.emit(Fields::error("accept", &error));
                }
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// A socket is only slower without either.
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

async fn serve(host: Host, stream: TcpStream, routes: Router, peer: Peer, handshake: OwnedSemaphorePermit) {
    let speaks = tokio::time::timeout(QUIET, stream.readable()).await.is_ok();
    let handshake = Arc::new(Mutex::new(speaks.then_some(handshake)));
    tune(&stream);
    let counted = handshake.clone();
    let uncount = async {
        tokio::time::sleep(COUNTED).await;
        counted.lock().unwrap_or_else(PoisonError::into_inner).take();
        std::future::pending::<()>().await;
    };
    let service = routes.map_request(move |mut request: Request<hyper::body::Incoming>| {
        // It has been read.
        handshake.lock().unwrap_or_else(PoisonError::into_inner).take();
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
        () = uncount => return,
        () = draining.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    // Who has not finished a request by then is as good as gone.
    let _ = tokio::time::timeout(ENDED_WITHIN, connection).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_kernel_keeps_for_a_client_is_bounded() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a listener");
        let at = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(at), listener.accept());
        let (stream, _) = accepted.expect("a connection");
        let socket = TcpSocket::from_std_stream(stream.into_std().expect("the socket"));
        let kept = socket.send_buffer_size().expect("a size");
        assert!((1..=2 * SEND_BUFFER).contains(&kept), "{kept}");
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_fills_no_more_than_that() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a listener");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 << 10).expect("a small one");
        let at = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(socket.connect(at), listener.accept());
        let (stream, _) = accepted.expect("a connection");
        let (filler, mut taken) = ([0; 4 << 10], 0);
        stream.writable().await.expect("writable");
        while let Ok(count) = stream.try_write(&filler) {
            taken += count;
        }
        assert!(taken < 1 << 20, "{taken}");
        drop(client);
    }
}
