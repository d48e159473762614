//! The cache in a Redis server: for services that are not in one process.
//!
//! A call is one script, or one command, that is either done or not; it is not tried again, because whoever uses a cache
//! has something better to do than to wait. A version is drawn by chance: Redis may begin anew, and may then know no
//! version that it gave before.
//!
//! Without a connection every call fails at once. After a few that fail in a row, as those to a server that hangs do, the
//! circuit opens: then calls fail at once too, and the server is asked for a sign of life until it gives one.

mod inspect;
mod script;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use clarion_observability::log::{self, ErrorInfo, Fields};
use clarion_observability::metric::CircuitTarget;
use clarion_observability::{Circuit, CircuitLimits, Telemetry};
use fred::clients::{Client, WithOptions};
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, HashesInterface, LuaInterface};
use fred::types::config::{Config as FredConfig, Options, ReconnectPolicy, ServerConfig};
use fred::types::scripts::Script;
use fred::types::{Builder, InfoKind, Value};

pub use inspect::{RedisInspection, inspect};

use super::config::{OpenError, RedisConfig};
use super::{Cache, CacheError, CacheKey, Count, Hash, Memory, Row, Turn, Version, Window};

/// Waits between attempts to connect, in milliseconds: from, to, and how much chance lies in each.
const RECONNECT: (u32, u32, u32) = (50, 1_000, 200);
/// A connection on which an answer is this late is given up, looked for every `CHECK`.
const UNRESPONSIVE: Duration = Duration::from_secs(3);
const CHECK: Duration = Duration::from_millis(500);
/// When the circuit opens, and for how long. Each failure may have cost its caller the whole time limit.
const LIMITS: CircuitLimits =
    CircuitLimits { failures: 3, pause: Duration::from_millis(500), longest: Duration::from_millis(500) };
/// How often a server that does not answer is asked for a sign of life, so that nobody's call has to be it.
const PROBE: Duration = Duration::from_millis(250);
/// How long a start waits for the server.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// A request of a client waits for a count, and can do without it.
const COUNT_WITHIN: Duration = Duration::from_millis(250);
/// What all keys begin with.
const NAMESPACE: &str = "clarion";

/// Hashes in a Redis server.
pub struct RedisCache {
    client: Client,
    options: Options,
    url: String,
    scripts: Scripts,
    circuit: Circuit,
}

struct Scripts {
    replace: Script,
    change: Script,
    renew: Script,
    forget: Script,
    list: Script,
    count: Script,
    turn: Script,
}

impl RedisCache {
    /// A cache that is connected to once it is run.
    pub fn new(config: &RedisConfig, telemetry: &Telemetry) -> Result<Self, OpenError> {
        let (client, options) = connection(config)?;
        let name = config.url.to_string();
        let circuit = Circuit::new(config.circuit_breaker, LIMITS, CircuitTarget::Cache, name.clone(), telemetry);
        Ok(Self { client, options, url: name, scripts: Scripts::new(), circuit })
    }

    /// Connects. Returns after a while without a connection, too: [`RedisCache::run`] goes on trying.
    pub async fn connect(&self) {
        self.client.connect();
        // Whether it worked is seen by asking.
        let _ = tokio::time::timeout(CONNECT_WITHIN, self.client.wait_for_connect()).await;
    }

