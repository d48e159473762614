//! What others notice when one socket in ten stops reading: p99 of their deliveries beside that of an undisturbed flow.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::json;

use crate::clarion::{Clarion, TRACED};
use crate::generate::{Command, Flow, Steady};
use crate::generator::Generator;
use crate::options::Options;
use crate::stats::{Spread, print_table};

/// Sockets of a run, and of a small one.
pub(crate) const SOCKETS: [usize; 2] = [2_000, 200];
/// One socket in so many stops reading.
const ONE_IN: usize = 10;
const SENDERS: usize = 32;
const PER_S: f64 = 15.0;
/// The longest content that a message may have, in characters, with its number; and what fills it, three bytes each.
const CONTENT: usize = 2_000;
const FILL: &str = "€";
/// Of one flow, in seconds: enough for slow ones to be let go and to come back.
const WALL_S: f64 = 13.0;
/// What may wait for one socket: less than usual, so that it is too much within seconds.
const OUTBOX: u64 = 128 << 10;
/// How much longer others may wait.
const MOST: f64 = 1.25;

/// Measures pairs of flows, one with sockets that stop reading and one without.
pub(crate) fn run(options: &Options, folder: &Path) -> anyhow::Result<()> {
    let outbox = OUTBOX.to_string();
    let mut settings = TRACED.to_vec();
    settings.push(("CLARION_GATEWAY__OUTBOX_BYTES", &outbox));
    let mut clarion = Clarion::start("clarion", options.sockets, &settings, folder)?;
    let channel = clarion.guild(0..options.sockets, 1)?;
    let admin = fs::read_to_string(clarion.data.join("admin.url")).context("admin.url")?;
    let admin = admin.trim().trim_start_matches("http://").to_owned();
    let mut generator = Generator::start(&clarion.spec(options.sockets, SENDERS, vec![channel]))?;
    let mut flow = |stops, wall_s| -> anyhow::Result<Flow> {
        let steady = Steady {
            per_s: PER_S,
            wall_s,
            content: FILL.repeat(CONTENT - 13),
            one_in: ONE_IN,
            stops,
            admin: admin.clone(),
        };
        let sample = generator.obey(&Command::Steady(steady))?;
        let flow = sample.flow.context("a flow")?;
        let share = |s: f64| s / sample.wall_s * 100.0;
        println!(
            "  {}: p50 {:.1} ms, p99 {:.1} ms, at worst {:.1} ms; sent up to {:.1} ms late; {:.0} s, the server busy {:.0} % and \
             starved {:.0} %, the generator busy {:.0} %",
            if stops { "some stop reading" } else { "all read" },
            flow.p50_ms,
            flow.p99_ms,
            flow.worst_ms,
            flow.late_ms,
            sample.wall_s,
            share(sample.server_cpu_s),
            share(flow.starved_s),
            share(sample.generator_cpu_s),
        );
        if stops {
            let [stopped, returning, after] = flow.p99_by_part_ms;
            println!(
                "    p99 until all were let go {stopped:.1} ms, until all were back ({:.1} s) {returning:.1} ms, then {after:.1} ms",
                flow.back_s - flow.let_go_s
            );
        }
        Ok(flow)
    };
    flow(false, WALL_S / 4.0)?;
    let mut pairs = Vec::new();
    for pair in 0..options.pairs {
        println!("pair {pair}");
        let (calm, rough) = if pair % 2 == 0 {
            let calm = flow(false, WALL_S)?;
            (calm, flow(true, WALL_S)?)
        } else {
            let rough = flow(true, WALL_S)?;
            (flow(false, WALL_S)?, rough)
        };
        pairs.push((calm, rough));
    }
    drop(generator);
    conclude(options, &pairs)
}

fn conclude(options: &Options, pairs: &[(Flow, Flow)]) -> anyhow::Result<()> {
    let head = [
        "pair",
        "p99 ms, all read",
        "p99 ms, some stop",
        "ratio",
        "backlog KiB",
        "let go after s",
        "4000",
        "cut",
        "whole",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (n, (calm, rough)) in pairs.iter().enumerate() {
        let closed = rough.closed.iter().map(|(_, count)| count).sum::<usize>();
        rows.push(vec![
            n.to_string(),
            format!("{:.1}", calm.p99_ms),
            format!("{:.1}", rough.p99_ms),
            format!("{:.2}", rough.p99_ms / calm.p99_ms),
            (rough.backlog[0] >> 10).to_string(),
            format!("{:.1}", rough.let_go_s),
            closed.to_string(),
            rough.cut.to_string(),
            format!("{} of {}", rough.whole, rough.slow),
        ]);
    }
    print_table(&rows);
    let of = |each: &dyn Fn(&(Flow, Flow)) -> f64| Spread::of(&pairs.iter().map(each).collect::<Vec<_>>());
    let ratio = of(&|(calm, rough)| rough.p99_ms / calm.p99_ms);
    let parts = [0, 1, 2].map(|i| of(&|(calm, rough)| rough.p99_by_part_ms[i] / calm.p99_ms));
    let medians = of(&|(calm, rough)| rough.p50_ms / calm.p50_ms);
    let [backlog, returning] = [0, 1].map(|i| pairs.iter().map(|(_, rough)| rough.backlog[i]).max().unwrap_or(0));
    let slow = pairs.first().map_or(0, |(_, rough)| rough.slow);
    let bound = slow as u64 * OUTBOX;
    println!("\np99, some stop / all read: {}; p50: {}", ratio.text(2), medians.text(2));
    println!(
        "p99 of the parts: {} until all were let go, {} until all were back, {} after that",
        parts[0].text(2),
        parts[1].text(2),
        parts[2].text(2)
    );
    println!(
        "waiting in the server: at most {} KiB until all were let go, of {} KiB that {slow} may have; {} KiB while they came back",
        backlog >> 10,
        bound >> 10,
        returning >> 10
    );
    options.keep(
        "slow",
        &json!({
            "bench": "slow", "sockets": options.sockets, "per_s": PER_S, "content_bytes": 13 + FILL.len() * (CONTENT - 13), "outbox_bytes": OUTBOX,
            "p99_ratio": ratio, "p99_ratio_by_part": parts, "p50_ratio": medians, "backlog_bytes": backlog, "backlog_bound": bound,
            "pairs": pairs.iter().map(|(calm, rough)| json!({ "all_read": calm, "some_stop": rough })).collect::<Vec<_>>(),
        }),
    )?;
    for (_, rough) in pairs {
        if rough.whole != rough.slow || rough.closed.iter().any(|(code, _)| *code != 4_000) {
            bail!("closed with {:?}; {} of {} resumed", rough.closed, rough.whole, rough.slow);
        }
    }
    if backlog > bound {
        bail!("more waited than may");
    }
    if ratio.median > MOST && !options.smoke {
        bail!("the others waited longer: {:.2} is more than {MOST}", ratio.median);
    }
    Ok(())
}
