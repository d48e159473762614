//! What operators do by hand: accounts, tokens, guilds, sessions. Every action is logged as one (`admin.action`).

mod bulk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use clarion_model::event::{Event, GuildEvent, UserEvent};
use clarion_model::guild::{GuildState, Member};
use clarion_model::id::{self, GuildId, UserId};
use clarion_model::key::Key;
use clarion_model::time::Timestamp;
use clarion_model::token;
use clarion_model::user::{TokenRecord, User};
use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{AdminAction, Label, RouterMetrics};
use clarion_observability::{LineFollower, Token};
use clarion_proto as proto;
use clarion_proto::channel_client::ChannelClient;
use clarion_proto::control_session_request::Action;
use clarion_proto::gateway_client::GatewayClient;
use clarion_runtime::{Host, Peer};
use prost::Message;
use tonic::{Code, Status};

use crate::table::Table;

/// How long an action waits for the owner of what it changes.
const OWNER_WAIT: Duration = Duration::from_secs(5);
/// How long it waits before it asks again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Largest answer that is taken: a guild with all its members.
const ANSWER_BYTES: usize = 64 << 20;

/// The operators' hand. A clone is the same.
#[derive(Clone)]
pub struct Admin {
    inner: Arc<Inner>,
}

struct Inner {
    host: Host,
    table: Table,
    metrics: RouterMetrics,
}

/// An action was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// What was named does not exist.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// The request makes no sense.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// The user is banned from the guild.
    #[error("the user is banned from the guild")]
    Banned,
    /// Whoever would have to do it does not answer.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// The API's code for a user who is banned.
const BANNED: u32 = 40_007;

/// A guild to be made; ids are the caller's, so that making it twice makes it once.
pub type NewGuild = GuildState;

/// What can be done to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionAction {
    /// Ask the client to connect again (op 7).
    Reconnect,
    /// Close the connection with a code.
    Close(u16),
    /// Cut the TCP connection without a word.
    Drop,
    /// Tell the client that its session is over (op 9); `true`: it may still resume.
    Invalidate(bool),
}

impl Admin {
    pub(crate) fn new(host: Host, table: Table, metrics: RouterMetrics) -> Self {
        Self { inner: Arc::new(Inner { host, table, metrics }) }
    }

    /// A new id, made now.
    pub fn new_id(&self) -> Result<u64, AdminError> {
        let mut low = [0; 4];
        random(&mut low)?;
        let below = u64::from(u32::from_le_bytes(low)) & ((1 << id::SEQUENCE_BITS) - 1);
        Ok(id::first_of(now()) | below)
    }

    /// Creates an account, or does nothing when it is there.
    pub async fn create_user(&self, user: User) -> Result<(), AdminError> {
        self.note(AdminAction::CreateUser, format!("user {}", user.id));
        let request = proto::CreateUserRequest { user: Some((&user).into()) };
        self.at_owner(Key::User(user.id), "user", request, async |mut owner, request| owner.create_user(request).await)
            .await
            .map(drop)
    }

    /// Creates a guild with all that the state holds, or does nothing when it is there; and lists it with its members.
    pub async fn create_guild(&self, guild: NewGuild) -> Result<(), AdminError> {
        self.note(AdminAction::CreateGuild, format!("guild {}", guild.guild.id));
        let id = guild.guild.id;
        // The members' lists first: a guild that a list names and that does not exist yet is passed over, while one that
        // exists and is in no list would be missed.
        self.list_guild(id, guild.members.keys().copied().collect()).await?;
        let request = proto::CreateGuildRequest { state: Some((&guild).into()) };
        self.at_owner(Key::Guild(id), "guild", request, async |mut owner, request| owner.create_guild(request).await)
            .await
            .map(drop)
    }

    /// Makes somebody a member of a guild, with a place in their list.
    pub async fn add_member(&self, guild: GuildId, member: Member) -> Result<(), AdminError> {
        self.note(AdminAction::AddMember, format!("guild {guild} user {}", member.user.id));
        let user = member.user.id;
        self.change_user(user, UserEvent::GuildJoined(guild)).await?;
        let added = self.change_guild(guild, GuildEvent::MemberPut(member)).await;
        if let Err(AdminError::Banned) = added {
            // No membership, so nothing to list.
            self.change_user(user, UserEvent::GuildLeft(guild)).await?;
        }
        added
    }

    /// Ends somebody's membership.
    pub async fn remove_member(&self, guild: GuildId, user: UserId) -> Result<(), AdminError> {
        self.note(AdminAction::RemoveMember, format!("guild {guild} user {user}"));
        let user = self.user(user).await?;
        let id = user.id;
        self.change_guild(guild, GuildEvent::MemberRemove(user)).await?;
        self.change_user(id, UserEvent::GuildLeft(guild)).await
    }

