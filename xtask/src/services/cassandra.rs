//! Apache Cassandra 5, of the jars that Maven Central has: the versions are pinned, each jar is compared with its checksum.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::{folder, free_port, fresh};
use crate::run::{check, has, output};

const POM: &str = include_str!("cassandra.pom.xml");
const SUMS: &str = include_str!("cassandra.sha256");
const SCRIPT: &str = include_str!("cassandra.sh");
/// What copies the jars of a POM.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
/// How long a server may take to listen: some ten seconds of work on a machine that has other work.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running server; ends when dropped.
pub(crate) struct Cassandra {
    child: Option<Child>,
    data: PathBuf,
    port: u16,
}

/// Fetches what is not there yet. Answers the script that runs a server.
pub(super) fn install() -> anyhow::Result<PathBuf> {
    let place = folder().join("cassandra");
    let (lib, script) = (place.join("lib"), place.join("cassandra.sh"));
    if output(Command::new("java").arg("-version")).is_none() {
        bail!("java (17) is not there");
    }
    if verify(&lib).is_err() {
        if !has("mvn") {
            bail!("mvn is not there");
        }
        fresh(&place)?;
        fs::write(place.join("pom.xml"), POM)?;
        let setting = |name: &str, value: &Path| format!("-D{name}={}", value.display());
        check(
            Command::new("mvn")
                .args(["--quiet", "--batch-mode", "-Dstyle.color=never", COPY, "-DincludeScope=runtime"])
                .arg(setting("outputDirectory", &lib))
                .arg(setting("maven.repo.local", &folder().join("maven")))
                .current_dir(&place),
        )
        .context("mvn cannot fetch it")?;
        verify(&lib)?;
    }
    fs::write(&script, SCRIPT)?;
    check(Command::new("chmod").arg("+x").arg(&script))?;
    Ok(script)
}

/// Whether exactly the pinned jars are there.
fn verify(lib: &Path) -> anyhow::Result<()> {
    let found = fs::read_dir(lib).with_context(|| format!("{}", lib.display()))?.count();
    if found != SUMS.lines().count() {
        bail!("{} has {found} files, expected {}", lib.display(), SUMS.lines().count());
    }
    let sums = folder().join("cassandra.sha256");
    fs::write(&sums, SUMS)?;
    let mut sums_tool = Command::new("sha256sum");
    check(sums_tool.args(["--check", "--quiet", "--strict"]).arg(fs::canonicalize(sums)?).current_dir(lib))
        .context("a jar is not what it was when its version was pinned")
}

impl Cassandra {
    /// Starts a server with a new data folder, and waits until it answers. `bound`: it ends when this process does.
    pub(super) fn start(script: &Path, place: &Path, bound: bool) -> anyhow::Result<Self> {
        let data = place.join("cassandra");
        fresh(&data)?;
        let (port, storage) = (free_port()?, free_port()?);
        let log = File::create(data.join("server.log"))?;
        let mut command = Command::new(script);
        command.arg(&data).arg(port.to_string()).arg(storage.to_string());
        if bound {
            command.env("CLARION_WITH_PARENT", "1");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot start it")?;
        let mut server = Self { child: Some(child), data, port };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(server.address()).is_err() {
            if let Some(status) = server.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("it ended: {status}; see {}", server.data.join("server.log").display());
            }
            if Instant::now() > deadline {
                bail!("it does not listen after {PATIENCE:?}; see {}", server.data.join("server.log").display());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Lets it run on, and notes where it is.
    pub(super) fn leave(mut self) -> anyhow::Result<()> {
        if let Some(child) = self.child.take() {
            fs::write(self.data.join("running"), format!("{} {}", child.id(), self.address()))?;
        }
        Ok(())
    }
}

impl Drop for Cassandra {
    /// At once: what it has is thrown away.
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
            let _ = fs::remove_dir_all(self.data.join("data"));
            let _ = fs::remove_dir_all(self.data.join("commitlog"));
        }
    }
}

/// Where a server that was left to run is, if it still does.
pub(super) fn running(place: &Path) -> Option<String> {
    let note = fs::read_to_string(place.join("cassandra/running")).ok()?;
    let (id, address) = note.split_once(' ')?;
    is_ours(id, place).then(|| address.to_owned())
}

/// Ends a server that was left to run.
pub(super) fn stop(place: &Path) -> anyhow::Result<()> {
    let note = place.join("cassandra/running");
    let Ok(text) = fs::read_to_string(&note) else {
        println!("nothing is running");
        return Ok(());
    };
    let id = text.split(' ').next().unwrap_or_default();
    if is_ours(id, place) {
        check(Command::new("kill").args(["-TERM", id]))?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while is_ours(id, place) {
            if Instant::now() > deadline {
                check(Command::new("kill").args(["-KILL", id]))?;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    fs::remove_file(note)?;
    Ok(())
}

/// Whether a process is a server of that place: its number may have gone to another one.
fn is_ours(id: &str, place: &Path) -> bool {
    let folder = place.join("cassandra");
    let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command);
    command.contains("CassandraDaemon") && command.contains(&*folder.to_string_lossy())
}
