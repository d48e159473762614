//! Many guilds with followers at two gateways, and the channel server that owns most of them killed, or hung: how long it
//! takes until each guild accepts and delivers again, and that nothing is lost.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clarion_e2e::{Api, Frame, Processes, Shape, Socket};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::{ALONE, INTENTS, PROGRAM};

/// Everything is back by then.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// Sessions; each guild is followed by two of them, at different gateways.
const SESSIONS: usize = 20;
/// Guilds that are made, or asked, at a time.
const AT_ONCE: usize = 64;
const HEARTBEAT: Duration = Duration::from_secs(10);
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Logs that nobody has opened for so long are all open.
const QUIET: Duration = Duration::from_secs(1);

/// How many guilds there are.
fn guilds() -> usize {
    let asked = std::env::var("CLARION_TEST_GUILDS").ok().and_then(|count| count.parse().ok());
    asked.unwrap_or(if std::env::var_os("CLARION_TEST_LONG").is_some() { 2_000 } else { 150 })
}

/// A guild's channel, and which two sessions follow it.
struct Place {
    channel: String,
    sessions: [usize; 2],
}

/// What came to a session: by channel the ids of messages, in the order in which they came, and when.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Came>>);

#[derive(Default)]
struct Came {
    guilds: usize,
    messages: HashMap<String, Vec<(String, Instant)>>,
}

