//! A channel's messages, in the order of their ids, as all who have heard of them know them.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::verdict::{Fault, Verdict};

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: u64,
    /// Who sent it.
    pub sender: u32,
    /// Which of theirs it is.
    pub number: u32,
}

/// Where a message stands, and whether anybody had heard of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) at: usize,
    pub(super) is_new: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct List {
    entries: Vec<Entry>,
    /// Numbers of senders of which it is not known whether they were made.
    pub(super) unsettled: HashSet<(u32, u32)>,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "number {} of sender {}", self.number, self.sender)
    }
}

impl List {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn newest(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.id)
    }

    pub(super) fn get(&self, at: usize) -> Option<&Entry> {
        self.entries.get(at)
    }

    /// The place of the first message after an id.
    pub(super) fn after(&self, id: u64) -> usize {
        if id >= self.newest() {
            return self.entries.len();
        }
        self.entries.partition_point(|entry| entry.id <= id)
    }

    /// How many there are after one id, up to another.
    pub(super) fn between(&self, after: u64, to: u64) -> usize {
        self.after(to).saturating_sub(self.after(after))
    }

    /// Adds a message, or finds it; fails with what else the id stands for.
    pub(super) fn add(&mut self, entry: Entry) -> Result<Place, Entry> {
        if entry.id > self.newest() {
            self.entries.push(entry);
            return Ok(Place { at: self.entries.len() - 1, is_new: true });
        }
        match self.entries.binary_search_by_key(&entry.id, |known| known.id) {
            Ok(at) if self.entries[at] == entry => Ok(Place { at, is_new: false }),
            Ok(at) => Err(self.entries[at]),
            Err(at) => {
                self.entries.insert(at, entry);
                Ok(Place { at, is_new: true })
            }
        }
    }

    /// Each sender's numbers rise, and none stands for two messages.
    pub(super) fn judge(&self, channel: usize, verdict: &mut Verdict) {
        let mut last: HashMap<u32, Entry> = HashMap::new();
        for entry in &self.entries {
            if self.unsettled.contains(&(entry.sender, entry.number)) {
                continue;
            }
            let Some(before) = last.insert(entry.sender, *entry) else { continue };
            if before.number == entry.number {
                let what = format!("{entry} is two messages, {} and {}, in channel {channel}", before.id, entry.id);
                verdict.add(Fault::Twice, what);
            } else if before.number > entry.number {
                let what = format!("{entry}, message {}, stands after {before} in channel {channel}", entry.id);
                verdict.add(Fault::Order, what);
            }
        }
    }

    /// Everything known is in the history, once, and ids rise.
    pub(super) fn judge_history(&self, channel: usize, history: &[Entry], verdict: &mut Verdict) {
        for pair in history.windows(2).filter(|pair| pair[0].id >= pair[1].id) {
            let what = format!("the history of channel {channel} has {} after {}", pair[1].id, pair[0].id);
            verdict.add(Fault::Order, what);
        }
        let mut made = HashMap::new();
        for entry in history {
            if let Some(other) = made.insert((entry.sender, entry.number), entry.id) {
                let what = format!("{entry} is two messages, {other} and {}, in the history of {channel}", entry.id);
                verdict.add(Fault::Twice, what);
            }
        }
        let there: HashMap<u64, &Entry> = history.iter().map(|entry| (entry.id, entry)).collect();
        for entry in self.entries.iter().filter(|entry| there.get(&entry.id) != Some(entry)) {
            verdict.lost += 1;
            verdict.add(Fault::Lost, format!("{entry}, message {}, is not in the history of {channel}", entry.id));
        }
        verdict.history += history.len() as u64;
    }
}
