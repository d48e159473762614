//! Redundant audio (RFC 2198): a packet that carries, before its own frame, one or more that came before.

/// Most frames before the own one that are looked at.
const MOST: usize = 4;

/// The frames of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frames<'a> {
    /// Its own.
    pub(crate) primary: &'a [u8],
    /// The payload type of its own.
    pub(crate) payload_type: u8,
    /// Those from before: how many samples before, and the frame. The oldest first, as they are sent.
    pub(crate) before: Vec<(u32, &'a [u8])>,
}

/// Takes a payload apart.
pub(crate) fn read(payload: &[u8]) -> Option<Frames<'_>> {
    let mut at = 0;
    let mut blocks = Vec::new();
    let payload_type = loop {
        let first = *payload.get(at)?;
        if first & 0x80 == 0 {
            at += 1;
            break first & 0x7f;
        }
        let [_, a, b, c] = *payload.get(at..at + 4)? else { return None };
        blocks.push((u32::from(a) << 6 | u32::from(b >> 2), usize::from(b & 3) << 8 | usize::from(c)));
        if blocks.len() > MOST {
            return None;
        }
        at += 4;
    };
    let mut before = Vec::with_capacity(blocks.len());
    for (offset, length) in blocks {
        let frame = payload.get(at..at + length)?;
        at += length;
        if !frame.is_empty() {
            before.push((offset, frame));
        }
    }
    Some(Frames { primary: payload.get(at..)?, payload_type, before })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_own_frame_and_the_one_before() {
        // 14 bits of offset, 10 of length.
        let payload = [0x80 | 111, (960u16 >> 6) as u8, ((960u16 & 0x3f) << 2) as u8, 3, 111, 1, 2, 3, 9, 9];
        let frames = read(&payload).expect("frames");
        assert_eq!(frames, Frames { primary: &[9, 9], payload_type: 111, before: vec![(960, &[1, 2, 3][..])] });
    }

    #[test]
    fn a_frame_alone() {
        assert_eq!(read(&[111, 5]).expect("frames"), Frames { primary: &[5], payload_type: 111, before: vec![] });
    }

    #[test]
    fn a_length_beyond_the_end_is_nothing() {
        assert_eq!(read(&[0x80 | 111, 0, 3, 255, 111, 1]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = read(&bytes);
        }
    }
}
