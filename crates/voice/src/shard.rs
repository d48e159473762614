//! A shard: a thread with sockets of its own, on which the engine runs.

mod backlog;
mod batch;
mod connection;
mod streams;

pub(crate) use streams::Limits;

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::Context;
use clarion_observability::metric::VoiceMetrics;
use clarion_runtime::Host;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::engine::{Command, Engine, Event, Patience, Population, TICK};
use crate::remote::Remote;
use crate::sdp::Candidates;
use crate::secure::Identity;
use streams::Streams;

/// What may wait for a shard; those who tell it more wait.
const COMMANDS: usize = 1_024;
/// Datagrams of one turn. Then what comes of them is sent.
const TURN: usize = 64;
/// Longer than any datagram of media.
const DATAGRAM: usize = 2_048;
/// What the kernel keeps for a socket while its thread does something else.
const BUFFER: usize = 4 << 20;
/// Events that wait for their reader. Beyond it, those that only say how it was are left out.
const EVENTS: usize = 16_384;
/// Over what the share of a processor is taken.
const BUSY_OVER: Duration = Duration::from_secs(1);

/// A shard as others see it.
#[derive(Clone)]
pub(crate) struct Shard {
    pub(crate) commands: mpsc::Sender<Command>,
    /// Where clients reach it.
    pub(crate) candidates: Arc<Candidates>,
    load: Arc<Load>,
}

#[derive(Default)]
struct Load {
    /// Bits of the share of a processor.
    busy: AtomicU64,
    connected: AtomicUsize,
    over_tcp: AtomicUsize,
    rooms: AtomicUsize,
}

/// A shard that is bound and does nothing yet.
pub(crate) struct Bound {
    socket: std::net::UdpSocket,
    listener: Option<(std::net::TcpListener, Limits)>,
    candidates: Candidates,
}

/// What clients are told of a socket: the addresses they are to be told, or the one it is bound to.
fn told(bound: SocketAddr, advertise: &[IpAddr]) -> Vec<SocketAddr> {
    let told = advertise.iter().map(|ip| SocketAddr::new(*ip, bound.port()));
    if advertise.is_empty() { vec![bound] } else { told.collect() }
}

impl Bound {
    /// Binds the socket. `advertise` are the addresses that clients are told; without any, the one bound.
    pub(crate) fn new(at: SocketAddr, advertise: &[IpAddr]) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(at)?;
        socket.set_nonblocking(true)?;
        // Only what a burst needs: without it more is lost under load.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, BUFFER);
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, BUFFER);
        let candidates = Candidates { udp: told(socket.local_addr()?, advertise), tcp: Vec::new() };
        Ok(Self { socket, listener: None, candidates })
    }

    /// Where it is bound.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Takes connections, too.
    pub(crate) fn listen(
        mut self,
        listener: std::net::TcpListener,
        limits: Limits,
        advertise: &[IpAddr],
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        self.candidates.tcp = told(listener.local_addr()?, advertise);
        self.listener = Some((listener, limits));
        Ok(self)
    }

    /// Starts the thread.
    pub(crate) fn start(
        self,
        index: usize,
        host: &Host,
        identity: Arc<Identity>,
        metrics: VoiceMetrics,
        patience: Patience,
        events: mpsc::Sender<Event>,
    ) -> anyhow::Result<(Shard, std::thread::JoinHandle<()>)> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let load = Arc::new(Load::default());
        let shard = Shard { commands, candidates: Arc::new(self.candidates), load: load.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let host = host.clone();
        let (socket, listener) = (self.socket, self.listener);
        let engine = Engine::new(Instant::now(), identity, metrics.clone(), patience);
        let thread = std::thread::Builder::new()
            .name(format!("voice-{index}"))
            .spawn(move || {
                host.telemetry().adopt_thread();
                host.guard("voice shard", || {
                    let _runtime = runtime.enter();
                    let both_families = socket.local_addr().is_ok_and(|at| at.is_ipv6());
                    let streams = listener.map(|(listener, limits)| {
                        TcpListener::from_std(listener).map(|listener| Streams::new(listener, limits, metrics.clone()))
                    });
                    match (UdpSocket::from_std(socket), streams.transpose()) {
                        (Ok(socket), Ok(streams)) => {
                            let worker = Worker { engine, socket, streams, metrics, load, events, both_families };
                            runtime.block_on(worker.run(inbox));
                        }
                        _ => host.fail(),
                    }
                });
            })
            .context("cannot start a thread")?;
        Ok((shard, thread))
    }
}

impl Shard {
    /// The share of a processor that its thread has used lately.
    pub(crate) fn busy(&self) -> f64 {
        self.load.busy()
    }

    /// Who is there.
    pub(crate) fn population(&self) -> Population {
        Population {
            connected: self.load.connected.load(Ordering::Relaxed),
            over_tcp: self.load.over_tcp.load(Ordering::Relaxed),
            rooms: self.load.rooms.load(Ordering::Relaxed),
        }
    }
}

