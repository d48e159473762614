//! The servers that are measured: started on the first core, stopped when dropped.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Where servers run.
pub(crate) const SERVER_CORE: &str = "0";
/// Where the generator runs.
pub(crate) const GENERATOR_CORE: &str = "1";
const PATIENCE: Duration = Duration::from_secs(60);

/// A program on one core. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) name: String,
    pub(crate) address: String,
}

impl Server {
    /// Starts a program that listens on a port of this machine, and waits until it does.
    pub(crate) fn start(name: &str, mut command: Command, port: u16, folder: &Path) -> anyhow::Result<Self> {
        let mut server = Self::spawn(name, &mut command, folder)?;
        server.address = format!("127.0.0.1:{port}");
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(&server.address).is_err() {
            server.check(deadline)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Starts a program and waits for nothing.
    pub(crate) fn spawn(name: &str, command: &mut Command, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let log = fs::File::create(folder.join(format!("{name}.log")))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let child = child.with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned(), address: String::new() })
    }

    /// Fails when the program has ended or a deadline has passed.
    pub(crate) fn check(&mut self, deadline: Instant) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended: {status}", self.name);
        }
        if Instant::now() > deadline {
            bail!("{} is not ready", self.name);
        }
        Ok(())
    }

    /// Its process: `taskset` becomes the program it starts.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command for a core.
pub(crate) fn pinned(core: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

/// A port that is free just now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The folder for all that is downloaded, built or written.
pub(crate) fn scratch() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let target = std::env::var_os("CLARION_BENCH_TARGET").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("bench-peers")
}
