//! The simulated owner: a driver as a channel server has one, with the real [`Tenure`] inside.

use std::collections::BTreeMap;
use std::mem;
use std::rc::Rc;

use clarion_model::key::{Epoch, Key};
use clarion_model::ownership::{Body, Chain, Check, Tail, Tenure, Ticket, Verdict};
use clarion_model::time::Timestamp;

use crate::fault::Fault;
use crate::store::{Ack, Answer, CallId, Message, Node, Nonce, Request, Row, Wire};

pub(crate) struct Owner {
    name: usize,
    keys: Vec<Key>,
    fault: Option<Fault>,
    pub(crate) clock: Timestamp,
    next_call: u32,
    memory: Memory,
}

/// What a crash wipes out.
#[derive(Default)]
struct Memory {
    calls: BTreeMap<u32, Call>,
    tenure: Option<Tenure<Nonce>>,
    logs: BTreeMap<Key, Log>,
    /// What it read before it raised the epoch, which only a faulty one does.
    early: BTreeMap<Key, Vec<Row>>,
}

/// What an owner knows of a key that it opened.
struct Log {
    /// What it read at first, and what it proposed since.
    entries: Vec<Ack>,
    /// The nonces of those.
    nonces: BTreeMap<Nonce, Ack>,
}

/// A question to the store that has not been answered.
struct Call {
    parts: Vec<Part>,
    rows: Vec<Row>,
    then: Then,
}

struct Part {
    request: Rc<Request>,
    answered: Vec<Node>,
}

/// What the answer is for.
#[derive(Clone, Copy)]
enum Then {
    Raise,
    Begin(Epoch),
    WriteBack(Key),
    Open(Key),
    Written(Ticket),
    Check(Check),
    Confirm(Check),
}

impl Part {
    fn complete(&self) -> bool {
        self.answered.len() >= self.request.nodes().1
    }
}

impl Owner {
    pub(crate) fn new(name: usize, keys: &[Key], clock: Timestamp, fault: Option<Fault>) -> Self {
        Self { name, keys: keys.to_vec(), fault, clock, next_call: 0, memory: Memory::default() }
    }

    /// Starts to take the slot, unless it has it or is about to.
    pub(crate) fn take(&mut self, wire: &mut Wire) {
        if self.memory.tenure.is_some() || !self.memory.calls.is_empty() {
            return;
        }
        if self.fault == Some(Fault::ReadBeforeRaise) {
            self.read_all(wire);
        } else {
            self.call(wire, vec![Request::Epoch], Then::Raise);
        }
    }

    /// A client sends a message, perhaps not for the first time.
    pub(crate) fn say(&mut self, wire: &mut Wire, key: Key, nonce: Nonce) {
        let Memory { tenure: Some(tenure), logs, .. } = &mut self.memory else { return };
        let Some(log) = logs.get_mut(&key) else { return };
        if let Some(known) = log.nonces.get(&nonce) {
            if Some(known.position) <= tenure.acknowledged(key) {
                acknowledge(wire, *known);
            }
        } else if let Ok(id) = tenure.next_id(key, self.clock)
            && let Ok(position) = tenure.propose(key, nonce)
        {
            let entry = Ack { key, nonce, position, id };
            log.entries.push(entry);
            log.nonces.insert(nonce, entry);
            self.write(wire);
        }
    }

    /// What the owner tells a follower who asks for everything.
    pub(crate) fn show(&self, key: Key) -> Vec<Ack> {
        let Memory { tenure: Some(tenure), logs, .. } = &self.memory else { return Vec::new() };
        let known = logs.get(&key).map(|log| &log.entries).into_iter().flatten();
        let shown = tenure.acknowledged(key);
        let may = |entry: &&Ack| Some(entry.position) <= shown || self.fault == Some(Fault::ShowEarly);
        known.filter(may).copied().collect()
    }

    /// Whether the owner has acknowledged its seal of every key.
    pub(crate) fn serves(&self) -> bool {
        let shows = |key| self.memory.tenure.as_ref().is_some_and(|tenure| tenure.acknowledged(key).is_some());
        self.keys.iter().all(|key| shows(*key))
    }

