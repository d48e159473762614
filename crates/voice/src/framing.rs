//! Packets on a stream (RFC 4571): each behind its length, in two bytes.

/// The longest packet that is taken, in bytes: longer than any of media.
pub(crate) const LONGEST: usize = 2_048;
/// Bytes of a length.
pub(crate) const LENGTH: usize = 2;

/// A frame says that it is longer than any may be, so many bytes. Where the next one begins is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes")]
pub(crate) struct TooLong(pub(crate) usize);

/// What of a frame has come so far.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    partial: Vec<u8>,
}

impl Frames {
    /// Hands on each packet that is whole with what has come now. Only one that came in pieces is copied.
    pub(crate) fn read(&mut self, mut bytes: &[u8], mut packet: impl FnMut(&[u8])) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            if self.partial.is_empty()
                && let Some(length) = length_of(bytes)?
                && let Some((whole, rest)) = bytes[LENGTH..].split_at_checked(length)
            {
                packet(whole);
                bytes = rest;
                continue;
            }
            // First the length, then as much as it says.
            let whole = LENGTH + length_of(&self.partial)?.unwrap_or(0);
            let (next, rest) = bytes.split_at(bytes.len().min(whole - self.partial.len()));
            self.partial.extend_from_slice(next);
            bytes = rest;
            if length_of(&self.partial)?.is_some_and(|length| self.partial.len() == LENGTH + length) {
                packet(&self.partial[LENGTH..]);
                self.partial.clear();
            }
        }
        Ok(())
    }

    /// Bytes of a frame that is not whole yet.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn waiting(&self) -> usize {
        self.partial.len()
    }
}

/// What stands before a packet.
pub(crate) fn length(packet: &[u8]) -> [u8; LENGTH] {
    // None is longer: they are made for datagrams.
    u16::try_from(packet.len()).unwrap_or(u16::MAX).to_be_bytes()
}

/// The length that a frame begins with, once it has come.
fn length_of(frame: &[u8]) -> Result<Option<usize>, TooLong> {
    let Some(length) = frame.first_chunk::<LENGTH>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > LONGEST { Err(TooLong(length)) } else { Ok(Some(length)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(packets: &[Vec<u8>]) -> Vec<u8> {
        packets.iter().flat_map(|packet| [&length(packet)[..], packet].concat()).collect()
    }

    #[test]
    fn a_packet_of_nothing_is_one_and_the_longest_is_taken() {
        let packets = vec![vec![], vec![7; LONGEST], vec![], vec![1]];
        let (mut frames, mut read) = (Frames::default(), Vec::new());
        frames.read(&framed(&packets), |packet| read.push(packet.to_vec())).expect("frames");
        assert_eq!((read, frames.waiting()), (packets, 0));
    }

    #[test]
    fn one_that_is_too_long_is_refused_by_its_length_alone() {
        let bytes = [&[0, 1, 9][..], &((LONGEST + 1) as u16).to_be_bytes()].concat();
        for cut in 0..bytes.len() {
            let (mut frames, mut read) = (Frames::default(), 0);
            let (first, second) = bytes.split_at(cut);
            let mut count = |_: &[u8]| read += 1;
            let end = frames.read(first, &mut count).and_then(|()| frames.read(second, &mut count));
            assert_eq!((end, read), (Err(TooLong(LONGEST + 1)), 1), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn wherever_a_stream_is_cut_the_packets_are_the_same(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..12),
            cuts in proptest::collection::vec(0usize..4_000, 0..40),
        ) {
            let stream = framed(&packets);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let (mut frames, mut read) = (Frames::default(), Vec::new());
            for piece in cuts.windows(2) {
                frames.read(&stream[piece[0]..piece[1]], |packet| read.push(packet.to_vec())).expect("frames");
                prop_assert!(frames.waiting() < LENGTH + LONGEST);
            }
            prop_assert_eq!(read, packets);
            prop_assert_eq!(frames.waiting(), 0);
        }
    }
}
