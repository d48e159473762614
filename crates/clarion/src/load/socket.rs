//! One socket of a run: connects, keeps a session, and hands on what comes.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::run::{Phase, Run};
use super::schedule::{Chance, backoff};
use super::session::{After, Session, Step};
use super::stamp::Stamp;
use super::tally::frame_bytes;

/// Longest wait for a connection, or for a session on it.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// Bytes that are read at once. The library's default would be a gigabyte for 8,000 sockets.
const BUFFER: usize = 4 << 10;
/// What the kernel keeps for a socket that does not read; by itself it keeps megabytes, and no server would notice.
const STALLED_BUFFER: u32 = 16 << 10;
/// How many messages are taken before something else has its turn.
const TURN: usize = 64;
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
const FAR: Duration = Duration::from_secs(86_400);

type Stream = WebSocketStream<TcpStream>;

/// How a connection ended.
enum End {
    /// The run is over.
    Stopped,
    /// The session is to go on where the socket was at first.
    GoingHome,
    /// Something went wrong; what to do, and the kind of it.
    Broken(After, String),
}

struct Socket {
    run: Arc<Run>,
    number: usize,
    session: Session,
    phase: tokio::sync::watch::Receiver<Phase>,
    home: tokio::sync::watch::Receiver<()>,
    /// How many hosts further than at first it connects: to the next one after each connection that was lost.
    away: usize,
    /// Messages of a replay, until it is known whether some of them came before.
    replay: Vec<(u64, usize, Stamp)>,
    chance: Chance,
    stalls: bool,
    /// Whether it counts among those that have a session.
    live: bool,
    tries: u32,
    heartbeat: Pin<Box<Sleep>>,
    /// When to begin a session over the same connection.
    anew: Pin<Box<Sleep>>,
}

/// Keeps a socket connected from when it is due until the run stops.
pub(super) async fn keep(run: Arc<Run>, number: usize, due: Instant) {
    sleep_until(due).await;
    let far = Instant::now() + FAR;
    let mut socket = Socket {
        number,
        session: Session::new(run.token_of_socket(number).to_owned()),
        phase: run.phase(),
        home: run.home(),
        away: 0,
        replay: Vec::new(),
        chance: Chance::new(run.options.seed, number as u64),
        stalls: run.options.stalls(number),
        run,
        live: false,
        tries: 0,
        heartbeat: Box::pin(sleep_until(far)),
        anew: Box::pin(sleep_until(far)),
    };
    while !matches!(*socket.phase.borrow(), Phase::Stop) {
        let end = socket.connection().await;
        socket.set_live(false);
        // What came of a replay that was cut short may have come before.
        socket.take_replay(true);
        let (after, kind) = match end {
            End::Broken(after, kind) => (after, kind),
            End::GoingHome => {
                (socket.away, socket.tries) = (0, 0);
                continue;
            }
            End::Stopped => return,
        };
        socket.broken(after, kind);
        socket.away += 1;
        if after == After::Stop {
            return;
        }
        let wait = backoff(socket.tries, AGAIN_AFTER.0, AGAIN_AFTER.1, &mut socket.chance);
        socket.tries += 1;
        let stopped = socket.phase.wait_for(|phase| matches!(phase, Phase::Stop));
        if tokio::time::timeout(wait, stopped).await.is_ok() {
            return;
        }
    }
}

