//! In-memory pipes between the services of one process, by name. The same HTTP/2 runs over them as over TCP.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// Bytes a pipe holds before its writer waits.
const PIPE_BYTES: usize = 1 << 20;
/// Connections that may wait to be accepted.
const BACKLOG: usize = 64;

/// The pipes of one process. A clone is the same set.
#[derive(Clone, Default)]
pub struct Wire {
    listeners: Arc<Mutex<HashMap<String, mpsc::Sender<DuplexStream>>>>,
}

impl Wire {
    /// Starts to accept connections under a name. A later listener of the same name replaces the earlier one.
    pub(crate) fn listen(&self, name: &str) -> mpsc::Receiver<DuplexStream> {
        let (tx, rx) = mpsc::channel(BACKLOG);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), tx);
        rx
    }

    /// Connects to whoever listens under a name.
    pub(crate) async fn connect(&self, name: &str) -> io::Result<DuplexStream> {
        let listener = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let Some(listener) = listener else {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, format!("nobody listens as {name}")));
        };
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let refused = |_| io::Error::new(io::ErrorKind::ConnectionRefused, format!("{name} has stopped"));
        listener.send(theirs).await.map_err(refused)?;
        Ok(ours)
    }
}
