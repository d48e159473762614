//! The admin API over HTTP, under `/admin/v1`, on the admin port.
//!
//! Answers are JSON; refusals are `{"error": …}`. Requests that a browser says come from a web page are refused. With a
//! token set, every request must bear it.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clarion_model::id::{GuildId, UserId};
use clarion_model::user::User;
use clarion_observability::log::{self, Fields, Level};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Admin, AdminError, SessionAction};

/// What browsers say of where a request comes from; `none` is the address bar.
const FETCH_SITE: &str = "sec-fetch-site";
/// Log lines that are shown unless more or fewer are asked for.
const LINES: usize = 100;

impl Admin {
    /// The routes. With a `token`, requests need `Authorization: Bearer <token>`.
    pub fn routes(&self, token: Option<String>) -> Router {
        Router::new()
            .route("/admin/v1/sessions", get(sessions))
            .route("/admin/v1/sessions/{id}/{action}", post(control))
            .route("/admin/v1/users", post(create_user))
            .route("/admin/v1/users/bulk", post(create_accounts))
            .route("/admin/v1/guilds", post(create_guild))
            .route("/admin/v1/guilds/{guild}/members/{user}", post(add_member).delete(remove_member))
            .route("/admin/v1/tokens", post(issue_token))
            .route("/admin/v1/tokens/revoke", post(revoke_token))
            .route("/admin/v1/logs", get(logs))
            .route("/admin/v1/log-level", get(log_level).put(set_log_level))
            .layer(axum::middleware::from_fn_with_state(Guard { token }, guard))
            .with_state(self.clone())
    }
}

/// Lets only those to the routes whom the admin API takes.
pub fn for_operators(routes: Router, token: Option<String>) -> Router {
    routes.layer(axum::middleware::from_fn_with_state(Guard { token }, guard))
}

#[derive(Clone)]
struct Guard {
    token: Option<String>,
}

async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) || headers.get(FETCH_SITE).is_some_and(|site| site != "none") {
        log::SECURITY_EVENT.emit(Fields::detail("admin request of a web page refused"));
        return refuse(StatusCode::FORBIDDEN, "requests of web pages are not taken");
    }
    if guard.token.as_deref().is_some_and(|token| !bears(headers, token)) {
        log::SECURITY_EVENT.emit(Fields::detail("admin request without the admin token refused"));
        return refuse(StatusCode::UNAUTHORIZED, "an admin token is needed: Authorization: Bearer …");
    }
    next.run(request).await
}

/// Compares in a time that does not depend on where the two differ.
fn bears(headers: &HeaderMap, token: &str) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let shown = shown.strip_prefix("Bearer ").unwrap_or_default().as_bytes();
    shown.len() == token.len() && shown.iter().zip(token.as_bytes()).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

type Answer = Result<Json<Value>, AdminError>;