impl Socket {
    async fn connection(&mut self) -> End {
        let opened = tokio::time::timeout(CONNECT_WITHIN, self.open()).await;
        let mut stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => return End::Broken(self.session.closed(None), "connect".to_owned()),
            Err(_) => return End::Broken(self.session.closed(None), "connect timeout".to_owned()),
        };
        self.run.state().tally.connects += 1;
        // Until there is a session, the time for one.
        self.heartbeat.as_mut().reset(Instant::now() + CONNECT_WITHIN);
        self.anew.as_mut().reset(Instant::now() + FAR);
        loop {
            let mut taken = 0;
            while taken < TURN
                && let Some(message) = stream.next().now_or_never()
            {
                taken += 1;
                if let Some(end) = self.take(&mut stream, message).await {
                    return end;
                }
            }
            let end = tokio::select! {
                message = stream.next() => self.take(&mut stream, message).await,
                changed = self.phase.changed() => self.change(&mut stream, changed.is_ok()).await,
                () = &mut self.heartbeat => self.beat(&mut stream).await,
                _ = self.home.changed(), if self.live => self.is_away().then_some(End::GoingHome),
                () = &mut self.anew => {
                    self.anew.as_mut().reset(Instant::now() + FAR);
                    let opening = self.session.opening();
                    self.say(&mut stream, opening).await
                }
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    async fn open(&self) -> anyhow::Result<Stream> {
        let target = self.run.target(self.number + self.away);
        let socket = if target.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if self.stalls {
            socket.set_recv_buffer_size(STALLED_BUFFER)?;
        }
        let stream = socket.connect(target.address).await?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(0);
        let opened = tokio_tungstenite::client_async_with_config(&target.socket, stream, Some(config)).await;
        Ok(opened.context("no socket")?.0)
    }

    fn is_away(&self) -> bool {
        !std::ptr::eq(self.run.target(self.number), self.run.target(self.number + self.away))
    }

    async fn take(&mut self, stream: &mut Stream, message: Option<Result<Message, impl Sized>>) -> Option<End> {
        match message {
            Some(Ok(Message::Text(text))) => self.hear(stream, text.as_str()).await,
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map(|frame| u16::from(frame.code));
                let kind = code.map_or_else(|| "closed".to_owned(), |code| format!("closed {code}"));
                Some(End::Broken(self.session.closed(code), kind))
            }
            Some(Ok(_)) => None,
            Some(Err(_)) | None => Some(End::Broken(self.session.closed(None), "broken".to_owned())),
        }
    }

    async fn hear(&mut self, stream: &mut Stream, text: &str) -> Option<End> {
        let bytes = frame_bytes(text.len());
        match self.session.hear(text) {
            Step::Message(id, channel, content) => {
                self.message(id, channel, &content, bytes);
                return None;
            }
            Step::Nothing => {}
            Step::Begin(said) => return self.say(stream, said).await,
            Step::Heartbeat => {
                let beat = self.session.beat();
                return self.say(stream, beat).await;
            }
            Step::Ready => {
                self.run.state().checker.end(self.number);
                self.begun(false);
            }
            Step::Resumed(again) => {
                self.take_replay(again);
                self.begun(true);
            }
            Step::Guild(channels) => self.run.stands(self.number, &channels),
            Step::Reconnect => return Some(End::Broken(After::Resume, "asked to reconnect".to_owned())),
            Step::Anew(least, most) => {
                self.take_replay(true);
                let mut state = self.run.state();
                state.tally.invalidated += 1;
                if !self.session.is_resumable() {
                    state.checker.end(self.number);
                }
                drop(state);
                self.set_live(false);
                let wait = least + self.chance.share(most - least);
                self.heartbeat.as_mut().reset(Instant::now() + wait + CONNECT_WITHIN);
                self.anew.as_mut().reset(Instant::now() + wait);
            }
            Step::Nonsense => return Some(End::Broken(self.session.closed(None), "not the protocol".to_owned())),
        }
        self.run.state().tally.bytes += bytes;
        None
    }

    fn message(&mut self, id: u64, channel: u64, content: &str, bytes: u64) {
        let now = self.run.began.elapsed();
        let ours = Stamp::read(content).filter(|stamp| stamp.run == self.run.id);
        let (Some(stamp), Some(channel)) = (ours, self.run.channel(channel)) else { return };
        let mut state = self.run.state();
        let state = &mut *state;
        state.tally.deliveries += 1;
        state.tally.message_bytes += bytes;
        state.tally.bytes += bytes;
        if self.session.replaying {
            state.tally.replayed += 1;
            self.replay.push((id, channel, stamp));
            return;
        } else if !self.stalls {
            state.moment.delivery.record(now.saturating_sub(Duration::from_micros(stamp.due_us)));
        }
        state.checker.delivered(self.number, channel, id, stamp.sender, stamp.number);
    }

    /// Has the messages of a replay judged; `again`: some of them may have come before.
    fn take_replay(&mut self, again: bool) {
        let mut state = self.run.state();
        let mut seen = BTreeSet::new();
        for (id, channel, stamp) in self.replay.drain(..) {
            if again && seen.insert(channel) {
                state.checker.again(self.number, channel, id);
            }
            state.checker.delivered(self.number, channel, id, stamp.sender, stamp.number);
        }
    }

    fn begun(&mut self, resumed: bool) {
        self.tries = 0;
        self.set_live(true);
        let mut state = self.run.state();
        if resumed {
            state.tally.resumed += 1;
        } else {
            state.tally.ready += 1;
        }
        // The first heartbeat at any moment of the interval, so that sockets do not beat together.
        let first = self.chance.share(self.session.heartbeat);
        self.heartbeat.as_mut().reset(Instant::now() + first);
    }

    async fn beat(&mut self, stream: &mut Stream) -> Option<End> {
        if !self.live {
            return Some(End::Broken(self.session.closed(None), "no session in time".to_owned()));
        }
        if !self.session.alive {
            return Some(End::Broken(self.session.closed(None), "heartbeat not acknowledged".to_owned()));
        }
        self.heartbeat.as_mut().reset(Instant::now() + self.session.heartbeat);
        let beat = self.session.beat();
        self.say(stream, beat).await
    }

    async fn say(&mut self, stream: &mut Stream, text: String) -> Option<End> {
        match stream.send(Message::text(text)).await {
            Ok(()) => None,
            Err(_) => Some(End::Broken(self.session.closed(None), "broken".to_owned())),
        }
    }

    /// The run has come to another phase.
    async fn change(&mut self, stream: &mut Stream, goes_on: bool) -> Option<End> {
        let phase = *self.phase.borrow_and_update();
        if self.stalls && matches!(phase, Phase::Send) {
            // A run that is gone ends the wait.
            let _ = self.phase.wait_for(|phase| !matches!(phase, Phase::Send)).await;
            return None;
        }
        if matches!(phase, Phase::Stop) || !goes_on {
            // With a code that ends the session: nobody comes back to it.
            let close = tokio_tungstenite::tungstenite::protocol::CloseFrame { code: 1000.into(), reason: "".into() };
            let _ = tokio::time::timeout(Duration::from_secs(1), stream.close(Some(close))).await;
            return Some(End::Stopped);
        }
        None
    }

    fn set_live(&mut self, live: bool) {
        if self.live != live {
            self.live = live;
            let tally = &mut self.run.state().tally;
            tally.live = if live { tally.live + 1 } else { tally.live - 1 };
        }
    }

    fn broken(&self, after: After, kind: String) {
        let mut state = self.run.state();
        state.tally.reconnects += u64::from(after != After::Stop);
        state.tally.error(format!("socket: {kind}"));
        if after == After::Anew {
            state.checker.end(self.number);
        }
    }
}
