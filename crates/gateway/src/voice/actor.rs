//! The actor: takes what is told, does what the book says, and brings back what came of it.

mod handed;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_model::id::{ChannelId, UserId};
use clarion_observability::{Instrument, Span, log, span};
use clarion_proto::v1;
use clarion_proto::v1::voice_client::VoiceClient;
use clarion_proto::v1::voice_notice::Notice;
use clarion_runtime::{Address, Peer};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::book::{Admitted, Book, Do, Found, LegKey, NotAllowed};
use super::call::{self, Ask};
use super::{Command, Endpoint, Parts};
use crate::api::{VoiceRefused, dispatch};
use crate::directory::CallError;
use crate::frame::Dispatch;
use handed::HandedOver;

/// What calls and streams bring; they wait beyond it.
const BROUGHT: usize = 4_096;
/// Calls that are under way at a time; more wait their turn.
const CALLS: usize = 64;
/// Dispatches that wait for the hub. Beyond it, those that may be lost are.
const PUSHES: usize = 4_096;
const TICK: Duration = Duration::from_secs(1);
/// How long a server that cannot be heard is left alone.
const ATTEND_AGAIN: Duration = Duration::from_millis(200);

/// What came of a call, or over a stream.
enum Brought {
    Asked { key: LegKey, person: bool, channel: Option<ChannelId>, result: Result<(), CallError> },
    Placed { key: LegKey, turn: u64, result: Option<Box<Admitted>> },
    Found { key: LegKey, turn: u64, result: Option<Box<Found>> },
    Allowed { key: LegKey, turn: u64, result: Result<(), NotAllowed> },
    Attended { server: String, works: bool },
    Heard { server: String, notice: Notice },
}

/// Somebody's wish, and in whose name.
struct Wish {
    ask: Ask,
    person: bool,
    span: Span,
}

pub(super) struct Actor {
    parts: Parts,
    routers: Vec<Peer>,
    /// The voice servers that each router knows.
    lists: HashMap<Address, Vec<v1::VoiceServer>>,
    book: Book,
    /// Sessions whose wish is with the guild's owner, and the one that comes next; earlier ones do not matter.
    asking: HashMap<LegKey, Option<Wish>>,
    attending: HashMap<String, CancellationToken>,
    /// Sessions in voice that went to other gateways a moment ago; no more than there were here.
    handed: HashMap<LegKey, HandedOver>,
    pushes: VecDeque<(String, Dispatch)>,
    out: mpsc::Sender<Brought>,
    brought: mpsc::Receiver<Brought>,
    calls: Arc<Semaphore>,
}

