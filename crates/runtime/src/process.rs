//! A process is a list of services: started in order, stopped in reverse.

use std::future::Future;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use clarion_observability::log::{self, ErrorInfo, Fields};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::circuit::Circuits;
use crate::probe::Probes;
use crate::{Host, Wire};

/// Weighs a tenth of others, as Linux counts.
#[cfg(target_os = "linux")]
const GIVES_WAY: i32 = 10;

/// The services of this process, what they share, and how they end.
pub struct Process {
    observability: clarion_observability::Process,
    wire: Wire,
    probes: Probes,
    drain: Duration,
    circuit_breakers: bool,
    schema: Option<u32>,
    fatal: CancellationToken,
    services: Vec<Running>,
}

/// How a stop went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopReport {
    /// Services that had not ended at their deadline and were cut off.
    pub cut_off: Vec<&'static str>,
    /// Services that ended with an error.
    pub failed: Vec<&'static str>,
    /// How long the whole stop took.
    pub took: Duration,
}

/// The threads of a service.
#[derive(Debug, Clone, Copy)]
pub struct Threads {
    workers: usize,
    gives_way: bool,
}

impl From<usize> for Threads {
    fn from(workers: usize) -> Self {
        Self { workers, gives_way: false }
    }
}

impl Threads {
    /// So many workers that have little of a busy processor: of a service whose work may be late, and which says how late.
    /// On Linux; elsewhere they are like others.
    pub fn giving_way(workers: usize) -> Self {
        Self { workers, gives_way: true }
    }
}

struct Running {
    name: &'static str,
    instance: String,
    draining: CancellationToken,
    cut: CancellationToken,
    thread: JoinHandle<anyhow::Result<bool>>,
}

impl Process {
    /// A process without services. `drain` bounds how long each service may take to end.
    pub fn new(observability: clarion_observability::Process, drain: Duration) -> Self {
        Self {
            observability,
            wire: Wire::default(),
            probes: Probes::default(),
            drain,
            circuit_breakers: true,
            schema: None,
            fatal: CancellationToken::new(),
            services: Vec::new(),
        }
    }

    /// Whether services that are started from now on leave peers alone that do not answer. They do, unless this says no.
    pub fn circuit_breakers(&mut self, enabled: bool) {
        self.circuit_breakers = enabled;
    }

    /// The version of the shared store's schema that services which are started from now on know, and say when they are
    /// asked.
    pub fn knows_schema(&mut self, version: u32) {
        self.schema = Some(version);
    }

    /// What its services say goes through here.
    pub fn observability(&self) -> &clarion_observability::Process {
        &self.observability
    }

    /// Liveness and readiness.
    pub fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Cancelled when a service cannot go on: the process is to stop and to fail.
    pub fn fatal(&self) -> CancellationToken {
        self.fatal.clone()
    }

    /// Starts a service on a thread and a tokio runtime of its own. `bind` answers what the caller wants to know of the
    /// bound service, and the future that serves; this call returns when it is bound.
    pub fn start<T, B, F, R>(
        &mut self,
        name: &'static str,
        instance: &str,
        threads: impl Into<Threads>,
        bind: B,
    ) -> anyhow::Result<T>
    where
        T: Send + 'static,
        B: FnOnce(Host) -> F + Send + 'static,
        F: Future<Output = anyhow::Result<(T, R)>> + Send,
        R: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (draining, cut) = (CancellationToken::new(), CancellationToken::new());
        let (bound, when_bound) = mpsc::sync_channel(1);
        let service = Service {
            name,
            instance: instance.to_owned(),
            threads: threads.into(),
            observability: self.observability.clone(),
            wire: self.wire.clone(),
            circuit_breakers: self.circuit_breakers,
            schema: self.schema,
            probes: self.probes.clone(),
            fatal: self.fatal.clone(),
            draining: draining.clone(),
            cut: cut.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("clarion-{name}"))
            .spawn(move || service.main(bind, bound))
            .context("cannot start a thread")?;
        let Ok(value) = when_bound.recv() else {
            let end = thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("panicked")));
            return Err(end.err().unwrap_or_else(|| anyhow::anyhow!("ended before it was bound")))
                .with_context(|| format!("{name} did not start"));
        };
        self.services.push(Running { name, instance: instance.to_owned(), draining, cut, thread });
        Ok(value)
    }

    /// All services are started: ready.
    pub fn ready(&self) {
        self.probes.set_ready();
    }

    /// Stops one service and keeps the rest; for tests of what the others then do. `cut` gives it no time to drain.
    /// Answers whether it ended by itself.
    pub fn stop_one(&mut self, instance: &str, cut: bool) -> anyhow::Result<bool> {
        let at = self.services.iter().position(|s| s.instance == instance);
        let service = self.services.remove(at.with_context(|| format!("there is no service {instance}"))?);
        service.stop(if cut { Duration::ZERO } else { self.drain })
    }

    /// Stops all services, the last started first, each within the drain deadline.
    pub fn stop(mut self) -> StopReport {
        let begun = Instant::now();
        self.probes.set_shutting_down();
        let mut report = StopReport { cut_off: Vec::new(), failed: Vec::new(), took: Duration::ZERO };
        while let Some(service) = self.services.pop() {
            let name = service.name;
            match service.stop(self.drain) {
                Ok(true) => {}
                Ok(false) => report.cut_off.push(name),
                Err(_) => report.failed.push(name),
            }
        }
        self.observability.flush();
        report.took = begun.elapsed();
        report
    }
}

