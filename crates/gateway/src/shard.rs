//! A shard: one thread that owns some of the sessions and writes to their sockets.
//!
//! It takes whatever its inbox holds, appends frames to outboxes, then writes each socket it touched once. Delivering
//! wakes no task. A session belongs to one shard for life; its seat there is given out by the hub, the only one to do so.

mod delivery;
mod ledger;
mod link;
mod worker;
mod writing;

use std::sync::Arc;

use bytes::Bytes;
use clarion_model::id::UserId;
use clarion_model::user::TokenHash;
use clarion_observability::metric::{GatewayMetrics, SentType};
use clarion_proto::v1;
use clarion_runtime::Host;
use tokio::sync::{mpsc, oneshot};

use crate::conversation::Violation;
use crate::frame::{CloseCode, Dispatch};
use crate::hub::Seat;
use crate::intents::Intents;
use crate::session::CannotResume;
use crate::visibility::Listener;
pub(crate) use delivery::{Delivery, Outcome, Variant, Variants};
pub(crate) use ledger::Ledger;
pub(crate) use link::{Handback, Link, Signal, Then};
use worker::Worker;
pub(crate) use writing::{Written, write};

/// Commands that wait for a shard. Whoever sends more waits too.
const INBOX: usize = 4_096;

/// What a shard is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) replay_bytes: usize,
    /// Of all sessions of the gateway together.
    pub(crate) replay_total: usize,
    pub(crate) outbox_bytes: usize,
    /// Most sessions that wait to be resumed.
    pub(crate) waiting: usize,
    pub(crate) resume_window: std::time::Duration,
}

/// Who a session is for. Does not change in its life.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) user: UserId,
    pub(crate) token: TokenHash,
    pub(crate) intents: Intents,
    pub(crate) shard: (u32, u32),
    /// From more members on, a guild comes without those who are not there.
    pub(crate) large_threshold: u8,
}

impl Identity {
    /// The session as guilds know it.
    pub(crate) fn listener(&self) -> Listener {
        Listener { user: self.user, intents: self.intents, large_threshold: self.large_threshold }
    }
}

/// What a shard is told.
pub(crate) enum Command {
    /// Hub: a session begins on a seat that is free.
    Open { seat: u32, identity: Arc<Identity>, link: Arc<Link>, dispatches: Vec<Dispatch> },
    /// Hub: an event.
    Deliver(Delivery),
    /// Hub: events that are to be written together.
    DeliverAll(Vec<Delivery>),
    /// Hub: dispatches for one session that it is owed whatever its speed.
    Push { seat: u32, dispatches: Vec<Dispatch> },
    /// Hub: the session is over.
    End { seat: u32, why: End },
    /// Connection: a client goes on with a session.
    Resume { seat: u32, resume: Resumption, reply: oneshot::Sender<Result<(), CannotResume>> },
    /// Another gateway: whether a session could go on from a number.
    Check { seat: u32, id: String, user: UserId, sequence: u64, reply: oneshot::Sender<Result<(), CannotResume>> },
    /// Hub: the session is over here and goes on elsewhere. What the client has not seen goes along; with no number, all
    /// that is kept, and the client is still to be asked to reconnect.
    Export { seat: u32, seen: Option<u64>, reply: oneshot::Sender<Option<Exported>> },
    /// Hub: a session comes from elsewhere to a seat that is free. What it is told is kept until it is here.
    Reserve { seat: u32, identity: Arc<Identity> },
    /// Hub: it is here: the last of `earlier` had the number `sequence`.
    Adopt {
        seat: u32,
        sequence: u64,
        earlier: Vec<Dispatch>,
        resume: Resumption,
        reply: oneshot::Sender<Result<Seat, CannotResume>>,
    },
    /// Hub: the number of the latest dispatch of each session.
    Sequences(oneshot::Sender<Vec<(u32, u64)>>),
    /// Connection: frames that are no dispatches. Empty: nothing but a wish to be told of a blocked socket again.
    Write { seat: u32, link: u64, bytes: Bytes, kind: Option<SentType> },
    /// Connection: the client has seen everything up to a number.
    Seen { seat: u32, link: u64, sequence: u64 },
    /// Connection: the socket can be written again.
    Writable { seat: u32, link: u64 },
    /// Connection: wants its socket back. The session ends with it or waits to be resumed.
    Detach { seat: u32, link: u64, end: bool },
    /// Operator: what sessions there are.
    List(oneshot::Sender<Vec<v1::SessionInfo>>),
    /// Operator: does something to one; answers whether it is there.
    Operate { seat: u32, id: String, operation: Operation, reply: oneshot::Sender<bool> },
    /// Drain: asks one of `parts` equal parts of the clients to reconnect.
    Reconnect { part: u32, parts: u32 },
    /// Drain: closes every socket.
    CloseAll(Violation),
    /// Ends the shard.
    Stop,
}

