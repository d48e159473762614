//! Deliveries per second of the server's processor time: one message outstanding, and bursts.

use std::path::Path;

use anyhow::bail;
use serde_json::json;

use crate::clarion::{CHANNELS, Clarion, TRACED};
use crate::generate::{Command, Sample};
use crate::generator::{Generator, spin};
use crate::options::Options;
use crate::peer::Peer;
use crate::stats::{Spread, percentile, print_table};

/// A generator that uses more of its core than this measures itself.
const BUSY: f64 = 0.9;
/// How far a fixed piece of work may be from the median of the run.
const STEADY: f64 = 0.1;
/// How often a pair is repeated when the machine is not steady.
const REPEATS: usize = 3;
pub(crate) const BURST: usize = 32;

/// Someone who is measured.
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) generator: Generator,
    pub(crate) samples: Vec<Sample>,
}

/// Measures Clarion and its peers, one after the other and back again.
pub(crate) fn run(options: &Options, folder: &Path) -> anyhow::Result<()> {
    let (_clarion, mut generator) = clarion("clarion", TRACED, options, folder)?;
    let first = generator.obey(&Command::Fanout { at_once: 1, cpu_s: 0.0, wall_s: 0.0 })?;
    let frame = (first.bytes / first.deliveries.max(1)) as usize;
    println!("a delivery is {frame} bytes on the wire, WebSocket header included; {} sockets\n", options.sockets);
    // Dropped after the generators, which would complain.
    let mut running = Vec::new();
    let mut contenders = vec![Contender { name: "Clarion".into(), generator, samples: Vec::new() }];
    for peer in Peer::ALL.into_iter().filter(|peer| options.wants(peer.name())) {
        let started = peer.start()?;
        let generator = Generator::start(&started.spec(options.sockets, frame))?;
        contenders.push(Contender { name: peer.name().into(), generator, samples: Vec::new() });
        running.push(started);
    }
    let mut report = Vec::new();
    for at_once in [1, BURST] {
        let what = if at_once == 1 { "one at a time".to_owned() } else { format!("bursts of {at_once}") };
        println!("{what}");
        measure(options, &mut contenders, at_once)?;
        report.push(json!({ "what": what, "at_once": at_once, "contenders": conclude(&contenders) }));
    }
    let report = json!({ "bench": "fanout", "sockets": options.sockets, "frame_bytes": frame, "runs": report });
    options.keep("fanout", &report)
}

/// Two builds or two settings of Clarion against each other.
pub(crate) fn guard(options: &Options, folder: &Path, other: &[(&str, &str)], name: &str) -> anyhow::Result<()> {
    // The servers are dropped after the generators, which would complain.
    let (_a, ours) = clarion("clarion", TRACED, options, folder)?;
    let (_b, theirs) = clarion("other", other, options, folder)?;
    let mut contenders: Vec<Contender> = [("Clarion", ours), (name, theirs)]
        .into_iter()
        .map(|(name, generator)| Contender { name: name.into(), generator, samples: Vec::new() })
        .collect();
    let mut report = Vec::new();
    for at_once in [1, BURST] {
        println!("{at_once} at once");
        measure(options, &mut contenders, at_once)?;
        report.push(json!({ "at_once": at_once, "contenders": conclude(&contenders) }));
    }
    options.keep("guard", &json!({ "bench": "guard", "sockets": options.sockets, "runs": report }))
}

/// A Clarion with one guild, everybody in it connected.
fn clarion(
    name: &str,
    settings: &[(&str, &str)],
    options: &Options,
    folder: &Path,
) -> anyhow::Result<(Clarion, Generator)> {
    let mut clarion = Clarion::start(name, options.sockets.max(BURST), settings, folder)?;
    let channel = clarion.guild(0..options.sockets.max(BURST), CHANNELS)?;
    let generator = Generator::start(&clarion.spec(options.sockets, BURST, vec![channel]))?;
    Ok((clarion, generator))
}

/// Measures everybody in turns.
pub(crate) fn measure(options: &Options, contenders: &mut [Contender], at_once: usize) -> anyhow::Result<()> {
    let command = Command::Fanout { at_once, cpu_s: options.cpu_s, wall_s: 20.0 };
    for contender in contenders.iter_mut() {
        contender.samples.clear();
        // Not counted: whoever is first would pay for what is cold.
        contender.generator.obey(&Command::Fanout { at_once, cpu_s: options.cpu_s / 4.0, wall_s: 5.0 })?;
    }
    let mut spins = vec![spin()?];
    for pair in 0..options.pairs {
        for repeat in 0.. {
            let mut order: Vec<usize> = (0..contenders.len()).collect();
            if pair % 2 == 1 {
                order.reverse();
            }
            let (mut round, mut steady) = (Vec::new(), true);
            for i in order {
                spins.push(spin()?);
                let usual = Spread::of(&spins).median;
                steady &= spins.last().is_some_and(|s| (s / usual - 1.0).abs() <= STEADY);
                round.push((i, contenders[i].generator.obey(&command)?));
            }
            if steady || repeat == REPEATS {
                if !steady {
                    println!("  pair {pair}: the machine was not steady in any of {} tries", REPEATS + 1);
                }
                round.into_iter().for_each(|(i, sample)| contenders[i].samples.push(sample));
                break;
            }
        }
    }
    for contender in contenders.iter() {
        for sample in &contender.samples {
            let busy = sample.generator_cpu_s / sample.wall_s;
            if busy > BUSY && !options.smoke {
                bail!("the generator of {} was busy {:.0} % of the time", contender.name, busy * 100.0);
            }
        }
    }
    Ok(())
}

/// Prints what came out; answers it as JSON.
pub(crate) fn conclude(contenders: &[Contender]) -> serde_json::Value {
    let rate = |s: &Sample| s.deliveries as f64 / s.server_cpu_s;
    let ours: Vec<f64> = contenders[0].samples.iter().map(rate).collect();
    let head = ["", "deliveries per CPU-s", "Clarion / this", "pairs ≥ 0.5", "wall p50 ms", "generator busy"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut all = Vec::new();
    for contender in contenders {
        let rates: Vec<f64> = contender.samples.iter().map(rate).collect();
        let ratios: Vec<f64> = ours.iter().zip(&rates).map(|(a, b)| a / b).collect();
        let mut waits: Vec<f64> = contender.samples.iter().flat_map(|s| s.latencies_ms.iter().copied()).collect();
        waits.sort_by(f64::total_cmp);
        let busy: Vec<f64> = contender.samples.iter().map(|s| s.generator_cpu_s / s.wall_s).collect();
        let is_clarion = contender.name == "Clarion";
        rows.push(vec![
            contender.name.clone(),
            Spread::of(&rates).per(1e3).text(0) + " k",
            if is_clarion { "1".into() } else { Spread::of(&ratios).text(2) },
            if is_clarion {
                String::new()
            } else {
                format!("{} of {}", ratios.iter().filter(|r| **r >= 0.5).count(), ratios.len())
            },
            format!("{:.1}", percentile(&waits, 0.5)),
            format!("{:.0} %", Spread::of(&busy).median * 100.0),
        ]);
        let mut samples = contender.samples.clone();
        samples.iter_mut().for_each(|s| s.latencies_ms.clear());
        all.push(json!({
            "name": contender.name, "per_cpu_s": Spread::of(&rates), "ratio": Spread::of(&ratios), "ratios": ratios,
            "round_p50_ms": percentile(&waits, 0.5), "round_p99_ms": percentile(&waits, 0.99), "samples": samples,
        }));
    }
    print_table(&rows);
    println!();
    json!(all)
}
