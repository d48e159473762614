//! A user's replica with the user's sessions, and with those who wait for it. Pure.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use clarion_model::user::{TokenHash, UserState};
use tokio::sync::oneshot;

use super::devices::Showing;
use super::elsewhere::Adoption;
use super::follow::Follow;
use super::seats::Seat;
use super::{OpenRequest, Opened};

/// Revocations remembered, for sessions that were authenticated just before and are about to begin.
const REVOKED: usize = 32;
/// Longest wait for the replica.
const PATIENCE: Duration = Duration::from_secs(10);

/// A followed account.
#[derive(Debug)]
pub(super) struct UserEntry {
    pub(super) follow: Follow,
    pub(super) state: Option<UserState>,
    pub(super) sessions: BTreeSet<Seat>,
    /// How they show themselves.
    pub(super) showing: Showing,
    pub(super) waiting: Vec<Waiting>,
    /// When somebody last asked for it.
    pub(super) wanted_at: Instant,
    revoked: VecDeque<TokenHash>,
}

/// Somebody waits for the replica.
#[derive(Debug)]
pub(super) struct Waiting {
    since: Instant,
    pub(super) what: Wanted,
}

/// What somebody waits for.
#[derive(Debug)]
pub(super) enum Wanted {
    /// To start a session.
    Open(Box<OpenRequest>, oneshot::Sender<Option<Opened>>),
    /// To go on with a session from elsewhere.
    Adopt(Box<Adoption>),
    /// To know that the account's events are seen from now on.
    Watch(oneshot::Sender<bool>),
}

impl UserEntry {
    /// An account that nothing is known of.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            follow: Follow::new(),
            state: None,
            sessions: BTreeSet::new(),
            showing: Showing::default(),
            waiting: Vec::new(),
            wanted_at: now,
            revoked: VecDeque::new(),
        }
    }

    /// Somebody waits.
    pub(super) fn wait(&mut self, now: Instant, what: Wanted) {
        self.wanted_at = now;
        self.waiting.push(Waiting { since: now, what });
    }

    /// Turns away those who have waited for too long or do not wait any more.
    pub(super) fn turn_away(&mut self, now: Instant) {
        self.waiting.retain(|w| !w.what.is_abandoned() && now.saturating_duration_since(w.since) < PATIENCE);
    }

    /// Whether the account is of no use to anybody any more.
    pub(super) fn is_idle(&self, now: Instant, ttl: Duration) -> bool {
        self.sessions.is_empty() && self.waiting.is_empty() && now.saturating_duration_since(self.wanted_at) >= ttl
    }

    /// A token holds no longer.
    pub(super) fn revoke(&mut self, hash: TokenHash) {
        if self.revoked.len() == REVOKED {
            self.revoked.pop_front();
        }
        self.revoked.push_back(hash);
    }

    /// Whether a token was revoked lately.
    pub(super) fn is_revoked(&self, hash: &TokenHash) -> bool {
        self.revoked.contains(hash)
    }
}

impl Wanted {
    fn is_abandoned(&self) -> bool {
        match self {
            Wanted::Open(_, reply) => reply.is_closed(),
            Wanted::Adopt(adoption) => adoption.is_abandoned(),
            Wanted::Watch(reply) => reply.is_closed(),
        }
    }
}
