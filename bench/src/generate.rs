//! The generator: one thread that holds all sockets of one server, says things, and counts what comes.
//!
//! It runs as a process of its own on a core of its own and is told what to do over standard input, a line a command.
//! Between commands it keeps its sessions alive.

mod engine;
mod sender;
mod socket;
mod wire;

use std::io::{BufRead, Write};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use engine::Engine;

/// What a generator is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) dialect: Dialect,
    /// Where the server listens.
    pub(crate) address: String,
    /// The server's processes.
    pub(crate) server: Vec<u32>,
    /// How many sockets hear.
    pub(crate) sockets: usize,
    /// Whose sessions they are, one a socket; also the senders'.
    pub(crate) tokens: Vec<String>,
    /// Where messages go, one after another.
    pub(crate) channels: Vec<String>,
    /// How many connections send.
    pub(crate) senders: usize,
    /// How many bytes one delivery is to be on the wire, where that can be chosen.
    pub(crate) frame: usize,
}

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dialect {
    /// Sessions, and messages over the REST API.
    Clarion,
    /// A room: /sub hears what /pub says.
    Room,
    /// NATS over a WebSocket: a subject.
    Nats,
}

/// What it is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// Says so many messages at once and waits until everybody has them, again and again until the server has used so
    /// much processor time or so much time has passed.
    Fanout { at_once: usize, cpu_s: f64, wall_s: f64 },
    /// Every sender says one message after another, for so long; or all together so many a second, whenever one is due.
    Send { wall_s: f64, per_s: Option<f64> },
    /// Answers once every session has been acknowledged a heartbeat.
    Beat,
    /// Messages at a steady rate, whatever becomes of them.
    Steady(Steady),
}

/// A flow that waits for nobody, and sockets that may stop reading it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Steady {
    pub(crate) per_s: f64,
    /// It lasts longer when those who stopped are not back by then.
    pub(crate) wall_s: f64,
    /// What messages say after their number of twelve digits and a space.
    pub(crate) content: String,
    /// One socket in so many is slow. Its times are not counted, whether it stops or not.
    pub(crate) one_in: usize,
    /// Whether the slow ones stop reading, until the server has let go of all of them.
    pub(crate) stops: bool,
    /// Where the server's metrics are.
    pub(crate) admin: String,
}

/// What came of a steady flow. Times are from when a message was due until a socket that reads had it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Flow {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) worst_ms: f64,
    /// p99 of what was due until all slow ones were let go, from then until all were back, and after that.
    pub(crate) p99_by_part_ms: [f64; 3],
    /// How much later than it was due a message was sent, at worst.
    pub(crate) late_ms: f64,
    /// How long the server's threads were ready and had no processor, all together.
    pub(crate) starved_s: f64,
    /// Most bytes that waited in the server: until all slow ones were let go, and while they came back.
    pub(crate) backlog: [u64; 2],
    pub(crate) slow: usize,
    /// How many of them were closed with this code …
    pub(crate) closed: Vec<(u16, usize)>,
    /// … and how many were cut without one.
    pub(crate) cut: usize,
    /// How many resumed, heard every message once and in the order in which the others did.
    pub(crate) whole: usize,
    /// From when they stopped until all were let go, and until all were back.
    pub(crate) let_go_s: f64,
    pub(crate) back_s: f64,
}

/// What came of a command.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) messages: u64,
    pub(crate) deliveries: u64,
    /// Of deliveries, as they were on the wire.
    pub(crate) bytes: u64,
    pub(crate) wall_s: f64,
    pub(crate) server_cpu_s: f64,
    pub(crate) generator_cpu_s: f64,
    /// Of each round, or of each send, from its beginning to its end.
    pub(crate) latencies_ms: Vec<f64>,
    /// Of a steady flow.
    pub(crate) flow: Option<Flow>,
}

/// Serves commands until standard input ends. The first line is the [`Spec`].
pub(crate) fn run() -> anyhow::Result<()> {
    let (lines, commands) = mpsc::sync_channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    let spec: Spec = serde_json::from_str(&commands.recv()?)?;
    let mut engine = Engine::connect(spec)?;
    say(&"ready")?;
    loop {
        match commands.try_recv() {
            Ok(line) => {
                let sample = engine.obey(&serde_json::from_str(&line)?)?;
                say(&sample)?;
            }
            Err(mpsc::TryRecvError::Empty) => engine.idle(Duration::from_millis(20))?,
            Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
        }
    }
}

fn say(what: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(what)?)?;
    Ok(out.flush()?)
}