    /// The process dies and starts again; also how an owner drops a slot that it lost.
    pub(crate) fn crash(&mut self) {
        self.memory = Memory::default();
    }

    /// Asks again whatever was not answered.
    pub(crate) fn retry(&mut self, wire: &mut Wire) {
        for (number, call) in &self.memory.calls {
            for (part, Part { request, answered }) in call.parts.iter().enumerate() {
                for node in request.nodes().0.iter().filter(|node| !answered.contains(node)) {
                    let call = CallId { owner: self.name, number: *number, part };
                    wire.messages.push(Message::Ask { call, node: *node, request: Rc::clone(request) });
                }
            }
        }
    }

    /// An answer of the store arrives.
    pub(crate) fn answered(&mut self, wire: &mut Wire, id: CallId, node: Node, answer: Answer) {
        let Some(call) = self.memory.calls.get_mut(&id.number) else { return };
        let part = &mut call.parts[id.part];
        if part.answered.contains(&node) {
            return;
        }
        part.answered.push(node);
        if let Answer::Rows(rows) = &answer {
            call.rows.extend(rows);
        }
        if call.parts.iter().all(Part::complete)
            && let Some(Call { then, rows, .. }) = self.memory.calls.remove(&id.number)
        {
            self.proceed(wire, then, rows, &answer);
        }
    }

    fn call(&mut self, wire: &mut Wire, requests: Vec<Request>, then: Then) {
        self.call_about(wire, requests, Vec::new(), then);
    }

    fn call_about(&mut self, wire: &mut Wire, requests: Vec<Request>, rows: Vec<Row>, then: Then) {
        let number = self.next_call;
        self.next_call += 1;
        let parts: Vec<_> =
            requests.into_iter().map(|request| Part { request: Rc::new(request), answered: Vec::new() }).collect();
        for (part, Part { request, .. }) in parts.iter().enumerate() {
            let call = CallId { owner: self.name, number, part };
            let ask = |node: &Node| Message::Ask { call, node: *node, request: Rc::clone(request) };
            wire.messages.extend(request.nodes().0.iter().map(ask));
        }
        if parts.is_empty() {
            self.proceed(wire, then, rows, &Answer::Written);
        } else {
            self.memory.calls.insert(number, Call { parts, rows, then });
        }
    }

    /// A question is answered: the next step of taking the slot, or of acknowledging a batch.
    fn proceed(&mut self, wire: &mut Wire, then: Then, mut rows: Vec<Row>, answer: &Answer) {
        match (then, answer) {
            (Then::Raise, Answer::Epoch(epoch)) => {
                let raise = Request::Raise { from: *epoch, to: epoch.raised() };
                self.call(wire, vec![raise], Then::Begin(epoch.raised()));
            }
            (Then::Begin(epoch), Answer::Raised(raised)) => {
                if *raised || self.fault == Some(Fault::NoCompare) {
                    self.begin(wire, epoch);
                }
            }
            (Then::WriteBack(key), _) => {
                rows.sort_by_key(|row| row.position);
                rows.dedup_by_key(|row| row.position);
                if rows.is_empty() || self.fault == Some(Fault::NoWriteBack) {
                    self.open(wire, key, &rows);
                } else {
                    self.call_about(wire, vec![Request::Write { rows: rows.clone() }], rows, Then::Open(key));
                }
            }
            (Then::Open(key), _) => self.open(wire, key, &rows),
            (Then::Written(ticket), _) => self.written(wire, ticket),
            (Then::Check(check), _) => self.check(wire, check),
            (Then::Confirm(check), Answer::Epoch(epoch)) => self.confirmed(wire, check, *epoch),
            (Then::Raise | Then::Begin(_) | Then::Confirm(_), _) => {
                unreachable!("the register answers what it is asked")
            }
        }
    }

    fn begin(&mut self, wire: &mut Wire, epoch: Epoch) {
        self.memory.tenure = Some(Tenure::begin(epoch));
        if self.fault == Some(Fault::ReadBeforeRaise) {
            for (key, rows) in mem::take(&mut self.memory.early) {
                self.open(wire, key, &rows);
            }
        } else {
            self.read_all(wire);
        }
    }

