//! The servers beside which Clarion is measured. What they need is downloaded and built in the scratch folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::generate::{Dialect, Spec};
use crate::server::{SERVER_CORE, Server, free_port, pinned, scratch};

/// Who.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// uWebSockets, C++: a subscription to a topic for each socket.
    UWebSockets,
    /// nats-server with its WebSocket listener: a subscription to a subject for each socket.
    Nats,
    /// ws on Node.js: a loop over all sockets.
    Ws,
}

/// A peer that runs.
pub(crate) struct Running {
    pub(crate) server: Server,
    dialect: Dialect,
}

impl Peer {
    pub(crate) const ALL: [Peer; 3] = [Peer::UWebSockets, Peer::Nats, Peer::Ws];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::UWebSockets => "uWebSockets",
            Peer::Nats => "NATS",
            Peer::Ws => "ws",
        }
    }

    /// Installs and starts it.
    pub(crate) fn start(self) -> anyhow::Result<Running> {
        let (port, folder) = (free_port()?, scratch());
        fs::create_dir_all(&folder)?;
        let (command, dialect) = match self {
            Peer::UWebSockets => {
                let mut command = pinned(SERVER_CORE, build_uws(&folder)?);
                command.arg(port.to_string());
                (command, Dialect::Room)
            }
            Peer::Nats => {
                let config = folder.join("nats.conf");
                let own = free_port()?;
                fs::write(
                    &config,
                    format!(
                        "listen: 127.0.0.1:{own}\nping_interval: \"1h\"\nwrite_deadline: \"30s\"\nmax_pending: 512MB\n\
                         websocket {{ listen: \"127.0.0.1:{port}\", no_tls: true, compression: false }}\n"
                    ),
                )?;
                let mut command = pinned(SERVER_CORE, install_nats(&folder)?);
                command.arg("-c").arg(config);
                (command, Dialect::Nats)
            }
            Peer::Ws => {
                let script = install_ws(&folder)?;
                let mut command = pinned(SERVER_CORE, "node");
                command.arg(script).arg(port.to_string()).env("NODE_ENV", "production");
                (command, Dialect::Room)
            }
        };
        let mut running = Server::start(self.name(), command, port, &folder)?;
        running.name = self.name().to_owned();
        Ok(Running { server: running, dialect })
    }
}

impl Running {
    /// How its generator is started.
    pub(crate) fn spec(&self, sockets: usize, frame: usize) -> Spec {
        Spec {
            dialect: self.dialect,
            address: self.server.address.clone(),
            server: vec![self.server.pid()],
            sockets,
            tokens: Vec::new(),
            channels: Vec::new(),
            senders: 0,
            frame,
        }
    }
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compiles uWebSockets, whose sources come with a crate, around peers/uws.cpp.
fn build_uws(folder: &Path) -> anyhow::Result<PathBuf> {
    let manifest = here().join("Cargo.toml");
    let metadata = Command::new("cargo")
        .args(["metadata", "--format-version=1", "--locked", "--all-features", "--manifest-path"])
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()?;
    let metadata: Value = serde_json::from_slice(&metadata.stdout).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let found = packages.iter().find(|p| p["name"] == "libuwebsockets-sys").context("libuwebsockets-sys")?;
    let sources = Path::new(found["manifest_path"].as_str().unwrap_or_default()).with_file_name("uWebSockets");
    let (built, own) = (folder.join("uws"), here().join("peers/uws.cpp"));
    if newer(&built, &own) {
        return Ok(built);
    }
    let (include, sockets) = (sources.join("src"), sources.join("uSockets/src"));
    let mut c: Vec<PathBuf> = fs::read_dir(&sockets)?.flatten().map(|e| e.path()).collect();
    c.retain(|p| p.extension().is_some_and(|e| e == "c"));
    c.push(sockets.join("eventing/epoll_kqueue.c"));
    let objects = folder.join("uws-objects");
    fs::create_dir_all(&objects)?;
    let mut compile = Command::new("gcc");
    check(compile.current_dir(&objects).args(["-O3", "-DLIBUS_NO_SSL", "-c", "-I"]).arg(&sockets).args(c))?;
    let objects: Vec<PathBuf> = fs::read_dir(&objects)?.flatten().map(|e| e.path()).collect();
    let mut link = Command::new("g++");
    link.args(["-std=c++20", "-O3", "-DLIBUS_NO_SSL", "-DUWS_NO_ZLIB", "-I"]).arg(&include).arg("-I").arg(&sockets);
    check(link.arg(own).args(objects).arg("-o").arg(&built))?;
    Ok(built)
}

fn install_ws(folder: &Path) -> anyhow::Result<PathBuf> {
    let place = folder.join("ws");
    fs::create_dir_all(&place)?;
    for file in ["ws.mjs", "package.json", "package-lock.json"] {
        fs::copy(here().join("peers").join(file), place.join(file))?;
    }
    let mut install = Command::new("npm");
    install.args(["ci", "--no-audit", "--no-fund", "--loglevel=error", "--cache"]).arg(folder.join("npm-cache"));
    check(install.stdout(Stdio::null()).current_dir(&place))?;
    Ok(place.join("ws.mjs"))
}

fn install_nats(folder: &Path) -> anyhow::Result<PathBuf> {
    let venv = folder.join("nats");
    let (python, program) = (venv.join("bin/python"), venv.join("bin/nats-server"));
    if !python.is_file() {
        check(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    if !program.is_file() {
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--cache-dir"]);
        install.arg(folder.join("pip-cache")).arg("--requirement").arg(here().join("peers/requirements.txt"));
        check(&mut install)?;
    }
    Ok(program)
}

fn newer(this: &Path, that: &Path) -> bool {
    let when = |p: &Path| fs::metadata(p).and_then(|m| m.modified()).ok();
    when(this).is_some_and(|this| when(that).is_some_and(|that| this > that))
}

fn check(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}
