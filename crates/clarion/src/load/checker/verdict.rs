//! What was found.

use std::collections::BTreeMap;

use serde::Serialize;

/// A kind of what must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A message that was acknowledged, or that others got, did not come.
    Lost,
    /// A message came before an earlier one that was known; that one is late, or lost.
    Gap,
    /// A message came twice, or a send made two messages.
    Twice,
    /// A message came after a later one, or a sender's numbers do not rise.
    Order,
    /// A message is not what was sent.
    Changed,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Of which kind.
    pub fault: Fault,
    /// What happened, in words.
    pub what: String,
}

/// What a run has shown.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    /// Messages that were acknowledged or delivered.
    pub messages: u64,
    /// Sends that were acknowledged.
    pub acknowledged: u64,
    /// Deliveries that were looked at.
    pub deliveries: u64,
    /// Sessions whose part was checked.
    pub sessions: u64,
    /// Messages of the histories that were read.
    pub history: u64,
    /// Messages that passed while a socket had lost its session and not yet begun another: not to be expected there.
    pub away: u64,
    /// Messages that came again after the death of a gateway, to sockets that were told so.
    pub repeated: u64,
    /// Sends of which it is not known whether they made a message.
    pub unsettled: u64,
    /// Messages that did not come, over all sockets.
    pub lost: u64,
    /// How often each kind was found.
    pub faults: BTreeMap<Fault, u64>,
    /// What was found first.
    pub first: Option<Violation>,
}

impl Verdict {
    /// Whether all was as it should be.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    pub(super) fn add(&mut self, fault: Fault, what: String) {
        *self.faults.entry(fault).or_default() += 1;
        self.first.get_or_insert(Violation { fault, what });
    }
}
