//! A steady flow: messages are sent when they are due, and some sockets stop reading for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::{CONTENT, Engine, PATIENCE};
use crate::cpu::{starved, within};
use crate::generate::socket::{Clock, Phase};
use crate::generate::{Flow, Steady};
use crate::http::Http;
use crate::stats::percentile;

/// From the beginning until sockets stop reading, and at least from when they are back until the end.
const BEFORE: Duration = Duration::from_secs(2);
/// Slow ones come back one after another, as clients do that wait for a moment by chance.
const APART: Duration = Duration::from_millis(10);
/// How often metrics are read.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How far those are that stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    /// Since when, and how many had been let go before.
    Stopped(Instant, u64),
    /// Since when they had stopped, and when they were told to go on.
    Returning(Instant, Instant),
    Done,
}

impl Engine {
    /// Sends at a rate for a time, and until everybody has everything.
    pub(super) fn steady(&mut self, steady: &Steady) -> anyhow::Result<Flow> {
        let watch = Watch::start(&steady.admin)?;
        let (before, checked) = (self.counts.deliveries, self.sockets.first().and_then(|s| s.checked));
        let slow: Vec<usize> = (steady.one_in / 2..self.sockets.len()).step_by(steady.one_in).collect();
        for &at in &slow {
            let socket = &mut self.sockets[at];
            (socket.resumed, socket.checked) = (false, checked);
            socket.make_slow()?;
        }
        self.content.clone_from(&steady.content);
        self.counts.clock = Some(Clock { first: self.sent + 1, due: Vec::new(), times_us: Vec::new() });
        let mut flow = Flow { slow: slow.len(), ..Flow::default() };
        let mut stage = if steady.stops { Stage::Reading } else { Stage::Done };
        let (begun, starved_before) = (Instant::now(), starved(&self.spec.server));
        let (mut end, deadline) = (begun + Duration::from_secs_f64(steady.wall_s), begun + PATIENCE * 2);
        // How many messages had been sent when the last was let go, and when the last was back.
        let (mut count, mut marks) = (0_u32, [0; 2]);
        loop {
            let due = begun + Duration::from_secs_f64(f64::from(count) / steady.per_s);
            let over = stage == Stage::Done && due >= end;
            let free = self.senders.iter().position(|s| s.waits_since.is_none());
            if let Some(sender) = free.filter(|_| !over && due <= Instant::now()) {
                flow.late_ms = flow.late_ms.max(due.elapsed().as_secs_f64() * 1e3);
                if let Some(clock) = &mut self.counts.clock {
                    clock.due.push(due);
                }
                self.post(sender)?;
                count += 1;
                continue;
            }
            let next = self.advance(stage, begun, &slow, &watch, &mut flow)?;
            if next == Stage::Done && stage != next {
                end = end.max(within(BEFORE));
            }
            match (stage, next) {
                (Stage::Stopped(..), Stage::Returning(..)) => marks[0] = count,
                (Stage::Returning(..), Stage::Done) => marks[1] = count,
                _ => {}
            }
            stage = next;
            let goal = before + u64::from(count) * self.sockets.len() as u64;
            if over && self.counts.deliveries >= goal && self.senders.iter().all(|s| s.waits_since.is_none()) {
                break;
            }
            if Instant::now() > deadline {
                let missing = goal.saturating_sub(self.counts.deliveries);
                bail!("{missing} deliveries are missing; {} of {} were let go", watch.let_go(), slow.len());
            }
            let wait = if over { LOOK_EVERY } else { due.saturating_duration_since(Instant::now()) };
            self.turn(wait.clamp(Duration::from_millis(1), Duration::from_millis(10)))?;
        }
        self.content = "x".repeat(CONTENT);
        flow.starved_s = (starved(&self.spec.server) - starved_before).as_secs_f64();
        self.same_everywhere()?;
        flow.whole = slow.iter().filter(|at| self.sockets[**at].resumed).count();
        flow.backlog = watch.stop()?;
        let times = self.counts.clock.take().map(|clock| clock.times_us).unwrap_or_default();
        let sorted = |from: u32, to: u32| {
            let part = times.iter().filter(|(at, _)| (from..to).contains(at));
            let mut part: Vec<f64> = part.map(|(_, us)| f64::from(*us) / 1e3).collect();
            part.sort_by(f64::total_cmp);
            part
        };
        if steady.stops {
            let parts = [(0, marks[0]), (marks[0], marks[1]), (marks[1], count)];
            flow.p99_by_part_ms = parts.map(|(from, to)| percentile(&sorted(from, to), 0.99));
        }
        let times = sorted(0, count);
        (flow.p50_ms, flow.p99_ms) = (percentile(&times, 0.5), percentile(&times, 0.99));
        flow.worst_ms = percentile(&times, 1.0);
        Ok(flow)
    }

