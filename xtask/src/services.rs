//! The real servers that a test run needs, in `target/services`, on loopback and free ports.
//!
//! Those of a test run end with it, also when it is interrupted. `services up` starts them for longer.

mod cassandra;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::run::target;

pub(crate) use cassandra::Cassandra;

/// Names the server of CQL to the tests, `host:port`.
pub(crate) const CQL: &str = "CLARION_TEST_CQL";
/// Names the script that runs a server of their own to those tests that stop it.
pub(crate) const CASSANDRA: &str = "CLARION_TEST_CASSANDRA";

/// Servers that are running for a test run; stopped when dropped.
#[derive(Default)]
pub(crate) struct Services {
    environment: Vec<(&'static str, String)>,
    _cassandra: Option<Cassandra>,
}

impl Services {
    /// Starts what this machine can have; adds to `missing` what it cannot. A server that the environment names is used
    /// as it is.
    pub(crate) fn start(missing: &mut Vec<String>) -> Self {
        let mut services = Self::default();
        match cassandra::install() {
            Ok(script) => {
                services.environment.push((CASSANDRA, script.display().to_string()));
                if std::env::var_os(CQL).is_none() {
                    match Cassandra::start(&script, &folder().join("test"), true) {
                        Ok(server) => {
                            services.environment.push((CQL, server.address()));
                            services._cassandra = Some(server);
                        }
                        Err(why) => missing.push(format!("Apache Cassandra: {why:#}")),
                    }
                }
            }
            Err(why) => missing.push(format!("Apache Cassandra: {why:#}; the tests that need CQL were passed over")),
        }
        services
    }

    /// Tells a command where they are.
    pub(crate) fn tell(&self, command: &mut Command) {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }
}

/// Starts servers that stay until `down`.
pub(crate) fn up() -> anyhow::Result<()> {
    let script = cassandra::install()?;
    if let Some(address) = cassandra::running(&folder().join("up")) {
        println!("running already: export {CQL}={address}");
        return Ok(());
    }
    let server = Cassandra::start(&script, &folder().join("up"), false)?;
    println!("export {CQL}={} {CASSANDRA}={}", server.address(), script.display());
    server.leave()
}

/// Stops what `up` started.
pub(crate) fn down() -> anyhow::Result<()> {
    cassandra::stop(&folder().join("up"))
}

fn folder() -> PathBuf {
    target().join("services")
}

/// A port that is free now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("no free port")?.local_addr()?.port())
}

/// A folder with nothing in it.
fn fresh(folder: &PathBuf) -> anyhow::Result<()> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))
}
