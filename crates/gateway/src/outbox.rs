//! The frames that wait for one socket: bounded, written by several at once, never copied. Pure.

use std::collections::VecDeque;
use std::io::IoSlice;

use clarion_model::time::Timestamp;
use clarion_observability::metric::ChannelType;

use crate::frame::Frame;

/// Most frames of one write. Three slices each stays far below what a system call takes.
pub(crate) const FRAMES_A_WRITE: usize = 64;
const SMALL: usize = 8;
/// How often the bound fits into what is owed.
const OWED: usize = 16;

/// What is to be measured once a frame has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// When the message was accepted.
    pub(crate) at: Timestamp,
    /// Who can see its channel.
    pub(crate) channel: ChannelType,
}

/// The socket takes less than it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recipient reads too slowly")]
pub(crate) struct Overflow;

/// A queue of frames, the first of which may be partly written.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<(Frame, Option<Receipt>)>,
    written: usize,
    bytes: usize,
    catching_up: usize,
    limit: usize,
}

impl Outbox {
    /// An empty one that holds up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { queue: VecDeque::new(), written: 0, bytes: 0, catching_up: 0, limit }
    }

    /// Whether a live frame fits.
    pub(crate) fn takes(&self, frame: &Frame) -> bool {
        let live = self.bytes - self.catching_up.min(self.bytes);
        live + frame.len() <= self.limit
    }

    /// Appends a live frame. Refuses it when the socket is too far behind.
    pub(crate) fn push(&mut self, frame: Frame, receipt: Option<Receipt>) -> Result<(), Overflow> {
        if !self.takes(&frame) {
            return Err(Overflow);
        }
        self.bytes += frame.len();
        self.queue.push_back((frame, receipt));
        Ok(())
    }

    /// Appends a live frame, so many bytes of which are written already, to an outbox in which nothing waits.
    pub(crate) fn push_begun(
        &mut self,
        frame: Frame,
        written: usize,
        receipt: Option<Receipt>,
    ) -> Result<(), Overflow> {
        debug_assert!(self.queue.is_empty() && written < frame.len());
        self.push(frame, receipt)?;
        (self.written, self.bytes) = (written, self.bytes - written);
        Ok(())
    }

    /// Appends a frame that a client is owed at once, such as a guild's state or the answer to a request: its speed is not
    /// to blame for these. Refuses it only when a client asks for far more than it takes.
    pub(crate) fn push_owed(&mut self, frame: Frame) -> Result<(), Overflow> {
        if self.bytes > self.limit.saturating_mul(OWED) {
            return Err(Overflow);
        }
        self.push_replayed(frame);
        Ok(())
    }

    /// Appends a frame of a replay, whose sum the replay buffer bounds.
    pub(crate) fn push_replayed(&mut self, frame: Frame) {
        self.bytes += frame.len();
        self.catching_up += frame.len();
        self.queue.push_back((frame, None));
    }

    /// Whether everything has been written.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many frames wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the next write should offer when a single frame waits.
    pub(crate) fn only(&self) -> Option<[IoSlice<'_>; 3]> {
        match self.queue.front() {
            Some((frame, _)) if self.queue.len() == 1 => Some(frame.slices(self.written)),
            _ => None,
        }
    }

    /// What the next write should offer.
    pub(crate) fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(3 * self.queue.len().min(FRAMES_A_WRITE));
        for (i, (frame, _)) in self.queue.iter().take(FRAMES_A_WRITE).enumerate() {
            let skip = if i == 0 { self.written } else { 0 };
            slices.extend(frame.slices(skip).into_iter().filter(|s| !s.is_empty()));
        }
        slices
    }

    /// `count` more bytes have been written; tells of each frame that is now complete.
    pub(crate) fn advance(&mut self, count: usize, mut complete: impl FnMut(Option<Receipt>)) {
        self.bytes -= count;
        self.catching_up = self.catching_up.saturating_sub(count);
        self.written += count;
        while let Some((frame, receipt)) = self.queue.front() {
            if self.written < frame.len() {
                break;
            }
            self.written -= frame.len();
            complete(*receipt);
            self.queue.pop_front();
        }
        if self.queue.is_empty() && self.queue.capacity() > SMALL {
            self.queue.shrink_to(0);
        }
    }

    /// Drops all frames but the one that was begun, without whose rest nothing else may be written.
    pub(crate) fn keep_begun(&mut self) {
        self.queue.truncate(usize::from(self.written > 0));
        self.bytes = self.queue.front().map_or(0, |(frame, _)| frame.len() - self.written);
        self.catching_up = self.catching_up.min(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn frame(n: u64, len: usize) -> Frame {
        Frame::dispatch(n, Bytes::from(vec![b'x'; len]))
    }

    proptest! {
        #[test]
        fn partial_writes_lose_and_repeat_nothing(sizes in proptest::collection::vec(0usize..200, 1..150), step in 1usize..3_000) {
            let mut outbox = Outbox::new(usize::MAX);
            let (mut expected, mut wire, mut complete) = (Vec::new(), Vec::new(), 0);
            for (n, size) in sizes.iter().enumerate() {
                let frame = frame(n as u64, *size);
                frame.copy_to(0, &mut expected);
                outbox.push(frame, None).expect("no bound");
            }
            while !outbox.is_empty() {
                let offered: Vec<u8> = outbox.slices().iter().flat_map(|s| s.to_vec()).collect();
                let taken = step.min(offered.len());
                prop_assert!(taken > 0);
                wire.extend_from_slice(&offered[..taken]);
                outbox.advance(taken, |_| complete += 1);
            }
            prop_assert_eq!(wire, expected);
            prop_assert_eq!(complete, sizes.len());
        }
    }

    #[test]
    fn what_is_owed_does_not_count_as_slowness() {
        let mut outbox = Outbox::new(1_000);
        outbox.push_owed(frame(1, 5_000)).expect("room");
        outbox.push(frame(2, 500), None).expect("live frames are within the bound");
        assert_eq!(outbox.push(frame(3, 500), None), Err(Overflow));
        let first = frame(1, 5_000).len();
        outbox.advance(first, |_| {});
        assert_eq!(outbox.push(frame(3, 500), None), Err(Overflow));
        outbox.advance(frame(2, 500).len(), |_| {});
        outbox.push(frame(3, 500), None).expect("there is room again");
    }

    #[test]
    fn a_frame_that_was_begun_elsewhere_is_finished() {
        let mut outbox = Outbox::new(1_000);
        let (mut whole, mut complete) = (Vec::new(), 0);
        frame(1, 100).copy_to(0, &mut whole);
        frame(2, 100).copy_to(0, &mut whole);
        outbox.push_begun(frame(1, 100), 30, None).expect("room");
        outbox.push(frame(2, 100), None).expect("room");
        let rest: Vec<u8> = outbox.slices().iter().flat_map(|s| s.to_vec()).collect();
        assert_eq!(rest, whole[30..]);
        outbox.advance(rest.len(), |_| complete += 1);
        assert!(outbox.is_empty() && outbox.bytes() == 0 && complete == 2);
    }

    #[test]
    fn only_a_begun_frame_has_to_be_finished() {
        let mut outbox = Outbox::new(10_000);
        outbox.push(frame(1, 100), None).expect("room");
        outbox.push(frame(2, 100), None).expect("room");
        outbox.advance(10, |_| {});
        let mut whole = Vec::new();
        frame(1, 100).copy_to(0, &mut whole);
        outbox.keep_begun();
        let rest: Vec<u8> = outbox.slices().iter().flat_map(|s| s.to_vec()).collect();
        assert_eq!(rest, whole[10..]);
        outbox.advance(rest.len(), |_| {});
        outbox.push(frame(3, 100), None).expect("room");
        outbox.keep_begun();
        assert!(outbox.is_empty());
    }
}