    /// What the slow ones do next.
    fn advance(
        &mut self,
        stage: Stage,
        begun: Instant,
        slow: &[usize],
        watch: &Watch,
        flow: &mut Flow,
    ) -> anyhow::Result<Stage> {
        match stage {
            Stage::Reading if begun.elapsed() >= BEFORE => {
                slow.iter().for_each(|at| self.sockets[*at].stopped = true);
                Ok(Stage::Stopped(Instant::now(), watch.let_go()))
            }
            Stage::Stopped(since, earlier) if watch.let_go() >= earlier + slow.len() as u64 => {
                watch.returning();
                flow.let_go_s = since.elapsed().as_secs_f64();
                Ok(Stage::Returning(since, Instant::now()))
            }
            Stage::Returning(since, told) => {
                let turn = (told.elapsed().as_secs_f64() / APART.as_secs_f64()) as usize;
                for &at in &slow[..turn.min(slow.len())] {
                    self.go_on(at, flow)?;
                }
                if !slow.iter().all(|at| self.sockets[*at].resumed) {
                    return Ok(stage);
                }
                flow.back_s = since.elapsed().as_secs_f64();
                Ok(Stage::Done)
            }
            Stage::Done if flow.back_s > 0.0 => {
                // Who was given too much while it caught up is let go of again.
                slow.iter().try_for_each(|at| self.go_on(*at, flow))?;
                Ok(stage)
            }
            same => Ok(same),
        }
    }

    /// A slow one reads what there is, and connects anew once that has ended.
    fn go_on(&mut self, at: usize, flow: &mut Flow) -> anyhow::Result<()> {
        let socket = &mut self.sockets[at];
        if std::mem::take(&mut socket.stopped) {
            socket.readable(&mut self.buffer, &mut self.counts)?;
        }
        let Phase::Ended(code) = socket.phase else { return Ok(()) };
        match code {
            None => flow.cut += 1,
            Some(code) => match flow.closed.iter_mut().find(|(other, _)| *other == code) {
                Some((_, count)) => *count += 1,
                None => flow.closed.push((code, 1)),
            },
        }
        let address = self.spec.address.clone();
        socket.reopen(&address)?;
        let interest = mio::Interest::READABLE | mio::Interest::WRITABLE;
        Ok(self.poll.registry().register(&mut self.sockets[at].stream, mio::Token(at), interest)?)
    }
}

/// Reads the server's metrics now and then.
struct Watch {
    seen: Arc<Seen>,
    thread: JoinHandle<anyhow::Result<()>>,
}

#[derive(Default)]
struct Seen {
    let_go: AtomicU64,
    returning: AtomicBool,
    backlog: [AtomicU64; 2],
    stop: AtomicBool,
}

impl Watch {
    fn start(admin: &str) -> anyhow::Result<Self> {
        let seen = Arc::<Seen>::default();
        let mut http = Http::connect(admin)?;
        seen.look(&mut http)?;
        let theirs = seen.clone();
        let thread = std::thread::spawn(move || {
            while !theirs.stop.load(Ordering::Acquire) {
                std::thread::sleep(LOOK_EVERY);
                theirs.look(&mut http)?;
            }
            Ok(())
        });
        Ok(Self { seen, thread })
    }

    /// How many sockets the server has ever let go of because they were slow.
    fn let_go(&self) -> u64 {
        self.seen.let_go.load(Ordering::Acquire)
    }

    fn returning(&self) {
        self.seen.returning.store(true, Ordering::Release);
    }

    /// Most bytes that waited: before somebody returned, and after that.
    fn stop(self) -> anyhow::Result<[u64; 2]> {
        self.seen.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        Ok([0, 1].map(|i| self.seen.backlog[i].load(Ordering::Acquire)))
    }
}

impl Seen {
    fn look(&self, http: &mut Http) -> anyhow::Result<()> {
        let returning = usize::from(self.returning.load(Ordering::Acquire));
        let text = http.text("GET", "/metrics", None, &serde_json::Value::Null)?;
        let sum = |name: &str, label: &str| -> u64 {
            let lines = text.lines().filter(|l| l.starts_with(name) && l.contains(label));
            lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
        };
        self.backlog[returning].fetch_max(sum("websocket_backlog_bytes", ""), Ordering::AcqRel);
        self.let_go.store(sum("websocket_errors_total", "\"slow_consumer\""), Ordering::Release);
        Ok(())
    }
}