impl Load {
    fn busy(&self) -> f64 {
        f64::from_bits(self.busy.load(Ordering::Relaxed))
    }
}

struct Worker {
    engine: Engine,
    socket: UdpSocket,
    /// For those whom no datagram reaches.
    streams: Option<Streams>,
    metrics: VoiceMetrics,
    load: Arc<Load>,
    events: mpsc::Sender<Event>,
    /// The socket is one of IPv6, to which IPv4 is a part of it.
    both_families: bool,
}

/// Waits for datagrams or for streams; which of them there is something of.
async fn ready(socket: &UdpSocket, streams: &mut Option<Streams>) -> (bool, bool) {
    poll_fn(|cx| {
        let datagrams = socket.poll_recv_ready(cx).is_ready();
        let frames = streams.as_mut().is_some_and(|streams| streams.poll(cx).is_ready());
        if datagrams || frames { Poll::Ready((datagrams, frames)) } else { Poll::Pending }
    })
    .await
}

/// An address of IPv4 as a socket of IPv6 writes it.
fn mapped(to: SocketAddr) -> SocketAddr {
    match to.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
        IpAddr::V6(_) => to,
    }
}

/// What this thread has used of a processor so far.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.max(0) as u32)
}

impl Worker {
    /// Until nobody can tell it anything any more.
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = vec![0; DATAGRAM];
        let (mut since, mut used) = (Instant::now(), processor_time());
        loop {
            let mut received = false;
            // In this order, so that no flood of datagrams keeps the clock or the commands out.
            let began = tokio::select! {
                biased;
                _ = tick.tick() => {
                    let now = Instant::now();
                    self.engine.tick(now);
                    if let Some(streams) = &mut self.streams {
                        streams.tick(now, &mut self.engine);
                    }
                    self.publish();
                    now
                }
                command = inbox.recv() => {
                    let now = Instant::now();
                    let Some(command) = command else { break };
                    self.engine.command(now, command);
                    now
                }
                (datagrams, frames) = ready(&self.socket, &mut self.streams) => {
                    let now = Instant::now();
                    received = datagrams && self.receive(now, &mut buffer);
                    if let Some(streams) = self.streams.as_mut().filter(|_| frames) {
                        streams.turn(now, &mut self.engine);
                        received = true;
                    }
                    now
                }
            };
            self.send(began);
            self.tell();
            let now = Instant::now();
            if received {
                self.metrics.forward_latency.record_duration(now.saturating_duration_since(began));
            }
            let over = now.saturating_duration_since(since);
            if over >= BUSY_OVER {
                let total = processor_time();
                let share = total.saturating_sub(used).as_secs_f64() / over.as_secs_f64();
                // One busy second is not yet a busy server.
                let busy = (self.load.busy() * 2.0 + share) / 3.0;
                self.load.busy.store(busy.min(1.0).to_bits(), Ordering::Relaxed);
                (since, used) = (now, total);
            }
        }
        self.send(Instant::now());
        self.tell();
    }

    fn receive(&mut self, now: Instant, buffer: &mut [u8]) -> bool {
        for n in 0..TURN {
            match self.socket.try_recv_from(buffer) {
                Ok((length, from)) => {
                    // One address is one address, whichever way it is written.
                    let from = Remote::Udp(SocketAddr::new(from.ip().to_canonical(), from.port()));
                    self.engine.datagram(now, from, &buffer[..length]);
                }
                // Nothing more, or the word of a client that is not there any more, which its silence tells as well.
                Err(_) => return n > 0,
            }
        }
        true
    }

    /// What the kernel has no room for is lost, as on any way.
    fn send(&mut self, now: Instant) {
        if let Some(streams) = self.streams.as_mut().filter(|_| !self.engine.outgoing().frames.is_empty()) {
            streams.send(now, &mut self.engine);
        }
        let outgoing = &mut self.engine.outgoing().datagrams;
        if self.both_families {
            outgoing.iter_mut().for_each(|(to, _)| *to = mapped(*to));
        }
        let unsent = batch::send(&self.socket, outgoing);
        outgoing.clear();
        self.engine.unsent(unsent);
    }

    fn tell(&mut self) {
        let waiting = self.engine.events();
        if waiting.len() > EVENTS {
            waiting.retain(|event| matches!(event, Event::Gone { .. } | Event::Connected { .. }));
        }
        while let Some(event) = waiting.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    waiting.push_front(event);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    }

    fn publish(&self) {
        let Population { connected, over_tcp, rooms } = self.engine.population();
        self.load.connected.store(connected, Ordering::Relaxed);
        self.load.over_tcp.store(over_tcp, Ordering::Relaxed);
        self.load.rooms.store(rooms, Ordering::Relaxed);
    }
}