    fn read_all(&mut self, wire: &mut Wire) {
        for key in self.keys.clone() {
            self.call(wire, vec![Request::Read { key }], Then::WriteBack(key));
        }
    }

    /// The rows of a key were read, and a quorum holds them.
    fn open(&mut self, wire: &mut Wire, key: Key, rows: &[Row]) {
        let Some(tenure) = &mut self.memory.tenure else {
            self.memory.early.insert(key, rows.to_vec());
            if self.memory.early.len() == self.keys.len() {
                self.call(wire, vec![Request::Epoch], Then::Raise);
            }
            return;
        };
        let mut tail = rows.last().map(Row::tail).unwrap_or_default();
        if self.fault == Some(Fault::ForgetIds) {
            tail.last_id = 0;
        }
        if tenure.open(key, tail).is_err() {
            return self.crash();
        }
        self.memory.logs.insert(key, Log::new(rows, tenure.epoch(), tail, self.fault));
        self.write(wire);
    }

    /// Writes what was proposed, if nothing is being written.
    fn write(&mut self, wire: &mut Wire) {
        let Some(tenure) = &mut self.memory.tenure else { return };
        let Some(batch) = tenure.next_batch() else { return };
        let ticket = batch.ticket;
        let mut parts = BTreeMap::<Key, Vec<Row>>::new();
        for row in &batch.rows {
            if self.fault != Some(Fault::NoSeal) || row.seals().is_none() {
                parts.entry(row.key).or_default().push(*row);
            }
        }
        let requests = parts.into_values().map(|rows| Request::Write { rows }).collect();
        if self.fault == Some(Fault::Overlap)
            && let Some(check) = tenure.written(ticket)
        {
            return self.call(wire, requests, Then::Check(check));
        }
        self.call(wire, requests, Then::Written(ticket));
        if self.fault == Some(Fault::AcknowledgeBeforeWrite) {
            self.written(wire, ticket);
        }
    }

    fn written(&mut self, wire: &mut Wire, ticket: Ticket) {
        let Some(tenure) = &mut self.memory.tenure else { return };
        if let Some(check) = tenure.written(ticket) {
            self.check(wire, check);
            self.write(wire);
        }
    }

    fn check(&mut self, wire: &mut Wire, check: Check) {
        match &self.memory.tenure {
            Some(tenure) if self.fault == Some(Fault::NoEpochRead) => self.confirmed(wire, check, tenure.epoch()),
            _ => self.call(wire, vec![Request::Epoch], Then::Confirm(check)),
        }
    }

    fn confirmed(&mut self, wire: &mut Wire, check: Check, epoch: Epoch) {
        let Some(tenure) = &mut self.memory.tenure else { return };
        match tenure.epoch_read(check, epoch) {
            Verdict::Acknowledge(rows) => rows.iter().filter_map(Ack::of).for_each(|entry| acknowledge(wire, entry)),
            Verdict::Fenced => self.crash(),
        }
    }
}

impl Log {
    /// The log that an owner finds among the rows it read, once its own seal stands after them.
    fn new(rows: &[Row], epoch: Epoch, tail: Tail, fault: Option<Fault>) -> Self {
        let seals = rows.iter().filter_map(|row| Some((row.position.epoch, row.seals()?)));
        let chain = Chain::new(seals.chain([(epoch, tail.position)]));
        let holds = |entry: &Ack| chain.holds(entry.position);
        let entries: Vec<_> = rows.iter().filter_map(Ack::of).filter(holds).collect();
        let believed = |entry: &Ack| fault == Some(Fault::BelieveEveryNonce) || holds(entry);
        let nonces = rows.iter().filter_map(Ack::of).filter(believed).map(|entry| (entry.nonce, entry)).collect();
        Self { entries, nonces }
    }
}

impl Ack {
    /// What an owner would tell the sender of a row.
    pub(crate) fn of(row: &Row) -> Option<Self> {
        match row.body {
            Body::Entry(nonce) => Some(Ack { key: row.key, nonce, position: row.position, id: row.last_id }),
            Body::Seal { .. } => None,
        }
    }
}

fn acknowledge(wire: &mut Wire, entry: Ack) {
    wire.acks.push(entry);
    wire.messages.push(Message::Heard { nonce: entry.nonce });
}
