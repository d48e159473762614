//! How the rest of the gateway speaks to the hub.

use std::collections::HashMap;
use std::sync::Arc;

use clarion_model::id::UserId;
use clarion_model::presence::{Device, Presence};
use clarion_model::user::{TokenHash, User};
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::{Adoption, Marked, Seat};
use crate::accounts::Watch;
use crate::conversation::MembersRequest;
use crate::frame::Dispatch;
use crate::handover::Kept;
use crate::intents::Intents;
use crate::shard::{Exported, Link};

/// Commands that wait for the hub; whoever sends more waits, too.
const COMMANDS: usize = 4_096;

/// A way to the hub. A clone leads to the same one.
#[derive(Clone)]
pub(crate) struct HubHandle {
    commands: mpsc::Sender<Command>,
}

/// A client who has shown who it is wants a session.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    pub(crate) user: User,
    pub(crate) token: TokenHash,
    pub(crate) intents: Intents,
    pub(crate) shard: (u32, u32),
    pub(crate) presence: Presence,
    pub(crate) device: Device,
    /// From more members on, a guild comes without those who are not there.
    pub(crate) large_threshold: u8,
    pub(crate) link: Arc<Link>,
    pub(crate) resume_url: String,
}

/// A session has begun; its shard writes to the socket from now on.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) seat: Seat,
    pub(crate) session_id: String,
}

pub(crate) enum Command {
    Open(Box<OpenRequest>, oneshot::Sender<Option<Opened>>),
    Watch(UserId, oneshot::Sender<bool>),
    /// With the `traceparent` of the request.
    SetPresence(Seat, Presence, String),
    RequestMembers(Seat, Box<MembersRequest>, oneshot::Sender<()>),
    CountGuilds(oneshot::Sender<HashMap<String, u32>>),
    /// A session comes from elsewhere.
    Adopt(Box<Adoption>),
    /// A session goes elsewhere: as it was, and what its shard has of it. With the number that its client has seen, if the
    /// client has gone before it.
    GiveUp(Seat, String, Option<u64>, oneshot::Sender<Option<GivenUp>>),
    /// How far sessions have been told; what is known of all of them, or of those that changed.
    Checkpoint(bool, oneshot::Sender<Marked>),
    /// Which sessions there are.
    ListSeats(oneshot::Sender<Vec<(Seat, String)>>),
    /// A dispatch for one session, by its id.
    Tell(String, Dispatch),
}

/// A session that nothing is told to any more, and what its shard answers.
pub(crate) type GivenUp = (Kept, oneshot::Receiver<Option<Exported>>);

/// A handle, and what the hub is going to read.
pub(crate) fn handle() -> (HubHandle, mpsc::Receiver<Command>) {
    let (commands, receiver) = mpsc::channel(COMMANDS);
    (HubHandle { commands }, receiver)
}

impl HubHandle {
    /// Starts a session; `None` when that is not possible now.
    pub(crate) async fn open(&self, request: OpenRequest) -> Option<Opened> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Open(Box::new(request), reply)).await.ok()?;
        answer.await.ok().flatten()
    }

    /// A session's client shows itself differently.
    pub(crate) async fn set_presence(&self, seat: Seat, presence: Presence, traceparent: String) {
        // A hub that is gone has no use for it.
        let _ = self.commands.send(Command::SetPresence(seat, presence, traceparent)).await;
    }

    /// A session's client wants to know members. Returns once the answer is on its way to the session.
    pub(crate) async fn request_members(&self, seat: Seat, request: MembersRequest) {
        let (reply, answered) = oneshot::channel();
        if self.commands.send(Command::RequestMembers(seat, Box::new(request), reply)).await.is_ok() {
            // A hub that is gone answers nobody.
            let _ = answered.await;
        }
    }

    /// How many guilds each session is in, by session id.
    pub(crate) async fn count_guilds(&self) -> HashMap<String, u32> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::CountGuilds(reply)).await;
        answer.await.unwrap_or_default()
    }

    /// Goes on with a session from elsewhere.
    pub(crate) async fn adopt(&self, adoption: Adoption) {
        // A hub that is gone drops it, which whoever waits sees.
        let _ = self.commands.send(Command::Adopt(Box::new(adoption))).await;
    }

    /// Gives a session up: it is told nothing any more. `None`: there is no such session. With `seen`, its client is
    /// elsewhere already and what it has not seen goes along; without, all that is kept.
    pub(crate) async fn give_up(&self, seat: Seat, id: &str, seen: Option<u64>) -> Option<Kept> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::GiveUp(seat, id.to_owned(), seen, reply)).await.ok()?;
        let (kept, exported) = answer.await.ok().flatten()?;
        let Exported { sequence, replay } = exported.await.ok().flatten()?;
        Some(Kept { sequence, replay, ..kept })
    }

    /// How far sessions have been told; `None`: the hub is gone.
    pub(crate) async fn checkpoint(&self, all: bool) -> Option<Marked> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Checkpoint(all, reply)).await.ok()?;
        answer.await.ok()
    }

    /// Every session's seat and id.
    pub(crate) async fn seats(&self) -> Vec<(Seat, String)> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::ListSeats(reply)).await;
        answer.await.unwrap_or_default()
    }

    /// Room for one word to the hub; `None` once it is gone.
    pub(crate) async fn room(&self) -> Option<Room<'_>> {
        self.commands.reserve().await.ok().map(Room)
    }

    async fn watch(&self, user: UserId) -> bool {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Watch(user, reply)).await.is_ok() && answer.await.unwrap_or(false)
    }
}

/// Room for one word.
pub(crate) struct Room<'a>(mpsc::Permit<'a, Command>);

impl Room<'_> {
    /// Tells a session something.
    pub(crate) fn tell(self, session: String, dispatch: Dispatch) {
        self.0.send(Command::Tell(session, dispatch));
    }
}

impl Watch for HubHandle {
    fn watch_user(&self, id: UserId) -> BoxFuture<'_, bool> {
        Box::pin(self.watch(id))
    }
}
