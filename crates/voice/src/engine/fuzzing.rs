//! What fuzzing sends to a shard: datagrams from addresses and connections that are known and that are not, among commands
//! and moments.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use clarion_corpus::Steps;
use clarion_observability::metric::{LeaveReason, MediaTransport, VoiceMetrics};
use clarion_observability::{Config, Process};
use rtc::srtp::context::Context;
use rtc::srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc::srtp::protection_profile::ProtectionProfile;
use tracing::Span;

use super::{Command, Engine, Patience};
use crate::fuzzing::PASSWORD;
use crate::ice::{Check, Credentials, request};
use crate::leg::{ADDRESSES, Join, Permissions, REPORTERS, SOURCES, Spec, Voice, Who};
use crate::remote::{Out, Remote};
use crate::rtp::Header;
use crate::sdp::{self, Plan};
use crate::secure::{Identity, Keys, Secure};

/// Most steps of an input, and the most legs there are at a time.
const STEPS: usize = 96;
const LEGS: u64 = 3;
/// Places that datagrams come from, and how many of them are addresses; the others are connections.
const PEERS: u8 = 12;
const ADDRESSED: u8 = 8;
/// An offer as a client that speaks and hears writes it. It announces no source.
const OFFER: &str = "v=0\r\na=group:BUNDLE 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
    a=fingerprint:sha-256 00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00\r\n\
    a=setup:active\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:0\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
    a=rtpmap:63 red/48000/2\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n";

/// Made once: a certificate and instruments cost more than any input. What a shard is told leaves nothing in them.
static COMMON: LazyLock<(Arc<Identity>, VoiceMetrics)> = LazyLock::new(|| {
    let process = Process::with_output(&Config::default(), Box::new(std::io::sink())).expect("a process");
    let metrics = VoiceMetrics::new(process.service("voice", "fuzzing").meter());
    (Arc::new(Identity::new().expect("an identity")), metrics)
});

/// What happens to a shard, a step each. Nobody is sent anything, and nothing of a leg changes, before a check was signed
/// with the leg's password; no table grows beyond what legs may have; and when all legs are over nothing is left.
pub fn datagrams(data: &[u8]) {
    let mut world = World::new();
    for (kind, body) in Steps::of(data).take(STEPS) {
        world.step(kind, body);
        world.holds();
    }
    for leg in 1..world.next {
        world.engine.command(world.now, Command::End { leg, reason: LeaveReason::Left });
    }
    world.holds();
    let engine = &world.engine;
    assert!(engine.by_id.is_empty() && engine.by_ufrag.is_empty() && engine.by_address.is_empty());
    assert!(engine.rooms.is_empty() && engine.connected == 0);
}