impl Actor {
    pub(super) fn new(parts: Parts) -> Self {
        let (out, brought) = mpsc::channel(BROUGHT);
        Self {
            routers: parts.routers.iter().map(|router| parts.host.peer(router)).collect(),
            lists: HashMap::new(),
            parts,
            book: Book::default(),
            asking: HashMap::new(),
            attending: HashMap::new(),
            handed: HashMap::new(),
            pushes: VecDeque::new(),
            out,
            brought,
            calls: Arc::new(Semaphore::new(CALLS)),
        }
    }

    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let stop = self.parts.stop.clone();
        loop {
            let due = self.book.due();
            let due_at = due.unwrap_or_else(Instant::now);
            let hub = self.parts.hub.clone();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(command) = self.parts.commands.recv() => self.command(command),
                Some(brought) = self.brought.recv() => self.take(brought),
                // The hub may wait for this actor: it is not waited for.
                room = hub.room(), if !self.pushes.is_empty() => match (room, self.pushes.pop_front()) {
                    (Some(room), Some((session, dispatch))) => room.tell(session, dispatch),
                    _ => break,
                },
                () = tokio::time::sleep_until(due_at.into()), if due.is_some() => self.tick(),
                _ = tick.tick() => self.tick(),
            }
        }
        self.attending.values().for_each(CancellationToken::cancel);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Keep { key, wanted } => {
                // It is back.
                self.handed.remove(&key);
                let what = self.book.keep(&key, wanted);
                self.act(what);
            }
            Command::HandedOver { session } => self.hand_over(&session),
            Command::Ask { session, user, person, request, span } => {
                let key = (request.guild_id, session);
                if let Some(channel) = request.channel_id
                    && !self.asking.contains_key(&key)
                    && self.book.is_there(&key, channel, request.self_mute, request.self_deaf)
                {
                    let what = self.book.rejoin(&key);
                    return self.act(what);
                }
                let ask = Ask {
                    key,
                    user,
                    channel: request.channel_id,
                    self_mute: request.self_mute,
                    self_deaf: request.self_deaf,
                    again: false,
                    if_own: false,
                };
                self.ask(Wish { ask, person, span });
            }
            Command::Want { key, wanted } => {
                if wanted.is_none() {
                    self.end_media(&key);
                }
                let what = self.book.want(&key, wanted);
                self.act(what);
            }
            Command::Again { key, user, channel, self_mute, self_deaf } => {
                let ask = Ask { key, user, channel: Some(channel), self_mute, self_deaf, again: true, if_own: false };
                // Whatever the client wants by now comes after it, and matters more.
                if !self.asking.contains_key(&ask.key) {
                    self.ask(Wish { ask, person: false, span: Span::none() });
                }
            }
            // One that was handed over is waited for; one that has gone further is another gateway's.
            Command::Leave { key, user } if !self.handed.contains_key(&key) => self.leave(key, user, true),
            Command::Leave { .. } => {}
            Command::Ended { session } => {
                let asked = self.asking.iter_mut().filter(|((_, id), _)| *id == session);
                // What it asked for last is with the owner: once that is settled the hub sees that nobody is there.
                asked.for_each(|(_, next)| *next = None);
                for (guild, user) in self.book.guilds_of(&session) {
                    let key = (guild, session.clone());
                    let what = self.book.want(&key, None);
                    self.act(what);
                    self.leave(key, user, false);
                }
            }
            Command::Servers(router, servers) => {
                self.lists.insert(router, servers);
                let what = self.book.servers(union(&self.lists));
                self.show_servers();
                self.act(what);
            }
        }
    }

    fn take(&mut self, brought: Brought) {
        let what = match brought {
            Brought::Asked { key, person, channel, result } => {
                if let Some(Some(next)) = self.asking.remove(&key) {
                    self.ask(next);
                } else if let (Err(error), true) = (result, person) {
                    self.refuse(&key, channel, &error);
                }
                return;
            }
            Brought::Placed { key, turn, result } => {
                let url = result.as_ref().map(|admitted| admitted.admission.url.clone());
                let what = self.book.placed(&key, turn, result.map(|admitted| *admitted), Instant::now());
                // A router may name a server to whoever asks before it has told of it.
                if url.is_some_and(|url| self.parts.endpoints.server(&url).is_none()) {
                    self.show_servers();
                }
                what
            }
            Brought::Found { key, turn, result } => self.book.found(&key, turn, result.map(|found| *found)),
            Brought::Allowed { key, turn, result } => self.book.allowed(&key, turn, result),
            Brought::Attended { server, works } => self.book.attended(&server, works),
            Brought::Heard { server, notice } => match notice {
                Notice::Heard(room) => self.book.heard(&server, room),
                Notice::Left(left) => self.book.left(&server, &left),
                // The router knows it, too, and places by it.
                Notice::Load(_) => Vec::new(),
            },
        };
        self.act(what);
    }

    /// The rest of the gateway sees the servers there are.
    fn show_servers(&self) {
        let endpoints = self.book.endpoints().filter_map(|(region, url, address)| {
            let peer = self.parts.host.peer(&address.parse().ok()?);
            Some(Endpoint { region: region.to_owned(), url: url.to_owned(), peer })
        });
        self.parts.endpoints.set(endpoints.collect());
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let what = self.book.tick(now);
        self.act(what);
        self.let_go_of_late(now);
        let rooms = self.book.rooms().into_iter();
        let rooms = rooms.map(|(channel, server)| v1::VoiceRoom { channel_id: channel.0, server }).collect();
        self.parts.rooms.send_if_modified(|told| {
            let now = v1::VoiceRooms { rooms };
            let is_new = *told != now;
            *told = now;
            is_new
        });
    }

    fn act(&mut self, what: Vec<Do>) {
        for what in what {
            self.act_one(what);
        }
    }

    fn act_one(&mut self, what: Do) {
        let (host, out, calls) = (self.parts.host.clone(), self.out.clone(), self.calls.clone());
        match what {
            Do::Find { key, turn, wanted } => {
                let (routers, region) = (self.routers.clone(), self.parts.region.clone());
                let gateway = self.parts.gateway.clone();
                let others = self.book.listed();
                self.parts.host.spawn("voice find", async move {
                    let _turn = calls.acquire().await;
                    let found = call::find_there(host, routers, others, key.clone(), wanted, region, gateway).await;
                    let _ = out.send(Brought::Found { key, turn, result: found.map(Box::new) }).await;
                });
            }
            Do::Place { key, turn, wanted } => {
                let (routers, region) = (self.routers.clone(), self.parts.region.clone());
                let gateway = self.parts.gateway.clone();
                self.parts.host.spawn("voice place", async move {
                    let _turn = calls.acquire().await;
                    let result = call::place(host, routers, key.clone(), wanted, region, gateway).await.map(Box::new);
                    let _ = out.send(Brought::Placed { key, turn, result }).await;
                });
            }
            Do::Allow { address, key, turn, request, before } => {
                let request = v1::AllowRequest { gateway: self.parts.gateway.clone(), ..request };
                self.parts.host.spawn("voice allow", async move {
                    let _turn = calls.acquire().await;
                    let result = call::allow(host, address, request, before).await;
                    let _ = out.send(Brought::Allowed { key, turn, result }).await;
                });
            }
            Do::Dismiss { address, participant } => {
                self.parts.host.spawn("voice dismiss", async move {
                    let _turn = calls.acquire().await;
                    call::dismiss(host, address, participant).await;
                });
            }
            Do::Push { session, dispatch, may_be_lost } => {
                if !may_be_lost || self.pushes.len() < PUSHES {
                    self.pushes.push_back((session, dispatch));
                }
            }
            Do::Leave { key, user } => self.leave(key, user, false),
            Do::Attend { server, address } => {
                let (stop, gateway) = (CancellationToken::new(), self.parts.gateway.clone());
                if let Some(before) = self.attending.insert(server.clone(), stop.clone()) {
                    before.cancel();
                }
                self.parts.host.spawn("voice attend", async move {
                    let attending = attend(&host, &server, &address, gateway, &out);
                    let _ = stop.run_until_cancelled(attending).await;
                });
            }
            Do::Unattend { server } => {
                if let Some(stop) = self.attending.remove(&server) {
                    stop.cancel();
                }
            }
        }
    }

    /// Takes a wish to the guild's owner, after the one that is there already.
    fn ask(&mut self, wish: Wish) {
        if let Some(next) = self.asking.get_mut(&wish.ask.key) {
            *next = Some(wish);
            return;
        }
        let Wish { ask, person, span } = wish;
        self.asking.insert(ask.key.clone(), None);
        let (directory, gateway) = (self.parts.directory.clone(), self.parts.gateway.clone());
        let (out, calls) = (self.out.clone(), self.calls.clone());
        self.parts.host.spawn("voice ask", async move {
            let (key, channel) = (ask.key.clone(), ask.channel);
            let _turn = calls.acquire().await;
            let result = call::ask(directory, gateway, ask).instrument(span.clone()).await;
            if matches!(result, Err(CallError::Unavailable(_) | CallError::Broken(_))) {
                span::fail(&span, "unavailable");
            }
            drop(span);
            let _ = out.send(Brought::Asked { key, person, channel, result }).await;
        });
    }

    fn leave(&mut self, key: LegKey, user: UserId, if_own: bool) {
        let ask = Ask { key, user, channel: None, self_mute: false, self_deaf: false, again: false, if_own };
        self.ask(Wish { ask, person: false, span: Span::none() });
    }

    /// Tells a person why their session is in no voice channel. Bots find out by hearing nothing.
    fn refuse(&mut self, key: &LegKey, channel: Option<ChannelId>, error: &CallError) {
        let (code, message) = match error {
            CallError::Refused(refusal) => (refusal.code, refusal.message.as_str()),
            _ => (0, "Voice is not available just now"),
        };
        let refused = VoiceRefused { guild_id: key.0.into(), channel_id: channel.map(Into::into), code, message };
        self.act_one(Do::Push {
            session: key.1.clone(),
            dispatch: dispatch::voice_refused(&refused),
            may_be_lost: true,
        });
    }
}

