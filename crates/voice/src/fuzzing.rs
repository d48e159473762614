//! What fuzzing sends through this crate: packets, streams of them, descriptions and tokens by themselves, and datagrams to
//! a shard.

use std::net::SocketAddr;

use rtc::crypto::default_provider;

use crate::framing::{Frames, LENGTH, LONGEST, TooLong, length};
use crate::ice::Check;
use crate::red;
use crate::rtcp::{self, Block, Item};
use crate::rtp::{self, HEADER, Header};
use crate::sdp::{self, Candidates, Local, Plan};
use crate::slots::SLOTS;
use crate::token::{Claims, Signer};

pub use crate::engine::fuzzing::datagrams;

/// The password that signs the checks that are kept.
pub(crate) const PASSWORD: &str = "password-of-the-session";
/// The key that signs the tokens that are kept.
const KEY: [u8; 32] = [1; 32];

/// One datagram, read as each of what it may be: STUN, RTP with redundant audio and audio levels, RTCP. What is found lies
/// within it, answers are no longer than they need be, and what is written is read.
pub fn packets(data: &[u8]) {
    check(data);
    media(data);
    reports(data);
    redundant(data);
}

fn check(data: &[u8]) {
    let Some(mut check) = Check::read(data) else { return };
    assert!(check.ufrag.len() < data.len());
    let provider = default_provider().expect("a provider");
    let authentic = check.is_authentic(PASSWORD, provider.crypto());
    assert!(!check.is_authentic("another password", provider.crypto()));
    for to in [SocketAddr::from(([192, 0, 2, 1], 9)), SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9))] {
        let answer = check.answer(to, PASSWORD, provider.crypto()).expect("an answer");
        assert!(answer.len() <= 76, "{} bytes", answer.len());
        assert!(Check::read(&answer).is_none(), "an answer is no request");
    }
    // The answer has not changed what it is an answer to.
    assert_eq!(check.is_authentic(PASSWORD, provider.crypto()), authentic);
    if authentic {
        let signed = signed(data).expect("a signature");
        let mut alone = Check::read(&signed).expect("what is signed is a check by itself");
        assert!(alone.is_authentic(PASSWORD, provider.crypto()));
        let says = |check: &Check| (check.ufrag.clone(), check.nominates, check.priority);
        assert_eq!(says(&alone), says(&check), "what nobody has signed counts");
    }
}

/// A message of STUN without what stands behind its signature.
fn signed(message: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 20;
    const INTEGRITY: u16 = 8;
    let mut at = HEADER;
    loop {
        let (kind, length) = (rtp::u16_at(message, at)?, rtp::u16_at(message, at + 2)?);
        at += 4 + usize::from(length).next_multiple_of(4);
        if kind == INTEGRITY {
            let mut signed = message.get(..at)?.to_vec();
            signed[2..4].copy_from_slice(&u16::try_from(at - HEADER).ok()?.to_be_bytes());
            return Some(signed);
        }
    }
}

fn media(data: &[u8]) {
    let Some(header) = Header::read(data) else { return };
    assert!((HEADER..=data.len()).contains(&header.length));
    if let Some(payload) = header.payload(data) {
        assert!(header.length + payload.len() <= data.len());
        redundant(payload);
    }
    for id in 0..=u8::MAX {
        assert!(header.audio_level(data, id).is_none_or(|level| level < 128));
    }
    let mut out = Vec::new();
    let (sequence, timestamp) = (header.sequence, header.timestamp);
    rtp::write(&mut out, header.payload_type, header.marker, sequence, timestamp, header.ssrc);
    let again = Header::read(&out).expect("what is written is read");
    assert_eq!((again.payload_type, again.marker, again.length), (header.payload_type, header.marker, HEADER));
    assert_eq!((again.sequence, again.timestamp, again.ssrc), (sequence, timestamp, header.ssrc));
}

fn redundant(payload: &[u8]) {
    let Some(frames) = red::read(payload) else { return };
    let before: usize = frames.before.iter().map(|(_, frame)| frame.len()).sum();
    assert!(before + frames.primary.len() < payload.len());
    assert!(frames.payload_type < 128 && frames.before.len() <= 4);
    assert!(frames.before.iter().all(|(ago, frame)| *ago < 1 << 14 && !frame.is_empty()));
}

fn reports(data: &[u8]) {
    let mut items = 0;
    rtcp::read(data, |item| {
        items += 1;
        if let Item::Block(block) = item {
            assert!((-0x80_0000..=0x7f_ffff).contains(&block.lost));
            assert_eq!(reported(block), Some(block));
        }
    });
    assert!(items * 16 <= data.len(), "{items} of {} bytes", data.len());
}

fn reported(block: Block) -> Option<Block> {
    let (mut out, mut read) = (Vec::new(), None);
    rtcp::receiver_report(&mut out, 7, block);
    rtcp::read(&out, |item| {
        if let Item::Block(block) = item {
            read = Some(block);
        }
    });
    read
}

