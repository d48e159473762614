//! A listener for gRPC: a TCP socket or a pipe of this process. It is bound before anything runs.

use std::future::Future;
use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::{Context, bail};
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

const IN_PROCESS: &str = "in-process";

/// Where a service is to listen: `in-process` or `host:port`. The default is a pipe named after the instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Listen {
    /// A pipe of this process, named after the instance.
    #[default]
    InProcess,
    /// A TCP address; port 0 takes a free one.
    Tcp(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == IN_PROCESS {
            return Ok(Self::InProcess);
        }
        text.parse().map(Self::Tcp).map_err(|_| format!("\"{text}\", expected {IN_PROCESS} or an address with a port"))
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> String {
        match listen {
            Listen::InProcess => IN_PROCESS.to_owned(),
            Listen::Tcp(at) => at.to_string(),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
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

    /// Where peers reach it: what a setting says, else where it is bound. An address of every machine is none of this one's:
    /// then `setting` has to say it.
    pub fn advertised(&self, setting: &str, configured: Option<&Address>) -> anyhow::Result<Address> {
        if let Some(address) = configured {
            return Ok(address.clone());
        }
        if let Incoming::Tcp(tcp) = &self.incoming
            && let Ok(bound) = tcp.local_addr()
            && bound.ip().is_unspecified()
        {
            bail!(
                "{setting} is not set and {bound} is bound, expected where others reach it, such as http://10.0.0.7:7002"
            );
        }
        Ok(self.address.clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_where_to_listen_and_back() {
        for text in ["in-process", "127.0.0.1:7002", "[::]:0"] {
            assert_eq!(String::from(text.parse::<Listen>().expect("valid")), text);
        }
        let error = "7002".parse::<Listen>().expect_err("no address");
        assert!(error.contains("7002") && error.contains("expected"), "{error}");
    }
}
