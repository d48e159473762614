//! What a message of a load run carries in its content: who sent it, as which of theirs, and when it was due. Pure.

use std::fmt::Write;

const OPENING: &str = "load ";
const FILLER: char = 'x';

/// Shortest content that has room for any stamp.
pub(super) const SHORTEST: usize = 56;

/// Says which message of which run a content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The run; what others write in the same channel is not ours to judge.
    pub(super) run: u32,
    /// Who sent it, counted from zero.
    pub(super) sender: u32,
    /// Which of the sender's messages, counted from zero.
    pub(super) number: u32,
    /// When it was due, in microseconds since the run began.
    pub(super) due_us: u64,
}

impl Stamp {
    /// The content, filled up to `length` characters.
    pub(super) fn content(&self, length: usize) -> String {
        let mut content = String::with_capacity(length);
        let Self { run, sender, number, due_us } = self;
        // Writing to a string cannot fail.
        let _ = write!(content, "{OPENING}{run:08x} {sender} {number} {due_us} ");
        content.extend(std::iter::repeat_n(FILLER, length.saturating_sub(content.len())));
        content
    }

    /// The stamp of a content that has one.
    pub(super) fn read(content: &str) -> Option<Self> {
        let mut words = content.strip_prefix(OPENING)?.split(' ');
        let run = u32::from_str_radix(words.next()?, 16).ok()?;
        let (sender, number) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let due_us = words.next()?.parse().ok()?;
        words.next().map(|_filler| Self { run, sender, number, due_us })
    }

    /// What makes retries of the same message one message.
    pub(super) fn nonce(&self) -> String {
        format!("{:08x}-{:x}-{:x}", self.run, self.sender, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_stamp_is_read_back(run: u32, sender in 0u32..100_000, number in 0u32..10_000_000, due_us in 0u64..1 << 46) {
            let stamp = Stamp { run, sender, number, due_us };
            let content = stamp.content(SHORTEST);
            prop_assert_eq!(content.len(), SHORTEST);
            prop_assert_eq!(Stamp::read(&content), Some(stamp));
            prop_assert!(stamp.nonce().len() <= clarion_model::limits::NONCE);
        }

        #[test]
        fn what_others_write_has_none(content in ".{0,80}") {
            prop_assert_eq!(Stamp::read(&content), None);
        }
    }
}
