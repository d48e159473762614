//! Sessions that are, or were, at other gateways: where they are, and how one comes here.
//!
//! A session's id names the gateway that it began at; one that has moved since has its place noted in the cache. A gateway
//! that is alive hands a session over itself. One that drained left each session behind, one that died only how far its
//! sessions had been told, once a second: what a client saw since then is told again.

mod keep;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clarion_model::id::UserId;
use clarion_observability::metric::{Counter, GatewayMetrics, ResumedFrom};
use clarion_proto::v1;
use clarion_proto::v1::gateway_client::GatewayClient;
use clarion_runtime::{Address, Host};
use clarion_storage::cache::{Cache, CacheError, CacheKey, Version};
use prost::Message;
use tokio::sync::Mutex;
use tonic::Code;

use crate::handover::{Checkpoint, Kept};
use crate::session::CannotResume;

/// The place of a session that is not where its id says.
const PLACE: &str = "session:place";
/// A session that a gateway left behind when it drained.
const LEFT: &str = "session:left";
/// By a gateway's number: where it answers, and how far its sessions had been told, at the latest moments.
const CHECKPOINTS: &str = "gateway:checkpoints";
/// By a gateway's number: its sessions.
const SESSIONS: &str = "gateway:sessions";
/// The only field, or the one with an address.
const FIELD: &str = "at";

/// How long the cache may take for one call.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long another gateway may take to hand a session over.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);
/// Largest session that is taken: all that it may replay.
const SESSION_BYTES: usize = 64 << 20;
/// For how long what a gateway left behind is not read again.
const READ_EVERY: Duration = Duration::from_secs(2);
/// Gateways whose remains are kept in mind.
const REMAINS: usize = 8;

/// The other gateways.
pub(crate) struct Elsewhere {
    host: Host,
    cache: Arc<dyn Cache>,
    /// The number of this gateway.
    number: u32,
    /// How long a session waits to be resumed.
    window: Duration,
    checkpoints: Counter,
    remains: Mutex<HashMap<u32, (Instant, Arc<Remains>)>>,
}

/// A session that was found, and how: from a checkpoint, its client may be told again what it has seen.
pub(crate) struct Found {
    pub(crate) kept: Kept,
    pub(crate) from: ResumedFrom,
}

/// What the cache has of a gateway.
#[derive(Default)]
struct Remains {
    address: Option<Address>,
    checkpoints: Vec<Checkpoint>,
    sessions: BTreeMap<String, Bytes>,
}

/// Another gateway did not hand a session over.
enum NotTaken {
    /// It says why.
    Refused(CannotResume),
    /// It does not answer, or is not the one that was meant.
    Gone,
}

impl Elsewhere {
    /// What this gateway knows of the others.
    pub(crate) fn new(
        host: Host,
        cache: Arc<dyn Cache>,
        number: u32,
        window: Duration,
        metrics: &GatewayMetrics,
    ) -> Self {
        let checkpoints = metrics.checkpoints.clone();
        Self { host, cache, number, window, checkpoints, remains: Mutex::default() }
    }

    /// Finds a session whose id names the gateway `home`, and has it end wherever it is.
    pub(crate) async fn find(&self, home: u32, id: &str, user: UserId, seen: u64) -> Result<Found, CannotResume> {
        // Without a note, or the cache, it is looked for where it began.
        let holder = self.place(id).await.unwrap_or(home);
        let remains = self.remains(holder).await?;
        let taken = match &remains.address {
            Some(address) if holder != self.number => self.take(address, holder, id, user, seen).await,
            Some(_) => Err(NotTaken::Refused(CannotResume::Unknown)),
            None => Err(NotTaken::Gone),
        };
        match taken {
            Ok(kept) => Ok(Found { kept, from: ResumedFrom::Gateway }),
            Err(NotTaken::Refused(CannotResume::Unknown)) => self.left(id, user).await,
            Err(NotTaken::Refused(why)) => Err(why),
            Err(NotTaken::Gone) => match self.left(id, user).await {
                Err(CannotResume::Unknown) => remains.restore(id, seen).ok_or(CannotResume::Unknown),
                found => found,
            },
        }
    }

    /// Whether a session that has a seat here has been gone on with elsewhere.
    pub(crate) async fn is_elsewhere(&self, id: &str) -> bool {
        self.place(id).await.is_some_and(|number| number != self.number)
    }

    /// The gateway that a session moved to last, if that is known.
    async fn place(&self, id: &str) -> Option<u32> {
        let (_, number) = self.read(&CacheKey::new(PLACE, id)).await.ok()??;
        std::str::from_utf8(&number).ok()?.parse().ok()
    }

    /// Notes that a session is here now.
    pub(crate) async fn note_place(&self, id: &str) {
        let fields = BTreeMap::from([(FIELD.to_owned(), Bytes::from(self.number.to_string()))]);
        // Without the note it is not found from elsewhere, and its client begins anew.
        let _ = patient(self.cache.replace(&CacheKey::new(PLACE, id), fields, 2 * self.window)).await;
    }

