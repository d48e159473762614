//! One task that has the board: takes what gateways say in order, and tells those who watch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_model::id::UserId;
use clarion_model::presence::{Presence, Status};
use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{PresenceEvent, PresenceMetrics, ShownStatus, UpdateError, UpdateType};
use clarion_observability::{TraceContext, span};
use clarion_proto::v1;
use clarion_proto::v1::attend_request::Request;
use clarion_proto::v1::attend_response::Response;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::board::{Board, Change, Kind};
use crate::keeper::{Keep, encode};
use crate::watchers::Watchers;

/// Presences in one message.
const BATCH: usize = 256;
/// Most that one sample answers.
const SAMPLE: usize = 1_000;

/// What a gateway is sent.
pub(crate) type Answer = Result<v1::AttendResponse, tonic::Status>;

/// What the actor is told.
pub(crate) enum Command {
    /// A gateway attends. `found` is what the cache has of it.
    Join { stream: u64, gateway: Arc<str>, to: Attendance, found: Vec<(UserId, Presence)> },
    /// A gateway says something; when that was.
    Heard { stream: u64, at: Instant, request: Request },
    /// A stream has ended.
    Left { stream: u64 },
    /// The cache does not have what a gateway says.
    SayAgain(Arc<str>),
}

/// The sending end of a stream.
pub(crate) struct Attendance {
    pub(crate) queue: mpsc::Sender<Answer>,
    /// Cancelled when nobody listens to the gateway any more.
    pub(crate) ended: CancellationToken,
}

struct Stream {
    gateway: Arc<str>,
    to: Attendance,
}

/// The actor's state.
pub(crate) struct Actor {
    config: Config,
    board: Board,
    watchers: Watchers,
    streams: HashMap<u64, Stream>,
    keeper: mpsc::Sender<Keep>,
    metrics: PresenceMetrics,
}

impl Actor {
    pub(crate) fn new(config: Config, keeper: mpsc::Sender<Keep>, metrics: PresenceMetrics) -> Self {
        let board = Board::new(config.lease(), config.words);
        let watchers = Watchers::new(config.watched);
        Self { config, board, watchers, streams: HashMap::new(), keeper, metrics }
    }

    /// Takes what the cache has from before this server began.
    pub(crate) fn restore(&mut self, gateway: &Arc<str>, words: Vec<(UserId, Presence)>) {
        let count = words.len() as u64;
        if self.board.gateways() < self.config.gateways {
            let changes = self.board.restore(Instant::now(), gateway, words);
            self.count_events(&changes);
            let detail = Some(gateway.to_string());
            log::PRESENCE_RESTORED.emit(Fields { message_count: Some(count), detail, ..Fields::default() });
        }
    }

