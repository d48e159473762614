//! What a forwarded packet costs the server that forwards it, over real sockets, and what a session costs that says
//! nothing: `cargo bench -p clarion-voice`. Where Janus is installed it does the same in turn, each of its rounds beside
//! one of Clarion's, so that both see the same machine.
//!
//! Rooms of so many who speak and so many who listen. Each server is a process of its own and has a core to itself, the
//! clients have another; a server's cost is what all its threads used of the processor, as the kernel counts it. The
//! clients' time is not in it, but on loopback the receiving end of each packet is. A packet counts when it was received.

#[path = "../../tests/calls/bare.rs"]
#[allow(dead_code)]
mod bare;
mod clarion;
mod janus;
mod processor;
mod talk;

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use bare::Connected;
use clarion::Clarion;
use janus::Janus;
use processor::{Used, middle, resident};
use talk::{Heard, Talk};

/// As the programs have it.
#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long a round measures, and how many there are.
const ROUND: Duration = Duration::from_secs(4);
const ROUNDS: usize = 5;
/// Before it is measured: speech is noticed, slots are taken, caches are warm.
const WARM: Duration = Duration::from_millis(700);
/// Until everything that was sent has come.
const REST: Duration = Duration::from_millis(150);
/// Until memory that is free is given back.
const SETTLED: Duration = Duration::from_secs(2);
/// Sessions that say nothing, and who might speak to them.
const IDLE: usize = 200;
const MIGHT_SPEAK: usize = 8;

const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;

enum Server {
    Clarion(Clarion),
    Janus(Janus),
}

/// A server with its clients, and what was measured of it.
struct Side {
    server: Server,
    talk: Talk,
    /// Microseconds a packet: all threads, and the one that forwards where there is one.
    costs: Vec<(f64, f64)>,
    rate: f64,
    lost: f64,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == clarion::SERVE) {
        return clarion::serve(arguments[at + 1].parse()?);
    }
    processor::stay_on(CLIENT_CORE);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let version = janus::version();
    match &version {
        Some(version) => println!("clarion beside janus {version}, event_loops=2, both with AEAD_AES_128_GCM"),
        None => println!("janus is not installed: clarion alone"),
    }
    // Janus does not use the loopback interface; packets to the machine itself take it all the same.
    let at = own_address().unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let with_janus = version.is_some() && !at.is_loopback();
    runtime.block_on(async {
        for (speakers, listeners) in [(10, 50), (1, 100)] {
            room(at, with_janus, speakers, listeners).await?;
        }
        idle(at, with_janus).await
    })
}

/// The address of this machine to others. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

async fn sides(at: IpAddr, with_janus: bool) -> anyhow::Result<Vec<Side>> {
    let side = |server| Side { server, talk: Talk::default(), costs: Vec::new(), rate: 0.0, lost: 0.0 };
    let mut sides = vec![side(Server::Clarion(Clarion::start(at, SERVER_CORE).await?))];
    if with_janus {
        sides.push(side(Server::Janus(Janus::start(at, SERVER_CORE)?)));
    }
    Ok(sides)
}

async fn room(at: IpAddr, with_janus: bool, speakers: usize, listeners: usize) -> anyhow::Result<()> {
    let mut sides = sides(at, with_janus).await?;
    people(&mut sides, speakers, listeners).await?;
    for round in 0..ROUNDS {
        let mut order: Vec<usize> = (0..sides.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            sides.iter().for_each(|side| side.talk.check());
            sides[at].round();
        }
    }
    println!("{speakers} x {listeners}: us per packet received, median of {ROUNDS} rounds of {} s", ROUND.as_secs());
    for side in &sides {
        let [all, least, most] = middle(side.costs.iter().map(|(all, _)| *all));
        let [shard, ..] = middle(side.costs.iter().map(|(_, shard)| *shard));
        let shard = if shard > 0.0 { format!("; its shard alone {shard:.2}") } else { String::new() };
        println!(
            "  {:<8} {all:.2} ({least:.2} to {most:.2}){shard} | {:.0} a second | {:.3} % lost",
            side.server.name(),
            side.rate / ROUNDS as f64,
            side.lost / ROUNDS as f64 * 100.0
        );
    }
    if let [clarion, janus] = &sides[..] {
        let ratios = clarion.costs.iter().zip(&janus.costs).map(|((one, _), (other, _))| one / other);
        let [ratio, least, most] = middle(ratios);
        println!("  clarion / janus, round by round: {ratio:.2} ({least:.2} to {most:.2})");
    }
    Ok(())
}

