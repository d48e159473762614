//! What a process lends a service: a name, telemetry, owned tasks, listeners and peers, and the word to drain.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use clarion_observability::Telemetry;
use clarion_observability::log::{self, ErrorInfo, Fields};
use clarion_proto::v1::process_server::ProcessServer;
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::circuit::Circuits;
use crate::describe::Described;
use crate::probe::Probes;
use crate::{Address, Listen, Listener, Peer, Wire, peer};

/// A service's side of its process. A clone is the same host.
#[derive(Clone)]
pub struct Host {
    pub(crate) telemetry: Telemetry,
    pub(crate) wire: Wire,
    pub(crate) circuits: Circuits,
    pub(crate) tasks: TaskTracker,
    pub(crate) draining: CancellationToken,
    pub(crate) fatal: CancellationToken,
    pub(crate) probes: Probes,
    pub(crate) schema: Option<u32>,
}

impl Host {
    /// The service's telemetry.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// The name of this instance, unique among those that meet.
    pub fn instance(&self) -> &str {
        self.telemetry.instance()
    }

    /// Cancelled when the service is to drain: finish what was begun, begin nothing new.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// The process's liveness and readiness.
    pub fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Ends the process with a failure, after the drain: for what cannot be served on from.
    pub fn fail(&self) {
        self.fatal.cancel();
    }

    /// Runs a task that the service owns: the end of the service waits for it. A panic in it is logged and fails the
    /// process, because what the task held is in an unknown state.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let fatal = self.fatal.clone();
        // Not an async block around the task: that would have room for it twice.
        self.tasks.spawn(AssertUnwindSafe(task).catch_unwind().map(move |ended| {
            if let Err(panic) = ended {
                panicked(name, &*panic, &fatal);
            }
        }));
    }

    /// Runs what a thread of the service's own does; a panic in it ends the process as one of a task does.
    pub fn guard(&self, name: &'static str, work: impl FnOnce()) {
        if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(work)) {
            panicked(name, &*panic, &self.fatal);
        }
    }

    /// A gRPC channel to a peer. All to one address share a circuit.
    pub fn peer(&self, address: &Address) -> Peer {
        peer::peer(address, &self.wire, &self.circuits)
    }

    /// Binds a listener for gRPC.
    pub fn listen(&self, listen: &Listen) -> anyhow::Result<Listener> {
        Listener::bind(listen, &self.wire, self.instance())
    }

    /// Serves gRPC until the drain begins and what is under way has ended. Beside the routes it says what the service is.
    pub async fn serve_grpc(&self, listener: Listener, routes: Routes) -> anyhow::Result<()> {
        let routes = routes.add_service(ProcessServer::new(Described::new(self)));
        listener.serve(routes, self.draining().cancelled_owned()).await
    }
}

fn panicked(name: &'static str, panic: &(dyn std::any::Any + Send), fatal: &CancellationToken) {
    let detail = format!("{name}: {}", panic_text(panic));
    let error = Some(ErrorInfo { kind: "panic", detail });
    log::TASK_PANICKED.emit(Fields { error, fatal: true, ..Fields::default() });
    fatal.cancel();
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
}
