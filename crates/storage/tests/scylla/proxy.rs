//! A way to the server that can lose answers: what was asked is done, and who asked does not learn of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A listener that passes everything on.
pub(crate) struct Proxy {
    pub(crate) address: String,
    fate: Arc<Fate>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Fate {
    /// How many of the next answers are lost, each with its connection.
    cut: AtomicUsize,
    /// How many were.
    lost: AtomicUsize,
    /// All answers are lost, and the connections stay.
    silent: AtomicBool,
}

impl Proxy {
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let fate = Arc::new(Fate::default());
        let of_tasks = fate.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                connections.spawn(pass(client, server, of_tasks.clone()));
            }
        });
        Self { address, fate, _tasks: tasks }
    }

    /// Loses the next answer, and the connection with it.
    pub(crate) fn cut_next(&self) {
        self.fate.cut.store(1, Ordering::SeqCst);
    }

    /// How many answers were lost with their connections.
    pub(crate) fn lost(&self) -> usize {
        self.fate.lost.load(Ordering::SeqCst)
    }

    /// Loses all answers, or none.
    pub(crate) fn silent(&self, silent: bool) {
        self.fate.silent.store(silent, Ordering::SeqCst);
    }
}

async fn pass(client: TcpStream, server: TcpStream, fate: Arc<Fate>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = requests(from_client, to_server) => {}
        () = answers(from_server, to_client, &fate) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fate: &Fate) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if fate.silent.load(Ordering::SeqCst) {
            continue;
        }
        if fate.cut.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            fate.lost.fetch_add(1, Ordering::SeqCst);
            return;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
