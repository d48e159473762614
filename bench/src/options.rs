//! What can be asked for.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::Value;

pub(crate) const USAGE: &str = "\
cargo xtask bench fanout     deliveries per CPU-second beside uWebSockets, NATS and ws
cargo xtask bench memory     bytes of memory an idle session
cargo xtask bench sends      acknowledged sends beside a bare append and fdatasync
cargo xtask bench guard      what tracing 1 % costs: CPU per delivery with it and without
cargo xtask bench apart      separate processes beside one: deliveries, sends, memory of a gateway
cargo xtask bench search     how soon a message is found at 1,000 messages a second
cargo xtask bench slow       how much others notice of sockets that stop reading

  --smoke            few sockets, one pair, nothing judged
  --pairs N          measurements of each [7]
  --sockets N        sockets [1000; slow: 2000]
  --cpu SECONDS      processor time of a measurement [1.5]
  --disk-ms N        of sends: a disk that takes so much longer to sync [0]
  --peers A,B        only these; of apart: work, memory
";

/// Read from the command line.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) smoke: bool,
    pub(crate) pairs: usize,
    pub(crate) sockets: usize,
    pub(crate) cpu_s: f64,
    /// How much longer a sync of the disk is to take; for sends.
    pub(crate) disk_ms: f64,
    peers: Option<Vec<String>>,
    pub(crate) results: PathBuf,
}

impl Options {
    pub(crate) fn read(words: &[String], results: PathBuf) -> anyhow::Result<Self> {
        Self::read_for(words, results, [1_000, 50])
    }

    /// With so many sockets unless others are asked for; and so many in a small run.
    pub(crate) fn read_for(words: &[String], results: PathBuf, [sockets, few]: [usize; 2]) -> anyhow::Result<Self> {
        let smoke = words.iter().any(|w| w == "--smoke");
        let mut options = match smoke {
            true => Self { smoke, pairs: 1, sockets: few, cpu_s: 0.05, disk_ms: 0.0, peers: None, results },
            false => Self { smoke, pairs: 7, sockets, cpu_s: 1.5, disk_ms: 0.0, peers: None, results },
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--smoke" {
                continue;
            }
            let value = words.next().with_context(|| format!("{word} what?"))?;
            match word.as_str() {
                "--pairs" => options.pairs = value.parse()?,
                "--sockets" => options.sockets = value.parse()?,
                "--cpu" => options.cpu_s = value.parse()?,
                "--disk-ms" => options.disk_ms = value.parse()?,
                "--peers" => options.peers = Some(value.split(',').map(str::to_lowercase).collect()),
                _ => bail!("unknown: {word}\n{USAGE}"),
            }
        }
        Ok(options)
    }

    /// Whether a peer is to be measured.
    pub(crate) fn wants(&self, peer: &str) -> bool {
        self.peers.as_ref().is_none_or(|peers| peers.contains(&peer.to_lowercase()))
    }

    /// Writes what was measured.
    pub(crate) fn keep(&self, name: &str, report: &Value) -> anyhow::Result<()> {
        fs::create_dir_all(&self.results)?;
        let path = self.results.join(format!("{name}.json"));
        fs::write(&path, serde_json::to_string_pretty(report)?)?;
        println!("raw results: {}", path.display());
        Ok(())
    }
}