/// The servers that any router knows; one that drains drains, whoever has not heard of it.
fn union(lists: &HashMap<Address, Vec<v1::VoiceServer>>) -> Vec<v1::VoiceServer> {
    let mut all: HashMap<&str, v1::VoiceServer> = HashMap::new();
    for server in lists.values().flatten() {
        let known = all.entry(&server.instance).or_insert_with(|| server.clone());
        known.draining |= server.draining;
    }
    all.into_values().collect()
}

/// Listens to a voice server until that is of no use any more.
async fn attend(
    host: &clarion_runtime::Host,
    server: &str,
    address: &str,
    gateway: String,
    out: &mpsc::Sender<Brought>,
) {
    let Ok(address) = address.parse::<Address>() else { return };
    let told = |works| Brought::Attended { server: server.to_owned(), works };
    loop {
        let request = v1::AttendVoiceRequest { gateway: gateway.clone() };
        let why = match VoiceClient::new(host.peer(&address)).attend(request).await {
            Err(status) => status.to_string(),
            Ok(stream) => {
                let mut stream = stream.into_inner();
                if out.send(told(true)).await.is_err() {
                    return;
                }
                loop {
                    match stream.message().await {
                        Ok(Some(v1::VoiceNotice { notice: Some(notice) })) => {
                            if out.send(Brought::Heard { server: server.to_owned(), notice }).await.is_err() {
                                return;
                            }
                        }
                        Ok(Some(_)) => {}
                        Ok(None) => break "the stream ended".to_owned(),
                        Err(status) => break status.to_string(),
                    }
                }
            }
        };
        log::PEER_UNREACHABLE.emit(log::Fields::detail(format!("{server}: {why}")));
        if out.send(told(false)).await.is_err() {
            return;
        }
        tokio::time::sleep(ATTEND_AGAIN).await;
    }
}
