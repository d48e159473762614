//! A voice server in a process of its own telemetry, and what a gateway asks of it.

use std::time::{Duration, Instant};

use clarion_observability::capture::Capture;
use clarion_proto::v1::voice_client::VoiceClient;
use clarion_proto::v1::voice_notice::Notice;
use clarion_proto::v1::{self, VoiceNotice};
use clarion_runtime::{Address, Listen, Process};
use clarion_voice::{Config, Deps, Server};
use tonic::Streaming;
use tonic::transport::Channel as GrpcChannel;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running voice server.
pub(crate) struct Voice {
    pub(crate) capture: Capture,
    process: Option<Process>,
    pub(crate) client: VoiceClient<GrpcChannel>,
}

/// Everything is permitted.
pub(crate) const ALL: v1::VoicePermissions =
    v1::VoicePermissions { speak: true, listen: true, priority: false, self_mute: false, self_deaf: false };

impl Voice {
    /// On free ports, with settings changed as asked.
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let local = Some(([127, 0, 0, 1], 0).into());
        let mut config =
            Config { http: local, udp: local, listen: Listen::Tcp(([127, 0, 0, 1], 0).into()), ..Config::default() };
        change(&mut config);
        let capture = Capture::new().expect("telemetry");
        let mut process = Process::new(capture.process().clone(), Duration::from_secs(10));
        let (process, address) = tokio::task::spawn_blocking(move || {
            let address = process.start("voice", "voice-0", 1, |host| async move {
                let server = Server::bind(config, Deps::default(), host).await?;
                Ok((server.address().clone(), server.run()))
            });
            (process, address.expect("started"))
        })
        .await
        .expect("no panic");
        let Address::Http(url) = address else { panic!("a TCP address") };
        let client = VoiceClient::connect(url).await.expect("connected");
        Self { capture, process: Some(process), client }
    }

    /// Lets a user into a room.
    pub(crate) async fn admit(
        &mut self,
        channel: u64,
        user: u64,
        permissions: v1::VoicePermissions,
    ) -> v1::AdmitResponse {
        self.try_admit(channel, user, permissions, 0).await.expect("admitted")
    }

    pub(crate) async fn try_admit(
        &mut self,
        channel: u64,
        user: u64,
        permissions: v1::VoicePermissions,
        room_capacity: u32,
    ) -> Result<v1::AdmitResponse, tonic::Status> {
        let (participant, permissions) = (Some(participant(channel, user)), Some(permissions));
        let request =
            v1::AdmitRequest { participant, guild_id: 1, permissions, room_capacity, ..v1::AdmitRequest::default() };
        self.client.admit(request).await.map(|answer| answer.into_inner())
    }

    pub(crate) async fn allow(&mut self, channel: u64, user: u64, permissions: v1::VoicePermissions) {
        let participant = Some(participant(channel, user));
        self.client
            .allow(v1::AllowRequest { participant, permissions: Some(permissions), ..Default::default() })
            .await
            .expect("allowed");
    }

    /// A gateway says whose session somebody is.
    pub(crate) async fn vouch(&mut self, channel: u64, user: u64, gateway: &str) {
        let (participant, permissions) = (Some(participant(channel, user)), Some(ALL));
        let request = v1::AllowRequest { participant, permissions, gateway: gateway.to_owned() };
        self.client.allow(request).await.expect("allowed");
    }

    pub(crate) async fn dismiss(&mut self, channel: u64, user: u64) {
        let participant = Some(participant(channel, user));
        self.client.dismiss(v1::DismissRequest { participant }).await.expect("dismissed");
    }

    /// As a gateway attends.
    pub(crate) async fn attend(&mut self) -> Notices {
        let stream = self.client.attend(v1::AttendVoiceRequest { gateway: "gateway-0".into() }).await.expect("attends");
        Notices(stream.into_inner())
    }

    /// A counter or gauge as it is shown, summed over its series; 0 if there is none.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.capture.process().render_metrics();
        let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Drains and stops it; how long that took.
    pub(crate) async fn stop(mut self) -> Duration {
        let process = self.process.take().expect("running");
        tokio::task::spawn_blocking(move || process.stop().took).await.expect("no panic")
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop();
        }
    }
}

pub(crate) struct Notices(Streaming<VoiceNotice>);

impl Notices {
    /// The first notice that something can be made of.
    pub(crate) async fn find<T>(&mut self, what: &str, mut of: impl FnMut(Notice) -> Option<T>) -> T {
        let found = async {
            loop {
                let notice = self.0.message().await.expect("a stream").expect("not over").notice.expect("a notice");
                if let Some(found) = of(notice) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no notice: {what}"))
    }

    /// Why a user's media ended.
    pub(crate) async fn left(&mut self, user: u64) -> String {
        let left = |notice| match notice {
            Notice::Left(left) if left.participant.as_ref().is_some_and(|p| p.user_id == user) => Some(left.reason),
            _ => None,
        };
        self.find("left", left).await
    }
}

pub(crate) fn participant(channel: u64, user: u64) -> v1::Participant {
    v1::Participant { channel_id: channel, user_id: user, session_id: format!("session-{user}") }
}

/// Waits for something.
pub(crate) async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
