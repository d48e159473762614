//! Acknowledged sends beside what the disk can do: a bare append and fdatasync, in turns with Clarion. Senders that send
//! whenever they are answered show what a core does; senders with a timetable show how long a send takes.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::clarion::{Clarion, TRACED};
use crate::generate::{Command as Order, Sample};
use crate::generator::Generator;
use crate::options::Options;
use crate::server::{SERVER_CORE, pinned};
use crate::stats::{Spread, percentile, print_table};

const SENDERS: usize = 64;
/// So many a second are sent where senders keep to a timetable: a fraction of what a core can do, so that what is seen is
/// the way of a send and not a queue.
const PER_S: f64 = 1_000.0;
/// Of what is appended at a time.
const RECORD: usize = 256;

/// What a bare append and sync came to.
#[derive(Serialize, Deserialize)]
struct Bare {
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// The disk as it is, or as one that takes longer to sync.
#[derive(Clone, Copy)]
struct Disk<'a>(&'a [(&'static str, String)]);

/// Measures sends to one channel, and to a channel of another guild each.
pub(crate) fn run(options: &Options, folder: &Path) -> anyhow::Result<()> {
    let slower = match options.disk_ms {
        0.0 => Vec::new(),
        ms => slower(ms, folder)?,
    };
    let disk = Disk(&slower);
    let mut settings = TRACED.to_vec();
    settings.extend(slower.iter().map(|(name, value)| (*name, &**value)));
    let mut clarion = Clarion::start("clarion", SENDERS, &settings, folder)?;
    let one = clarion.guild(0..SENDERS, 1)?;
    let many = (0..SENDERS).map(|n| clarion.guild(n..n + 1, 1)).collect::<anyhow::Result<Vec<_>>>()?;
    let (one, many) = (clarion.spec(0, SENDERS, vec![one]), clarion.spec(0, SENDERS, many));
    let time = if options.smoke { 0.3 } else { 3.0 };
    let mut report = Vec::new();
    let head = [
        "64 senders",
        "sends/s",
        "sends per CPU-s",
        "ack p50 ms",
        "ack p99 ms",
        "fdatasync/s",
        "its p50 ms",
        "its p99 ms",
        "p99 / its p99",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let kinds = [
        ("one channel, at once", &one, None),
        ("64 guilds, at once", &many, None),
        ("one channel, 1,000 a second", &one, Some(PER_S)),
        ("64 guilds, 1,000 a second", &many, Some(PER_S)),
    ];
    for (what, spec, per_s) in kinds {
        let mut generator = Generator::start(spec)?;
        generator.obey(&Order::Send { wall_s: time / 3.0, per_s })?;
        let mut pairs = Vec::new();
        for pair in 0..options.pairs {
            let measure = |generator: &mut Generator| generator.obey(&Order::Send { wall_s: time, per_s });
            let (sample, bare) = if pair % 2 == 0 {
                let sample = measure(&mut generator)?;
                (sample, disk.append(&clarion.data, time)?)
            } else {
                let bare = disk.append(&clarion.data, time)?;
                (measure(&mut generator)?, bare)
            };
            pairs.push((sample, bare));
        }
        let of = |each: &dyn Fn(&Sample, &Bare) -> f64| {
            Spread::of(&pairs.iter().map(|(sample, bare)| each(sample, bare)).collect::<Vec<_>>())
        };
        let at = |sample: &Sample, share| {
            let mut sorted = sample.latencies_ms.clone();
            sorted.sort_by(f64::total_cmp);
            percentile(&sorted, share)
        };
        let columns = [
            (of(&|s, _| s.messages as f64 / s.wall_s), 0),
            (of(&|s, _| s.messages as f64 / s.server_cpu_s), 0),
            (of(&|s, _| at(s, 0.5)), 2),
            (of(&|s, _| at(s, 0.99)), 2),
            (of(&|_, b| b.per_s), 0),
            (of(&|_, b| b.p50_ms), 2),
            (of(&|_, b| b.p99_ms), 2),
            (of(&|s, b| at(s, 0.99) / b.p99_ms), 2),
        ];
        rows.push([what.to_owned()].into_iter().chain(columns.iter().map(|(s, decimals)| s.text(*decimals))).collect());
        let names = ["per_s", "per_cpu_s", "p50_ms", "p99_ms", "bare_per_s", "bare_p50_ms", "bare_p99_ms", "p99_ratio"];
        let named: serde_json::Map<_, _> =
            names.iter().zip(&columns).map(|(n, (s, _))| ((*n).into(), json!(s))).collect();
        let busy: Vec<f64> = pairs.iter().map(|(s, _)| s.generator_cpu_s / s.wall_s).collect();
        report.push(json!({ "what": what, "generator_busy": Spread::of(&busy), "measured": named }));
    }
    print_table(&rows);
    options.keep("sends", &json!({ "bench": "sends", "senders": SENDERS, "disk_ms": options.disk_ms, "rows": report }))
}

/// Settings that make syncs of a program take longer by so much.
fn slower(ms: f64, folder: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    fs::create_dir_all(folder)?;
    let (source, library) =
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/slowsync.c"), folder.join("slowsync.so"));
    let mut compiler = Command::new("gcc");
    let made = compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl").status()?;
    if !made.success() {
        bail!("gcc: {made}");
    }
    Ok(vec![
        ("LD_PRELOAD", library.canonicalize()?.display().to_string()),
        ("SLOWSYNC_US", ((ms * 1e3) as u64).to_string()),
    ])
}

impl Disk<'_> {
    /// A program of its own does the appending, so that its syncs take as long.
    fn append(self, folder: &Path, time: f64) -> anyhow::Result<Bare> {
        let mut command = pinned(SERVER_CORE, std::env::current_exe()?);
        command.args(["append", &time.to_string()]).arg(folder).envs(self.0.iter().map(|(name, value)| (name, value)));
        let out = command.output()?;
        serde_json::from_slice(&out.stdout).with_context(|| String::from_utf8_lossy(&out.stderr).into_owned())
    }
}

/// Appends records to a file on the disk of the store, each durable before the next, and prints how long that took.
pub(crate) fn append(time: &str, folder: &str) -> anyhow::Result<()> {
    let (path, time) = (Path::new(folder).join("append"), time.parse()?);
    let mut file = fs::File::create(&path)?;
    let (record, begun) = ([7; RECORD], Instant::now());
    let mut took = Vec::new();
    while begun.elapsed() < Duration::from_secs_f64(time) {
        let at = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        took.push(at.elapsed().as_secs_f64() * 1e3);
    }
    let per_s = took.len() as f64 / begun.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    took.sort_by(f64::total_cmp);
    let bare = Bare { per_s, p50_ms: percentile(&took, 0.5), p99_ms: percentile(&took, 0.99) };
    println!("{}", serde_json::to_string(&bare)?);
    Ok(())
}
