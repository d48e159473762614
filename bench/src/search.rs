//! How soon a message is found: from its acknowledgement until a search has it, while others send a thousand a second.
//!
//! Senders keep to a timetable; what they fall behind is seen in the rate. A probe sends a word that nobody else says, and
//! asks for it until it is found. Beside the probes, what the server's own histogram says of all messages.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::clarion::{Clarion, TRACED};
use crate::http::Http;
use crate::options::Options;
use crate::server::{GENERATOR_CORE, pinned};
use crate::stats::{percentile, print_table};

const SENDERS: usize = 32;
const PROBES: usize = 4;
/// Messages a second, the probes' besides.
const RATE: f64 = 1_000.0;
/// Between two questions of a probe.
const ASK: Duration = Duration::from_millis(5);
/// So long a message may take until the measurement fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures from the generator's core.
pub(crate) fn run(words: &[String]) -> anyhow::Result<()> {
    let mut command = pinned(GENERATOR_CORE, std::env::current_exe()?);
    let status = command.arg("search-from-here").args(words).stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { bail!("{status}") }
}

/// Measures.
pub(crate) fn measure(options: &Options, folder: &Path) -> anyhow::Result<()> {
    let mut clarion = Clarion::start("clarion", SENDERS + PROBES, TRACED, folder)?;
    let channel = clarion.guild(0..SENDERS + PROBES, 1)?;
    let address = clarion.server.address.clone();
    let token = |n: usize| clarion.tokens[n].clone();
    let guild =
        Http::connect(&address)?.call("GET", &format!("/api/v10/channels/{channel}"), Some(&token(0)), &Value::Null)?;
    let guild = guild["guild_id"].as_str().context("the guild of a channel")?.to_owned();
    let (time, warm) = if options.smoke { (2.0, 0.5) } else { (30.0, 5.0) };

    let (stop, counting, sent) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let senders: Vec<_> = (0..SENDERS)
        .map(|n| {
            let (stop, counting, sent) = (stop.clone(), counting.clone(), sent.clone());
            let (address, channel, token) = (address.clone(), channel.clone(), token(n));
            std::thread::spawn(move || -> anyhow::Result<()> {
                let mut http = Http::connect(&address)?;
                let (path, begun) = (format!("/api/v10/channels/{channel}/messages"), Instant::now());
                for turn in 0u64.. {
                    let due =
                        Duration::from_secs_f64((turn as f64 + n as f64 / SENDERS as f64) * SENDERS as f64 / RATE);
                    std::thread::sleep(due.saturating_sub(begun.elapsed()));
                    if stop.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    let content =
                        format!("word{} and word{} of sender{n} in turn{turn}", turn % 997, turn * 31 % 4_999);
                    http.call("POST", &path, Some(&token), &json!({ "content": content }))?;
                    if counting.load(Ordering::Relaxed) {
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(())
            })
        })
        .collect();
    std::thread::sleep(Duration::from_secs_f64(warm));
    counting.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let probes: Vec<_> = (0..PROBES)
        .map(|n| {
            let (address, channel, guild, token) =
                (address.clone(), channel.clone(), guild.clone(), token(SENDERS + n));
            std::thread::spawn(move || probe(&address, &channel, &guild, &token, n, begun, time))
        })
        .collect();
    let mut found = Vec::new();
    for probe in probes {
        found.extend(probe.join().map_err(|_| anyhow::anyhow!("a probe panicked"))??);
    }
    let (count, wall) = (sent.load(Ordering::Relaxed), begun.elapsed().as_secs_f64());
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
    }
    found.sort_by(f64::total_cmp);
    let rate = count as f64 / wall;
    let (within, all) = clarion.within_a_second()?;
    let (p50, p99) = (percentile(&found, 0.5), percentile(&found, 0.99));
    print_table(&[
        ["sends/s", "probes", "found after p50 ms", "p99 ms", "most ms", "of all messages within 1 s"]
            .map(str::to_owned)
            .to_vec(),
        vec![
            format!("{rate:.0}"),
            found.len().to_string(),
            format!("{p50:.0}"),
            format!("{p99:.0}"),
            format!("{:.0}", found.last().copied().unwrap_or_default()),
            format!("{:.2} % of {all:.0}", 100.0 * within / all.max(1.0)),
        ],
    ]);
    if rate < 0.98 * RATE {
        println!("the server did not keep up with {RATE} sends a second: the figures are those of an overloaded one");
    }
    options.keep(
        "search",
        &json!({ "bench": "search", "rate": rate, "found_p50_ms": p50, "found_p99_ms": p99, "found_ms": found,
                 "messages": all, "messages_within_1s": within }),
    )
}

/// Sends what nobody else says and waits until it is found; answers how long each took, in milliseconds.
fn probe(
    address: &str,
    channel: &str,
    guild: &str,
    token: &str,
    n: usize,
    begun: Instant,
    time: f64,
) -> anyhow::Result<Vec<f64>> {
    let mut http = Http::connect(address)?;
    let path = format!("/api/v10/channels/{channel}/messages");
    let mut took = Vec::new();
    for turn in 0.. {
        if begun.elapsed().as_secs_f64() > time {
            break;
        }
        // Digits: no typo leads from one to another.
        let word = format!("probe{n}x{turn}x{}", begun.elapsed().as_micros());
        http.call("POST", &path, Some(token), &json!({ "content": word }))?;
        let acknowledged = Instant::now();
        let question = format!("/api/v10/guilds/{guild}/messages/search?content={word}%20");
        loop {
            let answer = http.call("GET", &question, Some(token), &Value::Null)?;
            if answer["total_results"].as_u64() == Some(1) {
                break;
            }
            if acknowledged.elapsed() > PATIENCE {
                bail!("{word} is not found: {answer}");
            }
            std::thread::sleep(ASK);
        }
        took.push(acknowledged.elapsed().as_secs_f64() * 1e3);
    }
    Ok(took)
}