/// So many more, of all servers in turn; how long the listeners of each took.
async fn people(sides: &mut [Side], speakers: usize, listeners: usize) -> anyhow::Result<Vec<Duration>> {
    let mut took = vec![Duration::ZERO; sides.len()];
    for n in 0..speakers + listeners {
        for (side, took) in sides.iter_mut().zip(&mut took) {
            if n < speakers {
                side.talk.speaker(side.server.speaker().await?);
            } else {
                let began = Instant::now();
                side.talk.listener(side.server.listener().await?);
                *took += began.elapsed();
            }
        }
        // Nobody is thought gone while others come.
        if n % 3 == 0 {
            sides.iter().for_each(|side| side.talk.check());
        }
    }
    Ok(took)
}

/// What a session takes that listens to a few who are silent: to come, to stay, in memory.
async fn idle(at: IpAddr, with_janus: bool) -> anyhow::Result<()> {
    let mut sides = sides(at, with_janus).await?;
    println!("{IDLE} listeners to {MIGHT_SPEAK} who are silent");
    // What is made once is made by the first.
    people(&mut sides, MIGHT_SPEAK, 1).await?;
    let at_first = |side: &Side| (resident(side.server.process()), Used::of(side.server.process()));
    let before: Vec<_> = sides.iter().map(at_first).collect();
    let took = people(&mut sides, 0, IDLE).await?;
    for ((side, (memory, used)), took) in sides.iter().zip(before).zip(took) {
        let used = Used::of(side.server.process()).since(&used, None);
        // What was needed for the joins alone is given back.
        std::thread::sleep(SETTLED);
        side.talk.check();
        println!(
            "  {:<8} {:.1} KiB a session | a join takes {:.2} ms of the processor; {:.0} a second with its client",
            side.server.name(),
            (resident(side.server.process()) - memory) / 1_024.0 / IDLE as f64,
            used.as_secs_f64() * 1e3 / IDLE as f64,
            IDLE as f64 / took.as_secs_f64(),
        );
    }
    // The same seconds for both; in each round every client gives one sign of life.
    for _ in 0..ROUNDS {
        let before: Vec<Used> = sides.iter().map(|side| Used::of(side.server.process())).collect();
        sides.iter().for_each(|side| side.talk.check());
        std::thread::sleep(ROUND);
        for (side, before) in sides.iter_mut().zip(before) {
            let used = Used::of(side.server.process()).since(&before, None);
            side.talk.listen(&mut Heard::default());
            let sessions = (IDLE + 1 + MIGHT_SPEAK) as f64;
            side.costs.push((used.as_secs_f64() * 1e6 / ROUND.as_secs_f64() / sessions, 0.0));
        }
    }
    for side in &sides {
        let [cost, least, most] = middle(side.costs.iter().map(|(cost, _)| *cost));
        println!("  {:<8} {cost:.1} us a second and session ({least:.1} to {most:.1})", side.server.name());
    }
    Ok(())
}

impl Side {
    fn round(&mut self) {
        self.talk.go(&mut Heard::default(), WARM);
        std::thread::sleep(REST);
        self.talk.listen(&mut Heard::default());
        let process = self.server.process();
        let (before, mut heard) = (Used::of(process), Heard::default());
        self.talk.go(&mut heard, ROUND);
        std::thread::sleep(REST);
        self.talk.listen(&mut heard);
        let after = Used::of(process);
        assert!(heard.packets > 0, "nothing was heard from {}", self.server.name());
        let cost = |name| after.since(&before, name).as_secs_f64() * 1e6 / heard.packets as f64;
        self.costs.push((cost(None), cost(Some("voice-0"))));
        self.rate += heard.packets as f64 / ROUND.as_secs_f64();
        self.lost += heard.missing as f64 / (heard.packets as f64 + heard.missing as f64);
    }
}

impl Server {
    fn name(&self) -> &'static str {
        match self {
            Self::Clarion(_) => "clarion",
            Self::Janus(_) => "janus",
        }
    }

    fn process(&self) -> u32 {
        match self {
            Self::Clarion(clarion) => clarion.process(),
            Self::Janus(janus) => janus.process(),
        }
    }

    async fn speaker(&mut self) -> anyhow::Result<Connected> {
        match self {
            Self::Clarion(clarion) => clarion.join(0).await,
            Self::Janus(janus) => janus.publish(),
        }
    }

    async fn listener(&mut self) -> anyhow::Result<Connected> {
        match self {
            Self::Clarion(clarion) => clarion.join(8).await,
            Self::Janus(janus) => janus.subscribe(),
        }
    }
}
