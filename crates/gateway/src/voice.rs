//! Voice, as the gateway has a part in it: what clients ask goes to the guild's owner, what the owner says becomes a place
//! on a voice server, and what voice servers say reaches clients.
//!
//! One actor has the [`book`]; calls are tasks of their own and answer to it. It never waits for the hub.

mod actor;
mod book;
mod call;

use std::sync::{Arc, PoisonError, RwLock};

use clarion_model::id::{ChannelId, GuildId, UserId};
use clarion_observability::Span;
use clarion_proto::v1;
use clarion_runtime::{Address, Host, Peer};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api::VoiceRegion;
use crate::conversation::VoiceRequest;
use crate::directory::Directory;
use crate::hub::HubHandle;
use actor::Actor;
pub(crate) use book::{LegKey, Wanted};

/// Commands that wait for the actor. Whoever sends more waits, too.
const COMMANDS: usize = 4_096;

/// How the rest of the gateway speaks to it. A clone speaks to the same one.
#[derive(Clone)]
pub(crate) struct VoiceHandle {
    commands: mpsc::Sender<Command>,
    endpoints: Endpoints,
    rooms: watch::Receiver<v1::VoiceRooms>,
}

/// The voice servers there are.
#[derive(Clone, Default)]
pub(crate) struct Endpoints(Arc<RwLock<Vec<Endpoint>>>);

/// A voice server: where it stands, where clients reach it, and where this gateway does.
pub(crate) struct Endpoint {
    pub(crate) region: String,
    pub(crate) url: String,
    pub(crate) peer: Peer,
}

/// What the actor is told.
pub(crate) enum Command {
    /// Connection: a client's op 4.
    Ask { session: String, user: UserId, person: bool, request: VoiceRequest, span: Span },
    /// Hub: what the guild's owner says of a session here. `None`: it is in no voice channel any more.
    Want { key: LegKey, wanted: Option<Wanted> },
    /// Hub: a session came from another gateway, and its guild's owner has it in a voice channel.
    Keep { key: LegKey, wanted: Wanted },
    /// Hub: a session goes on at another gateway, and takes its calls along.
    HandedOver { session: String },
    /// Hub: the guild has a new owner, who does not know of the session.
    Again { key: LegKey, user: UserId, channel: ChannelId, self_mute: bool, self_deaf: bool },
    /// Hub: a session that the owner names is over.
    Leave { key: LegKey, user: UserId },
    /// Hub: a session is over, wherever it was.
    Ended { session: String },
    /// A router: which voice servers there are, as far as it knows.
    Servers(Address, Vec<v1::VoiceServer>),
}

/// What the actor works with.
pub(crate) struct Parts {
    pub(crate) host: Host,
    pub(crate) directory: Directory,
    pub(crate) routers: Vec<Address>,
    pub(crate) hub: HubHandle,
    /// The region of this gateway; empty: any.
    pub(crate) region: String,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) endpoints: Endpoints,
    /// What the gateway is called where its sessions' states last as long as it does.
    pub(crate) gateway: String,
    /// In which rooms sessions are, for the routers.
    pub(crate) rooms: watch::Sender<v1::VoiceRooms>,
    /// Ends the actor.
    pub(crate) stop: CancellationToken,
}

/// A handle, and what the actor is going to read.
pub(crate) fn handle() -> (VoiceHandle, mpsc::Receiver<Command>, watch::Sender<v1::VoiceRooms>) {
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let (tell, rooms) = watch::channel(v1::VoiceRooms::default());
    (VoiceHandle { commands, endpoints: Endpoints::default(), rooms }, receiver, tell)
}

/// Works until it is stopped.
pub(crate) async fn run(parts: Parts) {
    Actor::new(parts).run().await;
}

impl VoiceHandle {
    /// Waits while the actor has much to do.
    pub(crate) async fn tell(&self, command: Command) {
        // An actor that is gone has no use for it.
        let _ = self.commands.send(command).await;
    }

    /// In which rooms sessions are, as it changes.
    pub(crate) fn rooms(&self) -> watch::Receiver<v1::VoiceRooms> {
        self.rooms.clone()
    }

    /// Where voice servers are reached by clients.
    pub(crate) fn endpoints(&self) -> Endpoints {
        self.endpoints.clone()
    }
}

impl Endpoints {
    pub(crate) fn set(&self, all: Vec<Endpoint>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// The server and the session that an address of a session's offers names.
    pub(crate) fn server(&self, address: &str) -> Option<(Peer, String)> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().find_map(|server| {
            let session = address.strip_prefix(&server.url)?.strip_prefix("/v1/voice/")?;
            Some((server.peer.clone(), session.to_owned()))
        })
    }

    /// The regions there are; the first one is taken for a room that names none.
    pub(crate) fn regions(&self, own: &str) -> Vec<VoiceRegion> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let ids = all.iter().map(|server| server.region.as_str());
        let mut ids: Vec<&str> = ids.filter(|id| !id.is_empty()).collect();
        ids.sort_unstable();
        ids.dedup();
        let region = |id: &str| VoiceRegion {
            id: id.to_owned(),
            name: id.to_owned(),
            optimal: id == own,
            deprecated: false,
            custom: false,
        };
        ids.into_iter().map(region).collect()
    }
}

/// A leg, by its parts.
pub(crate) fn leg(guild: GuildId, session: &str) -> LegKey {
    (guild, session.to_owned())
}
