//! What a forwarded packet costs the thread that forwards it, over real sockets: `cargo bench -p clarion-voice`.
//!
//! Rooms of so many who speak and so many who listen. The processor's time is that of the shard's thread alone, as the
//! kernel counts it; the clients' is not in it, but on loopback the receiving end of each packet is.

#[path = "../tests/calls/bare.rs"]
#[allow(dead_code)]
mod bare;
#[path = "../tests/calls/server.rs"]
#[allow(dead_code)]
mod server;

use std::time::{Duration, Instant};

use bare::{Bare, Connected, OPUS};
use server::{ALL, Voice};

/// How long a round measures, and how many there are.
const ROUND: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;
/// A frame of 32 kbit/s.
const FRAME: [u8; 80] = [0x5A; 80];

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    println!(
        "speakers x listeners | us per forwarded packet, median of {ROUNDS} rounds (all) | forwarded per second | lost"
    );
    for (speakers, listeners) in [(10, 50), (1, 100)] {
        runtime.block_on(room(speakers, listeners));
    }
    runtime.block_on(joins(200));
}

async fn room(speakers: usize, listeners: usize) {
    let mut voice = Voice::start(|_| {}).await;
    let mut speaking = Vec::new();
    let mut listening = Vec::new();
    for n in 0..speakers + listeners {
        let client = join(&mut voice, n as u64 + 1, if n < speakers { 0 } else { 8 }).await;
        client.socket.set_nonblocking(true).expect("set");
        if n < speakers { speaking.push(client) } else { listening.push(client) }
    }
    let mut talk = Talk { number: 0, next: Instant::now() };
    // Speech is noticed, slots are taken, caches are warm.
    talk.go(&mut speaking, &listening, Duration::from_secs(1));
    let mut costs = Vec::new();
    let (mut rate, mut lost) = (0.0, 0.0);
    for _ in 0..ROUNDS {
        // Counts are told every tenth of a second.
        std::thread::sleep(Duration::from_millis(150));
        let (packets, cpu) = (forwarded(&voice), shard_cpu());
        let received = talk.go(&mut speaking, &listening, ROUND);
        std::thread::sleep(Duration::from_millis(150));
        let received = received + drain(&listening);
        let packets = forwarded(&voice) - packets;
        costs.push((shard_cpu() - cpu).as_secs_f64() * 1e6 / packets);
        rate = packets / ROUND.as_secs_f64();
        lost = 1.0 - received as f64 / packets;
    }
    costs.sort_by(f64::total_cmp);
    println!(
        "{speakers:>3} x {listeners:<4} | {:.2} ({costs:.2?}) | {rate:.0} | {:.3} %",
        costs[ROUNDS / 2],
        lost * 100.0
    );
    voice.stop().await;
}

/// How long a session takes to be made, one after another, and what stays of it in memory.
async fn joins(sessions: u64) {
    let mut voice = Voice::start(|_| {}).await;
    join(&mut voice, 1, 8).await;
    let (began, before, cpu) = (Instant::now(), resident(), shard_cpu());
    let mut there = Vec::new();
    for user in 0..sessions {
        there.push(join(&mut voice, user + 2, 8).await);
    }
    let took = began.elapsed();
    println!(
        "{sessions} joins: {:.0} a second, client and server on one machine; {:.2} ms of the shard each; {:.0} KiB a session, client and server",
        sessions as f64 / took.as_secs_f64(),
        (shard_cpu() - cpu).as_secs_f64() * 1e3 / sessions as f64,
        (resident() - before) as f64 / 1024.0 / sessions as f64,
    );
    let cpu = shard_cpu();
    let idle = Duration::from_secs(5);
    std::thread::sleep(idle);
    println!(
        "idle: {:.0} us of the shard a second and session",
        (shard_cpu() - cpu).as_secs_f64() * 1e6 / idle.as_secs_f64() / sessions as f64
    );
    drop(there);
    voice.stop().await;
}

async fn join(voice: &mut Voice, user: u64, slots: usize) -> Connected {
    let admitted = voice.admit(7, user, ALL).await;
    let bare = Bare::new(user as u32 + 1_000);
    let request = reqwest::Client::new().post(&admitted.url).bearer_auth(&admitted.token);
    let request = request.header("content-type", "application/sdp").body(bare.offer(slots));
    let answer = request.send().await.expect("an answer").text().await.expect("a body");
    bare.connect(&answer)
}

struct Talk {
    number: u32,
    next: Instant,
}

impl Talk {
    /// All speakers speak, one after another within each 20 ms; what listeners get is taken off their sockets. How much.
    fn go(&mut self, speakers: &mut [Connected], listeners: &[Connected], how_long: Duration) -> u64 {
        let step = Duration::from_millis(20) / speakers.len() as u32;
        let end = Instant::now() + how_long;
        self.next = Instant::now();
        let mut received = 0;
        let mut at = 0;
        while Instant::now() < end {
            let wait = self.next.saturating_duration_since(Instant::now());
            std::thread::sleep(wait);
            self.next += step;
            speakers[at].say(OPUS, self.number as u16, self.number.wrapping_mul(960), &FRAME);
            at += 1;
            if at == speakers.len() {
                (at, self.number) = (0, self.number + 1);
                received += drain(listeners);
            }
            if self.number.is_multiple_of(100) && at == 0 {
                speakers.iter().chain(listeners).for_each(Connected::check);
            }
        }
        received
    }
}

/// Takes everything off the sockets; how many packets of media there were.
fn drain(listeners: &[Connected]) -> u64 {
    let mut buffer = [0; 2_048];
    let mut received = 0;
    for listener in listeners {
        while let Ok(length) = listener.socket.recv(&mut buffer) {
            let media = length > 12 && buffer[0] >> 6 == 2 && !(192..224).contains(&buffer[1]);
            received += u64::from(media);
        }
    }
    received
}

fn forwarded(voice: &Voice) -> f64 {
    let text = voice.capture.process().render_metrics();
    let lines = text.lines().filter(|line| line.starts_with("voice_packets_total") && line.contains("\"down\""));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// What the shard's thread has used of the processor.
fn shard_cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("tasks").flatten();
    let of = |task: std::fs::DirEntry| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanos = stat.split(' ').next()?.parse().ok()?;
        (name.trim() == "voice-0").then_some(Duration::from_nanos(nanos))
    };
    tasks.filter_map(of).sum()
}

/// Bytes of memory of the process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4_096
}
