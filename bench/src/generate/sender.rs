//! A connection that sends messages over the REST API, one at a time.

use std::io::{self, Read, Write};
use std::time::Instant;

use anyhow::{Context, bail};
use mio::net::TcpStream;

/// One connection of one account.
pub(super) struct Sender {
    pub(super) stream: TcpStream,
    head: String,
    unsent: Vec<u8>,
    answer: Vec<u8>,
    /// The server has closed it, as it may when nothing was sent for a while.
    pub(super) closed: bool,
    /// When what it waits for was sent.
    pub(super) waits_since: Option<Instant>,
}

impl Sender {
    pub(super) fn new(address: &str, token: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address.parse()?)?;
        let head = format!("Host: {address}\r\nAuthorization: Bot {token}\r\nContent-Type: application/json\r\n");
        Ok(Self { stream, head, unsent: Vec::new(), answer: Vec::new(), closed: false, waits_since: None })
    }

    /// Sends a message: its number in twelve digits, and this.
    pub(super) fn post(&mut self, channel: &str, number: u64, rest: &str) -> anyhow::Result<()> {
        let body = format!(r#"{{"content":"{number:0>12} {rest}"}}"#);
        let request = format!(
            "POST /api/v10/channels/{channel}/messages HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n{body}",
            self.head,
            body.len()
        );
        self.waits_since = Some(Instant::now());
        self.unsent.extend_from_slice(request.as_bytes());
        self.writable()
    }

    /// The socket can be written.
    pub(super) fn writable(&mut self) -> anyhow::Result<()> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(count) => sent += count,
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => break,
                Err(e) => return Err(e).context("sending a message"),
            }
        }
        self.unsent.drain(..sent);
        Ok(())
    }

    /// The socket can be read. Answers when what is now answered was sent.
    pub(super) fn readable(&mut self) -> anyhow::Result<Option<Instant>> {
        let mut buffer = [0; 8 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) if self.waits_since.is_some() => bail!("the server closed a connection of the API"),
                Ok(0) => {
                    self.closed = true;
                    return Ok(None);
                }
                Ok(count) => self.answer.extend_from_slice(&buffer[..count]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e).context("reading an answer"),
            }
        }
        let Some(end) = self.answer.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(&self.answer[..end]).to_ascii_lowercase();
        let length =
            head.lines().find_map(|l| l.strip_prefix("content-length:")).context("an answer without a length")?;
        let length: usize = length.trim().parse()?;
        if self.answer.len() < end + 4 + length {
            return Ok(None);
        }
        if !head.starts_with("http/1.1 200") {
            bail!("a message was not accepted: {}", String::from_utf8_lossy(&self.answer));
        }
        self.answer.clear();
        Ok(self.waits_since.take())
    }
}
