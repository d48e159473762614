//! What waits until a connection takes it. Voice is of the moment: when there is too much of it, the oldest gives way.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::framing::{LENGTH, length};

/// Most bytes that wait.
pub(super) const BYTES: usize = 16 << 10;
/// What has waited so long is of no use any more.
pub(super) const LATE: Duration = Duration::from_millis(500);
/// Pieces of one write: a length and a packet each.
pub(super) const PIECES: usize = 64;

struct Waiting {
    since: Instant,
    length: [u8; LENGTH],
    packet: BytesMut,
}

/// Packets in order.
#[derive(Default)]
pub(super) struct Backlog {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// How much of the first has been written. It has to be written whole then.
    written: usize,
}

impl Waiting {
    fn bytes(&self) -> usize {
        LENGTH + self.packet.len()
    }
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// One more waits. Answers how many packets have given way.
    pub(super) fn push(&mut self, now: Instant, packet: BytesMut) -> u64 {
        let one = Waiting { since: now, length: length(&packet), packet };
        self.bytes += one.bytes();
        self.waiting.push_back(one);
        self.give_way(now)
    }

    /// What is late, or too much, is dropped. Answers how many packets that were.
    pub(super) fn give_way(&mut self, now: Instant) -> u64 {
        let first = usize::from(self.written > 0);
        let mut dropped = 0;
        while let Some(oldest) = self.waiting.get(first) {
            let late = now.saturating_duration_since(oldest.since) >= LATE;
            if !late && self.bytes <= BYTES {
                break;
            }
            self.bytes -= oldest.bytes();
            self.waiting.remove(first);
            dropped += 1;
        }
        dropped
    }

    /// What is to be written next; how many pieces that are.
    pub(super) fn pieces<'a>(&'a self, pieces: &mut [IoSlice<'a>; PIECES]) -> usize {
        let (mut count, mut skip) = (0, self.written);
        for one in self.waiting.iter().take(PIECES / 2) {
            for piece in [&one.length[..], &one.packet[..]] {
                let skipped = skip.min(piece.len());
                skip -= skipped;
                if skipped < piece.len() {
                    pieces[count] = IoSlice::new(&piece[skipped..]);
                    count += 1;
                }
            }
        }
        count
    }

    /// So many bytes of it have been written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        while let Some(first) = self.waiting.front()
            && self.written >= first.bytes()
        {
            self.written -= first.bytes();
            self.bytes -= first.bytes();
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::framing::Frames;

    fn packet(n: u16, length: usize) -> BytesMut {
        let mut packet = BytesMut::from(&n.to_be_bytes()[..]);
        packet.resize(length.max(2), 0xAA);
        packet
    }

    /// As a socket that takes so many bytes takes them.
    fn take(backlog: &mut Backlog, most: usize) -> Vec<u8> {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let count = backlog.pieces(&mut pieces);
        let mut taken: Vec<u8> = pieces[..count].iter().flat_map(|piece| piece.iter().copied()).collect();
        taken.truncate(most);
        backlog.wrote(taken.len());
        taken
    }

    #[test]
    fn the_oldest_gives_way_but_for_one_that_is_half_written() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        assert_eq!(backlog.push(now, packet(0, 1_000)), 0);
        let mut stream = take(&mut backlog, 10);
        let dropped: u64 = (1..40).map(|n| backlog.push(now, packet(n, 1_000))).sum();
        assert!(backlog.bytes <= BYTES);
        while !backlog.is_empty() {
            stream.extend(take(&mut backlog, 999));
        }
        let (mut frames, mut read) = (Frames::default(), Vec::new());
        frames.read(&stream, |packet| read.push(u16::from_be_bytes([packet[0], packet[1]]))).expect("frames");
        assert_eq!(read[0], 0, "its beginning was sent");
        assert!(read[1..].iter().copied().eq(dropped as u16 + 1..40), "{read:?}");
        assert_eq!((backlog.bytes, backlog.written, frames.waiting()), (0, 0, 0));
    }

    #[test]
    fn what_is_late_is_dropped() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        (0..5).for_each(|n| assert_eq!(backlog.push(now, packet(n, 50)), 0));
        assert_eq!(backlog.give_way(now + LATE - Duration::from_millis(1)), 0);
        assert_eq!(backlog.push(now + LATE, packet(5, 50)), 5);
        assert_eq!(take(&mut backlog, BYTES).len(), 52);
    }

    proptest! {
        #[test]
        fn what_is_written_is_whole_frames_in_order(
            steps in proptest::collection::vec((2usize..1_200, 0usize..3_000), 1..80),
        ) {
            let (mut backlog, mut now, mut stream, mut dropped) = (Backlog::default(), Instant::now(), Vec::new(), 0);
            for (n, (length, most)) in steps.iter().enumerate() {
                now += Duration::from_millis(20);
                dropped += backlog.push(now, packet(n as u16, *length));
                prop_assert!(backlog.bytes <= BYTES);
                stream.extend(take(&mut backlog, *most));
            }
            while !backlog.is_empty() {
                stream.extend(take(&mut backlog, usize::MAX));
            }
            let (mut frames, mut read) = (Frames::default(), Vec::new());
            let each = |packet: &[u8]| read.push((u16::from_be_bytes([packet[0], packet[1]]), packet.len()));
            frames.read(&stream, each).expect("frames");
            prop_assert_eq!(read.len() as u64 + dropped, steps.len() as u64);
            prop_assert!(read.is_sorted_by(|a, b| a.0 < b.0));
            prop_assert!(read.iter().all(|(n, length)| steps[usize::from(*n)].0.max(2) == *length));
        }
    }
}
