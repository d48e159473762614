//! The other end of a generator's standard input.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::generate::{Command, Sample, Spec};
use crate::server::{GENERATOR_CORE, SERVER_CORE, pinned};

/// A generator with all its sockets connected. Ends when dropped.
pub(crate) struct Generator {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Generator {
    /// Starts a generator and waits until all its sockets are connected.
    pub(crate) fn start(spec: &Spec) -> anyhow::Result<Self> {
        let mut child = pinned(GENERATOR_CORE, std::env::current_exe()?)
            .arg("generate")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = child.stdin.take().context("standard input")?;
        let answers = BufReader::new(child.stdout.take().context("standard output")?);
        let mut generator = Self { child, commands, answers };
        generator.say(spec)?;
        let _: String = generator.answer()?;
        Ok(generator)
    }

    /// Has it do something.
    pub(crate) fn obey(&mut self, command: &Command) -> anyhow::Result<Sample> {
        self.say(command)?;
        self.answer()
    }

    fn say(&mut self, what: &impl Serialize) -> anyhow::Result<()> {
        writeln!(self.commands, "{}", serde_json::to_string(what)?)?;
        Ok(self.commands.flush()?)
    }

    fn answer<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the generator failed; it said why above");
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor time of a fixed piece of work on the servers' core, in seconds.
pub(crate) fn spin() -> anyhow::Result<f64> {
    let out = pinned(SERVER_CORE, std::env::current_exe()?).arg("spin").output()?;
    String::from_utf8_lossy(&out.stdout).trim().parse().context("spin")
}
