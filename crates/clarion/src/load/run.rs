//! A run: what all its sockets and senders share, and the order in which things happen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::checker::Checker;
use super::options::{Options, Target};
use super::process::{self, Usage};
use super::report::{Line, Report, Window};
use super::tally::{Tally, Times};
use super::workspace::{self, Operators, Workspace};
use super::{history, sender, socket};

/// How often the run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a line is shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for sockets to close.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);
/// How long sockets may take to have sessions, beyond the time of opening them.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Connect,
    Send,
    Settle,
    Stop,
}

/// What is counted and judged while the run runs.
pub(super) struct State {
    pub(super) tally: Tally,
    pub(super) checker: Checker,
    /// Times since the last line.
    pub(super) moment: Moment,
    /// When to give up on what is not settled, once nothing more is begun.
    pub(super) until: Option<Instant>,
}

#[derive(Default)]
pub(super) struct Moment {
    pub(super) ack: Times,
    pub(super) delivery: Times,
}

/// What everybody in a run shares.
pub(super) struct Run {
    pub(super) options: Options,
    pub(super) targets: Vec<Target>,
    pub(super) workspace: Workspace,
    pub(super) id: u32,
    pub(super) began: Instant,
    pub(super) http: reqwest::Client,
    /// Leave to have a request under way.
    pub(super) requests: Semaphore,
    channels: HashMap<u64, usize>,
    state: Mutex<State>,
    phase: watch::Sender<Phase>,
    /// Changes when sockets are to go back to where they were at first.
    home: watch::Sender<()>,
    /// Cancelled when nothing more is to be begun.
    pub(super) enough: CancellationToken,
}

/// A run that is prepared.
pub struct Load {
    run: Arc<Run>,
    operators: Option<Operators>,
    server: Option<u32>,
}

/// A look at a run from outside.
#[derive(Clone)]
pub struct Watch(Arc<Run>);

impl Run {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(super) fn home(&self) -> watch::Receiver<()> {
        self.home.subscribe()
    }

    pub(super) fn channel(&self, id: u64) -> Option<usize> {
        self.channels.get(&id).copied()
    }

    /// The place that one of many uses, the `number`-th of them or of its tries.
    pub(super) fn target(&self, number: usize) -> &Target {
        &self.targets[number % self.targets.len()]
    }

    /// Where messages of a channel are, at a place.
    pub(super) fn messages(&self, target: &Target, channel: usize) -> String {
        format!("{}/channels/{}/messages", target.api, self.workspace.channels[channel])
    }

    pub(super) fn token_of_socket(&self, socket: usize) -> &str {
        &self.workspace.tokens[socket % self.workspace.tokens.len()]
    }

    /// A socket hears where channels stand.
    pub(super) fn stands(&self, socket: usize, channels: &[(u64, u64)]) {
        let mut state = self.state();
        for (id, last) in channels {
            if let Some(channel) = self.channel(*id) {
                state.checker.begin(socket, channel, *last);
            }
        }
    }
}

impl Watch {
    /// What is counted so far.
    pub fn tally(&self) -> Tally {
        self.0.state().tally.clone()
    }

    /// Has all sockets that are not at the host they were at first go on there.
    pub fn go_home(&self) {
        self.0.home.send_replace(());
    }

    /// Ends the sending before its time. What is under way is settled and reported as ever.
    pub fn enough(&self) {
        self.0.enough.cancel();
    }
}

