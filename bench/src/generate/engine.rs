//! The loop: who can be read, who can be written, and what has come so far.

mod steady;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mio::{Events, Interest, Poll, Token};

use super::sender::Sender;
use super::socket::{Counts, Phase, Socket};
use super::{Command, Dialect, Sample, Spec, wire};
use crate::cpu::{CpuClock, within};

/// Sockets that connect at a time.
const CONNECTING: usize = 64;
/// More often than a gateway asks for.
const BEAT_EVERY: Duration = Duration::from_secs(20);
/// Longest wait for everything that was said.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time in which nothing more may come.
const GRACE: Duration = Duration::from_millis(30);
/// The content of a message, in bytes, without its number and unless something else is asked for.
const CONTENT: usize = 87;

pub(super) struct Engine {
    spec: Spec,
    poll: Poll,
    events: Events,
    sockets: Vec<Socket>,
    /// Says what sockets of rooms and subjects hear.
    publisher: Option<Socket>,
    /// What it says, framed.
    said: Vec<u8>,
    senders: Vec<Sender>,
    /// What messages say after their number.
    content: String,
    buffer: Vec<u8>,
    counts: Counts,
    live: usize,
    sent: u64,
    latencies: Vec<f64>,
    /// The next session to be kept alive, and when it was its turn.
    beat: (usize, Instant),
}

