//! WebSocket frames, as far as a client of well-behaved servers needs them.

/// The request that begins a socket.
pub(super) fn handshake(path: &str, address: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    .into_bytes()
}

/// The length of an answer's head, once it is there; whether it agrees to the socket.
pub(super) fn agreed(bytes: &[u8]) -> Option<(usize, bool)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    Some((end, bytes.starts_with(b"HTTP/1.1 101")))
}

/// A client's frame. Its mask is zero, which servers cannot tell from another and which changes no byte.
pub(super) fn frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// How many bytes a server's frame adds to a payload.
pub(super) fn overhead(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// Tells of each whole frame of a server's bytes; answers how many bytes those were.
pub(super) fn frames(bytes: &[u8], mut each: impl FnMut(u8, &[u8], usize)) -> usize {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 2) {
        let short = usize::from(head[1] & 0x7f);
        let (length, from) = match short {
            126 => match bytes.get(at + 2..at + 4) {
                Some(n) => (usize::from(n[0]) << 8 | usize::from(n[1]), at + 4),
                None => break,
            },
            127 => match bytes.get(at + 2..at + 10) {
                Some(n) => (n.iter().fold(0, |sum, b| sum << 8 | usize::from(*b)), at + 10),
                None => break,
            },
            short => (short, at + 2),
        };
        let Some(payload) = bytes.get(from..from + length) else { break };
        each(head[0] & 0x0f, payload, from + length - at);
        at = from + length;
    }
    at
}
