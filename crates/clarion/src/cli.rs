//! The command line: serve all (the default) or one service, and what is done to a running Clarion from beside it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use clarion_observability::log::{self, Fields};
use clarion_observability::{Process as Observability, Telemetry};
use clarion_runtime::StopReport;
use clarion_storage::scylla::Migrated;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::config::ADMIN_PORT;
use crate::demo::{self, Addresses};
use crate::{Clarion, Config, One, Service, StorageKind, check, doctor, load, monitor, print, start};

#[derive(Parser)]
#[command(version, about = "A chat platform whose operators can see everything that happens in it.")]
struct Cli {
    #[command(flatten)]
    serve: Serve,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Serve {
    /// Where clients connect [default: 127.0.0.1:8080]
    #[arg(long, env = "CLARION_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The folder of everything that lasts [default: ./data]
    #[arg(long, env = "CLARION_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// A configuration file (TOML)
    #[arg(long, env = "CLARION_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say whether the settings can be used, and start nothing
    #[arg(long)]
    check: bool,
    /// Print the settings that are in force, without secrets, and start nothing
    #[arg(long)]
    print: bool,
}

/// The command line of a program that is one service.
#[derive(Parser)]
#[command(version, about = "One service of Clarion, a chat platform whose operators can see what happens in it.")]
struct Alone {
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Checks the machine and the store, a line each; the exit code says whether one of them failed
    Doctor,
    /// Be one service of a cluster
    #[command(name = "serve")]
    One {
        /// Which
        service: Service,
        #[command(flatten)]
        serve: Serve,
    },
    /// Bring the keyspace of a ScyllaDB store to this program's version of the schema, or make it
    Migrate,
    /// Issue or revoke tokens of a running Clarion
    #[command(subcommand)]
    Token(TokenCommand),
    /// Be many clients of a running Clarion, and verify what they receive
    Load {
        #[command(flatten)]
        options: load::Options,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Do what a user does, step by step, and say how long each step took
    Check {
        #[command(flatten)]
        options: check::Options,
    },
    /// Show warnings, metrics and the health of a running Clarion as they come
    Monitor {
        #[command(flatten)]
        options: monitor::Options,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Issue a token for an account and print it
    Issue {
        /// The account's id
        #[arg(long)]
        user: String,
        /// What to call the token
        #[arg(long, default_value = "issued by hand")]
        label: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Revoke a token: it holds no longer, sessions that use it are closed
    Revoke {
        /// The token
        token: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

#[derive(Args)]
struct AdminArgs {
    /// Base URL of the admin port [default: what the data folder says, else http://127.0.0.1:9568]
    #[arg(long, env = "CLARION_ADMIN", value_name = "URL")]
    admin: Option<String>,
    /// The admin token, where one is set
    #[arg(long, env = "CLARION_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
}

/// The whole of a program that is one service: reads the command line and serves.
pub fn main_of(service: Service) -> ExitCode {
    let Alone { serve } = Alone::parse();
    exit(&format!("clarion-{}", service.as_str()), serve.run_one(service))
}

/// Says what went wrong, if anything did.
pub fn exit(program: &str, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the command line and does what it says.
pub fn run() -> anyhow::Result<()> {
    let Cli { serve, command } = Cli::parse();
    let command = match command {
        None => return serve.run(),
        Some(Command::One { service, serve }) => return serve.run_one(service),
        Some(command) => command,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Doctor => doctor::run(&serve.config()?).await,
            // It has a runtime of its own for each service.
            Command::One { .. } => Ok(()),
            Command::Migrate => migrate(&serve.config()?).await,
            Command::Token(command) => command.run(&serve).await,
            Command::Load { options, admin } => {
                let config = serve.config()?;
                let server = options.server_pid.or_else(|| load::of_data_folder(&config.data));
                load::run(options, Some(admin.operators(&config)), server).await
            }
            Command::Check { options } => check::run(options, &serve.config()?.data).await,
            Command::Monitor { options, admin } => monitor::run(options, admin.operators(&serve.config()?)).await,
        }
    })
}

impl Serve {
    fn overrides(&self) -> Vec<(&str, String)> {
        let mut overrides = Vec::new();
        overrides.extend(self.listen.map(|at| ("gateway.listen", at.to_string())));
        overrides.extend(self.data.as_ref().map(|data| ("data", data.display().to_string())));
        overrides
    }

    fn config(&self) -> anyhow::Result<Config> {
        Ok(Config::read(self.config.as_deref(), &self.overrides())?)
    }

    /// Whether only a question was asked; it is answered.
    fn is_answered(&self, config: &Config) -> anyhow::Result<bool> {
        if self.print {
            print!("{}", print(config)?);
        } else if self.check {
            println!("the settings can be used");
        }
        Ok(self.print || self.check)
    }

    fn run(&self) -> anyhow::Result<()> {
        let config = self.config()?;
        if self.is_answered(&config)? {
            return Ok(());
        }
        make_data_folder(&config)?;
        let mut clarion = start(&config, Observability::new(&config.telemetry)?)?;
        let (fatal, telemetry) = (clarion.process().fatal(), clarion.telemetry().clone());
        let begun = self.begin(&telemetry, format!("data folder {}", config.data.display()))?;
        begun.block_on(async {
            greet(&config, &clarion).await?;
            clarion.ready();
            until_stopped(&fatal).await
        })?;
        end(&begun, &fatal, move || clarion.stop())
    }

    fn run_one(&self, service: Service) -> anyhow::Result<()> {
        let config = Config::read_for(service, self.config.as_deref(), &self.overrides())?;
        config.check_for(service)?;
        if self.is_answered(&config)? {
            return Ok(());
        }
        let mut one = One::start(service, &config, Observability::new(&config.telemetry)?, None)?;
        let (fatal, telemetry) = (one.process().fatal(), one.telemetry().clone());
        let detail =
            format!("{} at {}, operated at http://{}", telemetry.instance(), one.address(), one.admin_address());
        let begun = self.begin(&telemetry, detail)?;
        one.process().ready();
        begun.block_on(until_stopped(&fatal))?;
        end(&begun, &fatal, move || one.stop())
    }

    fn begin(&self, telemetry: &Telemetry, detail: String) -> anyhow::Result<tokio::runtime::Runtime> {
        telemetry.adopt_thread();
        if let Some(file) = &self.config {
            log::CONFIG_LOADED.emit(Fields::detail(file.display().to_string()));
        }
        log::PROCESS_STARTED.emit(Fields::detail(detail));
        Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
    }
}

fn make_data_folder(config: &Config) -> anyhow::Result<()> {
    std::fs::create_dir_all(&config.data)
        .with_context(|| format!("cannot make the data folder {}", config.data.display()))
}

async fn until_stopped(fatal: &CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        stopped = clarion_runtime::stop_requested() => Ok(stopped?),
        () = fatal.cancelled() => Ok(()),
    }
}

/// Ends a process that is to stop.
fn end(
    runtime: &tokio::runtime::Runtime,
    fatal: &CancellationToken,
    stop: impl FnOnce() -> StopReport + Send + 'static,
) -> anyhow::Result<()> {
    // A second signal during the drain ends the process at once.
    runtime.spawn(async {
        if clarion_runtime::stop_requested().await.is_ok() {
            std::process::exit(130);
        }
    });
    let (ended, when_ended) = tokio::sync::oneshot::channel();
    let failed = fatal.is_cancelled();
    log::PROCESS_STOPPING.emit(Fields::default());
    std::thread::spawn(move || ended.send(stop()));
    let report = runtime.block_on(when_ended).context("the stop itself failed")?;
    let cut_off = report.cut_off.join(", ");
    let cut_off = (!cut_off.is_empty()).then(|| format!("cut off at the deadline: {cut_off}"));
    log::PROCESS_STOPPED.emit(Fields {
        duration_ms: Some(report.took.as_secs_f64() * 1e3),
        detail: cut_off,
        ..Fields::default()
    });
    if failed || !report.failed.is_empty() {
        bail!("ended because of a failure; the log says which");
    }
    Ok(())
}

async fn migrate(config: &Config) -> anyhow::Result<()> {
    if config.storage.kind != StorageKind::Scylla {
        bail!("storage.kind is embedded, expected scylla: an embedded store is migrated when it is opened");
    }
    let settings = &config.storage.scylla;
    settings.check().map_err(|error| anyhow::anyhow!("storage.scylla.{error}"))?;
    let Migrated { from, to } = clarion_storage::scylla::migrate(settings).await?;
    match from == to {
        true => println!("keyspace {}: schema {to}, nothing to do", settings.keyspace),
        false => println!("keyspace {}: schema {from} to {to}", settings.keyspace),
    }
    Ok(())
}

async fn greet(config: &Config, clarion: &Clarion) -> anyhow::Result<()> {
    let admin = clarion.admin_address();
    std::fs::write(config.data.join("admin.url"), format!("http://{admin}\n"))?;
    std::fs::write(config.data.join("pid"), format!("{}\n", std::process::id()))?;
    let public = clarion.gateways().first().context("no gateway is running")?;
    let addresses = Addresses { public: public.to_string(), admin: admin.to_string() };
    if !config.demo {
        return Ok(());
    }
    match demo::prepare(&config.data, clarion.is_new(), clarion.admin(), &addresses).await? {
        Some(demo) => {
            clarion.demo().open(demo.workspace());
            eprintln!("{}", demo.greeting());
        }
        None => eprintln!("\nClarion is listening on http://{public}; operate it at http://{admin}.\n"),
    }
    Ok(())
}

impl TokenCommand {
    async fn run(self, serve: &Serve) -> anyhow::Result<()> {
        match self {
            TokenCommand::Issue { user, label, admin } => {
                let body = json!({ "user_id": user, "label": label });
                let answer = admin.post(serve, "tokens", &body).await?;
                println!("{}", answer["token"].as_str().unwrap_or_default());
            }
            TokenCommand::Revoke { token, admin } => {
                admin.post(serve, "tokens/revoke", &json!({ "token": token })).await?;
                println!("revoked");
            }
        }
        Ok(())
    }
}

impl AdminArgs {
    fn url(&self, config: &Config) -> String {
        let noted = std::fs::read_to_string(config.data.join("admin.url")).ok().map(|url| url.trim().to_owned());
        self.admin.clone().or(noted).unwrap_or_else(|| format!("http://127.0.0.1:{ADMIN_PORT}"))
    }

    fn operators(&self, config: &Config) -> load::Operators {
        let token = self.admin_token.clone().or_else(|| config.admin.token.clone());
        load::Operators { url: self.url(config), token, http: reqwest::Client::new() }
    }

    async fn post(&self, serve: &Serve, path: &str, body: &Value) -> anyhow::Result<Value> {
        let config = serve.config()?;
        let url = self.url(&config);
        let mut request = reqwest::Client::new().post(format!("{url}/admin/v1/{path}")).json(body);
        if let Some(token) = self.admin_token.as_ref().or(config.admin.token.as_ref()) {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.with_context(|| format!("no Clarion answers at {url}; is it running?"))?;
        let ok = answer.status().is_success();
        let value: Value = answer.json().await.context("the answer is not JSON")?;
        if !ok {
            bail!("{}", value["error"].as_str().unwrap_or("refused"));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_lines_are_whole() {
        Cli::command().debug_assert();
        Alone::command().debug_assert();
    }
}
