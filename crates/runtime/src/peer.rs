//! A client's other end: a gRPC channel to an address, connected when first used, that carries the trace and leaves alone
//! who does not answer.

use std::time::Duration;

use clarion_observability::layer::{Client, ClientLayer};
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel as GrpcChannel, Endpoint, Uri};
use tower::Layer;

use crate::circuit::{Circuits, Guarded};
use crate::listen::{CONNECTION_WINDOW, STREAM_WINDOW};
use crate::{Address, Wire};

/// What a tonic client is made over. Cheap to clone; reconnects by itself.
pub type Peer = Client<Guarded<GrpcChannel>>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes the peer of an address. Must be called on a tokio runtime.
pub(crate) fn peer(address: &Address, wire: &Wire, circuits: &Circuits) -> Peer {
    let channel = match address {
        Address::InProcess(name) => {
            let (wire, name) = (wire.clone(), name.clone());
            let connect = tower::service_fn(move |_: Uri| {
                let (wire, name) = (wire.clone(), name.clone());
                async move { wire.connect(&name).await.map(TokioIo::new) }
            });
            endpoint("http://in-process").connect_with_connector_lazy(connect)
        }
        Address::Http(url) => endpoint(url).connect_lazy(),
    };
    ClientLayer.layer(circuits.guard(address, channel))
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint::from_shared(url.to_owned())
        .unwrap_or_else(|_| Endpoint::from_static("http://invalid.address"))
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
}