struct World {
    engine: Engine,
    now: Instant,
    /// The number of the next leg.
    next: u64,
    names: u32,
    /// By leg: where authentic checks came from. Kept when a leg has ended: it is told so.
    proven: Vec<(u64, Remote)>,
    /// The client's ends of keys, by leg.
    clients: Vec<(u64, Context)>,
    last: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let (identity, metrics) = &*COMMON;
        let now = Instant::now();
        let patience = Patience {
            connect: Duration::from_secs(15),
            quiet: Duration::from_secs(5),
            vanish: Duration::from_secs(9),
        };
        let engine = Engine::new(now, identity.clone(), metrics.clone(), patience);
        let mut world =
            Self { engine, now, next: 1, names: 0, proven: Vec::new(), clients: Vec::new(), last: Vec::new() };
        // Two talk; the third has not made its handshake yet.
        for connected in [true, true, false] {
            world.join(connected);
        }
        world
    }

    fn credentials(&mut self) -> Credentials {
        self.names += 1;
        Credentials { ufrag: format!("leg{}", self.names), pwd: PASSWORD.to_owned() }
    }

    fn join(&mut self, connected: bool) {
        let offer = sdp::parse(OFFER).expect("an offer");
        let id = self.next;
        self.next += 1;
        let mut ssrc = 1_000 * id as u32;
        let plan = Plan::of(&offer, || {
            ssrc += 1;
            ssrc
        });
        let secure = Secure::new(&self.engine.identity, offer.fingerprint).expect("a way");
        let spec = Spec {
            id,
            who: Who { channel: 7, user: id, session: format!("session{id}") },
            permissions: Permissions { speak: true, listen: true, priority: id == 2 },
            credentials: self.credentials(),
            secure,
            voice: Voice::new(self.now, &offer.media[0], 77),
            streams: plan.streams,
            join: Join { began: self.now, whole: Span::none(), stage: Span::none() },
        };
        self.engine.command(self.now, Command::Join(Box::new(spec)));
        if connected {
            self.check(id, peer(id as u8), true, 1);
            let at = self.engine.by_id[&id];
            let leg = self.engine.legs[at].as_mut().expect("a leg");
            leg.secure.keys = Some(Keys { inbound: context(id, 1, true), outbound: context(id, 2, false) });
            self.engine.connected += 1;
            self.clients.push((id, context(id, 1, false)));
        }
    }

    fn step(&mut self, kind: u8, body: &[u8]) {
        let [a, b, rest @ ..] = body else { return };
        let (leg, from) = (1 + u64::from(*a) % (self.next - 1), peer(*b));
        match kind % 11 {
            0 => self.receive(from, rest),
            1 => self.check(leg, from, rest.first().is_none_or(|first| first & 1 == 0), u32::from(*a)),
            2 => {
                let Some(name) = self.name_of(leg) else { return };
                self.receive(from, &request(&name, "another password", true, u32::MAX));
            }
            3 | 4 => self.media(leg, from, kind % 11 == 4, rest),
            5 => self.report(leg, from, rest),
            6 => {
                self.now += Duration::from_millis(u64::from(*a) * 25);
                self.engine.tick(self.now);
            }
            7 => {
                let credentials = self.credentials();
                self.engine.command(self.now, Command::Restart { leg, credentials });
            }
            8 => {
                let permissions = Permissions { speak: b & 1 == 0, listen: b & 2 == 0, priority: b & 4 != 0 };
                self.engine.command(self.now, Command::Permit { leg, permissions });
            }
            10 => {
                // Another one may have its number later, as no other one ever has.
                if from.transport() == MediaTransport::Tcp {
                    self.engine.closed(from);
                    self.proven.retain(|(_, remote)| *remote != from);
                    assert!(!self.engine.knows(from));
                }
            }
            _ if b & 1 == 0 => {
                self.engine.command(self.now, Command::End { leg, reason: LeaveReason::Dismissed });
                if (self.engine.by_id.len() as u64) < LEGS {
                    self.join(b & 2 == 0);
                }
            }
            // As whoever has overheard it would send it.
            _ => {
                let last = std::mem::take(&mut self.last);
                self.receive(from, &last);
            }
        }
    }

    /// The present name of a leg in checks.
    fn name_of(&self, leg: u64) -> Option<String> {
        let at = self.engine.by_id.get(&leg)?;
        Some(self.engine.legs[*at].as_ref()?.credentials.ufrag.clone())
    }

    fn check(&mut self, leg: u64, from: Remote, nominates: bool, priority: u32) {
        let Some(name) = self.name_of(leg) else { return };
        self.receive(from, &request(&name, PASSWORD, nominates, priority));
    }

    fn media(&mut self, leg: u64, from: Remote, redundant: bool, body: &[u8]) {
        let mut packet = body.to_vec();
        packet.resize(packet.len().max(12), 0);
        packet[0] = 0x80 | packet[0] & 0x3f;
        packet[1] = packet[1] & 0x80 | if redundant { 63 } else { 111 };
        // A few sources.
        packet[8..11].fill(0);
        let Some(header) = Header::read(&packet) else { return };
        let Some((_, client)) = self.clients.iter_mut().find(|(id, _)| *id == leg) else { return };
        if let Ok(packet) = client.encrypt_rtp_with_header(&packet, &super::forward::cipher_header(&header)) {
            self.receive(from, &packet);
        }
    }

    fn report(&mut self, leg: u64, from: Remote, body: &[u8]) {
        let mut packet = body.to_vec();
        packet.resize(packet.len().max(8), 0);
        packet[0] = 0x80 | packet[0] & 0x3f;
        packet[1] = 200 + packet[1] % 8;
        packet[4..7].fill(0);
        let Some((_, client)) = self.clients.iter_mut().find(|(id, _)| *id == leg) else { return };
        if let Ok(packet) = client.encrypt_rtcp(&packet) {
            self.receive(from, &packet);
        }
    }

    fn receive(&mut self, from: Remote, datagram: &[u8]) {
        // Found out in another way than the shard does: is it a check that its leg's password signs?
        if let Some(mut check) = Check::read(datagram) {
            let authentic = check.is_authentic(PASSWORD, self.engine.identity.crypto.crypto());
            let leg = self.engine.by_ufrag.get(&check.ufrag).and_then(|at| self.engine.legs[*at].as_ref());
            if let Some(leg) = leg.filter(|_| authentic)
                && !self.proven.contains(&(leg.id, from))
            {
                self.proven.push((leg.id, from));
            }
        }
        let known = self.proven.iter().any(|(_, address)| *address == from);
        let waiting = |out: &Out| out.datagrams.len() + out.frames.len();
        let before = waiting(&self.engine.out);
        self.engine.datagram(self.now, from, datagram);
        assert!(known || waiting(&self.engine.out) == before, "{from:?} was answered, of whom nothing is known");
        self.last = datagram.to_vec();
    }

    fn holds(&mut self) {
        let engine = &mut self.engine;
        let proven: HashSet<Remote> = self.proven.iter().map(|(_, address)| *address).collect();
        let Out { datagrams, frames } = std::mem::take(&mut engine.out);
        assert!(datagrams.iter().all(|(to, _)| proven.contains(&Remote::Udp(*to))));
        let connection = |remote: &Remote| match remote {
            Remote::Tcp { connection, .. } => Some(*connection),
            Remote::Udp(_) => None,
        };
        assert!(frames.iter().all(|(to, _)| proven.iter().any(|remote| connection(remote) == Some(*to))));
        assert!(datagrams.len() + frames.len() <= 256 && engine.events.len() <= 256);
        engine.events.clear();
        let (mut legs, mut connected) = (0, 0);
        for (at, leg) in engine.legs.iter().enumerate() {
            let Some(leg) = leg else {
                assert!(engine.free.contains(&at));
                continue;
            };
            legs += 1;
            connected += usize::from(leg.is_connected());
            assert_eq!(engine.by_id.get(&leg.id), Some(&at));
            assert!(leg.addresses.len() <= ADDRESSES);
            assert!(leg.addresses.iter().all(|address| self.proven.contains(&(leg.id, *address))));
            assert!(leg.address.is_none_or(|address| self.proven.contains(&(leg.id, address))), "a leg was taken over");
            assert!(leg.reporters.len() <= REPORTERS);
            assert!(leg.voice.as_ref().is_none_or(|voice| voice.sources.len() <= SOURCES));
        }
        assert!(legs <= LEGS as usize && engine.legs.len() <= LEGS as usize);
        assert_eq!((engine.by_id.len(), engine.connected), (legs, connected));
        assert!(engine.by_ufrag.len() <= 2 * legs && engine.by_address.len() <= ADDRESSES * legs);
        for (address, at) in &engine.by_address {
            let leg = engine.legs[*at].as_ref().expect("the leg of an address");
            assert!(leg.addresses.contains(address));
        }
        let members: usize = engine.rooms.values().map(|room| room.members.len()).sum();
        assert_eq!(members, legs);
    }
}

fn peer(number: u8) -> Remote {
    let number = number % PEERS;
    let address = ([192, 0, 2, number], 4_000).into();
    if number < ADDRESSED { Remote::Udp(address) } else { Remote::Tcp { connection: number.into(), address } }
}

/// A shard with two that talk and one that has not made its handshake yet, who are called `leg1` to `leg3`.
#[cfg(test)]
pub(crate) fn engine() -> Engine {
    World::new().engine
}

/// One end of a leg's keys in one direction, the first leg's with another cipher than the others'.
fn context(leg: u64, direction: u8, receives: bool) -> Context {
    let profile = if leg == 1 { ProtectionProfile::Aes128CmHmacSha1_80 } else { ProtectionProfile::AeadAes128Gcm };
    let replay =
        |window| (receives.then(|| srtp_replay_protection(window)), receives.then(|| srtcp_replay_protection(window)));
    let (media, reports) = replay(256);
    let (key, salt) = (vec![direction; profile.key_len()], vec![leg as u8; profile.salt_len()]);
    let crypto = &COMMON.0.crypto;
    Context::new(&key, &salt, profile, media, reports, crypto.crypto()).expect("a context")
}
