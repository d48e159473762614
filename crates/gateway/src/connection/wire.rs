//! The reading half of a socket: the WebSocket protocol over a socket that somebody else may be writing to.
//!
//! The protocol's own answers (pongs, the echo of a close) are not written here but collected, for whoever writes.

use std::io::{self, Read, Write};

use bytes::Bytes;
use clarion_model::limits::CLIENT_FRAME_BYTES;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig, WebSocketContext};

use crate::conversation::Violation;
use crate::frame::CloseCode;
use crate::shard::Link;

const READ_BUFFER: usize = 512;

/// The protocol's state on one socket.
pub(super) struct Wire {
    context: WebSocketContext,
    replies: Vec<u8>,
}

/// What was read.
pub(super) enum Incoming {
    /// Nothing yet.
    Nothing,
    /// A payload.
    Text(String),
    /// Something that the protocol answers by itself.
    Control,
    /// The client closes, perhaps with a code.
    Closed(Option<CloseCode>),
    /// The client broke the protocol.
    Violation(Violation),
    /// The socket is at its end.
    End,
}

impl Wire {
    /// The state after the upgrade, with what was read behind the request.
    pub(super) fn new(early: Bytes) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(CLIENT_FRAME_BYTES))
            .max_frame_size(Some(CLIENT_FRAME_BYTES));
        // A copy: what was read behind the request, mostly nothing, lies in the request's own large buffer.
        let context = WebSocketContext::from_partially_read(early.to_vec(), Role::Server, Some(config));
        Self { context, replies: Vec::new() }
    }

    /// Reads one message, if there is one.
    pub(super) fn read(&mut self, link: &Link) -> Incoming {
        self.read_from(|buffer| link.stream().try_read(buffer))
    }

    /// The same, from wherever bytes come.
    pub(super) fn read_from(&mut self, read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> Incoming {
        let Self { context, replies } = self;
        let mut half = Half { read, replies };
        match context.read(&mut half) {
            Ok(Message::Text(text)) => Incoming::Text(text.as_str().to_owned()),
            Ok(Message::Binary(bytes)) => match String::from_utf8(bytes.into()) {
                Ok(text) => Incoming::Text(text),
                Err(_) => Incoming::Violation(UNREADABLE),
            },
            Ok(Message::Close(frame)) => {
                // Queued by the read; its error only says that the protocol has nothing more to do.
                let _ = context.flush(&mut half);
                Incoming::Closed(frame.map(|f| CloseCode(f.code.into())))
            }
            Ok(Message::Ping(_)) => {
                // Collecting cannot fail.
                let _ = context.flush(&mut half);
                Incoming::Control
            }
            Ok(Message::Pong(_) | Message::Frame(_)) => Incoming::Control,
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => Incoming::Nothing,
            Err(Error::Capacity(_)) => Incoming::Violation(TOO_LARGE),
            Err(Error::Utf8(_)) => Incoming::Violation(UNREADABLE),
            Err(Error::Protocol(e)) if !is_reset(&e) => Incoming::Violation(UNREADABLE),
            Err(_) => Incoming::End,
        }
    }

    /// What the protocol wants to have written.
    pub(super) fn take_replies(&mut self) -> Bytes {
        std::mem::take(&mut self.replies).into()
    }

    /// Begins to close from this side; the frame is among the replies.
    pub(super) fn close(&mut self, link: &Link, violation: Violation) {
        let Self { context, replies } = self;
        let frame = CloseFrame { code: violation.code.0.into(), reason: violation.reason.into() };
        // Collecting cannot fail, and a state in which nothing is to be sent needs no close.
        let read = |buffer: &mut [u8]| link.stream().try_read(buffer);
        let _ = context.close(&mut Half { read, replies }, Some(frame));
    }
}

const TOO_LARGE: Violation = Violation { code: CloseCode::DECODE_ERROR, reason: "frame too large" };
const UNREADABLE: Violation = Violation { code: CloseCode::DECODE_ERROR, reason: "not a payload" };

fn is_reset(error: &tokio_tungstenite::tungstenite::error::ProtocolError) -> bool {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    matches!(error, ProtocolError::ResetWithoutClosingHandshake | ProtocolError::ReceivedAfterClosing)
}

struct Half<'a, R> {
    read: R,
    replies: &'a mut Vec<u8>,
}

impl<R: FnMut(&mut [u8]) -> io::Result<usize>> Read for Half<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.read)(buffer)
    }
}

impl<R> Write for Half<'_, R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.replies.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
