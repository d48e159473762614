//! Whether what sockets receive is what it should be: nothing lost, nothing twice, one order. Pure.
//!
//! A channel has one list of all its messages, in the order of their ids, which every acknowledgement and every delivery
//! adds to. A socket has, per channel, the segment of that list that its session must have brought: from where
//! GUILD_CREATE said the channel stood, to the last message it got. Ids that rise, each of them in the list, and as many
//! of them as the list has in the segment: then the segment is the list. A delivery costs one comparison when all is well.

mod channel;
mod verdict;

pub use channel::Entry;
use channel::List;
pub use verdict::{Fault, Verdict, Violation};

/// A socket's part of a channel.
#[derive(Debug, Clone, Copy, Default)]
struct Segment {
    /// Where the channel stood when the session began.
    start: u64,
    /// The last message delivered.
    last: u64,
    count: u64,
    /// Where in the list the next one is expected.
    hint: usize,
}

/// Judges a run.
#[derive(Debug)]
pub struct Checker {
    channels: Vec<List>,
    /// By socket and channel: the segment of the session that is there.
    open: Vec<Option<Segment>>,
    /// By socket and channel: up to where the session before had come, once there was one.
    left: Vec<Option<u64>>,
    /// Segments of sessions that are over, with their sockets and channels.
    closed: Vec<(usize, usize, Segment)>,
    verdict: Verdict,
}

/// Most segments of ended sessions that are kept. Beyond it the oldest is judged as things stand.
const CLOSED: usize = 200_000;

impl Checker {
    /// For so many channels and sockets.
    pub fn new(channels: usize, sockets: usize) -> Self {
        Self {
            channels: vec![List::default(); channels],
            open: vec![None; channels * sockets],
            left: vec![None; channels * sockets],
            closed: Vec::new(),
            verdict: Verdict::default(),
        }
    }

    /// A socket has a session, to which a channel stands at the message `at`. Said again in the same session it changes
    /// nothing: what is between must come all the same.
    pub fn begin(&mut self, socket: usize, channel: usize, at: u64) {
        let place = socket * self.channels.len() + channel;
        if self.open[place].is_some() {
            return;
        }
        let list = &self.channels[channel];
        self.open[place] = Some(Segment { start: at, last: at, count: 0, hint: list.after(at) });
        if let Some(left) = self.left[place] {
            self.verdict.away += list.between(left, at) as u64;
        }
        self.verdict.sessions += u64::from(channel == 0);
    }

    /// A socket's session is over: what comes until the next one begins, it misses by right.
    pub fn end(&mut self, socket: usize) {
        for channel in 0..self.channels.len() {
            let place = socket * self.channels.len() + channel;
            let Some(segment) = self.open[place].take() else { continue };
            self.left[place] = Some(segment.last);
            if self.closed.len() == CLOSED {
                let (socket, channel, oldest) = self.closed.swap_remove(0);
                self.judge(socket, channel, oldest, oldest.last);
            }
            self.closed.push((socket, channel, segment));
        }
    }

    /// A send was acknowledged.
    pub fn acknowledged(&mut self, channel: usize, id: u64, sender: u32, number: u32) {
        self.verdict.acknowledged += 1;
        let entry = Entry { id, sender, number };
        if let Err(other) = self.channels[channel].add(entry) {
            self.verdict.add(Fault::Changed, format!("message {id} was acknowledged as {entry} and is {other}"));
        }
    }

    /// A message came to a socket.
    pub fn delivered(&mut self, socket: usize, channel: usize, id: u64, sender: u32, number: u32) {
        let at = socket * self.channels.len() + channel;
        let (list, entry) = (&mut self.channels[channel], Entry { id, sender, number });
        self.verdict.deliveries += 1;
        let Some(segment) = &mut self.open[at] else {
            self.verdict.add(Fault::Twice, format!("socket {socket} got message {id} without a session"));
            return;
        };
        if id > segment.last && list.get(segment.hint) == Some(&entry) {
            (segment.last, segment.count, segment.hint) = (id, segment.count + 1, segment.hint + 1);
            return;
        }
        let place = match list.add(entry) {
            Ok(place) => place,
            Err(other) => {
                self.verdict
                    .add(Fault::Changed, format!("message {id} came to socket {socket} as {entry} and is {other}"));
                return;
            }
        };
        if id <= segment.last {
            let (fault, what) = match place.is_new {
                // Nobody knew of it, so this socket has not had it.
                true => (Fault::Order, "after"),
                false => (Fault::Twice, "again or late, after"),
            };
            segment.count += u64::from(place.is_new);
            let last = segment.last;
            self.verdict.add(fault, format!("socket {socket} got message {id} {what} {last} in channel {channel}"));
            return;
        }
        let from = list.after(segment.last);
        if let Some(passed) = list.get(from).filter(|passed| passed.id < id) {
            let what = format!("socket {socket} got message {id} in channel {channel} before {}, {passed}", passed.id);
            self.verdict.add(Fault::Gap, what);
        }
        (segment.last, segment.count, segment.hint) = (id, segment.count + 1, place.at + 1);
    }

