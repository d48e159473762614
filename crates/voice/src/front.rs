//! What gateways and clients share with the shards: who is admitted, who watches, which shard has which room. Nothing of
//! it is on the way of a packet.

mod events;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{LeaveReason, VoiceMetrics};
use clarion_proto::v1::voice_notice::Notice;
use clarion_proto::v1::{self, VoiceNotice};
use tokio::sync::mpsc;
use tonic::Status;

use crate::Config;
use crate::desk::{Desk, Limits, Refused};
use crate::engine::{Command, Heard};
use crate::leg::{Permissions, Who};
use crate::secure::Identity;
use crate::shard::Shard;
use crate::token::{Claims, Signer};

/// A change of utilization that gateways are told of.
const TOLD_LOAD: f64 = 0.05;

/// A notice on its way.
pub(crate) type Answer = Result<VoiceNotice, Status>;

/// A gateway that attends.
struct Watcher {
    gateway: String,
    queue: mpsc::Sender<Answer>,
}

/// What is behind the lock.
pub(crate) struct State {
    pub(crate) desk: Desk,
    watchers: Vec<Watcher>,
    told_load: f64,
}

/// Shared by all who serve.
pub(crate) struct Front {
    state: Mutex<State>,
    /// Emptied to end the shards.
    shards: Mutex<Vec<Shard>>,
    pub(crate) signer: Signer,
    pub(crate) identity: Arc<Identity>,
    pub(crate) config: Config,
    pub(crate) metrics: VoiceMetrics,
    /// The base URL of the HTTP endpoint, and its host and port.
    pub(crate) url: String,
    pub(crate) endpoint: String,
}

/// Why an admission came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmitError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("no token could be made: {0}")]
    Token(anyhow::Error),
}

