//! The application behind a bot, and where its sockets go.

use clarion_model::user::User as Account;
use serde::Serialize;

use super::{Id, Null, User};

/// That the application may ask for every privileged intent, in the API's bits.
const FLAGS: u64 = 565_248;

/// A bot's application. It has the bot's id and is owned by the bot: accounts stand for themselves.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Application<'a> {
    id: Id,
    name: &'a str,
    icon: Null,
    description: &'static str,
    #[serde(rename = "type")]
    kind: Null,
    bot_public: bool,
    bot_require_code_grant: bool,
    verify_key: &'static str,
    owner: User<'a>,
    bot: User<'a>,
    team: Null,
    flags: u64,
    flags_new: Id,
    rpc_origins: [(); 0],
    redirect_uris: [(); 0],
    interactions_endpoint_url: Null,
    role_connections_verification_url: Null,
    approximate_guild_count: usize,
    approximate_user_install_count: usize,
    approximate_user_authorization_count: usize,
    explicit_content_filter: u8,
    eligible_oauth2_scopes: [(); 0],
}

/// What READY says of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PartialApplication {
    id: Id,
    flags: u64,
    flags_new: Id,
}

/// Where sockets go.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GatewayUrl<'a> {
    pub(crate) url: &'a str,
}

/// Where a bot's sockets go, and how it may open them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GatewayBot<'a> {
    pub(crate) url: &'a str,
    pub(crate) shards: u32,
    pub(crate) session_start_limit: SessionStartLimit,
}

/// How many sessions may be started.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SessionStartLimit {
    pub(crate) total: u32,
    pub(crate) remaining: u32,
    pub(crate) reset_after: u64,
    pub(crate) max_concurrency: u32,
}

impl<'a> Application<'a> {
    pub(crate) fn new(account: &'a Account, guilds: usize) -> Self {
        Self {
            id: account.id.into(),
            name: &account.username,
            icon: None,
            description: "",
            kind: None,
            bot_public: false,
            bot_require_code_grant: false,
            verify_key: "0000000000000000000000000000000000000000000000000000000000000000",
            owner: account.into(),
            bot: account.into(),
            team: None,
            flags: FLAGS,
            flags_new: Id(FLAGS),
            rpc_origins: [],
            redirect_uris: [],
            interactions_endpoint_url: None,
            role_connections_verification_url: None,
            approximate_guild_count: guilds,
            approximate_user_install_count: 0,
            approximate_user_authorization_count: 0,
            explicit_content_filter: 0,
            eligible_oauth2_scopes: [],
        }
    }
}

impl From<&Account> for PartialApplication {
    fn from(account: &Account) -> Self {
        Self { id: account.id.into(), flags: FLAGS, flags_new: Id(FLAGS) }
    }
}
