//! Separate processes beside one process: deliveries and sends per second of all their processor time, and the memory of a
//! gateway that is a process of its own. The time of the server of CQL is not counted.

use std::path::Path;

use serde_json::json;

use crate::clarion::{CHANNELS, Clarion, Form, TRACED};
use crate::fanout::{BURST, Contender, conclude, measure};
use crate::generate::Command;
use crate::generator::Generator;
use crate::memory::{GUILD, add};
use crate::options::Options;
use crate::stats::{Spread, print_table};

const FORMS: [(&str, &str, Form); 3] = [
    ("Clarion", "one", Form::One),
    ("one process over CQL", "one_cql", Form::OneOverCql),
    ("separate processes over CQL", "apart", Form::Apart),
];
/// Sockets of a gateway of its own.
const SIZES: [usize; 2] = [5_000, 15_000];

/// Measures all of it, or what is asked for of `work` and `memory`.
pub(crate) fn run(options: &Options, folder: &Path) -> anyhow::Result<()> {
    let work = options.wants("work").then(|| work(options, folder)).transpose()?;
    let memory = options.wants("memory").then(|| memory(options, folder)).transpose()?;
    options.keep("apart", &json!({ "bench": "apart", "work": work, "memory": memory }))
}

fn work(options: &Options, folder: &Path) -> anyhow::Result<serde_json::Value> {
    let people = options.sockets.max(BURST);
    // The servers are dropped after the generators, which would complain.
    let mut servers = Vec::new();
    let mut contenders = Vec::new();
    for (name, key, form) in FORMS {
        let mut clarion = Clarion::start_as(form, key, people, TRACED, folder)?;
        let channel = clarion.guild(0..people, CHANNELS)?;
        let generator = Generator::start(&clarion.spec(options.sockets, BURST, vec![channel]))?;
        contenders.push(Contender { name: name.into(), generator, samples: Vec::new() });
        servers.push(clarion);
    }
    let mut fanout = Vec::new();
    for at_once in [1, BURST] {
        println!("{at_once} at once, {} sockets; Clarion is one process over the embedded store", options.sockets);
        measure(options, &mut contenders, at_once)?;
        fanout.push(json!({ "at_once": at_once, "contenders": conclude(&contenders) }));
    }
    drop(contenders);
    Ok(json!({ "fanout": fanout, "sends": sends(options, &mut servers)? }))
}

/// Acknowledged sends with nobody who listens.
fn sends(options: &Options, servers: &mut [Clarion]) -> anyhow::Result<serde_json::Value> {
    let time = if options.smoke { 0.3 } else { 3.0 };
    let mut generators = Vec::new();
    for clarion in servers {
        let channel = clarion.guild(0..BURST, 1)?;
        let mut generator = Generator::start(&clarion.spec(0, BURST, vec![channel]))?;
        generator.obey(&Command::Send { wall_s: time / 3.0, per_s: None })?;
        generators.push(generator);
    }
    let mut rates = vec![Vec::new(); generators.len()];
    for pair in 0..options.pairs {
        let mut order: Vec<usize> = (0..generators.len()).collect();
        if pair % 2 == 1 {
            order.reverse();
        }
        for i in order {
            let sample = generators[i].obey(&Command::Send { wall_s: time, per_s: None })?;
            rates[i].push(sample.messages as f64 / sample.server_cpu_s);
        }
    }
    let mut rows =
        vec![["32 senders, one channel", "sends per CPU-s", "one process / this"].map(str::to_owned).to_vec()];
    let mut out = Vec::new();
    for ((name, ..), each) in FORMS.iter().zip(&rates) {
        let ratios: Vec<f64> = rates[0].iter().zip(each).map(|(a, b)| a / b).collect();
        rows.push(vec![(*name).to_owned(), Spread::of(each).text(0), Spread::of(&ratios).text(2)]);
        out.push(json!({ "name": name, "per_cpu_s": Spread::of(each), "ratio": Spread::of(&ratios) }));
    }
    print_table(&rows);
    Ok(json!(out))
}

fn memory(options: &Options, folder: &Path) -> anyhow::Result<serde_json::Value> {
    let sizes: &[usize] = if options.smoke { &[100] } else { &SIZES };
    let mut rows = vec![["", "sessions", "before MiB", "after MiB", "bytes a session"].map(str::to_owned).to_vec()];
    let mut report = Vec::new();
    for &sessions in sizes {
        let mut clarion = Clarion::start_as(Form::Apart, &format!("memory_{sessions}"), sessions, TRACED, folder)?;
        for first in (0..sessions).step_by(GUILD) {
            clarion.guild(first..sessions.min(first + GUILD), CHANNELS)?;
        }
        let spec = clarion.spec(sessions, 0, Vec::new());
        add("the gateway", clarion.server.pid(), &spec, true, &mut rows, &mut report)?;
    }
    print_table(&rows);
    Ok(json!(report))
}