    /// A socket was told that of what comes now it may have had some before, because its gateway died. This is the first of
    /// it in a channel: from here on everything is to come, in order, once more.
    pub fn again(&mut self, socket: usize, channel: usize, id: u64) {
        let (list, place) = (&self.channels[channel], socket * self.channels.len() + channel);
        let Some(segment) = self.open[place].as_mut().filter(|s| s.start < id && id <= s.last) else { return };
        let at = list.after(id - 1);
        if list.get(at).is_none_or(|entry| entry.id != id) {
            return;
        }
        let again = list.between(id - 1, segment.last) as u64;
        let before = at.checked_sub(1).and_then(|at| list.get(at)).map_or(0, |entry| entry.id);
        (segment.last, segment.count, segment.hint) =
            (before.max(segment.start), segment.count.saturating_sub(again), at);
        self.verdict.repeated += again;
    }

    /// It is not known whether a message was made, and will not be: nothing can be said of its place.
    pub fn unsettled(&mut self, channel: usize, sender: u32, number: u32) {
        self.verdict.unsettled += 1;
        self.channels[channel].unsettled.insert((sender, number));
    }

    /// The history of a channel, the oldest first: everything is there, once, and in order.
    pub fn history(&mut self, channel: usize, history: &[Entry]) {
        self.channels[channel].judge_history(channel, history, &mut self.verdict);
    }

    /// The first message of a channel that is known; no message is older where none is known.
    pub fn oldest(&self, channel: usize) -> u64 {
        self.channels[channel].get(0).map_or(u64::MAX, |first| first.id)
    }

    /// How many sockets still wait for a message in some channel.
    pub fn behind(&self) -> usize {
        let newest: Vec<u64> = self.channels.iter().map(List::newest).collect();
        let waits = |open: &[Option<Segment>]| open.iter().zip(&newest).any(|(s, n)| s.is_some_and(|s| s.last < *n));
        self.open.chunks(self.channels.len().max(1)).filter(|open| waits(open)).count()
    }

    /// What is known to be wrong so far.
    pub fn so_far(&self) -> &Verdict {
        &self.verdict
    }

    /// The judgement, once nothing more is to come.
    pub fn finish(mut self) -> Verdict {
        self.verdict.messages = self.channels.iter().map(|list| list.len() as u64).sum();
        for (at, list) in self.channels.iter().enumerate() {
            list.judge(at, &mut self.verdict);
        }
        for (socket, channel, segment) in std::mem::take(&mut self.closed) {
            self.judge(socket, channel, segment, segment.last);
        }
        for at in 0..self.open.len() {
            if let Some(segment) = self.open[at] {
                self.judge(at / self.channels.len(), at % self.channels.len(), segment, u64::MAX);
            }
        }
        self.verdict
    }

    /// A segment must hold all that the list has up to `end`.
    fn judge(&mut self, socket: usize, channel: usize, segment: Segment, end: u64) {
        let list = &self.channels[channel];
        let expected = list.between(segment.start, end) as u64;
        if segment.count < expected {
            let missing = expected - segment.count;
            let tail = list.get(list.after(segment.last)).filter(|first| first.id <= end);
            let first = tail.map(|first| format!(", such as {}, {first}", first.id)).unwrap_or_default();
            let what =
                format!("socket {socket} did not get {missing} of {expected} messages of channel {channel}{first}");
            self.verdict.lost += missing;
            self.verdict.add(Fault::Lost, what);
        }
    }
}

/// A message of a channel's history.
pub fn entry(id: u64, sender: u32, number: u32) -> Entry {
    Entry { id, sender, number }
}

#[cfg(test)]
mod tests;