    /// Watches over the connection until `stop`, and says when it is lost and back.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut errors = self.client.error_rx();
        let mut stop = std::pin::pin!(stop);
        let mut is_there = self.is_alive().await;
        if is_there {
            log::CACHE_CONNECTED.emit(Fields::detail(&self.url));
        } else {
            self.say_lost("not reached at the start");
        }
        loop {
            tokio::select! {
                () = &mut stop => break,
                Ok((error, _)) = errors.recv(), if is_there => {
                    is_there = false;
                    self.say_lost(&error.to_string());
                }
                () = tokio::time::sleep(PROBE) => {
                    let is_doubtful = !is_there || self.circuit.is_open();
                    if is_doubtful && self.is_alive().await && !is_there {
                        is_there = true;
                        // What was said of the attempts meanwhile is old.
                        errors = self.client.error_rx();
                        log::CACHE_CONNECTED.emit(Fields::detail(&self.url));
                    }
                }
            }
        }
        // Nothing is under way that matters.
        let _ = self.client.quit().await;
    }

    /// Whether it gives a sign of life. The circuit hears of it.
    async fn is_alive(&self) -> bool {
        self.call(self.client().ping::<()>(None)).await.is_ok()
    }

    fn say_lost(&self, why: &str) {
        let error = Some(ErrorInfo { kind: "connection", detail: why.to_owned() });
        log::CACHE_LOST.emit(Fields { error, ..Fields::detail(&self.url) });
    }

    fn client(&self) -> WithOptions<Client> {
        self.client.with_options(&self.options)
    }

    /// Does something, unless the circuit is open; it hears how it went.
    async fn call<T>(&self, what: impl Future<Output = Result<T, Error>>) -> Result<T, CacheError> {
        let left_alone = || CacheError::Failed("the server does not answer, it is left alone".to_owned());
        let admitted = self.circuit.admit().ok_or_else(left_alone)?;
        let answer = what.await.map_err(|error| failed(&error));
        self.circuit.ended(admitted, !matches!(answer, Err(CacheError::Failed(_))));
        answer
    }

    /// Runs a script; by its text when the server does not know it by its hash.
    async fn eval(&self, script: &Script, keys: Vec<String>, args: Vec<Value>) -> Result<Value, CacheError> {
        self.eval_over(self.client(), script, keys, args).await
    }

    /// Runs a script that counts: for a client who waits for it. Answers numbers.
    async fn count_by(&self, script: &Script, keys: Vec<String>, args: Vec<Value>) -> Result<Vec<u64>, CacheError> {
        let within = self.options.timeout.map_or(COUNT_WITHIN, |timeout| timeout.min(COUNT_WITHIN));
        let client = self.client.with_options(&Options { timeout: Some(within), ..self.options.clone() });
        let answer = self.eval_over(client, script, keys, args).await?;
        answer.convert().map_err(|e| failed(&e))
    }

    async fn eval_over(
        &self,
        client: WithOptions<Client>,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Value, CacheError> {
        let run = async {
            match client.evalsha(script.sha1().clone(), keys.clone(), args.clone()).await {
                Err(error) if error.details().starts_with("NOSCRIPT") => {
                    client.eval(script.lua().cloned().unwrap_or_default(), keys, args).await
                }
                known => known,
            }
        };
        self.call(run).await
    }
}

/// A client that has yet to connect, and what holds for each call.
fn connection(config: &RedisConfig) -> Result<(Client, Options), OpenError> {
    let refused = || OpenError::Url(config.url.clone());
    let url = config.url.reveal();
    let mut server = FredConfig::from_url(url).map_err(|_| refused())?;
    let is_one = matches!(server.server, ServerConfig::Centralized { .. });
    if !(is_one && url.starts_with("redis://")) {
        return Err(refused());
    }
    server.fail_fast = false;
    let timeout = Duration::from_millis(config.timeout_ms);
    let (from, to, chance) = RECONNECT;
    let mut policy = ReconnectPolicy::new_exponential(0, from, to, 2);
    policy.set_jitter(chance);
    let client = Builder::from_config(server)
        .set_policy(policy)
        .with_performance_config(|performance| performance.default_command_timeout = timeout)
        .with_connection_config(|connection| {
            connection.connection_timeout = timeout;
            connection.internal_command_timeout = timeout;
            connection.max_command_buffer_len = config.queue;
            connection.reconnect_on_auth_error = true;
            connection.unresponsive.max_timeout = Some(UNRESPONSIVE);
            connection.unresponsive.interval = CHECK;
            connection.tcp.nodelay = Some(true);
        })
        .build()
        .map_err(|_| refused())?;
    let options = Options { fail_fast: true, max_attempts: Some(1), timeout: Some(timeout), ..Options::default() };
    Ok((client, options))
}

impl Scripts {
    fn new() -> Self {
        Self {
            replace: Script::from_lua(script::REPLACE),
            change: Script::from_lua(script::CHANGE),
            renew: Script::from_lua(script::RENEW),
            forget: Script::from_lua(script::FORGET),
            list: Script::from_lua(script::LIST),
            count: Script::from_lua(script::COUNT),
            turn: Script::from_lua(script::TURN),
        }
    }
}

/// The hash of a key, and the set of all ids of its kind.
fn keys(key: &CacheKey) -> Vec<String> {
    vec![format!("{NAMESPACE}:{key}"), ids(key.prefix())]
}

fn ids(prefix: &str) -> String {
    format!("{NAMESPACE}-ids:{prefix}")
}

/// Nothing lives for no time at all.
fn millis(ttl: Duration) -> Value {
    Value::from(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX / 2).clamp(1, i64::MAX / 2))
}

fn text(text: impl Into<String>) -> Value {
    Value::from(text.into())
}

fn fresh() -> Result<Version, CacheError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| CacheError::Failed("no randomness".to_owned()))?;
    Ok(Version(u64::from_ne_bytes(bytes)))
}

fn failed(error: &Error) -> CacheError {
    if error.details().contains("OOM ") {
        return CacheError::Full;
    }
    CacheError::Failed(error.to_string())
}

/// A line of what the server tells of itself.
fn info_value<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn was_known(answer: &Value) -> Result<(), CacheError> {
    if answer.as_i64() == Some(1) { Ok(()) } else { Err(CacheError::Conflict) }
}