impl Load {
    /// Makes what the run needs on the server. Without `operators` there must be a file of tokens. `server` is the
    /// server's process, if it is on this machine.
    pub async fn prepare(options: Options, operators: Option<Operators>, server: Option<u32>) -> anyhow::Result<Self> {
        options.check()?;
        let targets = options.targets().await?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(options.requests())
            .build()?;
        let mut chance = [0; 4];
        getrandom::fill(&mut chance).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
        let id = u32::from_le_bytes(chance);
        let workspace = match (&options.token_file, &operators) {
            (Some(file), _) => {
                let text = std::fs::read_to_string(file);
                let text = text.with_context(|| format!("--token-file {}", file.display()))?;
                let tokens = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned);
                let tokens = tokens.take(options.accounts()).collect();
                workspace::find(&http, &targets[0].api, tokens, options.channels).await?
            }
            (None, Some(operators)) => {
                operators.make(&format!("load {id:08x}"), options.channels, options.accounts()).await?
            }
            (None, None) => bail!("neither an admin port nor --token-file: there are no accounts to use"),
        };
        let state = State {
            tally: Tally::default(),
            checker: Checker::new(workspace.channels.len(), options.sockets),
            moment: Moment::default(),
            until: None,
        };
        let run = Run {
            channels: workspace.channels.iter().enumerate().map(|(at, id)| (*id, at)).collect(),
            requests: Semaphore::new(options.requests()),
            state: Mutex::new(state),
            phase: watch::Sender::new(Phase::Connect),
            home: watch::Sender::new(()),
            enough: CancellationToken::new(),
            began: Instant::now(),
            options,
            targets,
            workspace,
            id,
            http,
        };
        Ok(Self { run: Arc::new(run), operators, server })
    }

    /// A look at the run, for whoever wants to interfere with it.
    pub fn watch(&self) -> Watch {
        Watch(self.run.clone())
    }

    /// How long the accounts and the guild took to make, and how many accounts there are.
    pub fn made(&self) -> (usize, Duration) {
        (self.run.workspace.tokens.len(), self.run.workspace.took)
    }

    /// Runs it to its end, and shows a line every second.
    pub async fn run(self, mut show: impl FnMut(&Line)) -> anyhow::Result<Report> {
        let run = &self.run;
        let options = &run.options;
        let mut shown = Shown { at: Instant::now(), tally: Tally::default(), usage: self.usage() };

        let mut sockets = JoinSet::new();
        let began = Instant::now();
        for number in 0..options.sockets {
            let due = began + Duration::from_secs_f64(number as f64 / options.rate);
            sockets.spawn(socket::keep(run.clone(), number, due));
        }
        let ramp = Duration::from_secs_f64(options.sockets as f64 / options.rate);
        let all = options.sockets as u64;
        self.wait_until(began + ramp + READY_WITHIN, &mut shown, &mut show, |state| {
            state.tally.live == all || run.enough.is_cancelled()
        })
        .await;
        let connected = began.elapsed();
        let ready = run.state().tally.live;

        let (before, usage) = (run.state().tally.clone(), self.usage());
        let generator = process::usage(std::process::id());
        run.phase.send_replace(Phase::Send);
        let start = Instant::now();
        let sends = options.sends(run.workspace.tokens.len());
        let mut senders = JoinSet::new();
        for sender in 0..sends.senders {
            senders.spawn(sender::send_all(run.clone(), sender, sends, start));
        }
        self.wait_until(start + sends.duration, &mut shown, &mut show, |_| run.enough.is_cancelled()).await;
        let (sent_for, until) = (start.elapsed(), Instant::now() + Duration::from_secs_f64(options.settle));
        run.state().until = Some(until);
        run.phase.send_replace(Phase::Settle);
        self.wait_until(until, &mut shown, &mut show, |_| {
            while senders.try_join_next().is_some() {}
            senders.is_empty()
        })
        .await;
        // What is still under way then gives up by itself.
        while senders.join_next().await.is_some() {}
        let settled = |state: &mut State| state.tally.live == all && state.checker.behind() == 0;
        self.wait_until(until + SHOW_EVERY, &mut shown, &mut show, settled).await;
        self.fold(&mut shown);
        let window = Window {
            before,
            after: run.state().tally.clone(),
            sent_for,
            lasted: start.elapsed(),
            server: usage.zip(self.usage()),
            generator: generator.zip(process::usage(std::process::id())),
        };
        let history = history::judge(run).await;
        run.phase.send_replace(Phase::Stop);
        let closed = async { while sockets.join_next().await.is_some() {} };
        // Those that do not close in time are cut off.
        let _ = tokio::time::timeout(CLOSED_WITHIN, closed).await;
        drop(sockets);
        let revoked = match (&self.operators, run.workspace.made) {
            (Some(operators), Some(_)) => Some(operators.revoke(&run.workspace.tokens).await),
            _ => None,
        };
        let checker = std::mem::replace(&mut run.state().checker, Checker::new(0, 0));
        Ok(Report::new(options, &window, (ready, connected), checker.finish(), history, run.workspace.made, revoked))
    }

    fn usage(&self) -> Option<Usage> {
        self.server.and_then(process::usage)
    }

    /// Waits for a moment, or for something to be so, and shows a line every second meanwhile.
    async fn wait_until(
        &self,
        until: Instant,
        shown: &mut Shown,
        show: &mut impl FnMut(&Line),
        mut done: impl FnMut(&mut State) -> bool,
    ) {
        while Instant::now() < until && !done(&mut self.run.state()) {
            sleep(LOOK_EVERY.min(until.saturating_duration_since(Instant::now()))).await;
            if shown.at.elapsed() >= SHOW_EVERY {
                show(&self.fold(shown));
            }
        }
    }

    /// Adds the times since the last line to all, and makes a line of what was since then.
    fn fold(&self, shown: &mut Shown) -> Line {
        let mut state = self.run.state();
        let state = &mut *state;
        let (ack, delivery) = (state.moment.ack.percentiles(), state.moment.delivery.percentiles());
        state.tally.ack.add(&state.moment.ack);
        state.tally.delivery.add(&state.moment.delivery);
        state.moment.ack.clear();
        state.moment.delivery.clear();
        let (tally, usage, lasted) = (state.tally.clone(), self.usage(), shown.at.elapsed());
        let before = std::mem::replace(&mut shown.tally, tally.clone());
        let cpu = shown.usage.zip(usage).map(|(a, b)| (b.cpu_s - a.cpu_s).max(0.0));
        (shown.at, shown.usage) = (Instant::now(), usage);
        let faults = state.checker.so_far().faults.values().sum();
        Line {
            at: self.run.began.elapsed(),
            sockets: self.run.options.sockets,
            lasted,
            before,
            now: tally,
            ack,
            delivery,
            cpu,
            usage,
            faults,
        }
    }
}

/// What the last line was about.
struct Shown {
    at: Instant,
    tally: Tally,
    usage: Option<Usage>,
}
