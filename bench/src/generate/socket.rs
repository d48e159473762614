//! One socket of the generator.

use std::io::{self, Read, Write};
use std::time::Instant;

use anyhow::{Context, bail};
use mio::net::TcpStream;

use super::{Dialect, wire};

const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;

/// Receive buffer of a slow socket.
const SLOW_RECEIVES: usize = 64 << 10;

/// How far a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Upgrading,
    Greeting,
    Live,
    /// A slow one's, with the code that the server gave.
    Ended(Option<u16>),
}

/// What the sockets of a generator count together.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) deliveries: u64,
    pub(super) bytes: u64,
    pub(super) acknowledged: u64,
    /// While a steady flow is measured.
    pub(super) clock: Option<Clock>,
}

/// When messages were due, and how long they took.
#[derive(Debug)]
pub(super) struct Clock {
    /// The number of the first of them.
    pub(super) first: u64,
    pub(super) due: Vec<Instant>,
    /// Which of them it was, and how long it took.
    pub(super) times_us: Vec<(u32, u32)>,
}

/// A socket that hears, or the one over which a room's or a subject's messages are said.
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    pub(super) phase: Phase,
    dialect: Dialect,
    hears: bool,
    token: String,
    /// The beginning of a frame that has not come whole.
    carry: Vec<u8>,
    /// What the kernel has not taken yet.
    unsent: Vec<u8>,
    sequence: u64,
    /// Whether the order of what comes is checked here, and what came: the last id, and all of them mixed.
    pub(super) checked: Option<(u64, u64)>,
    /// It may be let go of by the server. Its times are not measured.
    pub(super) slow: bool,
    /// It reads nothing.
    pub(super) stopped: bool,
    /// It has taken up its session once more.
    pub(super) resumed: bool,
    /// How often it asked to since it last heard that it has. Each RESUMED that was missed left a number unused.
    asked: u64,
    session: String,
    /// NATS: how many bytes a message is without the frame around it, and bytes that are no whole message yet.
    message: usize,
    odd: usize,
}

