//! Where a client is: an address of datagrams, or a connection. And what is to be sent there.

use std::net::SocketAddr;

use bytes::BytesMut;
use clarion_observability::metric::MediaTransport;

/// A client's end of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Remote {
    Udp(SocketAddr),
    /// A connection by its number, which no other one ever has in this shard, and the address at its other end.
    Tcp {
        connection: u64,
        address: SocketAddr,
    },
}

impl Remote {
    pub(crate) fn address(self) -> SocketAddr {
        match self {
            Self::Udp(address) | Self::Tcp { address, .. } => address,
        }
    }

    pub(crate) fn transport(self) -> MediaTransport {
        match self {
            Self::Udp(_) => MediaTransport::Udp,
            Self::Tcp { .. } => MediaTransport::Tcp,
        }
    }
}

/// What is to be sent, in order.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) datagrams: Vec<(SocketAddr, BytesMut)>,
    /// By the number of a connection.
    pub(crate) frames: Vec<(u64, BytesMut)>,
}

impl Out {
    pub(crate) fn push(&mut self, to: Remote, packet: BytesMut) {
        match to {
            Remote::Udp(address) => self.datagrams.push((address, packet)),
            Remote::Tcp { connection, .. } => self.frames.push((connection, packet)),
        }
    }
}

impl Extend<(Remote, BytesMut)> for Out {
    fn extend<T: IntoIterator<Item = (Remote, BytesMut)>>(&mut self, packets: T) {
        packets.into_iter().for_each(|(to, packet)| self.push(to, packet));
    }
}