impl Inbox {
    fn came<T>(&self, look: impl FnOnce(&mut Came) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// When a message came.
    fn when(&self, channel: &str, id: &str) -> Option<Instant> {
        self.came(|came| came.messages.get(channel)?.iter().find(|(other, _)| other == id).map(|(_, at)| *at))
    }

    fn ids(&self, channel: &str) -> Vec<String> {
        self.came(|came| came.messages.get(channel).into_iter().flatten().map(|(id, _)| id.clone()).collect())
    }

    /// Takes what comes over a socket, for ever.
    async fn fill(self, mut socket: Socket) -> anyhow::Result<()> {
        let mut beat = tokio::time::interval(HEARTBEAT);
        loop {
            let frame = tokio::select! {
                frame = socket.next() => frame?,
                _ = beat.tick() => {
                    socket.send(json!({ "op": 1, "d": socket.sequence })).await?;
                    continue;
                }
            };
            match frame {
                Frame::Op { t: Some(name), d, .. } if name == "MESSAGE_CREATE" => {
                    let text = |key: &str| d[key].as_str().unwrap_or_default().to_owned();
                    let (channel, message) = (text("channel_id"), (text("id"), Instant::now()));
                    self.came(|came| came.messages.entry(channel).or_default().push(message));
                }
                Frame::Op { t: Some(name), .. } if name == "GUILD_CREATE" => self.came(|came| came.guilds += 1),
                Frame::Op { .. } => {}
                end => anyhow::bail!("{end:?}"),
            }
        }
    }
}

/// Guilds with their followers, and somebody who asks all of them.
struct Scene {
    places: Vec<Place>,
    inboxes: Vec<Inbox>,
    /// The API at each gateway, as each account sees it.
    apis: Vec<[Api; 2]>,
    /// By guild, the messages that were acknowledged.
    made: Vec<Vec<String>>,
}

/// When a guild accepted and had delivered to both of its followers, after the trouble and after it was first asked.
struct Back {
    accepted: Duration,
    delivered: Duration,
    asked_for: Duration,
}

impl Scene {
    async fn make(cluster: &Processes, readers: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<Self> {
        let accounts = cluster.make_accounts("router-0", SESSIONS).await?;
        let pairs = SESSIONS / 2;
        let (mut places, began) = (Vec::new(), Instant::now());
        let all: Vec<usize> = (0..guilds()).collect();
        for some in all.chunks(AT_ONCE) {
            let made = some.iter().map(|n| {
                let sessions = [2 * (n % pairs), 2 * (n % pairs) + 1];
                let members = sessions.map(|session| accounts[session].0.as_str());
                async move { anyhow::Ok(Place { channel: cluster.found_guild("router-0", &members).await?, sessions }) }
            });
            places.extend(futures_util::future::try_join_all(made).await?);
        }
        println!("{} guilds were made in {:.0?}", places.len(), began.elapsed());
        let began = Instant::now();
        let mut inboxes = Vec::new();
        for (n, (_, token)) in accounts.iter().enumerate() {
            let mut socket = Socket::connect(&format!("ws://{}", cluster.gateway(n % 2)?)).await?;
            socket.identify(token, INTENTS).await?;
            let inbox = Inbox::default();
            readers.spawn(inbox.clone().fill(socket));
            inboxes.push(inbox);
        }
        for (session, inbox) in inboxes.iter().enumerate() {
            let expected = places.iter().filter(|place| place.sessions.contains(&session)).count();
            while inbox.came(|came| came.guilds) < expected {
                ensure!(began.elapsed() < 10 * BACK_WITHIN, "{expected} guilds do not come to session {session}");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
        println!("they are followed after {:.0?}", began.elapsed());
        let at = |n: usize| anyhow::Ok(format!("http://{}/api/v10", cluster.gateway(n)?));
        let bases = [at(0)?, at(1)?];
        let apis = accounts.iter().map(|(_, token)| [0, 1].map(|n| Api::new(&bases[n], token))).collect();
        let made = vec![Vec::new(); places.len()];
        Ok(Self { places, inboxes, apis, made })
    }

    /// Has every guild take a message, many at a time, and waits until each has delivered it.
    async fn ask_all(&mut self, round: usize) -> anyhow::Result<Vec<Back>> {
        let (began, enough) = (Instant::now(), Semaphore::new(AT_ONCE));
        let asked = self.places.iter().enumerate().map(|(n, place)| {
            let (apis, enough) = (&self.apis[place.sessions[n % 2]], &enough);
            let inboxes = place.sessions.map(|session| &self.inboxes[session]);
            async move {
                let _leave = enough.acquire().await?;
                let first = Instant::now();
                let id = accept(apis, place, n + round, &format!("{round}-{n}")).await?;
                let accepted = began.elapsed();
                for inbox in inboxes {
                    while inbox.when(&place.channel, &id).is_none() {
                        ensure!(first.elapsed() < 2 * BACK_WITHIN, "message {id} of guild {n} is not delivered");
                        tokio::time::sleep(AGAIN_AFTER / 4).await;
                    }
                }
                let last = inboxes.iter().filter_map(|inbox| inbox.when(&place.channel, &id)).max().unwrap_or(first);
                let (delivered, asked_for) = (last.duration_since(began), last.saturating_duration_since(first));
                anyhow::Ok((n, id, Back { accepted, delivered, asked_for }))
            }
        });
        let mut backs = Vec::new();
        for (n, id, back) in futures_util::future::try_join_all(asked).await? {
            self.made[n].push(id);
            backs.push(back);
        }
        Ok(backs)
    }

    /// Everything acknowledged was delivered to both followers, once and in order, and is in the history.
    async fn judge(&self) -> anyhow::Result<()> {
        for (n, place) in self.places.iter().enumerate() {
            for session in place.sessions {
                ensure!(self.inboxes[session].ids(&place.channel) == self.made[n], "guild {n} at session {session}");
            }
            let history = self.apis[place.sessions[0]][0].get(&format!("/channels/{}/messages", place.channel)).await?;
            let ids = history.as_array().into_iter().flatten().rev().filter_map(|message| message["id"].as_str());
            ensure!(ids.eq(self.made[n].iter().map(String::as_str)), "the history of guild {n}: {history}");
        }
        Ok(())
    }
}

/// Sends a message until it is acknowledged, now at the one gateway and now at the other. Answers its id.
async fn accept(apis: &[Api; 2], place: &Place, first: usize, nonce: &str) -> anyhow::Result<String> {
    let (path, began) = (format!("/channels/{}/messages", place.channel), Instant::now());
    let body = json!({ "content": nonce, "nonce": nonce, "enforce_nonce": true });
    for tries in first.. {
        let answer = apis[tries % 2].call(Method::POST, &path, Some(body.clone())).await;
        if let Ok((StatusCode::OK, message)) = &answer {
            return message["id"].as_str().map(str::to_owned).context("an id");
        }
        ensure!(began.elapsed() < 2 * BACK_WITHIN, "{answer:?}");
        tokio::time::sleep(AGAIN_AFTER).await;
    }
    unreachable!("it is tried until it is acknowledged")
}

/// Has every guild take a message after a trouble, and looks meanwhile when the logs that lost their owner are open again:
/// whoever is asked comes before those that are only followed.
async fn back_after(
    what: &str,
    scene: &mut Scene,
    round: usize,
    cluster: &Processes,
    lost: &str,
) -> anyhow::Result<()> {
    let (began, over) = (Instant::now(), Cell::new(false));
    let asking = async {
        let backs = scene.ask_all(round).await;
        over.set(true);
        backs
    };
    let opening = async {
        let mut last = began;
        while !over.get() || last.elapsed() < QUIET {
            for name in ["channel-0", "channel-1", "channel-2"].into_iter().filter(|name| *name != lost) {
                if cluster.metric(name, "channel_opening").await? > 0.0 {
                    last = Instant::now();
                }
            }
            ensure!(began.elapsed() < 6 * BACK_WITHIN, "logs are opened all the time");
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        anyhow::Ok(last.duration_since(began))
    };
    let (backs, opened) = tokio::join!(asking, opening);
    let (slowest, opened) = (show(what, &backs.with_context(|| cluster.warnings())?), opened?);
    println!("{what}: the last log was opened after {opened:.2?}");
    ensure!(slowest.max(opened) < BACK_WITHIN, "the last guild is back after {slowest:?}\n{}", cluster.warnings());
    Ok(())
}

/// How many were back by when, in words. Answers how long the slowest one took from being asked: thousands are asked one
/// after another, however soon each of them is back.
fn show(what: &str, backs: &[Back]) -> Duration {
    for (times, of) in [
        (backs.iter().map(|back| back.accepted).collect::<Vec<_>>(), "accepted, from the trouble"),
        (backs.iter().map(|back| back.delivered).collect(), "delivered, from the trouble"),
        (backs.iter().map(|back| back.asked_for).collect(), "delivered, from being asked"),
    ] {
        let mut times: Vec<Duration> = times;
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 1_000];
        let by = [100, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000].map(|ms| {
            let count = times.iter().filter(|time| **time <= Duration::from_millis(ms)).count();
            format!("{ms} ms: {count}")
        });
        println!("{what}: {of}: p50 {:.2?} p99 {:.2?} max {:.2?}; by {}", at(500), at(990), at(1_000), by.join(", "));
    }
    let Some(slowest) = backs.iter().max_by_key(|back| back.asked_for) else { return Duration::ZERO };
    let after_accepted = slowest.delivered.saturating_sub(slowest.accepted);
    println!("{what}: the slowest took {:.2?}, {after_accepted:.2?} of it after it had accepted", slowest.asked_for);
    slowest.asked_for
}

#[tokio::test(flavor = "multi_thread")]
async fn every_guild_is_back_soon_and_nothing_is_lost() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let shape = Shape { routers: 2, channels: 3, presences: 1, gateways: 2 };
    let Some(mut cluster) = Processes::start(Path::new(PROGRAM), shape, &[]).await? else { return Ok(()) };
    let mut readers = JoinSet::new();
    let mut scene = Scene::make(&cluster, &mut readers).await?;
    show("nobody dies", &scene.ask_all(0).await?);
    let owner = cluster.largest_owner().await?;
    cluster.kill(&owner).await?;
    back_after("kill -9", &mut scene, 1, &cluster, &owner).await?;
    cluster.restart(&owner).await?;
    cluster.until_metric(&owner, "channel_slots_owned", |owned| owned > 0.0).await?;
    cluster.until_owned("router-0").await?;
    show("it is back", &scene.ask_all(2).await?);
    let owner = cluster.largest_owner().await?;
    cluster.signal(&owner, "STOP")?;
    back_after("SIGSTOP", &mut scene, 3, &cluster, &owner).await?;
    cluster.signal(&owner, "CONT")?;
    show("it woke up", &scene.ask_all(4).await?);
    scene.judge().await.with_context(|| cluster.warnings())?;
    while let Some(ended) = readers.try_join_next() {
        ended??;
    }
    Ok(())
}
