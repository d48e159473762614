//! A listener for gRPC: a TCP socket or a pipe of this process. It is bound before anything runs.

use std::future::Future;
use std::net::SocketAddr;

use anyhow::Context;
use clarion_observability::layer::ServerLayer;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::{Address, Wire};

/// Bytes in flight a stream and a connection may have before the sender waits.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 4 << 20;

/// Where a service is to listen. The default is a pipe named after the instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listen {
    /// A pipe of this process, named after the instance.
    #[default]
    InProcess,
    /// A TCP address; port 0 takes a free one.
    Tcp(SocketAddr),
}

/// A bound listener.
pub struct Listener {
    address: Address,
    incoming: Incoming,
}

enum Incoming {
    Pipe(mpsc::Receiver<DuplexStream>),
    Tcp(TcpIncoming),
}

impl Listener {
    pub(crate) fn bind(listen: &Listen, wire: &Wire, instance: &str) -> anyhow::Result<Self> {
        match listen {
            Listen::InProcess => {
                Ok(Self { address: Address::in_process(instance), incoming: Incoming::Pipe(wire.listen(instance)) })
            }
            Listen::Tcp(at) => {
                let incoming = TcpIncoming::bind(*at).with_context(|| format!("cannot listen on {at}"))?;
                let bound = incoming.local_addr().context("listener has no address")?;
                Ok(Self {
                    address: Address::Http(format!("http://{bound}")),
                    incoming: Incoming::Tcp(incoming.with_nodelay(Some(true))),
                })
            }
        }
    }

    /// Where peers reach it.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Serves until `stop` completes and what is under way has ended.
    pub(crate) async fn serve(self, routes: Routes, stop: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .tcp_nodelay(true)
            .layer(ServerLayer)
            .add_routes(routes);
        match self.incoming {
            Incoming::Pipe(pipes) => {
                let pipes = ReceiverStream::new(pipes).map(Ok::<_, std::io::Error>);
                server.serve_with_incoming_shutdown(pipes, stop).await?;
            }
            Incoming::Tcp(tcp) => server.serve_with_incoming_shutdown(tcp, stop).await?,
        }
        Ok(())
    }
}