fn counted(counted: u64, used: u64, left: u64) -> Count {
    let used = u32::try_from(used).unwrap_or(u32::MAX);
    Count { counted: counted == 1, used, ends_in: Duration::from_millis(left) }
}

#[async_trait::async_trait]
impl Cache for RedisCache {
    async fn list(&self, prefix: &'static str) -> Result<Vec<String>, CacheError> {
        let answer = self.eval(&self.scripts.list, vec![ids(prefix)], Vec::new()).await?;
        answer.convert().map_err(|e| failed(&e))
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Hash>, CacheError> {
        let [hash, _] = &keys(key)[..] else { return Ok(None) };
        let read: BTreeMap<String, Bytes> = self.call(self.client().hgetall(hash)).await?;
        let (mut version, mut fields) = (None, BTreeMap::new());
        for (name, value) in read {
            match name.strip_prefix('f') {
                Some(field) => {
                    fields.insert(field.to_owned(), value);
                }
                None => version = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()),
            }
        }
        Ok(version.map(|version| Hash { version: Version(version), fields }))
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fields: BTreeMap<String, Bytes>,
        ttl: Duration,
    ) -> Result<Version, CacheError> {
        let version = fresh()?;
        let mut args = vec![text(version.0.to_string()), millis(ttl), text(&key.id)];
        for (field, value) in fields {
            args.extend([text(field), Value::Bytes(value)]);
        }
        self.eval(&self.scripts.replace, keys(key), args).await?;
        Ok(version)
    }

    async fn change(
        &self,
        key: &CacheKey,
        known: Version,
        changes: Vec<(String, Option<Bytes>)>,
        ttl: Duration,
    ) -> Result<Version, CacheError> {
        let version = fresh()?;
        let mut args = vec![text(version.0.to_string()), millis(ttl), text(&key.id), text(known.0.to_string())];
        for (field, value) in changes {
            let sign = if value.is_some() { "+" } else { "-" };
            args.extend([text(sign), text(field), Value::Bytes(value.unwrap_or_default())]);
        }
        was_known(&self.eval(&self.scripts.change, keys(key), args).await?)?;
        Ok(version)
    }

    async fn renew(&self, key: &CacheKey, known: Version, ttl: Duration) -> Result<(), CacheError> {
        let args = vec![text(known.0.to_string()), millis(ttl), text(&key.id)];
        was_known(&self.eval(&self.scripts.renew, keys(key), args).await?)
    }

    async fn forget(&self, key: &CacheKey) -> Result<(), CacheError> {
        self.eval(&self.scripts.forget, keys(key), vec![text(&key.id)]).await.map(drop)
    }

    async fn count(&self, windows: &[Window]) -> Result<Vec<Count>, CacheError> {
        let keys = windows.iter().map(|window| format!("{NAMESPACE}:{}", window.key)).collect();
        let args = windows.iter().flat_map(|window| [Value::from(i64::from(window.limit)), millis(window.length)]);
        let numbers = self.count_by(&self.scripts.count, keys, args.collect()).await?;
        Ok(numbers.chunks_exact(3).map(|of| counted(of[0], of[1], of[2])).collect())
    }

    async fn turn(&self, window: &Window, row: &Row) -> Result<Turn, CacheError> {
        let keys = [&window.key, &row.key].map(|key| format!("{NAMESPACE}:{key}")).to_vec();
        let mut args = vec![Value::from(i64::from(window.limit)), millis(window.length), millis(row.every)];
        args.extend([row.ahead(), row.longest].map(|time| Value::from(i64::try_from(time.as_millis()).unwrap_or(0))));
        match self.count_by(&self.scripts.turn, keys, args).await?[..] {
            [taken, used, left, wait, clear] => Ok(Turn {
                wait: (taken == 1).then_some(Duration::from_millis(wait)),
                count: counted(taken, used, left),
                clear_in: Duration::from_millis(clear),
            }),
            ref other => Err(CacheError::Failed(format!("an answer of {} numbers", other.len()))),
        }
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn memory(&self) -> Result<Memory, CacheError> {
        let info: String = self.call(self.client().info(Some(InfoKind::All))).await?;
        let value = |name: &str| info_value(&info, name).and_then(|value| value.parse::<u64>().ok());
        // Without a limit of its own it may have all that the machine has.
        let limit = value("maxmemory").filter(|limit| *limit > 0).or_else(|| value("total_system_memory"));
        let (used, evicted) = (value("used_memory"), value("evicted_keys"));
        Ok(Memory {
            used: used.unwrap_or_default(),
            allocated: limit.unwrap_or_default(),
            evicted: evicted.unwrap_or_default(),
        })
    }
}
