//! The followers of one key: who is told entries as they come, and who is still being told older ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use clarion_model::key::{Key, Position};
use clarion_observability::metric::Counter;
use clarion_storage::{Logs, ReadError};
use futures_util::future::{AbortHandle, BoxFuture, abortable};

use crate::follow::{Reached, Stream, caught, moved, replay, snapshot};
use crate::owner::Truth;

/// The followers of one key.
pub(super) struct Followers {
    key: Key,
    failures: Counter,
    all: BTreeMap<u64, Follower>,
    replays: u64,
}

struct Follower {
    stream: Stream,
    behind: Option<Behind>,
}

/// How far a follower is behind, and what came since.
struct Behind {
    from: Position,
    replay: Option<Replay>,
}

/// A reading of the log for a follower. It stops when this is dropped.
struct Replay {
    number: u64,
    goal: Position,
    /// What came since the reading began, at most a burst; `None` when that was too much, and the log is read again.
    missed: Option<Vec<Bytes>>,
    abort: AbortHandle,
}

/// A reading of the log has ended.
pub(super) struct Replayed {
    stream: u64,
    number: u64,
    pub(super) result: Result<Reached, ReadError>,
}

impl Replay {
    fn miss(&mut self, frame: &Bytes, most: usize) {
        match &mut self.missed {
            Some(missed) if missed.len() < most => missed.push(frame.clone()),
            missed => *missed = None,
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Followers {
    pub(super) fn new(key: Key, failures: Counter) -> Self {
        Self { key, failures, all: BTreeMap::new(), replays: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn remove(&mut self, stream: u64) {
        self.all.remove(&stream);
    }

    /// Somebody who knows nothing yet.
    pub(super) fn add_new(&mut self, stream: Stream, truth: &Truth, voices: Option<&Bytes>) {
        let id = stream.id;
        self.all.insert(id, Follower { stream, behind: None });
        self.push_after(id, voices, &snapshot(self.key, truth));
    }

    /// Somebody who has to be told what the log has after a place.
    pub(super) fn add_behind(&mut self, stream: Stream, from: Position) {
        self.all.insert(stream.id, Follower { stream, behind: Some(Behind { from, replay: None }) });
    }

    /// Those who were told everything up to a place have to be told the rest from the log.
    pub(super) fn all_behind(&mut self, from: Position) {
        for follower in self.all.values_mut() {
            match &mut follower.behind {
                None => follower.behind = Some(Behind { from, replay: None }),
                Some(Behind { replay: Some(replay), .. }) => replay.missed = None,
                Some(_) => {}
            }
        }
    }

    /// Whether the log has to be read for somebody.
    pub(super) fn need_replays(&self) -> bool {
        self.all.values().any(|follower| follower.behind.as_ref().is_some_and(|behind| behind.replay.is_none()))
    }

    /// Begins to read the log up to a goal for those who need it.
    pub(super) fn replays(&mut self, goal: Position, logs: &Arc<dyn Logs>) -> Vec<BoxFuture<'static, Replayed>> {
        let mut begun: Vec<BoxFuture<'static, Replayed>> = Vec::new();
        for (id, follower) in &mut self.all {
            let Some(behind) = &mut follower.behind else { continue };
            if behind.replay.is_some() {
                continue;
            }
            self.replays += 1;
            let (number, key, from, id) = (self.replays, self.key, behind.from, *id);
            let (logs, stream) = (logs.clone(), follower.stream.clone());
            let (reading, abort) = abortable(async move { replay(&*logs, key, from, goal, &stream).await });
            behind.replay = Some(Replay { number, goal, missed: Some(Vec::new()), abort });
            begun.push(Box::pin(async move {
                let result = reading.await.unwrap_or(Ok(Reached::Gone));
                Replayed { stream: id, number, result }
            }));
        }
        begun
    }

    /// A reading has ended: what came since is told, and from then on everything as it comes.
    pub(super) fn replayed(&mut self, replayed: &Replayed, voices: Option<&Bytes>) {
        let Some(mut replay) = self.take_replay(replayed) else { return };
        match (&replayed.result, replay.missed.take()) {
            (Ok(Reached::Goal), Some(missed)) => {
                if missed.iter().all(|frame| self.push_to(replayed.stream, frame)) {
                    self.push_after(replayed.stream, voices, &caught(self.key));
                }
            }
            (Ok(Reached::Goal), None) => {
                if let Some(follower) = self.all.get_mut(&replayed.stream) {
                    follower.behind = Some(Behind { from: replay.goal, replay: None });
                }
            }
            (Ok(Reached::Gap | Reached::Gone), _) => self.remove(replayed.stream),
            (Err(_), _) => {
                self.push_to(replayed.stream, &moved(self.key));
                self.remove(replayed.stream);
            }
        }
    }

    /// The log does not reach back far enough: the follower begins anew.
    pub(super) fn renew(&mut self, replayed: &Replayed, truth: &Truth, voices: Option<&Bytes>) {
        if self.take_replay(replayed).is_some() {
            self.push_after(replayed.stream, voices, &snapshot(self.key, truth));
        }
    }

    /// The gateways that follow.
    pub(super) fn gateways(&self) -> BTreeSet<Arc<str>> {
        let there = self.all.values().filter(|follower| !follower.stream.is_gone());
        there.map(|follower| follower.stream.gateway.clone()).collect()
    }

    /// Tells everybody something; those behind later.
    pub(super) fn push(&mut self, frame: &Bytes) {
        let failures = &self.failures;
        self.all.retain(|_, follower| match &mut follower.behind {
            None => deliver(follower, frame, failures),
            Some(behind) => {
                if let Some(replay) = &mut behind.replay {
                    replay.miss(frame, follower.stream.burst());
                }
                !follower.stream.is_gone()
            }
        });
    }

    /// The key goes elsewhere.
    pub(super) fn dismiss(self) {
        let frame = moved(self.key);
        for (_, follower) in self.all {
            drop(follower.behind);
            follower.stream.push(frame.clone());
        }
    }

    /// Ends the replay of a follower, if it is the one that has ended.
    fn take_replay(&mut self, replayed: &Replayed) -> Option<Replay> {
        let follower = self.all.get_mut(&replayed.stream)?;
        let replay = follower.behind.as_mut()?.replay.take_if(|replay| replay.number == replayed.number)?;
        follower.behind = None;
        Some(replay)
    }

    /// Hands over all voice states, if there are any, and then something else.
    fn push_after(&mut self, stream: u64, voices: Option<&Bytes>, frame: &Bytes) {
        if voices.is_none_or(|voices| self.push_to(stream, voices)) {
            self.push_to(stream, frame);
        }
    }

    fn push_to(&mut self, stream: u64, frame: &Bytes) -> bool {
        let Some(follower) = self.all.get(&stream) else { return false };
        let kept = deliver(follower, frame, &self.failures);
        if !kept {
            self.all.remove(&stream);
        }
        kept
    }
}

/// Hands a frame over. `false`: the follower could not take it and is cut off.
fn deliver(follower: &Follower, frame: &Bytes, failures: &Counter) -> bool {
    if follower.stream.is_gone() {
        return false;
    }
    let taken = follower.stream.push(frame.clone());
    if !taken {
        failures.increment(1);
    }
    taken
}
