//! A socket as two parties hold it: its connection, which reads, and its shard, which writes while a session is attached.
//!
//! The shard never wakes the connection to deliver. It does so for two things only: the socket would block, or the shard
//! is done with it and hands it back.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use clarion_observability::{ClientIp, ClientIpPolicy};
use rustix::net::SendFlags;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::conversation::Violation;
use crate::outbox::Outbox;

/// One connection's socket.
#[derive(Debug)]
pub(crate) struct Link {
    /// Differs from that of every other connection of the process.
    pub(crate) id: u64,
    /// With how much of it may be shown.
    pub(crate) client_ip: (ClientIp, ClientIpPolicy),
    stream: TcpStream,
    sent: AtomicU64,
    wake: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    blocked: bool,
    handback: Option<Handback>,
}

/// The socket is the connection's again.
#[derive(Debug)]
pub(crate) struct Handback {
    /// To be written before anything else; at least the rest of a frame that was begun.
    pub(crate) outbox: Outbox,
    pub(crate) then: Then,
}

/// What a connection does with a socket that it got back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Whatever it asked to have it back for.
    Yours,
    /// Closes it once the client has what waits for it.
    Close(Violation),
    /// Closes it at once: its client reads too slowly, or is somewhere else.
    LetGo(Violation),
    /// Tells the client with this payload that its session is over or left alone; it may identify itself again or resume.
    StartOver(&'static [u8]),
    /// Drops it without a word.
    Drop,
}

/// What the shard wants of the connection.
#[derive(Debug)]
pub(crate) enum Signal {
    /// Say when the socket can be written again.
    Blocked,
    /// The socket is yours.
    Handback(Handback),
}

impl Link {
    /// A socket that its connection owns.
    pub(crate) fn new(id: u64, stream: TcpStream, client_ip: (ClientIp, ClientIpPolicy)) -> Self {
        Self { id, client_ip, stream, sent: AtomicU64::new(0), wake: Notify::new(), state: Mutex::default() }
    }

    /// The socket.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The client's address as operators may see it.
    pub(crate) fn shown_ip(&self) -> Option<String> {
        self.client_ip.0.shown(self.client_ip.1)
    }

    /// Counts frames that were written.
    pub(crate) fn count_sent(&self, frames: u64) {
        self.sent.fetch_add(frames, Ordering::Relaxed);
    }

    /// How many frames were written.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Writes what fits of one piece, at the least cost: whether the socket takes more is not looked up before and not
    /// noted after. Whoever is told that it would block asks [`Link::write`], which notes it for those who wait.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }

    /// Writes what fits.
    pub(crate) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.stream.try_write_vectored(slices) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            other => other,
        }
    }

    /// Shard: the socket would block.
    pub(crate) fn block(&self) {
        self.state().blocked = true;
        self.wake.notify_one();
    }

    /// Shard: the socket is the connection's.
    pub(crate) fn hand_back(&self, outbox: Outbox, then: Then) {
        self.state().handback = Some(Handback { outbox, then });
        self.wake.notify_one();
    }

    /// Connection: waits for the shard.
    pub(crate) async fn signal(&self) -> Signal {
        loop {
            if let Some(signal) = self.take_signal() {
                return signal;
            }
            self.wake.notified().await;
        }
    }

    fn take_signal(&self) -> Option<Signal> {
        let mut state = self.state();
        if let Some(handback) = state.handback.take() {
            state.blocked = false;
            return Some(Signal::Handback(handback));
        }
        std::mem::take(&mut state.blocked).then_some(Signal::Blocked)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
