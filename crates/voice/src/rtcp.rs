//! The RTCP that is spoken here: sender reports, reception reports, the name. What else comes is passed over.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::rtp::{u16_at, u32_at};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
/// Bytes of a reception block.
const BLOCK: usize = 24;
/// Seconds from 1900, where NTP begins, to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;
/// What every stream of the server is called.
const NAME: &[u8] = b"clarion";

/// Something a client reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    /// It sends: the middle of its clock when it wrote the report.
    Sender { ssrc: u32, clock: u32 },
    /// How it receives a stream.
    Block(Block),
}

/// How a stream is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Block {
    pub(crate) ssrc: u32,
    /// Of the packets since the last report, in 256ths.
    pub(crate) fraction: u8,
    /// Since the beginning; negative with duplicates.
    pub(crate) lost: i32,
    /// The highest sequence, with its turns above.
    pub(crate) highest: u32,
    /// In samples.
    pub(crate) jitter: u32,
    /// The clock of the last sender report, and how long ago it came, in 65536ths of a second.
    pub(crate) last_report: u32,
    pub(crate) since: u32,
}

/// What a compound packet says. It ends at the first part that is none.
pub(crate) fn read(mut packet: &[u8], mut each: impl FnMut(Item)) {
    while let [first, kind, ..] = *packet {
        let Some(words) = u16_at(packet, 2) else { return };
        let Some(part) = packet.get(..(usize::from(words) + 1) * 4) else { return };
        if first >> 6 != 2 {
            return;
        }
        packet = &packet[part.len()..];
        let blocks_at = match kind {
            SENDER_REPORT => 28,
            RECEIVER_REPORT => 8,
            _ => continue,
        };
        if kind == SENDER_REPORT
            && let (Some(ssrc), Some(high), Some(low)) = (u32_at(part, 4), u32_at(part, 8), u32_at(part, 12))
        {
            each(Item::Sender { ssrc, clock: high << 16 | low >> 16 });
        }
        for n in 0..usize::from(first & 0x1f) {
            let Some(block) = part.get(blocks_at + n * BLOCK..).and_then(read_block) else { break };
            each(Item::Block(block));
        }
    }
}

fn read_block(bytes: &[u8]) -> Option<Block> {
    let losses = u32_at(bytes, 4)?;
    Some(Block {
        ssrc: u32_at(bytes, 0)?,
        fraction: (losses >> 24) as u8,
        // 24 bits with a sign.
        lost: (losses << 8) as i32 >> 8,
        highest: u32_at(bytes, 8)?,
        jitter: u32_at(bytes, 12)?,
        last_report: u32_at(bytes, 16)?,
        since: u32_at(bytes, 20)?,
    })
}

/// What the server sends of one of its streams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) ssrc: u32,
    pub(crate) timestamp: u32,
    pub(crate) packets: u32,
    pub(crate) bytes: u32,
}

/// A sender report with the stream's name.
pub(crate) fn sender_report(out: &mut Vec<u8>, clock: u64, sent: Sent) {
    out.extend_from_slice(&[0x80, SENDER_REPORT, 0, 6]);
    out.extend_from_slice(&sent.ssrc.to_be_bytes());
    out.extend_from_slice(&clock.to_be_bytes());
    for word in [sent.timestamp, sent.packets, sent.bytes] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    name(out, sent.ssrc);
}

/// A receiver report of one stream with the reporter's name.
pub(crate) fn receiver_report(out: &mut Vec<u8>, from: u32, block: Block) {
    out.extend_from_slice(&[0x81, RECEIVER_REPORT, 0, 7]);
    let losses = u32::from(block.fraction) << 24 | (block.lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff);
    let words = [from, block.ssrc, losses, block.highest, block.jitter, block.last_report, block.since];
    for word in words {
        out.extend_from_slice(&word.to_be_bytes());
    }
    name(out, from);
}

fn name(out: &mut Vec<u8>, ssrc: u32) {
    // The chunk: source, item 1 (CNAME), its length, the name, and zeros up to a whole word.
    let chunk = 4 + 2 + NAME.len() + 1;
    let words = chunk.div_ceil(4);
    out.extend_from_slice(&[0x81, DESCRIPTION, 0, words as u8]);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[1, NAME.len() as u8]);
    out.extend_from_slice(NAME);
    out.resize(out.len() + words * 4 - chunk + 1, 0);
}

/// The wall clock of reports, which goes as evenly as [`Instant`] does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    at: Duration,
}

impl Clock {
    pub(crate) fn new(now: Instant, wall: SystemTime) -> Self {
        let unix = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: now, at: unix + Duration::from_secs(NTP_TO_UNIX) }
    }

    /// 32 bits of seconds and 32 of their parts.
    pub(crate) fn at(&self, now: Instant) -> u64 {
        let at = self.at + now.saturating_duration_since(self.began);
        (at.as_secs() << 32) | ((u64::from(at.subsec_nanos()) << 32) / 1_000_000_000)
    }

    /// How long a sender report and the report of its receiver took together, without the time between them. `None`
    /// when the receiver has not seen one, or when it comes out negative.
    pub(crate) fn round_trip(&self, now: Instant, block: &Block) -> Option<Duration> {
        if block.last_report == 0 {
            return None;
        }
        let middle = (self.at(now) >> 16) as u32;
        let took = middle.wrapping_sub(block.last_report).wrapping_sub(block.since);
        // Half the turn of 18 hours: it was negative. Up to a few milliseconds that is rounding on a short way.
        if took as i32 >= 0 {
            Some(Duration::from_nanos((u64::from(took) * 1_000_000_000) >> 16))
        } else {
            (took as i32 > -512).then_some(Duration::ZERO)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items(packet: &[u8]) -> Vec<Item> {
        let mut items = Vec::new();
        read(packet, |item| items.push(item));
        items
    }

    #[test]
    fn what_is_written_is_read() {
        let block =
            Block { ssrc: 1, fraction: 13, lost: -2, highest: 70_000, jitter: 9, last_report: 0xdead, since: 655 };
        let mut packet = Vec::new();
        sender_report(&mut packet, 0x1111_2222_3333_4444, Sent { ssrc: 7, timestamp: 960, packets: 1, bytes: 80 });
        receiver_report(&mut packet, 8, block);
        assert_eq!(packet.len() % 4, 0);
        assert_eq!(items(&packet), [Item::Sender { ssrc: 7, clock: 0x2222_3333 }, Item::Block(block)]);
    }

    #[test]
    fn a_round_trip_is_what_is_left_without_the_wait() {
        let now = Instant::now();
        let clock = Clock::new(now, SystemTime::now());
        let sent = (clock.at(now) >> 16) as u32;
        // It came back 183 ms later, of which the receiver kept it for 100 ms.
        let block = Block { last_report: sent, since: 6_554, ..Block::default() };
        let trip = clock.round_trip(now + Duration::from_millis(183), &block).expect("a round trip");
        assert!((82..=84).contains(&trip.as_millis()), "{trip:?}");
        assert_eq!(clock.round_trip(now, &Block::default()), None);
        assert_eq!(clock.round_trip(now, &Block { since: 65_536, ..block }), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), count in 0u8..32) {
            let mut bytes = bytes;
            items(&bytes);
            if bytes.len() > 4 {
                (bytes[0], bytes[1], bytes[2]) = (0x80 | count, SENDER_REPORT, 0);
                items(&bytes);
            }
        }
    }
}
