//! The gateway as clients meet it: over real sockets, before a fake of what is behind it.

mod asking;
mod client;
mod closing;
mod delivering;
mod fake;
mod operating;
mod protocol;
mod resuming;

use std::net::SocketAddr;
use std::time::Duration;

use clarion_gateway::{Config, Demo, Deps, Server, TracePages};
use clarion_model::event::GuildEvent;
use clarion_model::guild::{Channel, ChannelKind, Guild, GuildState, Member, Role};
use clarion_model::id::{ChannelId, GuildId, MessageId, UserId};
use clarion_model::message::{Message, MessageView};
use clarion_model::permission::Permissions;
use clarion_model::time::Timestamp;
use clarion_model::user::User;
use clarion_observability::capture::Capture;
use clarion_runtime::Process;
use fake::World;

pub(crate) const GUILD: GuildId = GuildId(1_562_404_440_927_895_553);
pub(crate) const CHANNEL: ChannelId = ChannelId(1_562_404_440_927_895_554);
/// GUILDS, GUILD_MESSAGES and MESSAGE_CONTENT.
pub(crate) const USUAL: u64 = 1 | 1 << 9 | 1 << 15;

/// A gateway and the world behind it.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) at: SocketAddr,
    pub(crate) capture: Capture,
    process: Option<Process>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let capture = Capture::new().expect("a capture");
        let mut process = Process::new(capture.process().clone(), Duration::from_secs(20));
        let world = World::default();
        let router = world.start(&mut process);
        let mut config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() };
        change(&mut config);
        let bind = move |host| async move {
            let (demo, trace_pages) = (Demo::default(), TracePages::default());
            let cache = std::sync::Arc::new(clarion_storage::cache::MemoryCache::new(
                &clarion_storage::cache::Config::default(),
            ));
            let deps =
                Deps { cache, presence: vec![router.clone()], routers: vec![router], search: None, demo, trace_pages };
            let server = Server::bind(config, deps, host).await?;
            Ok((server.local_addr(), server.run()))
        };
        let at = process.start("gateway", "gateway-0", 2, bind).expect("the gateway starts");
        process.ready();
        Self { world, at, capture, process: Some(process) }
    }

    /// A guild with these users, and their tokens.
    pub(crate) fn guild(&self, users: &[u64]) -> Vec<String> {
        let mut state = guild();
        users.iter().for_each(|n| state.apply(&GuildEvent::MemberPut(member(*n))));
        self.world.add_guild(state);
        users.iter().map(|n| self.world.add_user(&user(*n), &[GUILD])).collect()
    }

    /// The sum of a metric's series, as `/metrics` has it now.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.capture.process().render_metrics();
        let of_name =
            text.lines().filter_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' '])));
        of_name.filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Waits for what must become true.
    pub(crate) async fn until(&self, mut holds: impl FnMut() -> bool) {
        let patience = tokio::time::Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(tokio::time::Instant::now() < patience, "it did not come true");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops everything; answers how long that took.
    pub(crate) async fn stop(&mut self) -> Option<clarion_runtime::StopReport> {
        let process = self.process.take()?;
        Some(tokio::task::spawn_blocking(move || process.stop()).await.expect("it stops"))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.stop_one("gateway-0", true);
            let _ = process.stop_one("channel-0", true);
        }
    }
}

pub(crate) fn user(n: u64) -> User {
    User { id: UserId(1_000_000 + n), username: format!("user{n}"), global_name: None, bot: true }
}

pub(crate) fn member(n: u64) -> Member {
    Member {
        user: user(n),
        nick: None,
        roles: Vec::new(),
        joined_at: Timestamp::from_millis(1_700_000_000_000),
        mute: false,
        deaf: false,
    }
}

pub(crate) fn channel(id: ChannelId) -> Channel {
    Channel::new(id, ChannelKind::Text, "general")
}

pub(crate) fn guild() -> GuildState {
    let everyone = Role {
        id: GUILD.everyone(),
        name: "@everyone".into(),
        color: 0,
        hoist: false,
        position: 0,
        permissions: Permissions::VIEW_CHANNEL,
        mentionable: false,
    };
    let mut state = GuildState::new(Guild { id: GUILD, name: "guild".into(), owner_id: UserId(1) }, everyone);
    state.apply(&GuildEvent::ChannelPut(channel(CHANNEL)));
    state
}

pub(crate) fn message(n: u64, author: u64, content: &str) -> GuildEvent {
    GuildEvent::MessageCreate(MessageView {
        message: Message {
            id: MessageId(GUILD.0 + 1_000 + n),
            channel_id: CHANNEL,
            guild_id: Some(GUILD),
            author: user(author),
            content: content.into(),
            at: std::time::SystemTime::now().into(),
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
        },
        reactions: Vec::new(),
        referenced: None,
    })
}
