//! What goes over a socket: opcodes, close codes, and frames put together from a session's own head and a shared body.
//!
//! A dispatch reads `{"op":0,"s":7,"t":"NAME","d":{…}}`. Only the number differs between sessions, so a frame is a small
//! head (WebSocket header and everything up to the number) before bytes that all recipients and replay buffers share.

use std::io::IoSlice;

use bytes::Bytes;
use clarion_observability::metric::SentType;

/// What a client may send, and what a gateway sends besides dispatches (Discord's API, page "Opcodes").
pub(crate) mod opcode {
    pub(crate) const HEARTBEAT: u64 = 1;
    pub(crate) const IDENTIFY: u64 = 2;
    pub(crate) const PRESENCE_UPDATE: u64 = 3;
    pub(crate) const VOICE_STATE_UPDATE: u64 = 4;
    pub(crate) const RESUME: u64 = 6;
    pub(crate) const REQUEST_GUILD_MEMBERS: u64 = 8;
}

/// Op 9 for a session that cannot be resumed.
pub(crate) const INVALID_SESSION: &[u8] = br#"{"op":9,"d":false,"s":null,"t":null}"#;
/// Op 9 for a session that may be resumed.
pub(crate) const RESUMABLE_SESSION: &[u8] = br#"{"op":9,"d":true,"s":null,"t":null}"#;
/// Op 11.
pub(crate) const HEARTBEAT_ACK: &[u8] = br#"{"op":11}"#;
/// Op 7.
pub(crate) const RECONNECT: &[u8] = br#"{"op":7,"d":null,"s":null,"t":null}"#;

/// Why a gateway closes a socket. Libraries resume after most of these and stop for good after the permanent ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CloseCode(pub(crate) u16);

/// The largest head: a WebSocket header of 10 bytes, 13 bytes of JSON and a number of up to 20 digits.
const HEAD: usize = 48;
const OPENING: &[u8] = br#"{"op":0,"s":"#;
const CLOSING: &[u8] = b"}";

/// The shared part of a dispatch: `"t":"NAME","d":{…}`, and what it counts as.
#[derive(Debug, Clone)]
pub(crate) struct Dispatch {
    pub(crate) body: Bytes,
    pub(crate) kind: SentType,
}

/// One WebSocket frame, ready to be written.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    head: [u8; HEAD],
    head_len: u8,
    body: Bytes,
    tail: &'static [u8],
}

/// What comes before the bytes that are shared.
struct Head {
    bytes: [u8; HEAD],
    length: u8,
}

impl CloseCode {
    pub(crate) const RESTARTING: Self = Self(1012);
    pub(crate) const UNKNOWN_ERROR: Self = Self(4000);
    pub(crate) const UNKNOWN_OPCODE: Self = Self(4001);
    pub(crate) const DECODE_ERROR: Self = Self(4002);
    pub(crate) const NOT_AUTHENTICATED: Self = Self(4003);
    pub(crate) const AUTHENTICATION_FAILED: Self = Self(4004);
    pub(crate) const ALREADY_AUTHENTICATED: Self = Self(4005);
    pub(crate) const RATE_LIMITED: Self = Self(4008);
    pub(crate) const INVALID_SHARD: Self = Self(4010);
    pub(crate) const INVALID_VERSION: Self = Self(4012);
    pub(crate) const INVALID_INTENTS: Self = Self(4013);

    /// Whether a client that closes with this code is done with its session.
    pub(crate) fn ends_session(self) -> bool {
        matches!(self.0, 1000 | 1001)
    }