    /// Leaves a session behind for whichever gateway its client comes to.
    pub(crate) async fn leave(&self, kept: &Kept) -> Result<(), CacheError> {
        let fields = BTreeMap::from([(FIELD.to_owned(), Bytes::from(v1::KeptSession::from(kept).encode_to_vec()))]);
        patient(self.cache.replace(&CacheKey::new(LEFT, &*kept.id), fields, self.window)).await.map(drop)
    }

    /// Has a gateway hand a session over.
    async fn take(&self, at: &Address, holder: u32, id: &str, user: UserId, seen: u64) -> Result<Kept, NotTaken> {
        let mut gateway = GatewayClient::new(self.host.peer(at)).max_decoding_message_size(SESSION_BYTES);
        let request = v1::TakeSessionRequest { gateway: holder, id: id.to_owned(), user_id: user.0, sequence: seen };
        let answer = tokio::time::timeout(TAKEN_WITHIN, gateway.take_session(request)).await;
        match answer {
            Ok(Ok(kept)) => Kept::try_from(kept.into_inner()).map_err(|_| NotTaken::Refused(CannotResume::Unreachable)),
            Ok(Err(status)) => Err(match status.code() {
                Code::NotFound => NotTaken::Refused(CannotResume::Unknown),
                Code::OutOfRange => NotTaken::Refused(CannotResume::Forgotten),
                _ => NotTaken::Gone,
            }),
            Err(_) => Err(NotTaken::Gone),
        }
    }

    /// A session that was left behind, for one who comes for it.
    async fn left(&self, id: &str, user: UserId) -> Result<Found, CannotResume> {
        let key = CacheKey::new(LEFT, id);
        let left = self.read(&key).await.map_err(|_| CannotResume::Unreachable)?;
        let (version, bytes) = left.ok_or(CannotResume::Unknown)?;
        let kept = v1::KeptSession::decode(bytes).ok().and_then(|kept| Kept::try_from(kept).ok());
        let kept = kept.ok_or(CannotResume::Unreachable)?;
        // An id is no secret.
        if kept.user != user {
            return Err(CannotResume::Unknown);
        }
        // Whoever changes it first has it.
        let claimed = patient(self.cache.change(&key, version, vec![(FIELD.to_owned(), None)], self.window)).await;
        claimed.map_err(|error| match error {
            CacheError::Conflict => CannotResume::Unknown,
            CacheError::Full | CacheError::Failed(_) => CannotResume::Unreachable,
        })?;
        Ok(Found { kept, from: ResumedFrom::Left })
    }

    /// The only field of a hash.
    async fn read(&self, key: &CacheKey) -> Result<Option<(Version, Bytes)>, CacheError> {
        let hash = patient(self.cache.read(key)).await?;
        Ok(hash.and_then(|mut hash| Some((hash.version, hash.fields.remove(FIELD)?))))
    }

    /// What the cache has of a gateway. Many ask at once when one has gone: it is read for all of them.
    async fn remains(&self, number: u32) -> Result<Arc<Remains>, CannotResume> {
        let mut known = self.remains.lock().await;
        if let Some((_, remains)) = known.get(&number).filter(|(read, _)| read.elapsed() < READ_EVERY) {
            return Ok(remains.clone());
        }
        let read = |kind| {
            let key = CacheKey::new(kind, number.to_string());
            async move { patient(self.cache.read(&key)).await.map_err(|_| CannotResume::Unreachable) }
        };
        let mut remains = Remains::default();
        for (field, value) in read(CHECKPOINTS).await?.into_iter().flat_map(|hash| hash.fields) {
            if field == FIELD {
                remains.address = std::str::from_utf8(&value).ok().and_then(|address| address.parse().ok());
            } else if let Some(checkpoint) = v1::Checkpoint::decode(value).ok().and_then(|at| at.try_into().ok()) {
                remains.checkpoints.push(checkpoint);
            }
        }
        remains.sessions = read(SESSIONS).await?.map(|hash| hash.fields).unwrap_or_default();
        if known.len() >= REMAINS {
            known.clear();
        }
        let remains = Arc::new(remains);
        known.insert(number, (Instant::now(), remains.clone()));
        Ok(remains)
    }
}

impl Remains {
    /// A session as it was at the latest moment at which it had been told no more than its client has seen.
    fn restore(&self, id: &str, seen: u64) -> Option<Found> {
        let kept = v1::KeptSession::decode(self.sessions.get(id)?.clone()).ok()?;
        let kept = Kept::try_from(kept).ok()?;
        let then = self.checkpoints.iter().filter(|at| at.number_of(&kept).is_some_and(|number| number <= seen));
        let positions = then.max_by_key(|at| at.turn)?.positions.clone();
        Some(Found { kept: Kept { sequence: seen, positions, ..kept }, from: ResumedFrom::Checkpoint })
    }
}

async fn patient<T>(call: impl Future<Output = Result<T, CacheError>>) -> Result<T, CacheError> {
    let answer = tokio::time::timeout(PATIENCE, call).await;
    answer.unwrap_or_else(|_| Err(CacheError::Failed("no answer in time".to_owned())))
}