async fn sessions(State(admin): State<Admin>) -> Answer {
    let mut all = Vec::new();
    let (answered, silent) = admin.sessions().await;
    for (gateway, sessions) in answered {
        all.extend(sessions.into_iter().map(|s| {
            json!({
                "id": s.id, "gateway": gateway, "user_id": s.user_id.to_string(),
                "shard": [s.shard_id, s.shard_count], "connected": s.connected, "sequence": s.sequence,
                "guilds": s.guilds, "replay_bytes": s.replay_bytes, "started_at_ms": s.started_at_us / 1_000,
                "intents": s.intents, "client_ip": s.client_ip,
            })
        }));
    }
    Ok(Json(json!({ "sessions": all, "unreachable": silent })))
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct ControlBody {
    code: Option<u16>,
    resumable: bool,
}

async fn control(State(admin): State<Admin>, Path((id, action)): Path<(String, String)>, body: String) -> Answer {
    let body: ControlBody = if body.trim().is_empty() { ControlBody::default() } else { read(&body)? };
    let action = match action.as_str() {
        "reconnect" => SessionAction::Reconnect,
        "close" => SessionAction::Close(close_code(body.code)?),
        "drop" => SessionAction::Drop,
        "invalidate" => SessionAction::Invalidate(body.resumable),
        _ => return Err(AdminError::Unknown("action; there are reconnect, close, drop, invalidate")),
    };
    admin.control(&id, action).await?;
    Ok(Json(json!({ "done": true })))
}

fn close_code(code: Option<u16>) -> Result<u16, AdminError> {
    match code.unwrap_or(4_000) {
        code @ (1_000..=1_003 | 1_007..=1_014 | 3_000..=4_999) => Ok(code),
        code => Err(AdminError::Invalid { field: "code", reason: format!("{code} cannot be sent in a close frame") }),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserBody {
    username: String,
    #[serde(default)]
    bot: bool,
}

async fn create_user(State(admin): State<Admin>, body: String) -> Answer {
    let body: UserBody = read(&body)?;
    let user = User { id: UserId(admin.new_id()?), username: body.username, global_name: None, bot: body.bot };
    let id = user.id;
    admin.create_user(user).await?;
    Ok(Json(json!({ "id": id })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountsBody {
    count: usize,
    name: String,
    #[serde(default)]
    label: String,
}

async fn create_accounts(State(admin): State<Admin>, body: String) -> Answer {
    let AccountsBody { count, name, label } = read(&body)?;
    let made = admin.create_accounts(count, &name, &label).await?;
    let accounts: Vec<Value> = made.into_iter().map(|(id, token)| json!({ "id": id, "token": token })).collect();
    Ok(Json(json!({ "accounts": accounts })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GuildBody {
    name: String,
    channels: Vec<String>,
    /// The first of them owns it.
    members: Vec<UserId>,
}

async fn create_guild(State(admin): State<Admin>, body: String) -> Answer {
    let GuildBody { name, channels, members } = read(&body)?;
    let guild = admin.found_guild(name, channels, members).await?;
    let channels: Vec<String> = guild.channels.keys().map(ToString::to_string).collect();
    Ok(Json(json!({ "id": guild.guild.id, "channels": channels })))
}

async fn add_member(State(admin): State<Admin>, Path((guild, user)): Path<(String, String)>) -> Answer {
    let (guild, user) = ids(&guild, &user)?;
    let member = clarion_model::guild::Member {
        user: admin.user(user).await?,
        nick: None,
        roles: Vec::new(),
        joined_at: std::time::SystemTime::now().into(),
        mute: false,
        deaf: false,
    };
    admin.add_member(guild, member).await?;
    Ok(Json(json!({ "done": true })))
}

async fn remove_member(State(admin): State<Admin>, Path((guild, user)): Path<(String, String)>) -> Answer {
    let (guild, user) = ids(&guild, &user)?;
    admin.remove_member(guild, user).await?;
    Ok(Json(json!({ "done": true })))
}

fn ids(guild: &str, user: &str) -> Result<(GuildId, UserId), AdminError> {
    let guild = guild.parse().map_err(|_| AdminError::Unknown("guild"))?;
    Ok((guild, user.parse().map_err(|_| AdminError::Unknown("user"))?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    user_id: UserId,
    #[serde(default)]
    label: String,
}

async fn issue_token(State(admin): State<Admin>, body: String) -> Answer {
    let body: TokenBody = read(&body)?;
    let token = admin.issue_token(body.user_id, &body.label).await?;
    Ok(Json(json!({ "token": token })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeBody {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    tokens: Vec<String>,
}

async fn revoke_token(State(admin): State<Admin>, body: String) -> Answer {
    let body: RevokeBody = read(&body)?;
    if body.token.is_none() && body.tokens.is_empty() {
        return Err(AdminError::Invalid { field: "token", reason: "is missing".to_owned() });
    }
    admin.revoke_tokens(body.token.into_iter().chain(body.tokens).collect()).await?;
    Ok(Json(json!({ "done": true })))
}

async fn log_level(State(admin): State<Admin>) -> Answer {
    Ok(Json(json!({ "level": admin.log_level() })))
}

/// The log as lines of JSON: `level` (`warn` unless said otherwise), `last` (so many of those kept), `follow=true`.
async fn logs(
    State(admin): State<Admin>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, AdminError> {
    let asked = |name: &str| query.get(name).map(String::as_str);
    let level = match asked("level").unwrap_or("warn") {
        "error" => Level::Error,
        "warn" => Level::Warn,
        "info" => Level::Info,
        "debug" => Level::Debug,
        other => return Err(invalid("level", &format!("{other} is not error, warn, info or debug"))),
    };
    let last = asked("last").map_or(Ok(LINES), str::parse);
    let last = last.map_err(|_| invalid("last", "is not a number"))?;
    let follow = match asked("follow").unwrap_or("false") {
        "true" => true,
        "false" => false,
        _ => return Err(invalid("follow", "is not true or false")),
    };
    let lines = admin.lines(level, last, follow)?;
    let text = futures_util::stream::unfold(lines, async |mut lines| {
        let line = lines.next().await?;
        Some((Ok::<_, std::convert::Infallible>(format!("{line}\n")), lines))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(text)).into_response())
}

fn invalid(field: &'static str, reason: &str) -> AdminError {
    AdminError::Invalid { field, reason: reason.to_owned() }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LevelBody {
    level: String,
}

async fn set_log_level(State(admin): State<Admin>, body: String) -> Answer {
    let body: LevelBody = read(&body)?;
    admin.set_log_level(&body.level)?;
    Ok(Json(json!({ "level": admin.log_level() })))
}

fn read<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, AdminError> {
    serde_json::from_str(body).map_err(|e| AdminError::Invalid { field: "body", reason: e.to_string() })
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let status = match &self {
            AdminError::Unknown(_) => StatusCode::NOT_FOUND,
            AdminError::Banned => StatusCode::FORBIDDEN,
            AdminError::Invalid { .. } => StatusCode::BAD_REQUEST,
            AdminError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        refuse(status, &self.to_string())
    }
}
