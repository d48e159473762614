//! What a run needs on the server: accounts with tokens, a guild they are in, channels to write to.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::TryFutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};

/// Accounts that one request makes; the admin API takes up to 1,000.
const AT_ONCE: usize = 250;
/// Requests under way at a time: what waits for the disk together is made durable together.
const REQUESTS: usize = 4;

/// The operators' door.
#[derive(Debug, Clone)]
pub struct Operators {
    /// Base URL of the admin port.
    pub url: String,
    /// The admin token, where one is set.
    pub token: Option<String>,
    /// A client.
    pub http: reqwest::Client,
}

/// What is there to be used.
#[derive(Debug, Clone)]
pub(super) struct Workspace {
    /// The guild's id, if the run made it.
    pub(super) made: Option<u64>,
    /// The channels' ids.
    pub(super) channels: Vec<u64>,
    /// A token for each account.
    pub(super) tokens: Vec<String>,
    /// How long it took to make.
    pub(super) took: Duration,
}

impl Operators {
    /// Makes a guild with new accounts.
    pub(super) async fn make(&self, name: &str, channels: usize, users: usize) -> anyhow::Result<Workspace> {
        let began = Instant::now();
        let (mut ids, mut tokens) = (Vec::with_capacity(users), Vec::with_capacity(users));
        let counts = (0..users).step_by(AT_ONCE).map(|made| (users - made).min(AT_ONCE));
        let bodies = counts.map(|count| json!({ "count": count, "name": "load", "label": name }));
        let answers = stream::iter(bodies).map(|body| self.clone().post("users/bulk", body));
        let mut answers = std::pin::pin!(answers.buffered(REQUESTS));
        while let Some(answer) = answers.next().await {
            let answer = answer?;
            for account in answer["accounts"].as_array().context("the answer has no accounts")? {
                ids.push(account["id"].clone());
                tokens.push(account["token"].as_str().context("an account without a token")?.to_owned());
            }
        }
        let names: Vec<String> = (0..channels).map(|n| format!("load-{n}")).collect();
        let guild = self.clone().post("guilds", json!({ "name": name, "channels": names, "members": ids })).await?;
        let channels = guild["channels"].as_array().map(|all| all.iter().filter_map(id).collect()).unwrap_or_default();
        Ok(Workspace { made: id(&guild["id"]), channels, tokens, took: began.elapsed() })
    }

    /// Makes the tokens invalid: nobody can act for the accounts any more.
    pub(super) async fn revoke(&self, tokens: &[String]) -> anyhow::Result<()> {
        let bodies: Vec<Value> = tokens.chunks(AT_ONCE).map(|some| json!({ "tokens": some })).collect();
        let revoked = stream::iter(bodies).map(|body| self.clone().post("tokens/revoke", body).map_ok(drop));
        revoked.buffer_unordered(REQUESTS).try_collect().await
    }

    async fn post(self, path: &'static str, body: Value) -> anyhow::Result<Value> {
        let mut request = self.http.post(format!("{}/admin/v1/{path}", self.url)).json(&body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer =
            request.send().await.with_context(|| format!("no Clarion answers at {}; is it running?", self.url))?;
        let ok = answer.status().is_success();
        let value: Value = answer.json().await.context("the admin port's answer is not JSON")?;
        if !ok {
            bail!("{path}: {}", value["error"].as_str().unwrap_or("refused"));
        }
        Ok(value)
    }
}

/// Finds what accounts that exist already can write to: the first guild of the first of them.
pub(super) async fn find(
    http: &reqwest::Client,
    api: &str,
    tokens: Vec<String>,
    channels: usize,
) -> anyhow::Result<Workspace> {
    let began = Instant::now();
    let token = tokens.first().context("--token-file: there is no token in it")?;
    let get = async |path: String| -> anyhow::Result<Value> {
        let answer = http.get(format!("{api}{path}")).header("authorization", format!("Bot {token}")).send().await;
        let answer = answer.with_context(|| format!("nothing answers at {api}"))?;
        if !answer.status().is_success() {
            bail!("{path}: {}", answer.status());
        }
        Ok(answer.json().await?)
    };
    let guilds = get("/users/@me/guilds".to_owned()).await?;
    let guild = id(&guilds[0]["id"]).context("--token-file: the first account is in no guild")?;
    let all = get(format!("/guilds/{guild}/channels")).await?;
    let text = all.as_array().into_iter().flatten().filter(|channel| channel["type"] == 0);
    let channels: Vec<u64> = text.filter_map(|channel| id(&channel["id"])).take(channels).collect();
    if channels.is_empty() {
        bail!("--token-file: the guild {guild} has no text channel");
    }
    Ok(Workspace { made: None, channels, tokens, took: began.elapsed() })
}

fn id(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}
