//! One connection of a client: a stream of frames, and what waits to be written to it.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use clarion_observability::metric::GaugeGuard;
use tokio::net::TcpStream;

use super::backlog::{Backlog, PIECES};
use crate::framing::Frames;
use crate::remote::Remote;

/// What the kernel holds of what is not on its way yet. More would only be late.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 4 << 10;

pub(super) struct Connection {
    stream: Arc<TcpStream>,
    pub(super) remote: Remote,
    pub(super) frames: Frames,
    pub(super) backlog: Backlog,
    /// An authentic check came over it: it is a leg's.
    pub(super) proven: bool,
    /// Frames that came before that.
    pub(super) strange: u64,
    pub(super) since: Instant,
    /// When a frame came last.
    pub(super) heard: Instant,
    /// It has something new to write in this turn.
    pub(super) touched: bool,
    _counted: GaugeGuard,
}

/// Until there is something to read; then its number.
pub(super) struct Readable {
    connection: u64,
    stream: Arc<TcpStream>,
}

impl Future for Readable {
    type Output = u64;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u64> {
        // An error is found when it is read.
        self.stream.poll_read_ready(cx).map(|_| self.connection)
    }
}

impl Connection {
    pub(super) fn new(now: Instant, number: u64, stream: TcpStream, address: SocketAddr, counted: GaugeGuard) -> Self {
        // Only slower, or later, without.
        let _ = stream.set_nodelay(true);
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
        Self {
            stream: Arc::new(stream),
            remote: Remote::Tcp { connection: number, address },
            frames: Frames::default(),
            backlog: Backlog::default(),
            proven: false,
            strange: 0,
            since: now,
            heard: now,
            touched: false,
            _counted: counted,
        }
    }

    pub(super) fn readable(&self, number: u64) -> Readable {
        Readable { connection: number, stream: self.stream.clone() }
    }

    /// What has come, as much as the buffer holds.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.try_read(buffer)
    }

    /// Writes what waits, as much as is taken. The rest is tried again with the next packet, at the latest with the next
    /// tick.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.backlog.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let count = self.backlog.pieces(&mut pieces);
            match self.stream.try_write_vectored(&pieces[..count]) {
                Ok(written) => self.backlog.wrote(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends it, which wakes whoever waits for it to be readable.
    pub(super) fn shut(&self) {
        // Nobody is there any more if it fails.
        let _ = socket2::SockRef::from(&*self.stream).shutdown(std::net::Shutdown::Both);
    }
}

/// Whose connections are counted together: those of an address, of a network of 64 bits with IPv6.
pub(super) fn source(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    }
}
