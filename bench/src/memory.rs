//! Bytes of memory an idle session: what the whole process grows by when people connect, identify themselves, get their
//! guild and have a heartbeat acknowledged.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::clarion::{CHANNELS, Clarion, TRACED};
use crate::cpu::resident;
use crate::generate::Command;
use crate::generator::Generator;
use crate::options::Options;
use crate::peer::Peer;
use crate::stats::print_table;

/// People of one guild.
pub(crate) const GUILD: usize = 1_000;
/// Time for what was only needed to begin to be given back.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures at both sizes.
pub(crate) fn run(options: &Options, folder: &Path) -> anyhow::Result<()> {
    let sizes: &[usize] = if options.smoke { &[100] } else { &[5_000, 15_000] };
    let mut rows = vec![["", "sessions", "before MiB", "after MiB", "bytes a session"].map(str::to_owned).to_vec()];
    let mut report = Vec::new();
    for &sessions in sizes {
        let mut clarion = Clarion::start("clarion", sessions, TRACED, folder)?;
        for first in (0..sessions).step_by(GUILD) {
            clarion.guild(first..sessions.min(first + GUILD), CHANNELS)?;
        }
        let pid = clarion.server.pid();
        let spec = clarion.spec(sessions, 0, Vec::new());
        add("Clarion", pid, &spec, true, &mut rows, &mut report)?;
        drop(clarion);
        for peer in Peer::ALL.into_iter().filter(|peer| options.wants(peer.name())) {
            let running = peer.start()?;
            let spec = running.spec(sessions, 100);
            add(peer.name(), running.server.pid(), &spec, false, &mut rows, &mut report)?;
        }
    }
    print_table(&rows);
    options.keep("memory", &json!({ "bench": "memory", "channels": CHANNELS, "guild": GUILD, "rows": report }))
}

/// Measures one process while sessions come.
pub(crate) fn add(
    name: &str,
    pid: u32,
    spec: &crate::generate::Spec,
    beats: bool,
    rows: &mut Vec<Vec<String>>,
    report: &mut Vec<serde_json::Value>,
) -> anyhow::Result<()> {
    std::thread::sleep(SETTLE);
    let before = resident(pid)?;
    let mut generator = Generator::start(spec)?;
    if beats {
        generator.obey(&Command::Beat)?;
    }
    std::thread::sleep(SETTLE);
    let after = resident(pid)?;
    let each = (after as f64 - before as f64) / spec.sockets as f64;
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    rows.push(vec![name.into(), spec.sockets.to_string(), mib(before), mib(after), format!("{each:.0}")]);
    println!("{name}: {each:.0} bytes a session at {}", spec.sockets);
    report.push(json!({ "name": name, "sessions": spec.sockets, "before": before, "after": after, "each": each }));
    Ok(())
}
