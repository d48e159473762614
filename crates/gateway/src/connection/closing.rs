//! How a connection ends: quickly, in the protocol's order, and never waiting for long.

use std::time::Duration;

use clarion_observability::metric::{SentType, SocketError};

use super::wire::Incoming;
use super::{Connection, Flow};
use crate::conversation::Violation;
use crate::frame::CloseCode;
use crate::outbox::Outbox;
use crate::shard::{Command, Signal, Written, write};

/// Longest wait for a socket to take what is written outside a session.
const WRITE_WITHIN: Duration = Duration::from_secs(2);
/// Longest wait for a client to echo a close.
const ECHO_WITHIN: Duration = Duration::from_secs(1);
/// Longest wait for a shard to hand a socket back.
const HANDBACK_WITHIN: Duration = Duration::from_secs(2);

impl Connection {
    /// Writes to a socket that no session owns. False: it is gone, or takes nothing.
    pub(super) async fn write(&self, mut bytes: &[u8]) -> bool {
        let stream = self.link.stream();
        let all = async {
            while !bytes.is_empty() {
                match stream.try_write(bytes) {
                    Ok(0) => return false,
                    Ok(count) => bytes = &bytes[count..],
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                        if stream.writable().await.is_err() {
                            return false;
                        }
                    }
                    Err(_) => return false,
                }
            }
            true
        };
        tokio::time::timeout(WRITE_WITHIN, all).await.unwrap_or(false)
    }

    /// Writes what waited for a socket that is this connection's again. If it does not take that in time, it gets no more
    /// than the rest of the frame that was begun. False: it is gone, or takes not even that.
    pub(super) async fn write_waiting(&self, mut outbox: Outbox) -> bool {
        let all = tokio::time::timeout(WRITE_WITHIN, self.write_frames(&mut outbox)).await;
        if let Ok(written) = all {
            return written;
        }
        outbox.keep_begun();
        tokio::time::timeout(WRITE_WITHIN, self.write_frames(&mut outbox)).await.unwrap_or(false)
    }

    async fn write_frames(&self, outbox: &mut Outbox) -> bool {
        loop {
            match write(&self.link, outbox, &self.gate.metrics) {
                Written::Everything => return true,
                Written::Blocked => {
                    if self.link.stream().writable().await.is_err() {
                        return false;
                    }
                }
                Written::Broken => return false,
            }
        }
    }

    /// Closes with a code once the client has what waits for it, and waits a moment for the echo. The session, if there is
    /// one, may be resumed.
    pub(super) async fn close(&mut self, violation: Violation) {
        let Some(waiting) = self.ask_back(false).await else { return };
        self.wire.close(&self.link, violation);
        let frame = self.wire.take_replies();
        self.gate.metrics.messages_sent.with(SentType::Close).increment(1);
        if self.write_waiting(waiting).await && self.write(&frame).await {
            let _ = tokio::time::timeout(ECHO_WITHIN, self.echo()).await;
        }
    }

    /// The client closes: the echo goes out after the frame that was begun, and nothing else.
    pub(super) async fn answer_close(&mut self, code: Option<CloseCode>) -> Flow {
        let echo = self.wire.take_replies();
        let done = code.is_some_and(CloseCode::ends_session);
        if let Some(mut waiting) = self.ask_back(done).await {
            waiting.keep_begun();
            if self.write_waiting(waiting).await {
                self.write(&echo).await;
            }
        }
        Flow::End
    }

    /// The socket broke.
    pub(super) async fn lose(&mut self) -> Flow {
        self.gate.metrics.errors.with(SocketError::Closed).increment(1);
        self.tell(|seat, link| Command::Detach { seat, link, end: false }).await;
        Flow::End
    }

    /// Has the shard give the socket back; answers what is to be written first. `None`: no answer, so nothing can be.
    async fn ask_back(&mut self, end: bool) -> Option<Outbox> {
        if self.seat.is_none() {
            return Some(Outbox::new(0));
        }
        let answer = async {
            self.tell(|seat, link| Command::Detach { seat, link, end }).await;
            loop {
                if let Signal::Handback(handback) = self.link.signal().await {
                    return handback.outbox;
                }
            }
        };
        let waiting = tokio::time::timeout(HANDBACK_WITHIN, answer).await.ok();
        self.seat = None;
        waiting
    }

    /// Reads until the client has closed, too. What it says until then is of no interest.
    async fn echo(&mut self) {
        loop {
            match self.wire.read(&self.link) {
                Incoming::Closed(_) | Incoming::End => return,
                Incoming::Nothing => {
                    if self.link.stream().readable().await.is_err() {
                        return;
                    }
                }
                Incoming::Violation(_) => return self.discard().await,
                Incoming::Text(_) | Incoming::Control => {}
            }
        }
    }

    /// Reads bytes that are no frames any more, so that the close frame is not lost in a reset.
    async fn discard(&self) {
        let mut nowhere = [0; 1024];
        let stream = self.link.stream();
        loop {
            match stream.try_read(&mut nowhere) {
                Ok(0) => return,
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    if stream.readable().await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }
}
