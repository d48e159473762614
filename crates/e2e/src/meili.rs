//! A server that answers as Meilisearch does, as far as it is used, and checks every request strictly: what the real one
//! would refuse, or would understand in another way than is meant, is a complaint.
//!
//! It can be out of reach, slow, or full. Tasks are done in order, when somebody looks after them.

mod api;
mod filter;
mod find;
mod state;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context;
use tokio::sync::oneshot;

use state::State;

/// The key that the server wants.
pub const KEY: &str = "a-key-that-opens-it";

/// A server. Stopped when dropped; what it has is kept while it is down.
pub struct Meili {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Meili {
    /// An empty server.
    pub fn start() -> anyhow::Result<Self> {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let mut server = Self { address, state: Arc::default(), running: None };
        server.up()?;
        Ok(server)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// It answers again.
    pub fn up(&mut self) -> anyhow::Result<()> {
        let listener = std::net::TcpListener::bind(self.address).context("the server's port")?;
        listener.set_nonblocking(true)?;
        self.address = listener.local_addr()?;
        let routes = api::routes(self.state.clone());
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                tokio::select! {
                    _ = axum::serve(listener, routes) => {}
                    _ = stopped => {}
                }
            });
        });
        self.running = Some(Running { stop, thread });
        Ok(())
    }

    /// It is gone: connections end, and are refused.
    pub fn down(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.stop.send(());
            let _ = running.thread.join();
        }
    }

    /// Tasks are taken and not done, until they are again.
    pub fn hold(&self, held: bool) {
        self.state().held = held;
    }

    /// Its disk is full: nothing is taken.
    pub fn fill(&self, full: bool) {
        self.state().full = full;
    }

    /// Everything is gone.
    pub fn wipe(&self) {
        self.state().indexes.clear();
    }

    /// What was wrong with requests.
    pub fn complaints(&self) -> Vec<String> {
        self.state().complaints.clone()
    }

    /// Requests so far that contained all of `parts` in method and path.
    pub fn requests(&self, parts: &[&str]) -> usize {
        self.state().requests.iter().filter(|request| parts.iter().all(|part| request.contains(part))).count()
    }

    /// Messages in its fullest index.
    pub fn messages(&self) -> usize {
        let state = self.state();
        let messages = |index: &state::Index| {
            index.documents.values().filter(|d| d.get("kind").is_some_and(|kind| kind == "message")).count()
        };
        state.indexes.values().map(messages).max().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Meili {
    fn drop(&mut self) {
        self.down();
    }
}