    /// Whether the code may be sent in a close frame at all.
    pub(crate) fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl Dispatch {
    /// A dispatch from its shared bytes and its name.
    pub(crate) fn new(name: &str, body: Bytes) -> Self {
        Self { body, kind: SentType::of(name) }
    }

    /// A dispatch from its shared bytes, which begin with its name.
    pub(crate) fn of_body(body: Bytes) -> Option<Self> {
        let name = body.strip_prefix(br#""t":""#)?;
        let end = name.iter().position(|byte| *byte == b'"')?;
        let kind = SentType::of(std::str::from_utf8(&name[..end]).ok()?);
        Some(Self { body, kind })
    }

    /// Whether it says that a replay is over, which is no event of its own.
    pub(crate) fn is_resumed(&self) -> bool {
        matches!(self.kind, SentType::Resumed)
    }
}

impl Frame {
    /// A dispatch with a session's sequence number.
    pub(crate) fn dispatch(sequence: u64, body: Bytes) -> Self {
        let Head { bytes, length } = Head::dispatch(sequence, body.len());
        Self { head: bytes, head_len: length, body, tail: CLOSING }
    }

    /// Appends the bytes of such a dispatch.
    pub(crate) fn append_dispatch(sequence: u64, body: &[u8], out: &mut Vec<u8>) {
        let head = Head::dispatch(sequence, body.len());
        out.extend_from_slice(&head.bytes[..usize::from(head.length)]);
        out.extend_from_slice(body);
        out.extend_from_slice(CLOSING);
    }

    /// A text frame around a whole payload.
    pub(crate) fn text(payload: Bytes) -> Self {
        let Head { bytes, length } = Head::text(payload.len());
        Self { head: bytes, head_len: length, body: payload, tail: b"" }
    }

    /// Bytes that are a frame already.
    pub(crate) fn raw(bytes: Bytes) -> Self {
        Self { head: [0; HEAD], head_len: 0, body: bytes, tail: b"" }
    }

    /// How many bytes go over the wire.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.head_len) + self.body.len() + self.tail.len()
    }

    /// The frame's parts but for the first `skip` bytes, in order; some may be empty.
    pub(crate) fn slices(&self, skip: usize) -> [IoSlice<'_>; 3] {
        let mut left = skip;
        [&self.head[..usize::from(self.head_len)], &self.body, self.tail].map(|part| {
            let from = left.min(part.len());
            left -= from;
            IoSlice::new(&part[from..])
        })
    }

    /// The bytes of a text frame around a payload.
    pub(crate) fn text_bytes(payload: &'static [u8]) -> Bytes {
        let mut out = Vec::with_capacity(payload.len() + 4);
        Self::text(Bytes::from_static(payload)).copy_to(0, &mut out);
        out.into()
    }

    /// The frame's bytes from `skip` on.
    pub(crate) fn copy_to(&self, skip: usize, out: &mut Vec<u8>) {
        for slice in self.slices(skip) {
            out.extend_from_slice(&slice);
        }
    }
}

impl Head {
    fn dispatch(sequence: u64, body: usize) -> Self {
        let mut digits = [0; 20];
        let digits = decimal(sequence, &mut digits);
        let mut head = Self::text(OPENING.len() + digits.len() + 1 + body + CLOSING.len());
        head.put(OPENING);
        head.put(digits);
        head.put(b",");
        head
    }

    /// A server's header of text: final, unmasked, with the shortest form of the length.
    fn text(payload: usize) -> Self {
        let mut head = Self { bytes: [0; HEAD], length: 0 };
        head.put(&[0x81]);
        match payload {
            0..=125 => head.put(&[payload as u8]),
            126..=0xffff => {
                head.put(&[126]);
                head.put(&(payload as u16).to_be_bytes());
            }
            _ => {
                head.put(&[127]);
                head.put(&(payload as u64).to_be_bytes());
            }
        }
        head
    }

    fn put(&mut self, bytes: &[u8]) {
        let at = usize::from(self.length);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len() as u8;
    }
}

fn decimal(mut n: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &buffer[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocket};

    fn bytes_of(frame: &Frame) -> Vec<u8> {
        let mut out = Vec::new();
        frame.copy_to(0, &mut out);
        out
    }

    fn read_back(wire: Vec<u8>) -> Message {
        let mut socket = WebSocket::from_raw_socket(std::io::Cursor::new(wire), Role::Client, None);
        socket.read().expect("a frame")
    }

    proptest! {
        #[test]
        fn a_client_reads_what_was_put_together(sequence: u64, filler in 0usize..70_000) {
            let body = format!(r#""t":"X","d":{{"f":"{}"}}"#, "x".repeat(filler));
            let frame = Frame::dispatch(sequence, Bytes::from(body.clone()));
            let wire = bytes_of(&frame);
            prop_assert_eq!(wire.len(), frame.len());
            let mut appended = Vec::new();
            Frame::append_dispatch(sequence, body.as_bytes(), &mut appended);
            prop_assert_eq!(&appended, &wire);
            let text = read_back(wire).into_text().expect("text");
            prop_assert_eq!(text.as_str(), format!(r#"{{"op":0,"s":{sequence},{body}}}"#));
        }

        #[test]
        fn any_part_of_a_frame_can_be_skipped(body in "[a-z]{0,300}", skip in 0usize..400) {
            let frame = Frame::dispatch(12, Bytes::from(body));
            let whole = bytes_of(&frame);
            let mut rest = Vec::new();
            frame.copy_to(skip, &mut rest);
            prop_assert_eq!(&rest[..], &whole[skip.min(whole.len())..]);
        }
    }

    #[test]
    fn text_frames_carry_their_payload() {
        let text = read_back(bytes_of(&Frame::text(Bytes::from_static(br#"{"op":11}"#)))).into_text();
        assert_eq!(text.expect("text").as_str(), r#"{"op":11}"#);
    }
}
