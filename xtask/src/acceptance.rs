//! Unmodified client libraries, at their published versions, a WebRTC library, and the web client in a browser, each against
//! a server that was just started.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::run::{check, command, has, output, root, target};
use crate::services::free_port;

/// How long a server may take to be ready, and a client to be through.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with a data folder of its own; stopped when dropped.
pub(crate) struct Server {
    child: Child,
    data: PathBuf,
}

impl Server {
    /// Starts the binary on free ports and waits until it is ready.
    pub(crate) fn start(binary: &Path) -> anyhow::Result<Self> {
        Self::start_with(binary, &[])
    }

    /// The same with settings in its environment.
    pub(crate) fn start_with(binary: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = target().join("acceptance").join(format!("server-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let data = folder.join("data");
        fs::create_dir_all(&data)?;
        let log = fs::File::create(data.join("server.log"))?;
        let child = Command::new(binary)
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .env("CLARION_ADMIN__LISTEN", "127.0.0.1:0")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut server = Self { child, data };
        let deadline = Instant::now() + PATIENCE;
        while !server.demo().is_file() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended: {status}; see {}", server.data.join("server.log").display());
            }
            if Instant::now() > deadline {
                bail!("the server is not ready after {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Shows the end of its log when what was tried on it has failed.
    fn told(&self, passed: anyhow::Result<()>) -> anyhow::Result<()> {
        passed.inspect_err(|_| self.tell_last_lines())
    }

    /// Shows the end of its log.
    fn tell_last_lines(&self) {
        let log = fs::read_to_string(self.data.join("server.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(40).collect();
        eprintln!("the server's last lines:");
        tail.iter().rev().for_each(|line| eprintln!("  {line}"));
    }

    /// The file that says where it is and who may speak.
    pub(crate) fn demo(&self) -> PathBuf {
        self.data.join("demo.json")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client library that is installed.
struct Client {
    name: &'static str,
    interpreter: PathBuf,
    /// The checks.
    script: PathBuf,
    /// The README's bot, which is to be written there.
    hello: PathBuf,
    /// In which language the README shows it.
    fence: &'static str,
}

/// Runs every client that this machine can have; adds to `missing` what it cannot.
pub(crate) fn run(missing: &mut Vec<String>) -> anyhow::Result<()> {
    let binary = target().join("debug/clarion");
    for (name, client) in [("discord.js", node_client()), ("discord.py", python_client())] {
        match client {
            Ok(client) => client.accept(&binary)?,
            Err(why) => missing.push(format!("{name}: {why:#}")),
        }
    }
    voice_clients(&binary, missing)?;
    web_client(&binary, missing)
}

impl Client {
    fn accept(&self, binary: &Path) -> anyhow::Result<()> {
        let server = Server::start(binary)?;
        let passed = self.says_hello(&server).and_then(|()| self.checks(&server));
        server.told(passed).with_context(|| format!("{} did not pass", self.name))
    }

    /// The README's bot does what the README says.
    fn says_hello(&self, server: &Server) -> anyhow::Result<()> {
        let readme = fs::read_to_string(root().join("README.md"))?;
        let after = readme.split_once(&format!("```{}\n", self.fence)).context("the README shows no bot")?.1;
        fs::write(&self.hello, after.split_once("```").context("the README's bot has no end")?.0)?;
        let folder = server.data.parent().context("the data folder lies in one")?;
        let mut bot = Command::new(&self.interpreter)
            .arg(&self.hello)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(bot.stdout.take().context("the bot's output")?);
        let (heard, hears) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let said = output.lines().map_while(Result::ok).any(|line| line == "echo: hello");
            let _ = heard.send(said);
        });
        let said = hears.recv_timeout(PATIENCE).unwrap_or(false);
        let _ = bot.kill();
        let _ = bot.wait();
        if !said {
            bail!("the README's bot did not say hello");
        }
        println!("  {}: the README's bot says hello", self.name);
        Ok(())
    }

    fn checks(&self, server: &Server) -> anyhow::Result<()> {
        checks(self.name, &self.interpreter, &self.script, &[server.demo().as_os_str()])
    }
}

/// Runs a script of checks, which is told what it is to try, and shows what it says. What failed is in the error, too: it is
/// the last that is printed, after a server's log.
fn checks(name: &str, interpreter: &Path, script: &Path, given: &[&OsStr]) -> anyhow::Result<()> {
    let mut child =
        Command::new(interpreter).arg(script).args(given).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(child.stdout.take().context("the client's output")?);
    let mut failed = String::new();
    for line in lines.lines() {
        let line = line?;
        println!("  {name}: {line}");
        if line.starts_with("FAIL ") {
            failed.push_str("\n  ");
            failed.push_str(&line);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{status}{failed}");
    }
    Ok(())
}

/// The web client in a real browser; what of it needs none was tested before.
fn web_client(binary: &Path, missing: &mut Vec<String>) -> anyhow::Result<()> {
    if !has("node") {
        missing.push("web client: node is not there".to_owned());
        return Ok(());
    }
    let tests = root().join("crates/gateway/web/test");
    check(Command::new("node").arg("--test").arg("--test-reporter=dot").args(scripts(&tests)?))
        .context("the web client's modules did not pass")?;
    if !has(&browser()) {
        missing.push("web client: chromium is not there (CHROMIUM may name another)".to_owned());
        return Ok(());
    }
    // History is long, and there is one to fill it.
    let server = Server::start_with(binary, &[("CLARION_GATEWAY__REST__RATE_LIMITS__ENABLED", "false")])?;
    let script = root().join("crates/e2e/clients/browser/accept.mjs");
    let passed = checks("web client", Path::new("node"), &script, &[server.demo().as_os_str()]);
    server.told(passed).context("the web client did not pass")
}

fn scripts(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let found = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(found.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "mjs")).collect())
}

/// discord.js in `target/`, as its lock file says.
fn node_client() -> anyhow::Result<Client> {
    let to = target().join("acceptance/node");
    npm(&root().join("crates/e2e/clients/node"), &to)?;
    Ok(Client {
        name: "discord.js",
        interpreter: PathBuf::from("node"),
        script: to.join("accept.mjs"),
        hello: to.join("hello.mjs"),
        fence: "js",
    })
}

/// discord.py in a virtual environment in `target/`.
fn python_client() -> anyhow::Result<Client> {
    let to = target().join("acceptance/python");
    Ok(Client {
        name: "discord.py",
        interpreter: python(&root().join("crates/e2e/clients/python"), &to)?,
        script: to.join("accept.py"),
        hello: to.join("hello.py"),
        fence: "py",
    })
}

/// aiortc, werift and Chromium: against a voice server alone, through a gateway, and while voice servers come and go.
fn voice_clients(binary: &Path, missing: &mut Vec<String>) -> anyhow::Result<()> {
    check(&mut command("cargo", &["build", "--package", "clarion-voice", "--example", "voice-alone"]))?;
    let alone = target().join("debug/examples/voice-alone");
    let to = target().join("acceptance/voice");
    match python(&root().join("crates/e2e/clients/voice"), &to) {
        Ok(interpreter) => {
            let run = |name, script: &str, given: &[&OsStr]| checks(name, &interpreter, &to.join(script), given);
            run("aiortc", "accept.py", &[alone.as_os_str()]).context("aiortc did not pass")?;
            let server = Server::start(binary)?;
            let passed = run("aiortc, op 4", "talk.py", &[server.demo().as_os_str()]);
            server.told(passed).context("aiortc did not pass through a gateway")?;
            moves(binary, |given| run("aiortc, moved", "moves.py", given)).context("aiortc was not moved")?;
        }
        Err(why) => missing.push(format!("aiortc: {why:#}")),
    }
    let (from, to) = (root().join("crates/e2e/clients"), target().join("acceptance/werift"));
    match npm(&from.join("werift"), &to) {
        Ok(()) => {
            fs::copy(from.join("browser/alone.mjs"), to.join("alone.mjs"))?;
            let run = |name, script: &str, given: &OsStr| checks(name, Path::new("node"), &to.join(script), &[given]);
            run("werift", "accept.mjs", alone.as_os_str()).context("werift did not pass")?;
            let server = Server::start(binary)?;
            let passed = run("werift, op 4", "talk.mjs", server.demo().as_os_str());
            server.told(passed).context("werift did not pass through a gateway")?;
        }
        Err(why) => missing.push(format!("werift: {why:#}")),
    }
    // What of it is missing is said with the web client.
    if has("node") && has(&browser()) {
        let folder = root().join("crates/e2e/clients/browser");
        let run = |name, script: &str, given: &[&OsStr]| checks(name, Path::new("node"), &folder.join(script), given);
        run("chromium", "voice.mjs", &[alone.as_os_str()]).context("Chromium's calls did not pass")?;
        moves(binary, |given| run("web client, moved", "moves.mjs", given)).context("the web client was not moved")?;
    }
    Ok(())
}

/// How long aiortc and Chromium take to join, as they say themselves.
pub(crate) fn voice_joins(alone: &Path, given: &[&str], missing: &mut Vec<String>) -> anyhow::Result<()> {
    let words: Vec<&OsStr> = std::iter::once(alone.as_os_str()).chain(given.iter().map(OsStr::new)).collect();
    let to = target().join("acceptance/voice");
    match python(&root().join("crates/e2e/clients/voice"), &to) {
        Ok(interpreter) => checks("aiortc", &interpreter, &to.join("joins.py"), &words)?,
        Err(why) => missing.push(format!("aiortc: {why:#}")),
    }
    if has("node") && has(&browser()) {
        let script = root().join("crates/e2e/clients/browser/joins.mjs");
        return checks("chromium", Path::new("node"), &script, &words);
    }
    missing.push("chromium: it is not there, or node is not".to_owned());
    Ok(())
}

/// A script that starts, drains and kills voice servers of its own, beside a server that has none.
fn moves(binary: &Path, run: impl FnOnce(&[&OsStr]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let listen = format!("127.0.0.1:{}", free_port()?);
    let settings = [("CLARION_ROUTER__LISTEN", listen.as_str()), ("CLARION_TOPOLOGY__VOICE_SERVERS", "0")];
    let server = Server::start_with(binary, &settings)?;
    let router = format!("http://{listen}");
    server.told(run(&[server.demo().as_os_str(), binary.as_os_str(), OsStr::new(&router)]))
}

fn browser() -> String {
    std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned())
}

/// A Python with what a folder's `requirements.txt` asks for, in a virtual environment in `target/`, beside a copy of the
/// folder's files.
fn python(from: &Path, to: &Path) -> anyhow::Result<PathBuf> {
    let version = output(Command::new("python3").args(["-c", "import sys; print(sys.version_info >= (3, 11))"]));
    if version.as_deref().map(str::trim) != Some("True") {
        bail!("python3 (3.11 or later) is not there");
    }
    copy(from, to)?;
    let venv = to.join("venv");
    let python = venv.join("bin/python");
    if !python.is_file() {
        check(Command::new("python3").args(["-m", "venv"]).arg(&venv)).context("python3 cannot make an environment")?;
    }
    check(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--cache-dir"])
            .arg(target().join("acceptance/pip-cache"))
            .arg("--requirement")
            .arg(to.join("requirements.txt")),
    )
    .context("pip cannot install")?;
    Ok(python)
}

/// A copy of a folder's files, and what its lock file asks for beside it.
fn npm(from: &Path, to: &Path) -> anyhow::Result<()> {
    if !has("node") || !has("npm") {
        bail!("node and npm are not there");
    }
    copy(from, to)?;
    check(
        Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund", "--loglevel=error", "--cache"])
            .arg(target().join("acceptance/npm-cache"))
            .stdout(Stdio::null())
            .current_dir(to),
    )
    .context("npm cannot install")
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("{}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