impl Command {
    /// Counts what is told to one session alone. What many share is counted when it is made.
    pub(crate) fn count_own(&mut self, ledger: &Arc<Ledger>) {
        match self {
            Self::Open { dispatches: own, .. }
            | Self::Push { dispatches: own, .. }
            | Self::Adopt { earlier: own, .. } => {
                own.iter_mut().for_each(|dispatch| ledger.count(dispatch));
            }
            _ => {}
        }
    }
}

/// Why the hub ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Its stream has a gap that cannot be filled: the client starts over.
    Invalid,
    /// Its token was revoked.
    Revoked,
}

/// What an operator can do to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Asks the client to reconnect.
    Reconnect,
    /// Closes the socket.
    Close(CloseCode),
    /// Drops the TCP connection.
    Drop,
    /// Tells the client that its session is over, or that it may resume.
    Invalidate { resumable: bool },
}

/// A client that goes on with a session.
pub(crate) struct Resumption {
    pub(crate) id: String,
    pub(crate) user: UserId,
    pub(crate) sequence: u64,
    pub(crate) link: Arc<Link>,
    /// The dispatch that ends the replay, and that no later replay repeats.
    pub(crate) resumed: Dispatch,
}

/// What a session was sent.
pub(crate) struct Exported {
    /// The number of the latest dispatch.
    pub(crate) sequence: u64,
    /// The latest dispatches.
    pub(crate) replay: Vec<Dispatch>,
}

/// A seat is free again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) shard: u16,
    pub(crate) seat: u32,
}

/// Where to reach a shard.
pub(crate) type Inbox = mpsc::Sender<Command>;

/// The shards of a gateway. Dropping every handle ends their threads.
pub(crate) struct Shards {
    pub(crate) inboxes: Vec<Inbox>,
    pub(crate) ended: mpsc::Receiver<Ended>,
    pub(crate) threads: Vec<std::thread::JoinHandle<()>>,
    /// Counts what all sessions keep. What is told to shards is counted by whoever tells it.
    pub(crate) ledger: Arc<Ledger>,
}

/// Starts `count` shards.
pub(crate) fn start(count: usize, limits: Limits, host: &Host, metrics: &GatewayMetrics) -> std::io::Result<Shards> {
    let ledger = Ledger::new(metrics.replay_bytes.clone());
    let (ended_sender, ended) = mpsc::channel(INBOX);
    let (mut inboxes, mut threads) = (Vec::new(), Vec::new());
    for index in 0..count as u16 {
        let (sender, inbox) = mpsc::channel(INBOX);
        let worker = Worker::new(index, limits, metrics.clone(), ledger.clone(), ended_sender.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let host = host.clone();
        let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
            host.telemetry().adopt_thread();
            host.guard("shard", || runtime.block_on(worker.run(inbox)));
        })?;
        inboxes.push(sender);
        threads.push(thread);
    }
    Ok(Shards { inboxes, ended, threads, ledger })
}
