//! A store that the test writes to, and the service over an index that does what the test wants.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use clarion_model::event::{Event, GuildEvent, LogEntry};
use clarion_model::guild::{Channel, ChannelKind, Guild, Role};
use clarion_model::id::{ChannelId, GuildId, MessageId, UserId};
use clarion_model::key::{Key, Position};
use clarion_model::message::{Message, MessageView};
use clarion_model::permission::Permissions;
use clarion_model::time::Timestamp;
use clarion_model::user::User;
use clarion_observability::capture::Capture;
use clarion_proto::v1::search_client::SearchClient;
use clarion_proto::v1::{FindRequest, FindResponse};
use clarion_runtime::{Peer, Process};
use clarion_storage::embedded::{self, Embedded};
use clarion_storage::index::{self, Change, Folder, Found, Index, IndexError, Indexes, Progress, Query, Size};
use clarion_storage::{Batch, Stores};
use tokio::sync::Semaphore;

use crate::server::Server;
use crate::standing::Serving;
use crate::{Config, Deps};

pub(super) const GUILD: GuildId = GuildId(1);
pub(super) const KEY: Key = Key::Guild(GUILD);
pub(super) const TEXT: ChannelId = ChannelId(2);
pub(super) const OTHER: ChannelId = ChannelId(3);
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What an index does with what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mode {
    #[default]
    Take,
    Refuse,
    Full,
    /// Takes it and says that it did not.
    Lie,
}

/// How all indexes of a bench behave.
#[derive(Clone)]
pub(super) struct Faults {
    mode: Arc<Mutex<Mode>>,
    /// Writes wait for a permit.
    pub(super) permits: Arc<Semaphore>,
}

pub(super) struct Bench {
    pub(super) capture: Capture,
    pub(super) process: Process,
    pub(super) faults: Faults,
    pub(super) serving: Serving,
    store: Embedded,
    client: Option<SearchClient<Peer>>,
    next: u64,
    position: Position,
    directory: tempfile::TempDir,
}

struct Places {
    folder: Folder,
    faults: Faults,
}

struct Faulty {
    inner: Arc<dyn Index>,
    faults: Faults,
}

impl Faults {
    fn new() -> Self {
        Self { mode: Arc::default(), permits: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)) }
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    fn over(&self, inner: Arc<dyn Index>) -> Arc<dyn Index> {
        Arc::new(Faulty { inner, faults: self.clone() })
    }
}

#[tonic::async_trait]
impl Indexes for Places {
    async fn current(&self) -> Result<Option<Arc<dyn Index>>, IndexError> {
        Ok(self.folder.current().await?.map(|index| self.faults.over(index)))
    }

    async fn create(&self) -> Result<Arc<dyn Index>, IndexError> {
        Ok(self.faults.over(self.folder.create().await?))
    }

    async fn promote(&self) -> Result<(), IndexError> {
        self.folder.promote().await
    }
}

#[tonic::async_trait]
impl Index for Faulty {
    async fn progress(&self) -> Result<Vec<Progress>, IndexError> {
        self.inner.progress().await
    }

    async fn write(&self, changes: Vec<Change>) -> Result<(), IndexError> {
        let mode = *self.faults.mode.lock().unwrap_or_else(PoisonError::into_inner);
        self.faults.permits.acquire().await.unwrap().forget();
        match mode {
            Mode::Take => self.inner.write(changes).await,
            Mode::Refuse => Err(IndexError::Unavailable("refused".into())),
            Mode::Full => Err(IndexError::Full("full".into())),
            Mode::Lie => {
                self.inner.write(changes).await?;
                Err(IndexError::Unavailable("nobody knows".into()))
            }
        }
    }

    async fn search(&self, query: Query) -> Result<Found, IndexError> {
        self.inner.search(query).await
    }

    async fn count(&self, channel: ChannelId, upto: MessageId) -> Result<u64, IndexError> {
        self.inner.count(channel, upto).await
    }

    async fn ids(
        &self,
        channel: ChannelId,
        range: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<MessageId>, IndexError> {
        self.inner.ids(channel, range, limit).await
    }

    async fn check(&self) -> Result<(), IndexError> {
        self.inner.check().await
    }

    async fn size(&self) -> Result<Size, IndexError> {
        self.inner.size().await
    }
}

impl Bench {
    /// A guild with two channels, and no service yet.
    pub(super) async fn new() -> Self {
        let capture = Capture::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let config = embedded::Config { path, sync: embedded::Sync::None, min_free: 0, ..embedded::Config::default() };
        let store = Embedded::open(&config, &capture.process().service("storage", "storage-0")).unwrap();
        let process = Process::new(capture.process().clone(), Duration::from_secs(10));
        let epoch = store.stores().slots.raise(&[KEY.slot()], "test").await.unwrap()[0];
        let position = Position { epoch, offset: 0 };
        let (faults, serving) = (Faults::new(), Serving::default());
        let mut bench =
            Self { capture, process, faults, serving, store, client: None, next: 1_000, position, directory };
        let everyone = Role {
            id: GUILD.everyone(),
            name: "@everyone".into(),
            color: 0,
            hoist: false,
            position: 0,
            permissions: Permissions::DEFAULT,
            mentionable: false,
        };
        let guild = Guild { id: GUILD, name: "guild".into(), owner_id: UserId(9) };
        let channels = [TEXT, OTHER].map(|id| GuildEvent::ChannelPut(channel(id)));
        bench.write([GuildEvent::GuildPut(guild), GuildEvent::RolePut(everyone)].into_iter().chain(channels)).await;
        bench
    }