impl Socket {
    pub(super) fn new(
        address: &str,
        dialect: Dialect,
        hears: bool,
        token: String,
        message: usize,
    ) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address.parse()?)?;
        Ok(Self {
            stream,
            phase: Phase::Connecting,
            dialect,
            hears,
            token,
            carry: Vec::new(),
            unsent: Vec::new(),
            sequence: 0,
            checked: None,
            slow: false,
            stopped: false,
            resumed: false,
            asked: 0,
            session: String::new(),
            message,
            odd: 0,
        })
    }

    /// May stop reading from now on. What the kernel then still takes stays small.
    pub(super) fn make_slow(&mut self) -> anyhow::Result<()> {
        self.slow = true;
        Ok(socket2::SockRef::from(&self.stream).set_recv_buffer_size(SLOW_RECEIVES)?)
    }

    /// Connects anew, to resume.
    pub(super) fn reopen(&mut self, address: &str) -> anyhow::Result<()> {
        self.stream = TcpStream::connect(address.parse()?)?;
        self.phase = Phase::Connecting;
        self.asked += 1;
        self.make_slow()?;
        self.carry.clear();
        self.unsent.clear();
        Ok(())
    }

    /// The socket can be written.
    pub(super) fn writable(&mut self, address: &str) -> anyhow::Result<()> {
        if self.phase == Phase::Connecting {
            if let Some(error) = self.stream.take_error()? {
                bail!("cannot connect to {address}: {error}");
            }
            self.stream.set_nodelay(true)?;
            self.phase = Phase::Upgrading;
            let path = match (self.dialect, self.hears) {
                (Dialect::Clarion, _) => "/?v=10&encoding=json",
                (Dialect::Room, true) => "/sub",
                (Dialect::Room, false) => "/pub",
                (Dialect::Nats, _) => "/",
            };
            return self.send(&wire::handshake(path, address));
        }
        if self.stopped || matches!(self.phase, Phase::Ended(_)) {
            return Ok(());
        }
        let unsent = std::mem::take(&mut self.unsent);
        self.send(&unsent)
    }

    /// Writes bytes, now or when the socket takes them.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent.extend_from_slice(bytes);
                    return Ok(());
                }
                // The server has let go of it: reading tells how.
                Err(e)
                    if self.slow && matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) =>
                {
                    return Ok(());
                }
                Err(e) => return Err(e).context("writing"),
            }
        }
        Ok(())
    }

    /// Keeps the session alive.
    pub(super) fn beat(&mut self) -> anyhow::Result<()> {
        let mut out = Vec::new();
        wire::frame(1, format!(r#"{{"op":1,"d":{}}}"#, self.sequence).as_bytes(), &mut out);
        self.send(&out)
    }

    /// The socket can be read. `buffer` is shared by all.
    pub(super) fn readable(&mut self, buffer: &mut [u8], counts: &mut Counts) -> anyhow::Result<()> {
        while !matches!(self.phase, Phase::Ended(_)) {
            let kept = self.carry.len();
            buffer[..kept].copy_from_slice(&self.carry);
            let read = match self.stream.read(&mut buffer[kept..]) {
                Ok(0) if self.slow => {
                    self.phase = Phase::Ended(None);
                    return Ok(());
                }
                Ok(0) => bail!("the server closed a socket"),
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset && self.slow => {
                    self.phase = Phase::Ended(None);
                    return Ok(());
                }
                Err(e) => return Err(e).context("reading"),
            };
            let drained = kept + read < buffer.len();
            let used = self.take(&buffer[..kept + read], counts)?;
            self.carry.clear();
            self.carry.extend_from_slice(&buffer[used..kept + read]);
            if drained {
                // Edge-triggered: a short read has taken everything.
                return Ok(());
            }
            if self.carry.len() == buffer.len() {
                bail!("a frame is larger than {} bytes", buffer.len());
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], counts: &mut Counts) -> anyhow::Result<usize> {
        let mut from = 0;
        if self.phase == Phase::Upgrading {
            match wire::agreed(bytes) {
                None => return Ok(0),
                Some((_, false)) => bail!("refused: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)])),
                Some((end, true)) => from = end,
            }
            self.phase = if self.dialect == Dialect::Room { Phase::Live } else { Phase::Greeting };
        }
        let mut result = Ok(());
        let used = wire::frames(&bytes[from..], |opcode, payload, size| {
            if result.is_ok() {
                result = self.hear(opcode, payload, size, counts);
            }
        });
        result.map(|()| from + used)
    }

    fn hear(&mut self, opcode: u8, payload: &[u8], size: usize, counts: &mut Counts) -> anyhow::Result<()> {
        match opcode {
            8 if self.slow && payload.len() >= 2 => {
                self.phase = Phase::Ended(Some(u16::from_be_bytes([payload[0], payload[1]])));
                return Ok(());
            }
            8 => bail!("the server closes: {}", String::from_utf8_lossy(payload)),
            9 => {
                let mut pong = Vec::new();
                wire::frame(10, payload, &mut pong);
                return self.send(&pong);
            }
            1 | 2 => {}
            other => bail!("a frame of opcode {other}"),
        }
        match self.dialect {
            Dialect::Clarion => self.hear_clarion(payload, size, counts),
            Dialect::Room => {
                counts.deliveries += 1;
                counts.bytes += size as u64;
                Ok(())
            }
            Dialect::Nats => self.hear_nats(payload, size, counts),
        }
    }

    fn hear_clarion(&mut self, payload: &[u8], size: usize, counts: &mut Counts) -> anyhow::Result<()> {
        let Some(dispatch) = payload.strip_prefix(br#"{"op":0,"s":"#) else {
            if payload.starts_with(br#"{"op":10"#) {
                let resume = format!(
                    r#"{{"op":6,"d":{{"token":"{}","session_id":"{}","seq":{}}}}}"#,
                    self.token, self.session, self.sequence
                );
                let identify = format!(
                    r#"{{"op":2,"d":{{"token":"{}","intents":{INTENTS},"properties":{{"os":"linux","browser":"bench","device":"bench"}}}}}}"#,
                    self.token
                );
                let mut out = Vec::new();
                let hello = if self.session.is_empty() { identify } else { resume };
                wire::frame(1, hello.as_bytes(), &mut out);
                return self.send(&out);
            }
            if payload.starts_with(br#"{"op":11"#) {
                counts.acknowledged += 1;
                return Ok(());
            }
            bail!("unexpected: {}", String::from_utf8_lossy(&payload[..payload.len().min(200)]));
        };
        let digits = dispatch.iter().take_while(|b| b.is_ascii_digit()).count();
        let sequence = number(&dispatch[..digits]);
        let next = self.sequence + 1;
        if sequence < next || sequence > next + self.asked.saturating_sub(1) {
            bail!("sequence {sequence} after {}", self.sequence);
        }
        self.sequence = sequence;
        let rest = &dispatch[digits..];
        if rest.starts_with(br#","t":"MESSAGE_CREATE""#) {
            counts.deliveries += 1;
            counts.bytes += size as u64;
            if let Some(clock) = counts.clock.as_mut().filter(|_| !self.slow) {
                clock.take(rest).context("a message of another flow")?;
            }
            if let Some((last, mixed)) = &mut self.checked {
                let id = field(rest, br#""d":{"id":""#).context("a message without an id in front")?;
                if id <= *last {
                    bail!("message {id} after {last}");
                }
                (*last, *mixed) = (id, mixed.rotate_left(5) ^ id);
            }
        } else if rest.starts_with(br#","t":"GUILD_CREATE""#) {
            self.phase = Phase::Live;
        } else if rest.starts_with(br#","t":"RESUMED""#) {
            (self.phase, self.resumed, self.asked) = (Phase::Live, true, 0);
        } else if rest.starts_with(br#","t":"READY""#) {
            let from = after(rest, br#""session_id":""#).context("a session without an id")?;
            let id = rest[from..].split(|b| *b == b'"').next().unwrap_or_default();
            self.session = String::from_utf8_lossy(id).into_owned();
        }
        Ok(())
    }

    fn hear_nats(&mut self, payload: &[u8], size: usize, counts: &mut Counts) -> anyhow::Result<()> {
        if self.phase == Phase::Greeting {
            let mut out = Vec::new();
            if payload.starts_with(b"INFO") {
                let sub = if self.hears { "SUB room 1\r\n" } else { "" };
                let hello = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\n{sub}PING\r\n");
                wire::frame(2, hello.as_bytes(), &mut out);
            } else if payload.starts_with(b"PONG") {
                self.phase = Phase::Live;
            }
            return self.send(&out);
        }
        // Frames hold messages and parts of messages; all messages are of one length, and nothing else comes.
        self.odd += payload.len();
        counts.deliveries += (self.odd / self.message) as u64;
        self.odd %= self.message;
        counts.bytes += size as u64;
        Ok(())
    }
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |n, d| n.wrapping_mul(10).wrapping_add(u64::from(d - b'0')))
}

/// The number behind a marker.
fn field(bytes: &[u8], marker: &[u8]) -> Option<u64> {
    let at = after(bytes, marker)?;
    let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    (digits > 0).then(|| number(&bytes[at..at + digits]))
}

/// Where a marker ends.
fn after(bytes: &[u8], marker: &[u8]) -> Option<usize> {
    Some(bytes.windows(marker.len()).position(|w| w == marker)? + marker.len())
}

impl Clock {
    /// A message has come whose content begins with its number.
    fn take(&mut self, message: &[u8]) -> Option<()> {
        let number = field(message, br#""content":""#)?;
        let at = u32::try_from(number.checked_sub(self.first)?).ok()?;
        let due = self.due.get(at as usize)?;
        self.times_us.push((at, due.elapsed().as_micros() as u32));
        Some(())
    }
}
