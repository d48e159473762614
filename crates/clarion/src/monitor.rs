//! `clarion monitor`: a running Clarion on one screen: its warnings as they are written, its metrics and the health of its
//! parts every few seconds. Goes on when the server goes away, and says so.

mod metrics;
mod snapshot;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::load::Operators;
use metrics::Scrape;
use snapshot::Snapshot;

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries to reach a log that cannot be reached.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Longest line that is shown; nothing writes longer ones.
const LONGEST_LINE: usize = 64 << 10;
/// Lines that may wait to be shown. Then the log is not read, and the server counts what it drops.
const WAITING: usize = 256;

/// The flags of `clarion monitor`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// For how many seconds [default: until it is interrupted]
    #[arg(value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,
    /// Seconds between two snapshots
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: u64,
    /// Which log lines are shown: those at least as bad
    #[arg(long, value_name = "LEVEL", default_value = "warn", value_parser = ["error", "warn", "info", "debug"])]
    pub level: String,
    /// Print JSON, an object a line
    #[arg(long)]
    pub json: bool,
}

/// What there is to show.
enum Event {
    Line(String),
    /// The log cannot be read, or can again.
    Log(Result<(), String>),
}

/// Shows what happens until the time is over or it is interrupted.
pub async fn run(options: Options, server: Operators) -> anyhow::Result<()> {
    let screen = Screen { json: options.json, colour: !options.json && std::io::stdout().is_terminal() };
    let (events, mut incoming) = mpsc::channel(WAITING);
    let mut follower = tokio::task::JoinSet::new();
    follower.spawn(follow(server.clone(), options.level.clone(), events));
    let end = options.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let every = Duration::from_secs(options.every);
    let mut watched = Watched::new(server);
    watched.look().await;
    screen.say(&watched.state());
    let mut next = Instant::now() + every;
    let stopped = clarion_runtime::stop_requested();
    let mut stopped = std::pin::pin!(stopped);
    loop {
        let over = async {
            match end {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            stopped = &mut stopped => {
                stopped?;
                break;
            }
            () = over => break,
            () = sleep_until(next) => {
                next += every;
                screen.snapshot(&watched.look().await);
            }
            Some(event) = incoming.recv() => screen.event(event),
        }
    }
    // What has come since the last one.
    if watched.seen.elapsed() > Duration::from_secs(1) {
        screen.snapshot(&watched.look().await);
    }
    Ok(())
}

/// A server, and what it said last.
struct Watched {
    server: Operators,
    last: Option<Scrape>,
    seen: Instant,
    health: Result<Value, String>,
}

impl Watched {
    fn new(server: Operators) -> Self {
        Self { server, last: None, seen: Instant::now(), health: Err("not asked yet".to_owned()) }
    }

    async fn look(&mut self) -> Snapshot {
        self.health = self.get("/readyz").await.and_then(|text| {
            serde_json::from_str(&text).map_err(|error| format!("/readyz does not answer JSON: {error}"))
        });
        let scrape = self.get("/metrics").await.ok().map(|text| Scrape::read(&text));
        let since = self.seen.elapsed();
        self.seen = Instant::now();
        let snapshot = Snapshot::new(self.health.clone(), self.last.as_ref(), scrape.as_ref(), since);
        self.last = scrape;
        snapshot
    }

    fn state(&self) -> Event {
        Event::Log(match &self.health {
            Ok(_) => Ok(()),
            Err(why) => Err(why.clone()),
        })
    }

    async fn get(&self, path: &str) -> Result<String, String> {
        let url = format!("{}{path}", self.server.url);
        let answer = self.server.http.get(&url).timeout(ANSWER_WITHIN).send().await;
        let answer = answer.map_err(|_| format!("no Clarion answers at {}", self.server.url))?;
        answer.text().await.map_err(|error| error.to_string())
    }
}

/// Reads the log for as long as somebody wants it, again and again when it breaks off.
async fn follow(server: Operators, level: String, events: mpsc::Sender<Event>) {
    // Lines of before are shown once.
    let (mut last, mut told) = (20, false);
    loop {
        let why = match lines(&server, &level, last, &events, &mut told).await {
            Ok(()) => "the log has ended".to_owned(),
            Err(why) => why,
        };
        last = 0;
        if !told && events.send(Event::Log(Err(why))).await.is_err() {
            return;
        }
        told = true;
        sleep(AGAIN_AFTER).await;
        if events.is_closed() {
            return;
        }
    }
}

async fn lines(
    server: &Operators,
    level: &str,
    last: usize,
    events: &mpsc::Sender<Event>,
    told: &mut bool,
) -> Result<(), String> {
    let url = format!("{}/admin/v1/logs?level={level}&last={last}&follow=true", server.url);
    let mut request = server.http.get(url);
    if let Some(token) = &server.token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.map_err(|_| format!("no Clarion answers at {}", server.url))?;
    if !answer.status().is_success() {
        return Err(format!("the log is refused: {}", answer.status()));
    }
    if std::mem::take(told) && events.send(Event::Log(Ok(()))).await.is_err() {
        return Ok(());
    }
    let (mut answer, mut buffer) = (answer, Vec::new());
    while let Some(chunk) = answer.chunk().await.map_err(|_| "the log broke off".to_owned())? {
        buffer.extend_from_slice(&chunk);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if events.send(Event::Line(line)).await.is_err() {
                return Ok(());
            }
        }
        if buffer.len() > LONGEST_LINE {
            return Err("the log is not one of lines".to_owned());
        }
    }
    Ok(())
}

/// Where things are shown.
struct Screen {
    json: bool,
    colour: bool,
}

impl Screen {
    fn event(&self, event: Event) {
        match event {
            Event::Line(line) if self.json => println!("{}", json!({ "line": snapshot::parsed(&line) })),
            Event::Line(line) => println!("{}", snapshot::shown(&line, self.colour)),
            state @ Event::Log(_) => self.say(&state),
        }
    }

    fn say(&self, state: &Event) {
        let Event::Log(state) = state else { return };
        let (reached, text) = match state {
            Ok(()) => (true, "reached".to_owned()),
            Err(why) => (false, format!("NOT REACHED: {why}; trying again")),
        };
        if self.json {
            println!("{}", json!({ "reached": reached, "reason": state.as_ref().err() }));
        } else {
            println!("{} {text}", snapshot::clock());
        }
    }

    fn snapshot(&self, snapshot: &Snapshot) {
        if self.json {
            println!("{}", json!({ "snapshot": snapshot }));
        } else {
            println!("{}", snapshot.shown(self.colour));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn flags_are_read_and_errors_name_them() {
        let read = |flags: &[&str]| Alone::try_parse_from([&["monitor"], flags].concat()).map(|alone| alone.options);
        assert_eq!(read(&["60"]).expect("seconds").seconds, Some(60));
        assert_eq!(read(&[]).expect("nothing").seconds, None);
        for (flags, named) in
            [(["0", "--json"], "SECONDS"), (["--every", "0"], "--every"), (["--level", "x"], "--level")]
        {
            let error = read(&flags).expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