    /// Works until `stop`; then nobody attends any more.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>, stop: CancellationToken) {
        let every = (self.config.lease() / 20).clamp(Duration::from_millis(10), Duration::from_millis(500));
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looked_at = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(command) = commands.recv() => self.command(command),
                _ = tick.tick() => {
                    let now = Instant::now();
                    if now.duration_since(std::mem::replace(&mut looked_at, now)) > self.config.lease() / 2 {
                        self.board.forgive(now);
                    }
                    self.expire(now);
                }
            }
            self.gauge();
        }
        // What still comes is not heard: the gateways are to attend elsewhere.
        self.streams.values().for_each(|stream| stream.to.ended.cancel());
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Join { stream, gateway, to, found } => self.join(stream, gateway, to, found),
            Command::Heard { stream, at, request } => self.heard(stream, at, request),
            Command::Left { stream } => self.end(stream),
            Command::SayAgain(gateway) => self.keep_all(&gateway),
        }
    }

    fn join(&mut self, stream: u64, gateway: Arc<str>, to: Attendance, found: Vec<(UserId, Presence)>) {
        let now = Instant::now();
        if !self.board.knows(&gateway) {
            if self.board.gateways() >= self.config.gateways {
                self.metrics.update_failures.with(UpdateError::Full).increment(1);
                to.ended.cancel();
                return;
            }
            let changes = self.board.restore(now, &gateway, found);
            self.count_events(&changes);
            self.tell(&changes);
        }
        let former = self.board.join(now, &gateway, stream);
        self.streams.insert(stream, Stream { gateway: gateway.clone(), to });
        if let Some(former) = former {
            self.drop_stream(former);
        }
        log::PRESENCE_GATEWAY_ATTENDS.emit(Fields::detail(gateway.to_string()));
        self.keep_all(&gateway);
        self.send(stream, Response::Welcome(v1::Welcome { lease_ms: self.config.lease_ms }));
    }

    fn heard(&mut self, stream: u64, at: Instant, request: Request) {
        let Some(gateway) = self.streams.get(&stream).map(|s| s.gateway.clone()) else { return };
        self.board.beat(at, &gateway);
        match request {
            Request::Hello(_) => {}
            Request::Words(words) => self.words(&gateway, at, words),
            Request::AllSaid(_) => {
                let changes = self.board.all_said(&gateway);
                self.count_events(&changes);
                self.tell(&changes);
                self.keep_all(&gateway);
            }
            Request::Watch(watch) => self.watch(stream, &watch),
            Request::Unwatch(unwatch) => {
                unwatch.user_ids.into_iter().for_each(|user| self.watchers.unwatch(stream, UserId(user)));
            }
            Request::Sample(sample) => {
                let limit = SAMPLE.min(sample.limit as usize);
                let there = self.there(sample.user_ids.iter().map(|user| UserId(*user))).take(limit);
                let presences = there.collect();
                self.send(stream, Response::Sampled(v1::Sampled { guild_id: sample.guild_id, presences }));
                self.send(stream, Response::Answered(sample.token));
            }
            Request::Beat(_) => {
                self.send(stream, Response::Beat(true));
                self.keep(Keep::Renew { gateway });
            }
        }
    }

    fn words(&mut self, gateway: &Arc<str>, at: Instant, words: v1::Words) {
        let parent = TraceContext::parse(&words.traceparent);
        let (mut changes, mut kinds) = (Vec::new(), Vec::new());
        let spare = words.spare;
        for word in words.words {
            self.metrics.updates.increment(u64::from(!spare));
            let user = UserId(word.user_id);
            let Some(Ok(presence)) = word.presence.map(Presence::try_from).filter(|_| user.0 != 0) else {
                self.metrics.update_failures.with(UpdateError::Invalid).increment(1);
                continue;
            };
            let kept = (presence.status != Status::Offline).then(|| encode(&presence));
            match self.board.say(gateway, user, presence, spare) {
                Err(_) => self.metrics.update_failures.with(UpdateError::Full).increment(1),
                Ok(said) => {
                    if let Some(kind) = said.kind {
                        kinds.extend((!spare).then_some(kind));
                        self.keep(Keep::Word { gateway: gateway.clone(), user, word: kept });
                    }
                    changes.extend(said.change);
                }
            }
        }
        let user = changes.first().filter(|_| !spare).map(|change| change.user);
        let span = parent.zip(user).map(|(parent, user)| span::presence_update(&parent, user));
        self.count_events(&changes);
        let told = self.tell(&changes);
        if let Some(span) = &span {
            span::presence_told(span, told);
        }
        let took = at.elapsed();
        for kind in kinds {
            let kind = match kind {
                Kind::Connect => UpdateType::Connect,
                Kind::Disconnect => UpdateType::Disconnect,
                Kind::StatusChange => UpdateType::StatusChange,
            };
            self.metrics.update_latency.with(kind).record_duration(took);
        }
    }

    fn watch(&mut self, stream: u64, watch: &v1::Watch) {
        let users = watch.user_ids.iter().map(|user| UserId(*user));
        let refused = users.clone().filter(|user| !self.watchers.watch(stream, *user)).count();
        self.metrics.update_failures.with(UpdateError::Full).increment(refused as u64);
        let there: Vec<v1::PresenceChange> = self.there(users).collect();
        for changes in there.chunks(BATCH) {
            self.send(stream, Response::Changes(v1::PresenceChanges { changes: changes.to_vec() }));
        }
        self.send(stream, Response::Answered(watch.token));
    }

    /// Those of some users who are not offline.
    fn there(&self, users: impl Iterator<Item = UserId>) -> impl Iterator<Item = v1::PresenceChange> {
        users.filter_map(|user| {
            let presence = Some((&**self.board.of(user)?).into());
            Some(v1::PresenceChange { user_id: user.0, presence })
        })
    }

    /// Tells every stream of those whom it watches. Answers to how many something was told.
    fn tell(&mut self, changes: &[Change]) -> usize {
        let mut by_stream: HashMap<u64, Vec<v1::PresenceChange>> = HashMap::new();
        for change in changes {
            let streams = self.watchers.of(change.user);
            if streams.is_empty() {
                continue;
            }
            let presence = v1::Presence::from(&*change.after);
            for stream in streams {
                let told = v1::PresenceChange { user_id: change.user.0, presence: Some(presence.clone()) };
                by_stream.entry(*stream).or_default().push(told);
            }
        }
        let told = by_stream.len();
        for (stream, mut changes) in by_stream {
            while changes.len() > BATCH {
                let rest = changes.split_off(BATCH);
                self.send(stream, Response::Changes(v1::PresenceChanges { changes }));
                changes = rest;
            }
            self.send(stream, Response::Changes(v1::PresenceChanges { changes }));
        }
        told
    }

    /// Puts an answer into a stream's queue. One whose queue is full is cut off: it attends again and is told all.
    fn send(&mut self, stream: u64, response: Response) {
        let Some(to) = self.streams.get(&stream) else { return };
        let sent = to.to.queue.try_send(Ok(v1::AttendResponse { response: Some(response) }));
        if let Err(mpsc::error::TrySendError::Full(_)) = &sent {
            self.metrics.update_failures.with(UpdateError::SlowWatcher).increment(1);
            log::PRESENCE_WATCHER_CUT_OFF.emit(Fields::detail(to.gateway.to_string()));
        }
        if sent.is_err() {
            self.end(stream);
        }
    }

    /// A stream is gone; what its gateway said holds for a lease.
    fn end(&mut self, stream: u64) {
        let Some(gateway) = self.drop_stream(stream) else { return };
        self.board.leave(Instant::now(), &gateway, stream);
        log::PRESENCE_GATEWAY_LOST.emit(Fields::detail(gateway.to_string()));
    }

    fn drop_stream(&mut self, stream: u64) -> Option<Arc<str>> {
        let gone = self.streams.remove(&stream)?;
        gone.to.ended.cancel();
        self.watchers.forget(stream);
        Some(gone.gateway)
    }

    fn expire(&mut self, now: Instant) {
        for expired in self.board.expire(now) {
            self.metrics.events.with(PresenceEvent::LeaseExpired).increment(expired.words as u64);
            log::PRESENCE_LEASE_EXPIRED.emit(Fields {
                message_count: Some(expired.words as u64),
                detail: Some(expired.gateway.to_string()),
                ..Fields::default()
            });
            self.count_events(&expired.changes);
            self.tell(&expired.changes);
            self.keep(Keep::Forget { gateway: expired.gateway.clone() });
            // One that hangs is not listened to any more; if it lives, it attends again.
            let hangs = self.streams.iter().filter(|(_, s)| s.gateway == expired.gateway).map(|(id, _)| *id);
            let hangs: Vec<u64> = hangs.collect();
            hangs.into_iter().for_each(|stream| self.end(stream));
        }
    }

    fn keep_all(&self, gateway: &Arc<str>) {
        let words = self.board.words_of(gateway).map(|(user, word)| (user, encode(word))).collect();
        self.keep(Keep::All { gateway: gateway.clone(), words });
    }

    /// The keeper is not waited for: what it has no room for it finds missing later.
    fn keep(&self, job: Keep) {
        if self.keeper.try_send(job).is_err() {
            self.metrics.update_failures.with(UpdateError::Cache).increment(1);
        }
    }

    fn count_events(&self, changes: &[Change]) {
        // The other server that knows of the user counts the same change.
        for change in changes.iter().filter(|change| !change.spare) {
            let event = match change.after.status {
                status if status == change.before.status => PresenceEvent::Activity,
                Status::Online => PresenceEvent::Online,
                Status::Idle => PresenceEvent::Idle,
                Status::Dnd => PresenceEvent::Dnd,
                Status::Invisible | Status::Offline => PresenceEvent::Offline,
            };
            self.metrics.events.with(event).increment(1);
        }
    }

    fn gauge(&self) {
        let shown = self.board.shown();
        self.metrics.users_online.with(ShownStatus::Online).set(shown.online as f64);
        self.metrics.users_online.with(ShownStatus::Idle).set(shown.idle as f64);
        self.metrics.users_online.with(ShownStatus::Dnd).set(shown.dnd as f64);
        self.metrics.subscriptions_active.set(self.watchers.len() as f64);
        self.metrics.gateways.set(self.streams.len() as f64);
    }
}