    /// Changes a guild's structure by one event, as an operator.
    pub async fn change_guild(&self, guild: GuildId, change: GuildEvent) -> Result<(), AdminError> {
        let key = Key::Guild(guild);
        let request = proto::ChangeGuildRequest {
            key: Some(key.into()),
            actor_id: 0,
            change: Some((&Event::Guild(change)).into()),
        };
        self.at_owner(key, "guild", request, async |mut owner, request| owner.change_guild(request).await)
            .await
            .map(drop)
    }

    /// An account.
    pub async fn user(&self, id: UserId) -> Result<User, AdminError> {
        let request = proto::GetUserRequest { user_id: id.0 };
        let state = self
            .at_owner(Key::User(id), "user", request, async |mut owner, request| owner.get_user(request).await)
            .await?;
        let user = state.user.ok_or(AdminError::Unknown("user"))?;
        user.try_into().map_err(|_| AdminError::Unavailable("the answer makes no sense".to_owned()))
    }

    /// Issues a new token for an account. This is the only time that it is to be seen.
    pub async fn issue_token(&self, user: UserId, label: &str) -> Result<String, AdminError> {
        let token = new_token(user)?;
        self.register_token(&token, label).await?;
        Ok(token)
    }

    /// Makes a token that the caller minted valid.
    pub async fn register_token(&self, token: &str, label: &str) -> Result<(), AdminError> {
        let user = named_by(token)?;
        let record = TokenRecord { label: label.to_owned(), issued_at: now() };
        self.note(AdminAction::IssueToken, format!("user {user}"));
        self.change_user(user, UserEvent::TokenIssued { hash: token::hash(token), record }).await?;
        let detail = Some(Token::new(token).to_string());
        log::TOKEN_ISSUED.emit(Fields { user_id: Some(user), detail, ..Fields::default() });
        Ok(())
    }

    /// Makes a token invalid; sessions that use it are closed.
    pub async fn revoke_token(&self, token: &str) -> Result<(), AdminError> {
        let user = named_by(token)?;
        self.note(AdminAction::RevokeToken, format!("user {user}"));
        self.change_user(user, UserEvent::TokenRevoked { hash: token::hash(token) }).await?;
        let detail = Some(Token::new(token).to_string());
        log::TOKEN_REVOKED.emit(Fields { user_id: Some(user), detail, ..Fields::default() });
        Ok(())
    }

    /// All sessions of the gateways that answer, by the gateway's instance; and the gateways that do not.
    pub async fn sessions(&self) -> (BTreeMap<String, Vec<proto::SessionInfo>>, Vec<String>) {
        let (mut all, mut silent) = (BTreeMap::new(), Vec::new());
        for (gateway, address) in self.inner.table.members(proto::MemberKind::Gateway) {
            let mut client = GatewayClient::new(self.inner.host.peer(&address));
            match within(client.list_sessions(proto::ListSessionsRequest {})).await {
                Ok(answer) => drop(all.insert(gateway, answer.into_inner().sessions)),
                Err(status) => {
                    unreachable_gateway(&gateway, &status);
                    silent.push(gateway);
                }
            }
        }
        (all, silent)
    }

    /// Does something to a session, wherever it is.
    pub async fn control(&self, session: &str, action: SessionAction) -> Result<(), AdminError> {
        self.note(AdminAction::ControlSession, format!("{action:?} session {session}"));
        let action = match action {
            SessionAction::Reconnect => Action::Reconnect(true),
            SessionAction::Close(code) => Action::Close(u32::from(code)),
            SessionAction::Drop => Action::Drop(true),
            SessionAction::Invalidate(resumable) => Action::Invalidate(resumable),
        };
        let mut silent = Vec::new();
        for (gateway, address) in self.inner.table.members(proto::MemberKind::Gateway) {
            let mut client = GatewayClient::new(self.inner.host.peer(&address));
            let request = proto::ControlSessionRequest { id: session.to_owned(), action: Some(action) };
            match within(client.control_session(request)).await {
                Ok(answer) if answer.get_ref().found => return Ok(()),
                Ok(_) => {}
                Err(status) => {
                    unreachable_gateway(&gateway, &status);
                    silent.push(gateway);
                }
            }
        }
        // It may be at one of those that do not answer.
        if silent.is_empty() {
            Err(AdminError::Unknown("session"))
        } else {
            Err(AdminError::Unavailable(silent.join(", ")))
        }
    }

