//! A voice server is killed while people talk on it: they are heard again on another one.

use std::time::{Duration, Instant};

use anyhow::ensure;
use clarion_e2e::{Program, Socket};
use clarion_proto::v1::AdmitResponse;
use serde_json::json;

use crate::caller::Caller;
use crate::process::{PROGRAM, Process};
use crate::{INTENTS, server};

/// What is promised.
const HEARD_AGAIN: Duration = Duration::from_secs(3);

/// Somebody in the lounge.
struct Member {
    socket: Socket,
    caller: Caller,
    url: String,
}

/// Connects to the next server that is named: it may come a moment after the gateway.
pub(crate) async fn connect(socket: &mut Socket, speaks: bool) -> anyhow::Result<(Caller, String)> {
    let told = loop {
        let told = server(socket).await?;
        if !told["endpoint"].is_null() {
            break told;
        }
    };
    let text = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
    let admitted = AdmitResponse { token: text("token"), endpoint: text("endpoint"), url: text("url") };
    let caller = Caller::join(&admitted, speaks, 2).await;
    Ok((caller, text("url")))
}

impl Member {
    async fn enter(program: &Program, token: &str) -> anyhow::Result<Self> {
        let demo = program.demo();
        let mut socket = Socket::connect(&demo.gateway).await?;
        socket.identify(token, INTENTS).await?;
        socket.dispatch("GUILD_CREATE").await?;
        let (guild, channel) = (demo.guild_id.to_string(), demo.voice_channel_id.to_string());
        let d = json!({"guild_id": guild, "channel_id": channel, "self_mute": false, "self_deaf": false});
        socket.send(json!({"op": 4, "d": d})).await?;
        let (caller, url) = connect(&mut socket, true).await?;
        Ok(Self { socket, caller, url })
    }

    async fn hears(&self, byte: u8, within: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.caller.times(byte) == 0 {
            ensure!(begun.elapsed() < within, "{byte} is not heard within {within:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_whose_server_is_killed_hear_each_other_on_the_other_one() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let [port] = Program::steady_ports()?;
    let (listen, router) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let env = [("CLARION_ROUTER__LISTEN", listen.as_str()), ("CLARION_TOPOLOGY__VOICE_SERVERS", "0")];
    let program = Program::start(PROGRAM.as_ref(), data.path(), &[], &env).await?;
    let mut servers = [Process::start("voice-a", &router).await?, Process::start("voice-b", &router).await?];
    let tokens = [program.demo().users[0].token.clone(), program.demo().bots[0].token.clone()];
    let mut one = Member::enter(&program, &tokens[0]).await?;
    let mut two = Member::enter(&program, &tokens[1]).await?;
    one.caller.say(1);
    two.caller.say(2);
    one.hears(2, HEARD_AGAIN).await?;
    two.hears(1, HEARD_AGAIN).await?;

    servers.sort_by_key(|server| !one.url.starts_with(&server.url));
    ensure!(two.url.starts_with(&servers[0].url), "one room, one server");
    let began = Instant::now();
    servers[0].child.kill().await?;
    for (member, says) in [(&mut one, 1), (&mut two, 2)] {
        (member.caller, member.url) = connect(&mut member.socket, true).await?;
        member.caller.say(says);
        ensure!(member.url.starts_with(&servers[1].url), "the other server");
    }
    one.hears(2, HEARD_AGAIN.saturating_sub(began.elapsed())).await?;
    two.hears(1, HEARD_AGAIN.saturating_sub(began.elapsed())).await?;
    println!("heard again after {:?}", began.elapsed());
    Ok(())
}