impl Front {
    pub(crate) fn new(
        config: Config,
        shards: Vec<Shard>,
        identity: Arc<Identity>,
        signer: Signer,
        metrics: VoiceMetrics,
        url: String,
    ) -> Self {
        let alone = std::time::Duration::from_secs(config.alone_s);
        let limits = Limits { sessions: config.sessions, load: config.load_limit, unused: config.token(), alone };
        let endpoint = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let endpoint = endpoint.split('/').next().unwrap_or_default().to_owned();
        let state = State { desk: Desk::new(limits), watchers: Vec::new(), told_load: 0.0 };
        let (state, shards) = (Mutex::new(state), Mutex::new(shards));
        Self { state, shards, signer, identity, config, metrics, url, endpoint }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shard of a room: the same for as long as the server lives.
    pub(crate) fn shard(&self, channel: u64) -> Option<Shard> {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        // The low bits of an id are a counter; the product mixes them up.
        let at = (channel.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
        shards.get(at % shards.len().max(1)).cloned()
    }

    /// Tells the shard of a room. It is gone only when the server ends.
    pub(crate) async fn tell(&self, channel: u64, command: Command) {
        if let Some(shard) = self.shard(channel) {
            let _ = shard.commands.send(command).await;
        }
    }

    /// Lets somebody into a room; answers the token.
    pub(crate) fn admit(
        &self,
        who: &Who,
        permissions: Permissions,
        capacity: usize,
        gateway: String,
        traceparent: String,
    ) -> Result<String, AdmitError> {
        let number = {
            let mut state = self.lock();
            let number = state.desk.admit(Instant::now(), who, permissions, capacity)?;
            state.desk.vouch(who, gateway);
            number
        };
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = Claims {
            admission: number,
            session: who.session.clone(),
            channel: who.channel,
            user: who.user,
            permissions: u8::from(permissions.speak)
                | u8::from(permissions.listen) << 1
                | u8::from(permissions.priority) << 2,
            expires: (unix + self.config.token()).as_millis() as u64,
            traceparent,
        };
        self.signer.sign(&claims).map_err(AdmitError::Token)
    }

    /// What a participant may do from now on; whether it is admitted.
    pub(crate) async fn allow(&self, who: &Who, permissions: Permissions, gateway: String) -> bool {
        let leg = {
            let mut state = self.lock();
            let Some(leg) = state.desk.allow(who, permissions) else { return false };
            if !gateway.is_empty() {
                state.desk.vouch(who, gateway);
            }
            leg
        };
        if let Some(leg) = leg {
            self.tell(who.channel, Command::Permit { leg, permissions }).await;
        }
        true
    }

    /// Ends a participant's media and voids its token. Whoever watches is told by the others' means if it was `left`.
    pub(crate) async fn dismiss(&self, who: &Who, reason: LeaveReason) {
        let leg = {
            let mut state = self.lock();
            let Some(leg) = state.desk.dismiss(who) else { return };
            state.left(&self.metrics, who, reason);
            leg
        };
        if let Some(leg) = leg {
            self.tell(who.channel, Command::End { leg, reason }).await;
        }
    }

    /// A gateway attends: it is told how everything is, and from then on what changes. `None`: there are enough.
    pub(crate) fn attend(&self, gateway: String) -> Option<mpsc::Receiver<Answer>> {
        let mut state = self.lock();
        if state.watchers.len() >= self.config.gateways {
            return None;
        }
        // At least room for what it is told at once.
        let heard: Vec<VoiceNotice> =
            state.desk.all_heard().map(|(channel, slots)| room_heard(channel, slots)).collect();
        let (queue, notices) = mpsc::channel(self.config.queue.max(1) + heard.len() + 1);
        let load = notice(Notice::Load(state.load()));
        for first in std::iter::once(load).chain(heard) {
            // There is room.
            let _ = queue.try_send(Ok(first));
        }
        state.watchers.retain(|watcher| !watcher.queue.is_closed());
        state.watchers.push(Watcher { gateway, queue });
        Some(notices)
    }

    /// Nobody is admitted any more; gateways are told.
    pub(crate) fn begin_drain(&self) {
        self.metrics.sfu_servers.set(0.0);
        let mut state = self.lock();
        state.desk.draining = true;
        let load = notice(Notice::Load(state.load()));
        state.tell(&self.metrics, &load);
    }

    /// Whether a drain has nothing more to wait for: nobody is here, or nobody who could move them.
    pub(crate) fn is_drained(&self) -> bool {
        let mut state = self.lock();
        state.watchers.retain(|watcher| !watcher.queue.is_closed());
        state.desk.len() == 0 || state.watchers.is_empty()
    }

    /// Ends every leg that is left, the streams of gateways, and the shards.
    pub(crate) async fn end(&self) {
        let legs = self.lock().desk.legs();
        for (leg, channel) in legs {
            self.tell(channel, Command::End { leg, reason: LeaveReason::Drained }).await;
        }
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Ends the streams of gateways.
    pub(crate) fn end_watchers(&self) {
        self.lock().watchers.clear();
    }
}

impl State {
    fn load(&self) -> v1::VoiceLoad {
        v1::VoiceLoad { utilization: self.desk.load, draining: self.desk.draining }
    }

    /// Tells all who watch. One that is too slow is cut off, and attends anew.
    fn tell(&mut self, metrics: &VoiceMetrics, notice: &VoiceNotice) {
        self.watchers.retain(|watcher| match watcher.queue.try_send(Ok(notice.clone())) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                metrics.watchers_cut_off.increment(1);
                log::VOICE_WATCHER_CUT_OFF.emit(Fields::detail(watcher.gateway.clone()));
                false
            }
        });
    }

    /// Somebody's media is over.
    fn left(&mut self, metrics: &VoiceMetrics, who: &Who, reason: LeaveReason) {
        use clarion_observability::metric::Label;
        metrics.leaves.with(reason).increment(1);
        let participant = Some(participant(who));
        let left = v1::ParticipantLeft { participant, reason: reason.as_str().to_owned() };
        self.tell(metrics, &notice(Notice::Left(left)));
    }
}

fn notice(notice: Notice) -> VoiceNotice {
    VoiceNotice { notice: Some(notice) }
}

fn participant(who: &Who) -> v1::Participant {
    v1::Participant { channel_id: who.channel, user_id: who.user, session_id: who.session.clone() }
}

fn room_heard(channel: u64, slots: &[Heard]) -> VoiceNotice {
    let slots = slots.iter().map(|heard| v1::SlotHeard {
        slot: heard.slot as u32,
        user_id: heard.user,
        speaking: heard.speaking,
    });
    notice(Notice::Heard(v1::RoomHeard { channel_id: channel, slots: slots.collect() }))
}
