//! A session in voice goes on at another gateway: nobody sees it leave, and its media goes on without a seam.

use std::time::{Duration, Instant};

use anyhow::ensure;
use clarion::Topology;
use clarion_e2e::{Cluster, Frame, PATIENCE, Socket};
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::moved::connect;
use crate::{INTENTS, ask, lounge, state};

/// Longer than a state lasts that nobody vouches for.
const LEASE: Duration = Duration::from_secs(12);

/// Two people in the lounge, at two gateways.
struct Call {
    cluster: Cluster,
    /// Whose gateway goes.
    hers: Socket,
    theirs: Socket,
    she: Caller,
    they: Caller,
}

impl Call {
    async fn begin() -> anyhow::Result<Self> {
        let topology = Topology { gateways: 2, voice_servers: 1, ..Topology::default() };
        let cluster = Cluster::with(topology, |config| config.gateway.drain_ms = 200).await?;
        let (ada, bot) = (cluster.demo().users[0].clone(), cluster.bot().clone());
        let mut hers = cluster.session(&ada, 1, INTENTS).await?;
        let mut theirs = cluster.session(&bot, 0, INTENTS).await?;
        ask(&mut hers, &cluster, Some(lounge(&cluster)), false).await?;
        for socket in [&mut hers, &mut theirs] {
            state(socket).await?;
        }
        let (she, _) = connect(&mut hers, true).await?;
        ask(&mut theirs, &cluster, Some(lounge(&cluster)), false).await?;
        for socket in [&mut hers, &mut theirs] {
            state(socket).await?;
        }
        let (they, _) = connect(&mut theirs, true).await?;
        she.say(1);
        they.say(2);
        let call = Self { cluster, hers, theirs, she, they };
        call.hear().await?;
        Ok(call)
    }

    /// Each hears more of the other.
    async fn hear(&self) -> anyhow::Result<()> {
        let (hers, theirs) = (self.they.times(1), self.she.times(2));
        let begun = Instant::now();
        while self.they.times(1) < hers + 25 || self.she.times(2) < theirs + 25 {
            ensure!(begun.elapsed() < PATIENCE, "they do not hear each other");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Reads what is told her until her socket ends, or she is asked to reconnect.
    async fn read_to_end(&mut self) -> anyhow::Result<()> {
        loop {
            match self.hers.next().await? {
                Frame::Op { op: 7, .. } | Frame::Close(_) | Frame::Broken => return Ok(()),
                Frame::Op { .. } => {}
            }
        }
    }

    /// Her gateway ends.
    async fn stop_gateway(self, cut: bool) -> anyhow::Result<Self> {
        let stopped = move || {
            let mut call = self;
            call.cluster.clarion().process().stop_one("gateway-1", cut).map(|_| call)
        };
        tokio::task::spawn_blocking(stopped).await?
    }

    /// She goes on at the other gateway, without another word about voice.
    async fn resume(&mut self) -> anyhow::Result<()> {
        let token = self.cluster.demo().users[0].token.clone();
        let mut socket = Socket::connect(&self.cluster.gateway_url(0)).await?;
        socket.resume(&token, &self.hers.session_id, self.hers.sequence).await?;
        self.hers = socket;
        self.hers.dispatch("RESUMED").await?;
        Ok(())
    }

    /// Everything is as it was, and stays so.
    async fn goes_on(mut self) -> anyhow::Result<()> {
        let channel = lounge(&self.cluster);
        let begun = Instant::now();
        while begun.elapsed() < LEASE {
            self.hear().await?;
        }
        // The next that anybody hears of her is that she mutes herself, in the same session and the same place.
        ask(&mut self.hers, &self.cluster, Some(channel), true).await?;
        for socket in [&mut self.theirs, &mut self.hers] {
            let told = state(socket).await?;
            ensure!(told["channel_id"] == json!(channel.to_string()), "{told}");
            ensure!(told["self_mute"] == json!(true), "{told}");
        }
        self.hear().await?;
        for heard in [&self.they, &self.she].map(|caller| caller.slot(*caller.by_slot().keys().next().expect("a slot")))
        {
            ensure!((heard.missing(), heard.backwards) == (0, 0), "a seam: {heard:?}");
        }
        // Nobody told her to go anywhere.
        ask(&mut self.hers, &self.cluster, None, false).await?;
        loop {
            let Frame::Op { t, d, .. } = self.hers.next().await? else { anyhow::bail!("her socket ends") };
            ensure!(t.as_deref() != Some("VOICE_SERVER_UPDATE"), "{d}");
            if t.as_deref() == Some("VOICE_STATE_UPDATE") && d["channel_id"] == Value::Null {
                break;
            }
        }
        ensure!(state(&mut self.theirs).await?["channel_id"] == Value::Null, "and leaves when she says so");
        Ok(())
    }

    /// Waits until her gateway has kept her session, as it is now.
    async fn until_kept(&self) -> anyhow::Result<()> {
        let kept = async || self.cluster.metric("gateway_checkpoints_total", &["instance=\"gateway-1\""]).await;
        let (goal, begun) = (kept().await? + 2.0, Instant::now());
        while kept().await? < goal {
            ensure!(begun.elapsed() < PATIENCE, "nothing is kept");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_outlives_the_drain_of_its_gateway() -> anyhow::Result<()> {
    let call = Call::begin().await?;
    let mut call = call.stop_gateway(false).await?;
    call.read_to_end().await?;
    call.resume().await?;
    call.goes_on().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_outlives_the_death_of_its_gateway() -> anyhow::Result<()> {
    let call = Call::begin().await?;
    call.until_kept().await?;
    let mut call = call.stop_gateway(true).await?;
    call.read_to_end().await?;
    call.resume().await?;
    call.goes_on().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_moves_between_living_gateways() -> anyhow::Result<()> {
    let mut call = Call::begin().await?;
    call.until_kept().await?;
    call.resume().await?;
    call.goes_on().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_come_back_leaves() -> anyhow::Result<()> {
    let mut call = Call::begin().await?.stop_gateway(false).await?;
    ensure!(state(&mut call.theirs).await?["channel_id"] == Value::Null);
    Ok(())
}