impl Engine {
    /// Connects every socket and every sender, and says one message to see that it arrives.
    pub(super) fn connect(spec: Spec) -> anyhow::Result<Self> {
        let mut engine = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            sockets: Vec::with_capacity(spec.sockets),
            publisher: None,
            said: Vec::new(),
            senders: Vec::new(),
            content: "x".repeat(CONTENT),
            buffer: vec![0; 1 << 20],
            counts: Counts::default(),
            live: 0,
            sent: 0,
            latencies: Vec::new(),
            beat: (0, Instant::now()),
            spec,
        };
        let (message, said) = engine.words();
        engine.said = said;
        let deadline = within(PATIENCE * 4);
        while engine.live < engine.spec.sockets {
            while engine.sockets.len() < engine.spec.sockets && engine.sockets.len() - engine.live < CONNECTING {
                engine.open(message)?;
            }
            engine.turn(Duration::from_millis(100))?;
            engine.live = engine.sockets.iter().filter(|s| s.phase == Phase::Live).count();
            if Instant::now() > deadline {
                bail!("{} of {} sockets are connected", engine.live, engine.spec.sockets);
            }
        }
        engine.open_senders(message)?;
        engine.quiet(GRACE)?;
        Ok(engine)
    }

    /// How long a message is without what is around it, and what says one.
    fn words(&self) -> (usize, Vec<u8>) {
        let frame = self.spec.frame;
        let payload = (frame.saturating_sub(10)..frame).find(|n| n + wire::overhead(*n) == frame).unwrap_or(frame);
        let mut said = Vec::new();
        match self.spec.dialect {
            Dialect::Clarion => (0, said),
            Dialect::Room => {
                wire::frame(1, &vec![b'x'; payload], &mut said);
                (payload, said)
            }
            Dialect::Nats => {
                let text = |n: usize| format!("room 1 {n}\r\n").len() + "MSG ".len() + n + 2;
                let content = (0..payload).rev().find(|n| text(*n) <= payload).unwrap_or(0);
                let published = format!("PUB room {content}\r\n{}\r\n", "x".repeat(content));
                wire::frame(2, published.as_bytes(), &mut said);
                (text(content), said)
            }
        }
    }

    fn open(&mut self, message: usize) -> anyhow::Result<()> {
        let at = self.sockets.len();
        let token = self.spec.tokens.get(at).cloned().unwrap_or_default();
        let mut socket = Socket::new(&self.spec.address, self.spec.dialect, true, token, message)?;
        if self.spec.dialect == Dialect::Clarion && at.is_multiple_of(100) {
            socket.checked = Some((0, 0));
        }
        self.register(&mut socket, at)?;
        self.sockets.push(socket);
        Ok(())
    }

    fn register(&mut self, socket: &mut Socket, token: usize) -> anyhow::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        Ok(self.poll.registry().register(&mut socket.stream, Token(token), interest)?)
    }

    fn open_senders(&mut self, message: usize) -> anyhow::Result<()> {
        let first = self.spec.sockets;
        if self.spec.dialect == Dialect::Clarion {
            for i in 0..self.spec.senders {
                let sender = self.sender(i)?;
                self.senders.push(sender);
            }
            return Ok(());
        }
        let mut socket = Socket::new(&self.spec.address, self.spec.dialect, false, String::new(), message)?;
        self.register(&mut socket, first)?;
        self.publisher = Some(socket);
        let deadline = within(PATIENCE);
        while self.publisher.as_ref().is_some_and(|p| p.phase != Phase::Live) {
            self.turn(Duration::from_millis(100))?;
            if Instant::now() > deadline {
                bail!("the publisher is not connected");
            }
        }
        Ok(())
    }

    fn sender(&self, i: usize) -> anyhow::Result<Sender> {
        let token = self.spec.tokens.get(i % self.spec.tokens.len().max(1)).context("no token")?;
        let mut sender = Sender::new(&self.spec.address, token)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut sender.stream, Token(self.spec.sockets + i), interest)?;
        Ok(sender)
    }

    /// Does what it is told.
    pub(super) fn obey(&mut self, command: &Command) -> anyhow::Result<Sample> {
        let (mut server, mut own) = (CpuClock::new(&self.spec.server), CpuClock::new(&[std::process::id()]));
        let before = (self.counts.deliveries, self.counts.bytes, self.sent);
        let begun = Instant::now();
        self.latencies.clear();
        let mut flow = None;
        match *command {
            Command::Fanout { at_once, cpu_s, wall_s } => loop {
                self.round(at_once)?;
                let enough = server.read().as_secs_f64() >= cpu_s || begun.elapsed().as_secs_f64() >= wall_s;
                if enough {
                    break;
                }
            },
            Command::Send { wall_s, per_s: None } => self.send_for(Duration::from_secs_f64(wall_s))?,
            Command::Send { wall_s, per_s: Some(per_s) } => self.send_at(Duration::from_secs_f64(wall_s), per_s)?,
            Command::Beat => self.beat_all()?,
            Command::Steady(ref steady) => flow = Some(self.steady(steady)?),
        }
        let sample = Sample {
            messages: self.sent - before.2,
            deliveries: self.counts.deliveries - before.0,
            bytes: self.counts.bytes - before.1,
            wall_s: begun.elapsed().as_secs_f64(),
            server_cpu_s: server.read().as_secs_f64(),
            generator_cpu_s: own.read().as_secs_f64(),
            latencies_ms: std::mem::take(&mut self.latencies),
            flow,
        };
        self.quiet(GRACE)?;
        Ok(sample)
    }

    /// Keeps sessions alive for a moment.
    pub(super) fn idle(&mut self, time: Duration) -> anyhow::Result<()> {
        self.turn(time).map(drop)
    }

    /// Says so many messages and waits until everybody has each, once.
    fn round(&mut self, at_once: usize) -> anyhow::Result<()> {
        let goal = self.counts.deliveries + (at_once * self.spec.sockets) as u64;
        let begun = Instant::now();
        if let Some(publisher) = &mut self.publisher {
            publisher.send(&self.said.repeat(at_once))?;
            self.sent += at_once as u64;
        }
        if at_once > self.senders.len() && self.publisher.is_none() {
            bail!("{at_once} messages at once need as many senders");
        }
        for i in 0..at_once.min(self.senders.len()) {
            self.post(i)?;
        }
        let deadline = begun + PATIENCE;
        while self.counts.deliveries < goal || self.senders.iter().any(|s| s.waits_since.is_some()) {
            self.turn(Duration::from_millis(100))?;
            if Instant::now() > deadline {
                bail!("{} deliveries are missing", goal.saturating_sub(self.counts.deliveries));
            }
        }
        if self.counts.deliveries > goal {
            bail!("{} deliveries too many", self.counts.deliveries - goal);
        }
        self.same_everywhere()?;
        self.latencies.push(begun.elapsed().as_secs_f64() * 1e3);
        Ok(())
    }

    /// All sockets that are checked have heard the same.
    fn same_everywhere(&self) -> anyhow::Result<()> {
        let mut checked = self.sockets.iter().filter_map(|s| s.checked);
        if let Some(first) = checked.next()
            && !checked.all(|other| other == first)
        {
            bail!("sockets heard different messages, or in another order");
        }
        Ok(())
    }

    fn post(&mut self, sender: usize) -> anyhow::Result<()> {
        self.sent += 1;
        if self.senders[sender].closed {
            self.senders[sender] = self.sender(sender)?;
        }
        let channel = self.spec.channels[sender % self.spec.channels.len()].clone();
        self.senders[sender].post(&channel, self.sent, &self.content)
    }

    /// Every sender says one message after another.
    fn send_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = within(time);
        for i in 0..self.senders.len() {
            self.post(i)?;
        }
        while self.senders.iter().any(|s| s.waits_since.is_some()) {
            for (sender, since) in self.turn(Duration::from_millis(100))? {
                self.latencies.push(since.elapsed().as_secs_f64() * 1e3);
                if Instant::now() < end {
                    self.post(sender)?;
                }
            }
            if Instant::now() > end + PATIENCE {
                bail!("answers are missing");
            }
        }
        Ok(())
    }

    /// Messages are sent when they are due; their times are from then.
    fn send_at(&mut self, time: Duration, per_s: f64) -> anyhow::Result<()> {
        let (begun, all) = (Instant::now(), (time.as_secs_f64() * per_s) as usize);
        let mut due: Vec<Option<Instant>> = vec![None; self.senders.len()];
        let mut sent = 0;
        while sent < all || self.senders.iter().any(|s| s.waits_since.is_some()) {
            let next = begun + Duration::from_secs_f64(sent as f64 / per_s);
            let free = self.senders.iter().position(|s| s.waits_since.is_none());
            if let Some(sender) = free.filter(|_| sent < all && next <= Instant::now()) {
                due[sender] = Some(next);
                self.post(sender)?;
                sent += 1;
            }
            // Asked again and again: to be woken takes as long as what is measured.
            self.turn(Duration::ZERO)?;
            for (sender, due) in self.senders.iter().zip(&mut due) {
                if sender.waits_since.is_none()
                    && let Some(due) = due.take()
                {
                    self.latencies.push(due.elapsed().as_secs_f64() * 1e3);
                }
            }
            if begun.elapsed() > time + PATIENCE {
                bail!("answers are missing");
            }
        }
        Ok(())
    }

    fn beat_all(&mut self) -> anyhow::Result<()> {
        let goal = self.counts.acknowledged + self.sockets.len() as u64;
        self.beat.1 = Instant::now();
        for socket in &mut self.sockets {
            socket.beat()?;
        }
        let deadline = within(PATIENCE);
        while self.counts.acknowledged < goal {
            self.turn(Duration::from_millis(100))?;
            if Instant::now() > deadline {
                bail!("{} heartbeats are not acknowledged", goal - self.counts.acknowledged);
            }
        }
        Ok(())
    }

    /// Nothing more may come.
    fn quiet(&mut self, time: Duration) -> anyhow::Result<()> {
        let (before, end) = (self.counts.deliveries, within(time));
        while Instant::now() < end {
            self.turn(time)?;
        }
        if self.counts.deliveries != before {
            bail!("{} deliveries too many", self.counts.deliveries - before);
        }
        Ok(())
    }

    /// One turn: waits for something and takes it. Answers which senders were answered, and when they had sent.
    fn turn(&mut self, wait: Duration) -> anyhow::Result<Vec<(usize, Instant)>> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => return Ok(Vec::new()),
            other => other?,
        }
        let mut answered = Vec::new();
        let listening = self.spec.sockets;
        for event in &self.events {
            let at = event.token().0;
            let socket = match at.checked_sub(listening) {
                None => &mut self.sockets[at],
                Some(i) if self.publisher.is_none() => {
                    let sender = &mut self.senders[i];
                    if event.is_writable() {
                        sender.writable()?;
                    }
                    if event.is_readable()
                        && let Some(since) = sender.readable()?
                    {
                        answered.push((i, since));
                    }
                    continue;
                }
                Some(_) => match &mut self.publisher {
                    Some(publisher) => publisher,
                    None => continue,
                },
            };
            if event.is_writable() {
                socket.writable(&self.spec.address)?;
            }
            if event.is_readable() && !socket.stopped {
                socket.readable(&mut self.buffer, &mut self.counts)?;
            }
        }
        self.keep_alive()?;
        Ok(answered)
    }

    /// Sessions have their heartbeats one after another, each once in a while, also while others still connect.
    fn keep_alive(&mut self) -> anyhow::Result<()> {
        if self.spec.dialect != Dialect::Clarion || self.sockets.is_empty() {
            return Ok(());
        }
        let (next, since) = &mut self.beat;
        let due = since.elapsed().as_secs_f64() / BEAT_EVERY.as_secs_f64() * self.sockets.len() as f64;
        let due = (due as usize).min(self.sockets.len());
        if due == 0 {
            return Ok(());
        }
        for _ in 0..due {
            *next = (*next + 1) % self.sockets.len();
            let socket = &mut self.sockets[*next];
            if socket.phase == Phase::Live && !socket.stopped {
                socket.beat()?;
            }
        }
        *since = Instant::now();
        Ok(())
    }
}
