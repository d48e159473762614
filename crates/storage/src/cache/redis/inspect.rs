//! A look at a Redis server, for whoever wants to know whether it is fit to be a cache.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fred::clients::{Client, WithOptions};
use fred::interfaces::ClientLike;
use fred::types::{CustomCommand, InfoKind, Value};

use super::{CONNECT_WITHIN, connection, failed, info_value};
use crate::cache::{CacheError, RedisConfig};

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisInspection {
    /// Its version.
    pub version: String,
    /// Whether it writes each change to a file.
    pub appends: bool,
    /// Whether it writes everything to a file now and then; `None` when it does not tell.
    pub saves: Option<bool>,
    /// Bytes that it may use; zero: as many as there are.
    pub limit: u64,
    /// What it does when that is not enough.
    pub policy: String,
    /// How far its clock is ahead of this machine's, in milliseconds.
    pub ahead_ms: i64,
}

/// Connects to a server and asks.
pub async fn inspect(config: &RedisConfig) -> Result<RedisInspection, CacheError> {
    let (client, options) = connection(config).map_err(|error| CacheError::Failed(error.to_string()))?;
    client.connect();
    let connected = tokio::time::timeout(CONNECT_WITHIN, client.wait_for_connect()).await;
    let answer = match connected {
        Ok(Ok(())) => ask(&client.with_options(&options)).await,
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(CacheError::Failed("no connection could be made".to_owned())),
    };
    // It has nothing more to say; one that was not reached need not be heard.
    let _ = tokio::time::timeout(CONNECT_WITHIN, client.quit()).await;
    answer
}

async fn ask(client: &WithOptions<Client>) -> Result<RedisInspection, CacheError> {
    let info: String = client.info(Some(InfoKind::All)).await.map_err(|e| failed(&e))?;
    let told = |name: &str| info_value(&info, name).unwrap_or_default().to_owned();
    let before = now();
    let time: Vec<String> = command(client, "TIME", &[]).await?;
    let here = (before + now()) / 2;
    // Not everybody may ask for a setting.
    let save: Option<Vec<String>> = command(client, "CONFIG", &["GET", "save"]).await.ok();
    Ok(RedisInspection {
        version: told("redis_version"),
        appends: told("aof_enabled") == "1",
        saves: save.map(|save| save.get(1).is_some_and(|points| !points.is_empty())),
        limit: told("maxmemory").parse().unwrap_or_default(),
        policy: told("maxmemory_policy"),
        ahead_ms: there(&time).unwrap_or(here) - here,
    })
}

async fn command<T: fred::types::FromValue>(
    client: &WithOptions<Client>,
    name: &'static str,
    args: &[&str],
) -> Result<T, CacheError> {
    let args = args.iter().map(|arg| Value::from(*arg)).collect();
    client.custom(CustomCommand::new_static(name, None, false), args).await.map_err(|e| failed(&e))
}

/// A time in seconds and microseconds, in milliseconds.
fn there(time: &[String]) -> Option<i64> {
    let [seconds, micros] = time else { return None };
    Some(seconds.parse::<i64>().ok()? * 1_000 + micros.parse::<i64>().ok()? / 1_000)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