impl Running {
    /// `Ok(false)`: it had to be cut off.
    fn stop(self, within: Duration) -> anyhow::Result<bool> {
        // One that is given no time is not told either: it ends as if it had died.
        if !within.is_zero() {
            self.draining.cancel();
        }
        let deadline = Instant::now() + within;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.cut.cancel();
        self.thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("panicked")))
    }
}

/// What the thread of a service needs.
struct Service {
    name: &'static str,
    instance: String,
    threads: Threads,
    observability: clarion_observability::Process,
    wire: Wire,
    circuit_breakers: bool,
    schema: Option<u32>,
    probes: Probes,
    fatal: CancellationToken,
    draining: CancellationToken,
    cut: CancellationToken,
}

/// All threads that the calling one starts from now on, and itself. A thread that may not is no worse than before.
fn give_way() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(GIVES_WAY);
}

impl Service {
    fn main<T, B, F, R>(self, bind: B, bound: mpsc::SyncSender<T>) -> anyhow::Result<bool>
    where
        B: FnOnce(Host) -> F,
        F: Future<Output = anyhow::Result<(T, R)>>,
        R: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        if self.threads.gives_way {
            give_way();
        }
        // The exporter of spans is made on the runtime, and the runtime's threads adopt the telemetry: so the telemetry
        // is made on a runtime of one thread, which then does nothing but carry the exporter.
        let exporter = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name("telemetry")
            .build()?;
        let telemetry = exporter.block_on(async { self.observability.service(self.name, &self.instance) });
        let adopt = telemetry.clone();
        telemetry.adopt_thread();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.threads.workers)
            .enable_all()
            .thread_name(self.name)
            .on_thread_start(move || adopt.adopt_thread())
            .build()?;
        let tasks = TaskTracker::new();
        let host = Host {
            circuits: Circuits::new(self.circuit_breakers, telemetry.clone()),
            telemetry,
            wire: self.wire.clone(),
            tasks: tasks.clone(),
            draining: self.draining.clone(),
            fatal: self.fatal.clone(),
            probes: self.probes.clone(),
            schema: self.schema,
        };
        let (value, run) = runtime.block_on(bind(host))?;
        let serving = runtime.spawn(run);
        let _ = bound.send(value);
        let ended = runtime.block_on(self.until_ended(serving, tasks));
        self.observability.flush();
        runtime.shutdown_timeout(Duration::from_millis(500));
        exporter.shutdown_background();
        ended
    }

    /// `Ok(true)` when the service ended by itself, `Ok(false)` when it was cut off.
    async fn until_ended(
        &self,
        serving: tokio::task::JoinHandle<anyhow::Result<()>>,
        tasks: TaskTracker,
    ) -> anyhow::Result<bool> {
        let drained = async {
            let end = serving.await.unwrap_or_else(|panic| Err(panic.into()));
            if let Err(error) = &end {
                let detail = format!("{}: {error:#}", self.name);
                log::SERVICE_FAILED.emit(Fields {
                    error: Some(ErrorInfo { kind: "service", detail }),
                    fatal: true,
                    ..Fields::default()
                });
            }
            // A service that ends although nobody asked it to takes the process with it.
            if !self.draining.is_cancelled() {
                self.fatal.cancel();
            }
            tasks.close();
            tasks.wait().await;
            end.map(|()| true)
        };
        tokio::select! {
            end = drained => end,
            () = self.cut.cancelled() => Ok(false),
        }
    }
}