    /// The last log lines of this process, and those to come for who is to `follow`.
    pub fn lines(&self, least: log::Level, last: usize, follow: bool) -> Result<LineFollower, AdminError> {
        let lines = self.inner.host.telemetry().lines(least, last, follow);
        lines.map_err(|e| AdminError::Unavailable(e.to_string()))
    }

    /// The level from which lines are logged.
    pub fn log_level(&self) -> String {
        self.inner.host.telemetry().process().log_level()
    }

    /// Sets the level from which lines are logged, at once and for all services of this process.
    pub fn set_log_level(&self, level: &str) -> Result<(), AdminError> {
        self.note(AdminAction::SetLogLevel, level.to_owned());
        let set = self.inner.host.telemetry().process().set_log_level(level);
        set.map_err(|e| AdminError::Invalid { field: "level", reason: e.to_string() })?;
        log::LOG_LEVEL_CHANGED.emit(Fields { detail: Some(level.to_owned()), ..Fields::default() });
        Ok(())
    }

    async fn change_user(&self, user: UserId, change: UserEvent) -> Result<(), AdminError> {
        let request = proto::ChangeUserRequest { user_id: user.0, change: Some((&Event::User(change)).into()) };
        self.at_owner(Key::User(user), "user", request, async |mut owner, request| owner.change_user(request).await)
            .await
            .map(drop)
    }

    /// Asks the owner of a key, and asks again while the key moves. Everything that is asked here may be asked twice.
    async fn at_owner<Q: Clone, A>(
        &self,
        key: Key,
        what: &'static str,
        request: Q,
        ask: impl AsyncFn(ChannelClient<Peer>, Q) -> Result<tonic::Response<A>, tonic::Status>,
    ) -> Result<A, AdminError> {
        let deadline = Instant::now() + OWNER_WAIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let owner = self.inner.table.owner_within(key.slot(), left).await;
            let owner = owner.ok_or_else(|| AdminError::Unavailable(format!("{key} has no owner just now")))?;
            let client =
                ChannelClient::new(self.inner.host.peer(&owner.address)).max_decoding_message_size(ANSWER_BYTES);
            let moved = match within(ask(client, request.clone())).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::Unavailable) => status,
                Err(status) => return Err(refused(status, what)),
            };
            if left.is_zero() {
                return Err(AdminError::Unavailable(moved.message().to_owned()));
            }
            tokio::time::sleep(AGAIN_AFTER + jitter()?).await;
        }
    }

    fn note(&self, action: AdminAction, detail: String) {
        self.inner.metrics.admin_actions.with(action).increment(1);
        let detail = Some(format!("{}: {detail}", action.as_str()));
        log::ADMIN_ACTION.emit(Fields { detail, ..Fields::default() });
    }
}

/// A token for an account, which holds once it is registered.
fn new_token(user: UserId) -> Result<String, AdminError> {
    let mut secret = [0; token::SECRET_BYTES];
    random(&mut secret)?;
    Ok(token::mint(user, now(), &secret))
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

/// An answer, or that none came in time.
async fn within<A>(answer: impl Future<Output = Result<A, Status>>) -> Result<A, Status> {
    let late = |_| Err(Status::deadline_exceeded("no answer in time"));
    tokio::time::timeout(OWNER_WAIT, answer).await.unwrap_or_else(late)
}

fn unreachable_gateway(gateway: &str, status: &Status) {
    log::PEER_UNREACHABLE.emit(Fields::detail(format!("{gateway}: {}", status.message())));
}

/// Up to 32 ms, so that those who wait for the same key do not come back together.
fn jitter() -> Result<Duration, AdminError> {
    let mut chance = [0; 1];
    random(&mut chance)?;
    Ok(Duration::from_millis(u64::from(chance[0] / 8)))
}

fn random(bytes: &mut [u8]) -> Result<(), AdminError> {
    getrandom::fill(bytes).map_err(|e| AdminError::Unavailable(format!("no randomness: {e}")))
}

fn named_by(token: &str) -> Result<UserId, AdminError> {
    token::user_of(token).ok_or_else(|| AdminError::Invalid { field: "token", reason: "not a token".to_owned() })
}

fn refused(status: tonic::Status, what: &'static str) -> AdminError {
    match proto::Refusal::decode(status.details()) {
        Ok(refusal) if refusal.status == 404 => AdminError::Unknown(what),
        Ok(refusal) if refusal.code == BANNED => AdminError::Banned,
        Ok(refusal) if refusal.status != 0 => AdminError::Invalid { field: what, reason: refusal.message },
        _ => AdminError::Unavailable(status.message().to_owned()),
    }
}
