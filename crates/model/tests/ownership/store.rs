//! The simulated store: one register, three replicas of the rows, and a network that keeps no promises.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use clarion_model::key::{Epoch, Key, Position};
use clarion_model::ownership;

/// How many replicas hold the rows, and how many of them are a quorum.
pub(crate) const REPLICAS: usize = 3;
pub(crate) const QUORUM: usize = 2;

/// What clients say: nothing but their nonce.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Nonce {
    pub(crate) client: usize,
    pub(crate) number: u32,
}

pub(crate) type Row = ownership::Row<Nonce>;

/// A part of the store that a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Register,
    Replica(usize),
}

#[derive(Debug)]
pub(crate) enum Request {
    Epoch,
    Raise { from: Epoch, to: Epoch },
    Read { key: Key },
    Write { rows: Vec<Row> },
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Epoch(Epoch),
    Raised(bool),
    Rows(Vec<Row>),
    Written,
}

/// Which question of which owner. Never used twice, so late answers to forgotten questions find nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallId {
    pub(crate) owner: usize,
    pub(crate) number: u32,
    pub(crate) part: usize,
}

/// Something under way.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Ask { call: CallId, node: Node, request: Rc<Request> },
    Reply { call: CallId, node: Node, answer: Answer },
    Say { owner: usize, key: Key, nonce: Nonce },
    Heard { nonce: Nonce },
}

/// An owner told a client that its message is accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) key: Key,
    pub(crate) nonce: Nonce,
    pub(crate) position: Position,
    pub(crate) id: u64,
}

/// What owners put out: messages, and promises that can never be taken back.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) messages: Vec<Message>,
    pub(crate) acks: Vec<Ack>,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    epoch: Epoch,
    replicas: [BTreeMap<(Key, Position), Row>; REPLICAS],
}

impl Request {
    /// Where the request has to go, and how many answers it takes.
    pub(crate) fn nodes(&self) -> (&'static [Node], usize) {
        const ROWS: &[Node] = &[Node::Replica(0), Node::Replica(1), Node::Replica(2)];
        match self {
            Request::Epoch | Request::Raise { .. } => (&[Node::Register], 1),
            Request::Read { .. } | Request::Write { .. } => (ROWS, QUORUM),
        }
    }
}

impl Store {
    /// A request arrives at a node.
    pub(crate) fn apply(&mut self, node: Node, request: &Request) -> Answer {
        match (node, request) {
            (_, Request::Epoch) => Answer::Epoch(self.epoch),
            (_, Request::Raise { from, to }) => {
                let raised = self.epoch == *from;
                if raised {
                    self.epoch = *to;
                }
                Answer::Raised(raised)
            }
            (Node::Replica(n), Request::Read { key }) => Answer::Rows(self.rows(*key, &[n])),
            (Node::Replica(n), Request::Write { rows }) => {
                self.replicas[n].extend(rows.iter().map(|row| ((row.key, row.position), *row)));
                Answer::Written
            }
            (Node::Register, _) => unreachable!("rows are with the replicas"),
        }
    }

    /// All rows of a key that some of these replicas hold, in order.
    pub(crate) fn rows(&self, key: Key, replicas: &[usize]) -> Vec<Row> {
        let range = (key, Position::START)..=(key, Position { epoch: Epoch(u64::MAX), offset: u64::MAX });
        let mut rows: Vec<_> =
            replicas.iter().flat_map(|n| self.replicas[*n].range(range.clone())).map(|(_, row)| *row).collect();
        rows.sort_by_key(|row| row.position);
        rows.dedup_by_key(|row| row.position);
        rows
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} #{}", self.client, self.number)
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} {} with id {}", self.nonce, self.key, self.position, self.id)
    }
}
