//! What a load run can be told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser};

use super::schedule::Sends;
use super::{process, stamp};

/// Most requests under way at a time.
const REQUESTS: usize = 256;
/// Files that are needed beside sockets and requests.
const OTHER_FILES: usize = 64;

/// The flags of `clarion load`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How many sockets, each with a session
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = count)]
    pub sockets: usize,
    /// How many connections are opened a second
    #[arg(long, value_name = "PER_SECOND", default_value_t = 100.0, value_parser = positive)]
    pub rate: f64,
    /// For how many seconds messages are sent, once the sockets are connected
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = positive)]
    pub duration: f64,
    /// Where clients connect; of several, separated by commas, each is used by as many sockets and senders, and a send
    /// whose outcome is unknown is tried again at the next one, as is a lost connection
    #[arg(long, value_name = "URL", value_delimiter = ',', default_value = "ws://localhost:8080")]
    pub host: Vec<String>,
    /// Messages a second and socket
    #[arg(long, value_name = "PER_SECOND", default_value_t = 0.1, value_parser = rate)]
    pub send_rate: f64,
    /// Channels that the messages go to
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count)]
    pub channels: usize,
    /// Accounts; sockets share them [default: one a socket]
    #[arg(long, value_name = "N", value_parser = count)]
    pub users: Option<usize>,
    /// Accounts that send, each one message after another [default: all accounts]
    #[arg(long, value_name = "N", value_parser = count)]
    pub senders: Option<usize>,
    /// How many messages are due at the same moment
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count)]
    pub burst: usize,
    /// Length of a message's content
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = content)]
    pub content_bytes: usize,
    /// Share of the sockets that stop reading while messages are sent
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub stall_percent: u8,
    /// How long to wait for what is still missing when the sending has ended, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = positive)]
    pub settle: f64,
    /// Existing accounts, one token a line, instead of new ones; they write to the first guild of the first of them
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Makes what is left to chance the same again
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The server's process, for its CPU time and memory [default: what the data folder says]
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Print the final report as JSON
    #[arg(long)]
    pub json: bool,
    /// Send to a server that is not on this machine
    #[arg(long)]
    pub i_own_this_server: bool,
}

/// A place to connect to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// The URL of a socket.
    pub(super) socket: String,
    /// The base of the API.
    pub(super) api: String,
}

#[derive(Parser)]
struct Alone {
    #[command(flatten)]
    options: Options,
}

impl Options {
    /// Reads flags as the command line does.
    pub fn read<'a>(flags: impl IntoIterator<Item = &'a str>) -> Result<Self, clap::Error> {
        Ok(Alone::try_parse_from(std::iter::once("load").chain(flags))?.options)
    }

    /// How many accounts the run uses.
    pub fn accounts(&self) -> usize {
        self.users.unwrap_or(self.sockets).min(self.sockets)
    }

    pub(super) fn sends(&self, accounts: usize) -> Sends {
        Sends {
            rate: self.send_rate * self.sockets as f64,
            burst: self.burst,
            senders: self.senders.unwrap_or(accounts).min(accounts),
            duration: Duration::from_secs_f64(self.duration),
        }
    }

    pub(super) fn requests(&self) -> usize {
        REQUESTS.min(self.accounts())
    }

    /// Whether a socket is one of those that stop reading: evenly spread over all.
    pub(super) fn stalls(&self, socket: usize) -> bool {
        let share = usize::from(self.stall_percent);
        (socket + 1) * share / 100 > socket * share / 100
    }

    /// What cannot be: said before anything is begun.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let needed = self.sockets + self.requests() + OTHER_FILES;
        if let Some(most) = process::open_files().filter(|most| *most < needed) {
            bail!("--sockets {}: needs {needed} open files and this shell allows {most} (ulimit -n)", self.sockets);
        }
        Ok(())
    }

    /// Where the host is; refuses those beyond this machine unless it is said to be one's own.
    /// The places to connect to, at least one.
    pub(super) async fn targets(&self) -> anyhow::Result<Vec<Target>> {
        let mut targets = Vec::with_capacity(self.host.len());
        for host in &self.host {
            targets.push(self.target(host).await?);
        }
        Ok(targets)
    }

    async fn target(&self, host: &str) -> anyhow::Result<Target> {
        let authority = match host.trim_end_matches('/').split_once("://") {
            Some(("ws" | "http", authority)) if !authority.contains('/') => authority,
            _ => bail!("--host {host}: expected ws://host:port"),
        };
        let with_port = if authority.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok()) {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        let found = tokio::net::lookup_host(&with_port).await;
        let found: Vec<SocketAddr> = found.with_context(|| format!("--host {host}"))?.collect();
        if !self.i_own_this_server && !found.iter().all(|at| at.ip().is_loopback()) {
            bail!("--host {host}: is not on this machine; say --i-own-this-server if it is yours to load");
        }
        let mut address = *found.first().with_context(|| format!("--host {host}: has no address"))?;
        for at in &found {
            if tokio::net::TcpStream::connect(at).await.is_ok() {
                address = *at;
                break;
            }
        }
        Ok(Target {
            address,
            socket: format!("ws://{authority}/?v=10&encoding=json"),
            api: format!("http://{address}/api/v10"),
        })
    }
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse::<usize>().ok().filter(|n| (1..=100_000).contains(n));
    count.ok_or_else(|| "expected a number from 1 to 100000".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.0..=1e6).contains(rate));
    rate.ok_or_else(|| "expected a number from 0 to 1000000".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    rate(text).ok().filter(|rate| *rate > 0.0).ok_or_else(|| "expected a number above 0, up to 1000000".to_owned())
}

