//! The connections of a shard, for clients behind networks that let no datagram through (RFC 6544). To the engine a
//! connection is one more place where packets come from and go to. Strangers may open one: whatever they do with it has
//! bounds.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{TcpClosed, VoiceMetrics};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpListener, TcpStream};

use super::connection::{Connection, Readable, source};
use crate::engine::Engine;

/// Connections that are read, and ones that are let in, in one turn.
const TURN: usize = 16;
/// Bytes that are read from a connection in one turn.
const READ: usize = 4 << 10;
/// Until an authentic check has come.
const PROVE: Duration = Duration::from_secs(5);
/// Frames that may come before it.
const STRANGE: u64 = 16;
/// Without a frame. Browsers check a way that they do not use every 25 s.
const IDLE: Duration = Duration::from_secs(60);

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    /// From one address.
    pub(crate) per_address: usize,
}

/// A listener and its connections.
pub(super) struct Streams {
    listener: TcpListener,
    limits: Limits,
    metrics: VoiceMetrics,
    open: HashMap<u64, Connection>,
    by_source: HashMap<IpAddr, usize>,
    /// One a connection, and those of closed ones until they notice.
    readable: FuturesUnordered<Readable>,
    /// What the last poll has found.
    ready: Vec<u64>,
    arrived: Vec<(TcpStream, SocketAddr)>,
    /// Those that are to be written to in this turn.
    touched: Vec<u64>,
    buffer: Box<[u8]>,
    next: u64,
    /// Nobody is let in until the next tick: the last accept has failed.
    paused: bool,
}

impl Streams {
    pub(super) fn new(listener: TcpListener, limits: Limits, metrics: VoiceMetrics) -> Self {
        Self {
            listener,
            limits,
            metrics,
            open: HashMap::new(),
            by_source: HashMap::new(),
            readable: FuturesUnordered::new(),
            ready: Vec::new(),
            arrived: Vec::new(),
            touched: Vec::new(),
            buffer: vec![0; READ].into(),
            next: 0,
            paused: false,
        }
    }

    /// Until there is something for [`Self::turn`] to do.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.paused && self.arrived.len() < TURN {
            match self.listener.poll_accept(cx) {
                Poll::Ready(Ok(arrived)) => self.arrived.push(arrived),
                // Such as too many open files, which may pass.
                Poll::Ready(Err(error)) => {
                    log::ACCEPT_FAILED.emit(Fields::error("accept", &error));
                    self.paused = true;
                }
                Poll::Pending => break,
            }
        }
        while self.ready.len() < TURN
            && let Poll::Ready(Some(connection)) = self.readable.poll_next_unpin(cx)
        {
            self.ready.push(connection);
        }
        if self.arrived.is_empty() && self.ready.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Lets in who has come, and reads what has come.
    pub(super) fn turn(&mut self, now: Instant, engine: &mut Engine) {
        while let Some((stream, from)) = self.arrived.pop() {
            self.admit(now, engine, stream, from);
        }
        while let Some(connection) = self.ready.pop() {
            if let Err(reason) = self.read(now, engine, connection) {
                self.close(engine, connection, reason);
            }
        }
    }

    fn admit(&mut self, now: Instant, engine: &mut Engine, stream: TcpStream, from: SocketAddr) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let there = self.by_source.get(&source(from.ip())).copied().unwrap_or_default();
        if there >= self.limits.per_address {
            return self.metrics.tcp_closed.with(TcpClosed::Address).increment(1);
        }
        if self.open.len() >= self.limits.connections {
            // Neither a flood of strangers nor ways that nobody uses keep others out: the oldest stranger gives way, and
            // without any the oldest that carries nothing.
            let spare = self.open.iter().filter(|(_, there)| !there.proven || !engine.uses(there.remote));
            match spare.min_by_key(|(number, there)| (there.proven, **number)).map(|(number, _)| *number) {
                Some(oldest) => self.close(engine, oldest, TcpClosed::Full),
                None => return self.metrics.tcp_closed.with(TcpClosed::Full).increment(1),
            }
        }
        let number = self.next;
        self.next += 1;
        let connection = Connection::new(now, number, stream, from, self.metrics.tcp_connections.hold());
        *self.by_source.entry(source(from.ip())).or_default() += 1;
        self.readable.push(connection.readable(number));
        self.open.insert(number, connection);
    }

    /// Reads what there is, within a turn's measure. An error says why the connection is to be closed.
    fn read(&mut self, now: Instant, engine: &mut Engine, number: u64) -> Result<(), TcpClosed> {
        // It may have been closed meanwhile.
        let Some(connection) = self.open.get_mut(&number) else { return Ok(()) };
        match connection.read(&mut self.buffer) {
            Ok(0) => return Err(TcpClosed::Peer),
            Ok(length) => {
                let (remote, mut count) = (connection.remote, 0);
                let end = connection.frames.read(&self.buffer[..length], |packet| {
                    count += 1;
                    engine.datagram(now, remote, packet);
                });
                if count > 0 {
                    connection.heard = now;
                }
                if !connection.proven {
                    connection.strange += count;
                    connection.proven = engine.knows(remote);
                }
                if end.is_err() || (!connection.proven && connection.strange > STRANGE) {
                    return Err(TcpClosed::Malformed);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(TcpClosed::Peer),
        }
        self.readable.push(connection.readable(number));
        Ok(())
    }

    /// Writes what the engine has for connections, without waiting for any.
    pub(super) fn send(&mut self, now: Instant, engine: &mut Engine) {
        let mut dropped = 0;
        for (number, packet) in engine.outgoing().frames.drain(..) {
            let Some(connection) = self.open.get_mut(&number) else {
                dropped += 1;
                continue;
            };
            dropped += connection.backlog.push(now, packet);
            if !std::mem::replace(&mut connection.touched, true) {
                self.touched.push(number);
            }
        }
        while let Some(number) = self.touched.pop() {
            let Some(connection) = self.open.get_mut(&number) else { continue };
            connection.touched = false;
            if connection.flush().is_err() {
                self.close(engine, number, TcpClosed::Peer);
            }
        }
        engine.unsent(dropped);
    }

    /// Writes what could not be written, and closes what has had its time.
    pub(super) fn tick(&mut self, now: Instant, engine: &mut Engine) {
        self.paused = false;
        let (mut over, mut dropped) = (Vec::new(), 0);
        for (number, connection) in &mut self.open {
            dropped += connection.backlog.give_way(now);
            let failed = connection.flush().is_err();
            let since = |then: Instant| now.saturating_duration_since(then);
            let reason = match connection.proven {
                _ if failed => TcpClosed::Peer,
                false if since(connection.since) >= PROVE => TcpClosed::Unproven,
                true if !engine.knows(connection.remote) => TcpClosed::Ended,
                _ if since(connection.heard) >= IDLE => TcpClosed::Idle,
                _ => continue,
            };
            over.push((*number, reason));
        }
        over.into_iter().for_each(|(number, reason)| self.close(engine, number, reason));
        engine.unsent(dropped);
    }

    fn close(&mut self, engine: &mut Engine, number: u64, reason: TcpClosed) {
        let Some(connection) = self.open.remove(&number) else { return };
        let source = source(connection.remote.address().ip());
        if let Some(there) = self.by_source.get_mut(&source) {
            *there -= 1;
            if *there == 0 {
                self.by_source.remove(&source);
            }
        }
        if connection.proven {
            engine.closed(connection.remote);
        }
        connection.shut();
        self.metrics.tcp_closed.with(reason).increment(1);
    }
}

#[cfg(test)]
mod tests;
