//! How far each key has got, and what is to be done next. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use clarion_model::id::MessageId;
use clarion_model::key::{Key, Position};
use clarion_storage::Tail;
use clarion_storage::index::Progress;

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// What the index says.
    pub(crate) progress: Progress,
    /// Where the log ends.
    pub(crate) tail: Tail,
    /// Where the log ended when the key was first seen: that far, and answers are whole.
    goal: Position,
    /// Every message up to this one was in the index, if it was not deleted.
    pub(crate) covered: MessageId,
}

/// All keys.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: BTreeMap<Key, Known>,
    /// Those with something to do, in the order in which it is their turn.
    turns: VecDeque<Key>,
    waiting: BTreeSet<Key>,
}

impl Known {
    fn new(progress: Progress) -> Self {
        Self { goal: progress.position, tail: Tail::default(), covered: MessageId(0), progress }
    }

    /// Whether the index lacks something.
    pub(crate) fn is_behind(&self) -> bool {
        self.progress.refill.is_some() || self.progress.position < self.tail.position || !self.progress.ready
    }

    /// How many entries the index lacks, as far as positions tell.
    fn pending(&self) -> u64 {
        let (at, tail) = (self.progress.position, self.tail.position);
        match at.epoch == tail.epoch {
            true => tail.offset.saturating_sub(at.offset),
            // Of the epochs between, only the last one's length is known.
            false if at < tail => tail.offset,
            false => 0,
        }
    }

    /// What the index is to say when it has come to a position of the log.
    pub(crate) fn at(&self, position: Position) -> Progress {
        let ready = self.progress.ready || self.progress.refill.is_none() && position >= self.goal;
        Progress { position, ready, ..self.progress.clone() }
    }
}

impl Keys {
    /// What the index says is how it is; what was known of the logs stays known.
    pub(crate) fn reload(&mut self, progress: Vec<Progress>) {
        let mut said: BTreeMap<Key, Progress> = progress.into_iter().map(|p| (p.key, p)).collect();
        for (key, known) in &mut self.known {
            known.progress = said.remove(key).unwrap_or_else(|| nothing(*key));
        }
        for (key, progress) in said {
            self.known.insert(key, Known::new(progress));
        }
        let all: Vec<Key> = self.known.keys().copied().collect();
        all.into_iter().for_each(|key| self.queue(key));
    }

    /// Logs end here now. Answers with the keys that were not known before.
    pub(crate) fn grown(&mut self, tails: Vec<(Key, Tail)>) -> Vec<Progress> {
        let mut new = Vec::new();
        for (key, tail) in tails {
            let known = self.known.entry(key).or_insert_with(|| {
                new.push(nothing(key));
                Known { goal: tail.position, ..Known::new(nothing(key)) }
            });
            known.tail = tail;
            self.queue(key);
        }
        new
    }

    fn queue(&mut self, key: Key) {
        if self.known.get(&key).is_some_and(Known::is_behind) && self.waiting.insert(key) {
            self.turns.push_back(key);
        }
    }

    /// The key whose turn it is. It comes again when it is put back.
    pub(crate) fn next(&mut self) -> Option<Known> {
        let key = self.turns.pop_front()?;
        self.waiting.remove(&key);
        self.known.get(&key).cloned()
    }

    /// The index has come this far with a key.
    pub(crate) fn done(&mut self, progress: Progress) {
        let key = progress.key;
        if let Some(known) = self.known.get_mut(&key) {
            known.progress = progress;
            if !known.is_behind() {
                known.covered = MessageId(known.tail.last_id);
            }
        }
        self.queue(key);
    }

    /// Nothing was done about a key: it is its turn again.
    pub(crate) fn put_back(&mut self, key: Key) {
        self.queue(key);
    }

    /// Whether something is to be done.
    pub(crate) fn is_idle(&self) -> bool {
        self.turns.is_empty()
    }

    /// Entries that the index lacks.
    pub(crate) fn pending(&self) -> u64 {
        self.waiting.iter().filter_map(|key| self.known.get(key)).map(Known::pending).sum()
    }

    /// Everything that is known.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Known> {
        self.known.values()
    }
}

/// Of a key that the index knows nothing of.
fn nothing(key: Key) -> Progress {
    Progress { key, position: Position::START, ready: false, refill: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarion_model::id::GuildId;
    use clarion_model::key::Epoch;

    fn covered(keys: &Keys) -> Option<MessageId> {
        keys.known.get(&key(1)).map(|known| known.covered)
    }

    fn key(id: u64) -> Key {
        Key::Guild(GuildId(id))
    }

    fn at(epoch: u64, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    fn tail(position: Position, last_id: u64) -> Tail {
        Tail { position, last_id, entries: 0 }
    }

    #[test]
    fn a_new_key_is_ready_when_it_has_come_to_where_it_was_first_seen() {
        let mut keys = Keys::default();
        keys.grown(vec![(key(1), tail(at(1, 5), 50))]);
        keys.grown(vec![(key(1), tail(at(1, 9), 90))]);
        let known = keys.next().expect("a turn");
        assert_eq!((known.progress.position, keys.pending()), (Position::START, 0));
        assert!(!known.at(at(1, 4)).ready);
        let further = known.at(at(1, 5));
        assert!(further.ready);
        keys.done(further);
        assert_eq!(keys.pending(), 4);
        assert_eq!(covered(&keys), Some(MessageId(0)), "something is missing");
        let known = keys.next().expect("a turn");
        keys.done(known.at(at(1, 9)));
        assert!(keys.is_idle() && keys.next().is_none());
        assert_eq!(covered(&keys), Some(MessageId(90)));
    }

    #[test]
    fn keys_take_turns() {
        let mut keys = Keys::default();
        keys.grown((1..4).map(|id| (key(id), tail(at(1, 2), id))).collect());
        let first = keys.next().expect("a turn");
        keys.put_back(first.progress.key);
        let order: Vec<Key> = std::iter::from_fn(|| keys.next()).map(|known| known.progress.key).collect();
        assert_eq!(order, [key(2), key(3), key(1)]);
    }

    #[test]
    fn what_the_index_says_counts() {
        let mut keys = Keys::default();
        keys.grown(vec![(key(1), tail(at(2, 3), 9))]);
        let known = keys.next().expect("a turn");
        keys.done(known.at(at(2, 3)));
        assert!(keys.is_idle());
        // A write failed, and the index has less than was thought.
        let less = Progress { key: key(1), position: at(1, 7), ready: true, refill: None };
        keys.reload(vec![less.clone(), Progress { key: key(2), ..less.clone() }]);
        assert_eq!(keys.next().map(|known| known.progress), Some(less));
        assert!(keys.next().is_none(), "of the other key no log is known to have grown");
        keys.reload(Vec::new());
        assert_eq!(keys.next().map(|known| known.progress), Some(nothing(key(1))));
    }
}