fn content(text: &str) -> Result<usize, String> {
    let range = stamp::SHORTEST..=clarion_model::limits::CONTENT;
    let length = text.parse::<usize>().ok().filter(|n| range.contains(n));
    length.ok_or_else(|| format!("expected a number from {} to {}", range.start(), range.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_flags_are_read() {
        let flags = "--sockets 1000 --rate 10 --duration 300 --host ws://localhost:8080 --send-rate 0.1";
        let options = Options::read(flags.split(' ')).expect("flags");
        assert_eq!((options.sockets, options.rate, options.duration, options.send_rate), (1_000, 10.0, 300.0, 0.1));
        assert_eq!(options.accounts(), 1_000);
        assert!((options.sends(1_000).rate - 100.0).abs() < 1e-9);
    }

    #[test]
    fn an_error_names_the_flag() {
        for (flag, bad) in [
            ("--sockets", "0"),
            ("--sockets", "many"),
            ("--rate", "0"),
            ("--rate", "-1"),
            ("--duration", "NaN"),
            ("--send-rate", "-0.1"),
            ("--channels", "0"),
            ("--users", "0"),
            ("--senders", "x"),
            ("--burst", "0"),
            ("--content-bytes", "10"),
            ("--content-bytes", "2001"),
            ("--stall-percent", "101"),
            ("--settle", "0"),
            ("--seed", "x"),
            ("--server-pid", "-1"),
        ] {
            let error = Options::read([format!("{flag}={bad}").as_str()]).expect_err(flag).to_string();
            assert!(error.contains(flag) && error.contains(bad), "{flag} {bad}: {error}");
        }
        assert!(Options::read(["--socket", "1"]).expect_err("unknown").to_string().contains("--socket"));
    }

    #[tokio::test]
    async fn only_this_machine_is_loaded_unless_told_otherwise() {
        let of = |host: &str| Options::read(["--host", host]).expect("flags");
        let beyond = of("ws://192.0.2.1:8080").targets().await.expect_err("beyond").to_string();
        assert!(beyond.contains("--i-own-this-server"), "{beyond}");
        let here = of("ws://127.0.0.1:1/,ws://127.0.0.1:2").targets().await.expect("here");
        assert_eq!(here[0].socket, "ws://127.0.0.1:1/?v=10&encoding=json");
        assert_eq!(here[1].api, "http://127.0.0.1:2/api/v10");
        for bad in ["localhost:8080", "wss://localhost", "ws://localhost/x"] {
            let error = of(bad).targets().await.expect_err(bad).to_string();
            assert!(error.contains("--host"), "{error}");
        }
    }

    #[test]
    fn those_who_stall_are_evenly_spread() {
        let options = Options::read(["--sockets=200", "--stall-percent=10"]).expect("flags");
        let stalled: Vec<usize> = (0..200).filter(|socket| options.stalls(*socket)).collect();
        assert_eq!(stalled.len(), 20);
        assert!(stalled.windows(2).all(|w| w[1] - w[0] == 10));
    }

    #[test]
    fn more_sockets_than_files_are_refused() {
        let error = Options::read(["--sockets=100000"]).expect("flags").check().expect_err("too many").to_string();
        assert!(error.contains("--sockets") && error.contains("ulimit"), "{error}");
    }
}
