//! A server of a test's own, which it may kill and start again; the environment names the script that runs it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpStream;

/// The variable that names the script.
const SCRIPT: &str = "CLARION_TEST_CASSANDRA";
/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(180);

/// A server that runs or does not.
pub(crate) struct Server {
    script: PathBuf,
    data: TempDir,
    ports: (u16, u16),
    pub(crate) child: Option<Child>,
}

impl Server {
    /// Starts one with nothing in it. `None`, and a line that says so, without the script.
    pub(crate) async fn start() -> Option<Self> {
        let Some(script) = std::env::var_os(SCRIPT).map(PathBuf::from) else {
            println!("passed over: {SCRIPT} names no script");
            return None;
        };
        let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let data = tempfile::tempdir().unwrap();
        let mut server = Self { script, data, ports: (port(), port()), child: None };
        server.again().await;
        Some(server)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.0)
    }

    /// Starts it on what it had, and waits until it listens.
    pub(crate) async fn again(&mut self) {
        let (port, storage) = self.ports;
        let log = std::fs::File::create(self.data.path().join("server.log")).unwrap();
        let child = Command::new(&self.script)
            .arg(self.data.path())
            .args([port.to_string(), storage.to_string()])
            .env("CLARION_WITH_PARENT", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address()).await.is_err() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.data.path().join("server.log")).unwrap_or_default();
                panic!("the server does not listen: {ended:?}\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
