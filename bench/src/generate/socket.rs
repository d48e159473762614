//! One socket of the generator.

use std::io::{self, Read, Write};

use anyhow::{Context, bail};
use mio::net::TcpStream;

use super::{Dialect, wire};

const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;

/// How far a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Upgrading,
    Greeting,
    Live,
}

/// What the sockets of a generator count together.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) deliveries: u64,
    pub(super) bytes: u64,
    pub(super) acknowledged: u64,
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
            message,
            odd: 0,
        })
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
        loop {
            let kept = self.carry.len();
            buffer[..kept].copy_from_slice(&self.carry);
            let read = match self.stream.read(&mut buffer[kept..]) {
                Ok(0) => bail!("the server closed a socket"),
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
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
                let identify = format!(
                    r#"{{"op":2,"d":{{"token":"{}","intents":{INTENTS},"properties":{{"os":"linux","browser":"bench","device":"bench"}}}}}}"#,
                    self.token
                );
                let mut out = Vec::new();
                wire::frame(1, identify.as_bytes(), &mut out);
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
        if sequence != self.sequence + 1 {
            bail!("sequence {sequence} after {}", self.sequence);
        }
        self.sequence = sequence;
        let rest = &dispatch[digits..];
        if rest.starts_with(br#","t":"MESSAGE_CREATE""#) {
            counts.deliveries += 1;
            counts.bytes += size as u64;
            if let Some((last, mixed)) = &mut self.checked {
                let id = field(rest, br#""d":{"id":""#).context("a message without an id in front")?;
                if id <= *last {
                    bail!("message {id} after {last}");
                }
                (*last, *mixed) = (id, mixed.rotate_left(5) ^ id);
            }
        } else if rest.starts_with(br#","t":"GUILD_CREATE""#) {
            self.phase = Phase::Live;
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
    let at = bytes.windows(marker.len()).position(|w| w == marker)? + marker.len();
    let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    (digits > 0).then(|| number(&bytes[at..at + digits]))
}
