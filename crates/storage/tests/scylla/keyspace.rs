//! A keyspace for one test, on the server that the environment names, and an owner who writes there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clarion_model::event::{Event, GuildEvent, LogEntry};
use clarion_model::id::{ChannelId, GuildId, MessageId, UserId};
use clarion_model::key::{Epoch, Key, Position};
use clarion_model::message::{Message, MessageView, Nonce};
use clarion_model::user::User;
use clarion_observability::{Config as Observability, Process, Telemetry};
use clarion_storage::scylla::{Config, Scylla, migrate};
use clarion_storage::{Batch, CommitError, NonceRow, Stores};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

/// The variable that names the server, `host:port`.
const SERVER: &str = "CLARION_TEST_CQL";

/// A keyspace of the test's own.
pub(crate) struct Keyspace {
    pub(crate) config: Config,
}

/// An owner of a guild: writes at the next position of its epoch.
pub(crate) struct Writer {
    pub(crate) stores: Stores,
    pub(crate) key: Key,
    pub(crate) epoch: Epoch,
    pub(crate) offset: u64,
}

impl Keyspace {
    /// Makes a keyspace with all tables. `None`, and a line that says so, without a server.
    pub(crate) async fn new(test: &str) -> Option<Self> {
        let Some(host) = std::env::var(SERVER).ok().filter(|host| !host.is_empty()) else {
            println!("passed over: {SERVER} names no server");
            return None;
        };
        Some(Self::at(host, test).await)
    }

    /// The same at a server.
    pub(crate) async fn at(host: String, test: &str) -> Self {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        let keyspace = format!("test_{test}_{micros}");
        // Others build and test beside this, and one server does the work of three.
        let config = Config {
            hosts: vec![host],
            keyspace,
            replication_factor: 1,
            connect_timeout_ms: 60_000,
            request_timeout_ms: 30_000,
            write_deadline_ms: 60_000,
            ..Config::default()
        };
        migrate(&config).await.unwrap();
        Self { config }
    }

    pub(crate) async fn open(&self) -> Scylla {
        Scylla::open(&self.config, &telemetry()).await.unwrap()
    }

    /// A session beside the store.
    pub(crate) async fn session(&self) -> Session {
        let builder = SessionBuilder::new().known_nodes(&self.config.hosts);
        let session = builder.connection_timeout(Duration::from_secs(60)).build().await.unwrap();
        session.use_keyspace(&self.config.keyspace, false).await.unwrap();
        session
    }

    /// Runs a statement beside the store.
    pub(crate) async fn run(&self, statement: &str) {
        self.session().await.query_unpaged(statement, ()).await.unwrap();
    }

    /// How many rows a table has.
    pub(crate) async fn count(&self, table: &str) -> i64 {
        let answer = self.session().await.query_unpaged(format!("SELECT count(*) FROM {table}"), ()).await.unwrap();
        answer.into_rows_result().unwrap().single_row::<(i64,)>().unwrap().0
    }

    /// Takes it away. A test that fails leaves its keyspace, for whoever looks for the reason.
    pub(crate) async fn drop(self) {
        self.run(&format!("DROP KEYSPACE {}", self.config.keyspace)).await;
    }
}

impl Writer {
    /// Takes the slot of a guild.
    pub(crate) async fn take(store: &impl AsRef<Stores>, guild: u64) -> Self {
        let (stores, key) = (store.as_ref().clone(), Key::Guild(GuildId(guild)));
        let epoch = stores.slots.raise(&[key.slot()], "test").await.unwrap()[0];
        Self { stores, key, epoch, offset: 0 }
    }

    /// A batch at the next positions.
    pub(crate) fn batch(&mut self, events: Vec<GuildEvent>) -> Batch {
        let entries = events.into_iter().map(|event| {
            self.offset += 1;
            let position = Position { epoch: self.epoch, offset: self.offset };
            let at = SystemTime::now().into();
            LogEntry { key: self.key, position, at, traceparent: String::new(), event: Event::Guild(event) }
        });
        let entries = entries.collect();
        Batch { key: self.key, epoch: self.epoch, entries, nonce: None }
    }

    pub(crate) async fn write(&mut self, events: Vec<GuildEvent>) -> Result<Vec<LogEntry>, CommitError> {
        let batch = self.batch(events);
        self.stores.logs.commit(batch.clone()).await.map(|()| batch.entries)
    }

    /// Writes a message with a nonce that says its id.
    pub(crate) async fn say(&mut self, place: ChannelId, id: MessageId) -> Result<(), CommitError> {
        let batch = self.batch(vec![create(place, id)]);
        self.stores.logs.commit(Batch { nonce: Some(nonce(place, id)), ..batch }).await
    }

    /// The whole log.
    pub(crate) async fn log(&self) -> Vec<LogEntry> {
        self.stores.logs.read(self.key, Position::START, usize::MAX).await.unwrap().entries
    }
}

pub(crate) const AUTHOR: UserId = UserId(7);

pub(crate) fn nonce(channel_id: ChannelId, message_id: MessageId) -> NonceRow {
    let nonce = Nonce::Text(message_id.to_string());
    NonceRow { channel_id, author_id: AUTHOR, nonce, message_id, at: SystemTime::now().into() }
}

pub(crate) fn create(channel_id: ChannelId, id: MessageId) -> GuildEvent {
    let author = User { id: AUTHOR, username: "ann".into(), global_name: None, bot: false };
    let message = Message {
        trace_id: None,
        id,
        channel_id,
        guild_id: None,
        author,
        content: format!("message {id}"),
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
    };
    GuildEvent::MessageCreate(MessageView { message, reactions: Vec::new(), referenced: None })
}

pub(crate) fn telemetry() -> Telemetry {
    Process::with_output(&Observability::default(), Box::new(std::io::sink())).unwrap().service("storage-test", "0")
}
