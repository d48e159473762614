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
    /// The server's process.
    pub(crate) server: u32,
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
    /// Every sender says one message after another, for so long.
    Send { wall_s: f64 },
    /// Answers once every session has been acknowledged a heartbeat.
    Beat,
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