    pub(super) fn stores(&self) -> Stores {
        self.store.stores()
    }

    pub(super) fn index_folder(&self) -> PathBuf {
        self.directory.path().join("search")
    }

    /// Starts the service.
    pub(super) async fn start(&mut self, change: impl FnOnce(&mut Config)) {
        let folder = index::Config { path: self.index_folder(), min_free: 0, ..index::Config::default() };
        let mut config = Config { index: folder.clone(), commit_ms: 10, audit_s: 0, ..Config::default() };
        change(&mut config);
        let places: Arc<dyn Indexes> = Arc::new(Places { folder: Folder::new(folder), faults: self.faults.clone() });
        let deps = Deps { stores: self.stores() };
        let start = self.process.start("search", "search-0", 1, move |host| async move {
            let server = Server::over(vec![places], config, deps, host.clone())?;
            Ok(((host.peer(server.address()), server.operators().copies[0].serving.clone()), server.run()))
        });
        let (peer, serving) = start.unwrap();
        (self.client, self.serving) = (Some(SearchClient::new(peer)), serving);
    }

    /// Ends the service.
    pub(super) fn stop(&mut self) {
        self.client = None;
        self.process.stop_one("search-0", false).unwrap();
    }

    /// Writes events of the guild's log, as its owner does.
    pub(super) async fn write(&mut self, events: impl IntoIterator<Item = GuildEvent>) {
        let entries = events.into_iter().map(|event| {
            self.position.offset += 1;
            let at: Timestamp = SystemTime::now().into();
            let event = Event::Guild(event);
            LogEntry { key: KEY, position: self.position, at, traceparent: String::new(), event }
        });
        let entries: Vec<LogEntry> = entries.collect();
        let batch = Batch { key: KEY, epoch: self.position.epoch, entries, nonce: None };
        self.stores().logs.commit(batch).await.unwrap();
    }

    /// Says something; answers with the ids.
    pub(super) async fn say(&mut self, channel: ChannelId, contents: &[&str]) -> Vec<MessageId> {
        let mut ids = Vec::new();
        let mut events = Vec::new();
        for content in contents {
            self.next += 1;
            ids.push(MessageId(self.next));
            events.push(GuildEvent::MessageCreate(view(channel, self.next, content)));
        }
        self.write(events).await;
        ids
    }

    /// Forgets the whole log.
    pub(super) async fn trim(&self) {
        self.stores().logs.trim(KEY, self.position).await.unwrap();
    }

    pub(super) async fn find(&self, text: Option<&str>) -> FindResponse {
        let request = FindRequest {
            key: Some(KEY.into()),
            channels: vec![TEXT.0, OTHER.0],
            text: text.map(str::to_owned),
            limit: 25,
            ..FindRequest::default()
        };
        self.client.clone().unwrap().find(request).await.unwrap().into_inner()
    }

    /// Waits until so many messages match.
    pub(super) async fn until(&self, text: Option<&str>, total: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.find(text).await;
            if found.ready && found.total == total {
                return;
            }
            assert!(Instant::now() < deadline, "{text:?}: {total} expected, {found:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The value of a metric.
    pub(super) fn metric(&self, start: &str) -> f64 {
        let metrics = self.capture.process().render_metrics();
        let lines = metrics.lines().filter(|line| line.starts_with(start));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Waits until a metric is as wanted.
    pub(super) async fn until_metric(&self, start: &str, wanted: impl Fn(f64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self.metric(start)) {
            assert!(Instant::now() < deadline, "{start}: {}", self.metric(start));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn channel(id: ChannelId) -> Channel {
    Channel::new(id, ChannelKind::Text, "channel")
}

pub(super) fn view(channel: ChannelId, id: u64, content: &str) -> MessageView {
    let author = User { id: UserId(9), username: "nine".into(), global_name: None, bot: false };
    let message = Message {
        id: MessageId(id),
        channel_id: channel,
        guild_id: Some(GUILD),
        author,
        content: content.into(),
        at: SystemTime::now().into(),
        edited_at: None,
        tts: false,
        mention_everyone: false,
        mentions: Vec::new(),
        mention_roles: Vec::new(),
        reply_to: None,
        embeds_json: String::new(),
        flags: 0,
        nonce: None,
        trace_id: None,
    };
    MessageView { message, reactions: Vec::new(), referenced: None }
}
