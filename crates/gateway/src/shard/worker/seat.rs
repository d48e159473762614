//! A seat: one session and, while it has one, its socket.

use std::sync::Arc;
use std::time::SystemTime;

use clarion_model::time::Timestamp;
use clarion_proto::v1;

use crate::outbox::Outbox;
use crate::session::Session;
use crate::shard::{Identity, Link};

pub(super) struct Seat {
    pub(super) identity: Arc<Identity>,
    pub(super) session: Session,
    pub(super) socket: Option<Socket>,
    pub(super) started: std::time::Instant,
    pub(super) started_at: Timestamp,
    /// It comes from elsewhere and is not here yet.
    pub(super) arriving: bool,
}

pub(super) struct Socket {
    pub(super) link: Arc<Link>,
    pub(super) outbox: Outbox,
    /// The connection has been asked to say when it can be written.
    pub(super) blocked: bool,
}

impl Socket {
    pub(super) fn new(link: Arc<Link>, outbox_bytes: usize) -> Self {
        Self { link, outbox: Outbox::new(outbox_bytes), blocked: false }
    }
}

impl Seat {
    pub(super) fn new(identity: Arc<Identity>, session: Session, socket: Option<Socket>) -> Self {
        let (started, started_at) = (std::time::Instant::now(), SystemTime::now().into());
        Self { identity, session, socket, started, started_at, arriving: false }
    }

    /// What an operator sees of it.
    pub(super) fn info(&self) -> v1::SessionInfo {
        v1::SessionInfo {
            id: self.identity.id.clone(),
            user_id: self.identity.user.0,
            shard_id: self.identity.shard.0,
            shard_count: self.identity.shard.1,
            connected: self.socket.is_some(),
            sequence: self.session.sequence(),
            guilds: 0,
            replay_bytes: self.session.replay_bytes() as u64,
            started_at_us: self.started_at.as_micros(),
            intents: self.identity.intents.0,
            client_ip: self.socket.as_ref().and_then(|s| s.link.shown_ip()).unwrap_or_default(),
        }
    }
}
