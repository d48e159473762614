//! Clarion's voice server in a process of its own: this program, started once more.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use clarion_observability::capture::Capture;
use clarion_proto::v1;
use clarion_proto::v1::voice_client::VoiceClient;
use clarion_runtime::{Address, Listen, Process};
use clarion_voice::{Config, Deps, Server};
use tonic::transport::Channel;

use crate::bare::{Bare, Connected};
use crate::processor::on_core;

/// What this program is started with to be the server, before the address.
pub(crate) const SERVE: &str = "--serve";
/// The room in which everything happens.
const ROOM: u64 = 7;

/// Is the server, with the settings that it has unless told otherwise, until its input ends.
pub(crate) fn serve(at: IpAddr) -> anyhow::Result<()> {
    let local = ([127, 0, 0, 1], 0).into();
    let config =
        Config { http: Some(local), udp: Some((at, 0).into()), listen: Listen::Tcp(local), ..Config::default() };
    let capture = Capture::with(&clarion_observability::Config::default())?;
    let mut process = Process::new(capture.process().clone(), Duration::from_secs(10));
    let address = process.start("voice", "voice-0", 1, |host| async move {
        let server = Server::bind(config, Deps::default(), host).await?;
        Ok((server.address().clone(), server.run()))
    })?;
    let Address::Http(url) = address else { bail!("not a TCP address") };
    println!("{url}");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    process.stop();
    Ok(())
}

/// The server, seen from its clients.
pub(crate) struct Clarion {
    child: Child,
    client: VoiceClient<Channel>,
    users: u64,
}

impl Clarion {
    pub(crate) async fn start(at: IpAddr, core: usize) -> anyhow::Result<Self> {
        let mut command = on_core(core, std::env::current_exe()?);
        command.args([SERVE, &at.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("taskset")?;
        let mut url = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut url)?;
        let client = VoiceClient::connect(url.trim().to_owned()).await?;
        Ok(Self { child, client, users: 0 })
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// A client that speaks, and hears in so many slots.
    pub(crate) async fn join(&mut self, slots: usize) -> anyhow::Result<Connected> {
        self.users += 1;
        let session_id = format!("session-{}", self.users);
        let participant = Some(v1::Participant { channel_id: ROOM, user_id: self.users, session_id });
        let permissions = Some(v1::VoicePermissions { speak: true, listen: true, ..Default::default() });
        let request = v1::AdmitRequest { participant, guild_id: 1, permissions, ..Default::default() };
        let admitted = self.client.admit(request).await?.into_inner();
        let bare = Bare::new(self.users as u32 + 1_000);
        let request = reqwest::Client::new().post(&admitted.url).bearer_auth(&admitted.token);
        let request = request.header("content-type", "application/sdp").body(bare.offer(slots));
        let answer = request.send().await?.error_for_status()?.text().await?;
        let local = (crate::bare::candidate(&answer).ip(), 0);
        Ok(bare.connect_from(std::net::UdpSocket::bind(local)?, &answer))
    }
}

impl Drop for Clarion {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
