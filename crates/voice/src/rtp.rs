//! RTP packets as bytes: where their parts are, what they say of loudness, and the header that goes out.

/// The fixed part of a header.
pub(crate) const HEADER: usize = 12;

/// Where the parts of a packet are. All of it lies within the packet it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    /// Bytes before the payload.
    pub(crate) length: usize,
    /// The header extensions: their profile, where they begin, where they end.
    extensions: Option<(u16, usize, usize)>,
    padded: bool,
}

const ONE_BYTE: u16 = 0xBEDE;
/// The ids that the one-byte form cannot say: padding, and the end.
const PADDING: u8 = 0;
const END: u8 = 15;

impl Header {
    /// Reads the header of a packet, which may still be encrypted behind it.
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        if first >> 6 != 2 {
            return None;
        }
        let second = *packet.get(1)?;
        let fixed = HEADER + usize::from(first & 0x0f) * 4;
        let (mut length, mut extensions) = (fixed, None);
        if first & 0x10 != 0 {
            let (profile, words) = (u16_at(packet, fixed)?, u16_at(packet, fixed + 2)?);
            length = fixed + 4 + usize::from(words) * 4;
            extensions = Some((profile, fixed + 4, length));
        }
        if packet.len() < length {
            return None;
        }
        Some(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16_at(packet, 2)?,
            timestamp: u32_at(packet, 4)?,
            ssrc: u32_at(packet, 8)?,
            length,
            extensions,
            padded: first & 0x20 != 0,
        })
    }

    /// What a decrypted packet carries, without padding.
    pub(crate) fn payload<'a>(&self, packet: &'a [u8]) -> Option<&'a [u8]> {
        let payload = packet.get(self.length..)?;
        if !self.padded {
            return Some(payload);
        }
        let padding = usize::from(*payload.last()?);
        payload.get(..payload.len().checked_sub(padding)?)
    }

    /// How loud it is (RFC 6464), in decibels below the loudest: 0 is the loudest, 127 is silence. `id` is what the
    /// session calls the extension. The bit for voice activity is left out: some senders always set it.
    pub(crate) fn audio_level(&self, packet: &[u8], id: u8) -> Option<u8> {
        let (profile, mut at, end) = self.extensions?;
        while at < end {
            let (found, length, value) = if profile == ONE_BYTE {
                let byte = *packet.get(at)?;
                match byte >> 4 {
                    PADDING if byte == 0 => {
                        at += 1;
                        continue;
                    }
                    END => return None,
                    found => (found, usize::from(byte & 0x0f) + 1, at + 1),
                }
            } else {
                let found = *packet.get(at)?;
                if found == PADDING {
                    at += 1;
                    continue;
                }
                (found, usize::from(*packet.get(at + 1)?), at + 2)
            };
            if found == id {
                return (length >= 1 && value < end).then(|| packet[value] & 0x7f);
            }
            at = value + length;
        }
        None
    }
}

/// Writes a header without extensions.
pub(crate) fn write(out: &mut Vec<u8>, payload_type: u8, marker: bool, sequence: u16, timestamp: u32, ssrc: u32) {
    out.push(0x80);
    out.push(payload_type | if marker { 0x80 } else { 0 });
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&timestamp.to_be_bytes());
    out.extend_from_slice(&ssrc.to_be_bytes());
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(extension: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        write(&mut packet, 111, true, 7, 960, 42);
        if !extension.is_empty() {
            packet[0] |= 0x10;
            packet.extend_from_slice(extension);
        }
        packet.extend_from_slice(b"opus");
        packet
    }

    #[test]
    fn what_is_written_is_read() {
        let packet = packet(&[]);
        let header = Header::read(&packet).expect("a header");
        assert_eq!((header.marker, header.payload_type, header.sequence), (true, 111, 7));
        assert_eq!((header.timestamp, header.ssrc), (960, 42));
        assert_eq!(header.payload(&packet), Some(&b"opus"[..]));
    }

    #[test]
    fn padding_is_no_payload() {
        let mut packet = packet(&[]);
        packet[0] |= 0x20;
        packet.extend_from_slice(&[0, 0, 3]);
        let header = Header::read(&packet).expect("a header");
        assert_eq!(header.payload(&packet), Some(&b"opus"[..]));
        let last = packet.len() - 1;
        packet[last] = 200;
        assert_eq!(header.payload(&packet), None);
    }

    #[test]
    fn the_level_is_found_in_both_forms_and_without_the_bit_of_activity() {
        for (extension, id) in [
            (vec![0xBE, 0xDE, 0, 1, 0x10, 0x80 | 30, 0, 0], 1),
            // Behind another one, which is three bytes long.
            (vec![0xBE, 0xDE, 0, 2, 0x42, 1, 2, 3, 0x20, 30, 0, 0], 2),
            (vec![0x10, 0x00, 0, 1, 1, 1, 30, 0], 1),
        ] {
            let packet = packet(&extension);
            let header = Header::read(&packet).expect("a header");
            assert_eq!(header.audio_level(&packet, id), Some(30));
            assert_eq!(header.audio_level(&packet, 9), None);
            assert_eq!(header.payload(&packet), Some(&b"opus"[..]));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), id in 0u8..16) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = 0x80 | (*first & 0x3f);
            }
            if let Some(header) = Header::read(&bytes) {
                let _ = header.payload(&bytes);
                let _ = header.audio_level(&bytes, id);
            }
        }
    }
}