/// A stream of frames as it comes from a connection. The first bytes say in which pieces: the packets are the same as those
/// of the whole, and so is the end. What was read is written as it came.
pub fn frames(data: &[u8]) {
    let (cuts, stream) = data.split_at(data.len().min(8));
    let (packets, end, waiting) = in_pieces(std::iter::once(stream));
    let (mut rest, mut sizes) = (stream, cuts.iter().cycle());
    let pieces = std::iter::from_fn(|| {
        let size = sizes.next().map_or(rest.len(), |cut| usize::from(*cut) + 1).min(rest.len());
        rest.split_off(..size).filter(|piece| !piece.is_empty())
    });
    let (others, other_end, still) = in_pieces(pieces);
    assert_eq!((&others, other_end), (&packets, end));
    let written: Vec<u8> = packets.iter().flat_map(|packet| [&length(packet)[..], packet].concat()).collect();
    assert!(stream.starts_with(&written) && packets.iter().all(|packet| packet.len() <= LONGEST));
    match end {
        Ok(()) => assert_eq!((written.len() + waiting, still), (stream.len(), waiting)),
        Err(TooLong(length)) => assert!(length > LONGEST && stream.len() >= written.len() + LENGTH),
    }
}

/// The packets that come in pieces of a stream, how it ends, and what waits for more.
fn in_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Result<(), TooLong>, usize) {
    let (mut frames, mut packets) = (Frames::default(), Vec::new());
    for piece in pieces {
        let end = frames.read(piece, |packet| packets.push(packet.to_vec()));
        assert!(frames.waiting() < LENGTH + LONGEST);
        if end.is_err() {
            return (packets, end, frames.waiting());
        }
    }
    (packets, Ok(()), frames.waiting())
}

/// What comes over HTTP: a description, a fragment of one, a token. What is accepted is answered in lines that nobody
/// else can write, section for section; only what was signed here is a token.
pub fn requests(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    token(text);
    if let Some(ufrag) = sdp::fragment(text) {
        assert!((4..=256).contains(&ufrag.len()) && text.contains(ufrag));
    }
    match sdp::parse(text) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(offer) => {
            let print = offer.fingerprint.map(|byte| format!("{byte:02X}")).join(":");
            assert!(text.to_ascii_uppercase().contains(&print), "{print} was not offered");
            let mut ssrc = 1;
            let plan = Plan::of(&offer, || {
                ssrc += 1;
                ssrc
            });
            assert!(plan.streams.len() <= SLOTS && offer.media.len() <= 32);
            let at = vec![SocketAddr::from(([192, 0, 2, 1], 8_791))];
            let candidates = Candidates { udp: at.clone(), tcp: at };
            let local = Local {
                ufrag: "server",
                pwd: PASSWORD,
                fingerprint: &print,
                candidates: &candidates,
                id: 7,
                red: true,
            };
            let answer = sdp::answer(&offer, &plan, &local);
            let mids: Vec<&str> = offer.media.iter().map(|media| media.mid.as_str()).collect();
            answered(&answer, &mids);
            assert!(answer.len() <= 2_048 * (mids.len() + 1) + text.len());
        }
    }
}

fn answered(answer: &str, mids: &[&str]) {
    let lines: Vec<&str> = answer.strip_suffix("\r\n").expect("whole lines").split("\r\n").collect();
    assert!(lines.iter().all(|line| line.as_bytes().get(1) == Some(&b'=') && !line.contains(char::is_control)));
    let with = |prefix: &str| lines.iter().filter_map(|line| line.strip_prefix(prefix)).collect::<Vec<_>>();
    assert_eq!(with("a=mid:"), mids);
    assert_eq!(with("m=").len(), mids.len());
    assert!(with("a=ice-ufrag:").iter().all(|ufrag| *ufrag == "server"));
    // Once more at the top.
    assert_eq!(with("a=candidate:").len(), 2 * (with("a=ice-ufrag:").len() - 1));
}

fn token(text: &str) {
    let signer = Signer::new(default_provider().expect("a provider"), KEY);
    if let Ok(claims) = signer.read(text) {
        assert_eq!(signer.sign(&claims).expect("signed"), text);
    }
    let claims = Claims {
        admission: text.len() as u64,
        session: text.chars().take(64).collect(),
        channel: u64::MAX,
        user: 2,
        permissions: 3,
        expires: 1_000,
        traceparent: String::new(),
    };
    let signed = signer.sign(&claims).expect("signed");
    assert_eq!(signer.read(&signed), Ok(claims));
    assert!(Signer::new(default_provider().expect("a provider"), [2; 32]).read(&signed).is_err());
}

#[cfg(test)]
mod tests {
    use clarion_corpus::replay;

    #[test]
    fn what_is_kept_is_decoded() {
        replay("voice_packets", super::packets);
        replay("voice_frames", super::frames);
        replay("voice_requests", super::requests);
        replay("voice_datagrams", super::datagrams);
    }
}
