//! A WebRTC client: the whole stack of the `rtc` crate, on a socket and a thread of its own. It says bytes and notes which
//! it hears.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use clarion_proto::v1::AdmitResponse;
use reqwest::header;
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{CandidateConfig, CandidateHostConfig, RTCIceCandidate};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpSenderId, RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

/// Says nothing.
const SILENT: u8 = 0;

/// What was heard in one slot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    /// How often each byte was heard.
    pub(crate) said: BTreeMap<u8, usize>,
    /// Sequence numbers, as they turn.
    sequences: BTreeSet<u32>,
    last: Option<u32>,
    /// Timestamps that went back.
    pub(crate) backwards: usize,
    timestamp: Option<u32>,
}

/// A client in a room.
pub(crate) struct Caller {
    says: Arc<AtomicU8>,
    heard: Arc<Mutex<BTreeMap<u32, Heard>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    pub(crate) location: String,
    pub(crate) token: String,
    /// The streams of the slots, in their order.
    pub(crate) slots: Vec<u32>,
    pub(crate) answer: String,
}

impl Heard {
    fn note(&mut self, packet: &rtp::Packet) {
        if let Some(byte) = packet.payload.first() {
            *self.said.entry(*byte).or_default() += 1;
        }
        let sequence = match self.last {
            None => u32::from(packet.header.sequence_number) + 0x1_0000,
            Some(last) => {
                let step = packet.header.sequence_number.wrapping_sub(last as u16) as i16;
                last.wrapping_add_signed(i32::from(step))
            }
        };
        self.sequences.insert(sequence);
        if self.timestamp.is_some_and(|before| (packet.header.timestamp.wrapping_sub(before) as i32) <= 0) {
            self.backwards += 1;
        }
        (self.last, self.timestamp) = (Some(sequence), Some(packet.header.timestamp));
    }

    /// Packets that are missing between the first and the last.
    pub(crate) fn missing(&self) -> usize {
        match (self.sequences.first(), self.sequences.last()) {
            (Some(first), Some(last)) => (last - first) as usize + 1 - self.sequences.len(),
            _ => 0,
        }
    }
}

impl Caller {
    /// Joins with one section to speak in, if it `speaks`, and so many to hear.
    pub(crate) async fn join(admitted: &AdmitResponse, speaks: bool, slots: usize) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("an address");
        let (mut peer, sender) = connection(address, speaks, slots);
        let offer = peer.create_offer(None).expect("an offer");
        let answer = post(admitted, offer.sdp.clone()).await;
        assert_eq!(answer.status(), 201, "{}", answer.text().await.expect("a body"));
        let location = answer.headers()[header::LOCATION].to_str().expect("text").to_owned();
        let answer = answer.text().await.expect("an answer");
        peer.set_local_description(Instant::now(), offer).expect("our own offer");
        let description = RTCSessionDescription::answer(answer.clone()).expect("an answer");
        peer.set_remote_description(Instant::now(), description).expect("an answer that is understood");
        let slots = answer.lines().filter(|line| line.ends_with("cname:clarion"));
        let slots = slots.filter_map(|line| line.strip_prefix("a=ssrc:")?.split(' ').next()?.parse().ok()).collect();
        let (says, heard, stop) = (Arc::new(AtomicU8::new(SILENT)), Arc::default(), Arc::new(AtomicBool::new(false)));
        let run = Run { socket, address, sender, says: says.clone(), heard: Arc::clone(&heard), stop: stop.clone() };
        let thread = Some(std::thread::spawn(move || run.run(&mut peer)));
        let token = admitted.token.clone();
        Self { says, heard, stop, thread, location, token, slots, answer }
    }

    /// From now on.
    pub(crate) fn say(&self, byte: u8) {
        self.says.store(byte, Ordering::Relaxed);
    }

    /// How often a byte was heard so far, in all slots.
    pub(crate) fn times(&self, byte: u8) -> usize {
        self.heard.lock().expect("not poisoned").values().filter_map(|heard| heard.said.get(&byte)).sum()
    }

    /// What was heard in a slot.
    pub(crate) fn slot(&self, slot: usize) -> Heard {
        self.heard.lock().expect("not poisoned").get(&self.slots[slot]).cloned().unwrap_or_default()
    }

    /// All that was heard, by the place of the slot.
    pub(crate) fn by_slot(&self) -> BTreeMap<usize, BTreeSet<u8>> {
        let heard = self.heard.lock().expect("not poisoned");
        let place = |ssrc: &u32| self.slots.iter().position(|slot| slot == ssrc).expect("a slot of the answer");
        heard.iter().map(|(ssrc, heard)| (place(ssrc), heard.said.keys().copied().collect())).collect()
    }

    /// Is there no more, without a word.
    pub(crate) fn vanish(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic");
        }
    }

    /// Leaves over HTTP.
    pub(crate) async fn leave(&mut self) {
        let answer = reqwest::Client::new().delete(&self.location).bearer_auth(&self.token).send().await;
        assert_eq!(answer.expect("an answer").status(), 200);
        self.vanish();
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.vanish();
    }
}

/// Posts an offer.
pub(crate) async fn post(admitted: &AdmitResponse, sdp: String) -> reqwest::Response {
    let request = reqwest::Client::new().post(&admitted.url).bearer_auth(&admitted.token);
    request.header(header::CONTENT_TYPE, "application/sdp").body(sdp).send().await.expect("an answer")
}

/// The offer of a client that does nothing further.
pub(crate) fn offer_of(slots: usize) -> String {
    let (mut peer, _) = connection(([127, 0, 0, 1], 9).into(), true, slots);
    peer.create_offer(None).expect("an offer").sdp
}

struct Run {
    socket: UdpSocket,
    address: SocketAddr,
    sender: Option<RTCRtpSenderId>,
    says: Arc<AtomicU8>,
    heard: Arc<Mutex<BTreeMap<u32, Heard>>>,
    stop: Arc<AtomicBool>,
}

impl Run {
    fn run(self, peer: &mut RTCPeerConnection) {
        self.socket.set_read_timeout(Some(Duration::from_millis(2))).expect("a timeout");
        let mut buffer = [0; 2_048];
        let (mut next, mut number) = (Instant::now(), 0u32);
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next {
                next = now.max(next + Duration::from_millis(20));
                number += 1;
                self.talk(peer, now, number);
            }
            let _ = peer.handle_timeout(now);
            while peer.poll_event().is_some() {}
            while let Some(TaggedRTCMessage { message, .. }) = peer.poll_read() {
                if let RTCMessage::RtpPacket(_, packet) = message {
                    self.heard.lock().expect("not poisoned").entry(packet.header.ssrc).or_default().note(&packet);
                }
            }
            while let Some(out) = peer.poll_write() {
                let _ = self.socket.send_to(&out.message, out.transport.peer_addr);
            }
            if let Ok((length, peer_addr)) = self.socket.recv_from(&mut buffer) {
                let transport = TransportContext {
                    local_addr: self.address,
                    peer_addr,
                    ecn: None,
                    transport_protocol: TransportProtocol::UDP,
                };
                let message = BytesMut::from(&buffer[..length]);
                let _ = peer.handle_read(TaggedBytesMut { now: Instant::now(), transport, message });
            }
        }
    }

    /// A frame of the byte that is said, each 20 ms; the clock goes on in silence.
    fn talk(&self, peer: &mut RTCPeerConnection, now: Instant, number: u32) {
        let byte = self.says.load(Ordering::Relaxed);
        let Some(mut sender) = self.sender.filter(|_| byte != SILENT).and_then(|id| peer.rtp_sender(id)) else {
            return;
        };
        let Some(ssrc) = sender.track().ssrcs().last() else { return };
        let header = rtp::Header {
            version: 2,
            payload_type: 111,
            sequence_number: number as u16,
            timestamp: number.wrapping_mul(960),
            ssrc,
            ..rtp::Header::default()
        };
        // Not before it is connected.
        let _ = sender.write_rtp(now, rtp::Packet { header, payload: Bytes::from(vec![byte; 60]) });
    }
}

fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: vec![],
    }
}

fn connection(at: SocketAddr, speaks: bool, slots: usize) -> (RTCPeerConnection, Option<RTCRtpSenderId>) {
    let mut media = MediaEngine::default();
    let codec = RTCRtpCodecParameters { rtp_codec: opus(), payload_type: 111 };
    media.register_codec(codec, RtpCodecKind::Audio).expect("opus");
    let registry = register_default_interceptors(Registry::new(), &mut media).expect("interceptors");
    let mut peer = RTCPeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .with_setting_engine(SettingEngineBuilder::new().with_include_loopback_candidate(true).build())
        .with_media_engine(media)
        .with_interceptor_registry(registry)
        .build(Instant::now())
        .expect("a connection");
    let sender = speaks.then(|| {
        let coding = RTCRtpCodingParameters { ssrc: Some(u32::from(at.port()) + 1_000), ..Default::default() };
        let encoding = RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec: opus(), ..Default::default() };
        let track =
            MediaStreamTrack::new("s".into(), "t".into(), "voice".into(), RtpCodecKind::Audio, vec![encoding.clone()]);
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Sendonly,
            streams: vec![],
            send_encodings: vec![encoding],
        };
        let transceiver = peer.add_transceiver_from_track(track, Some(init)).expect("a transceiver");
        peer.rtp_transceiver(transceiver).and_then(|t| t.sender()).expect("a sender")
    });
    for _ in 0..slots {
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Recvonly,
            streams: vec![],
            send_encodings: vec![],
        };
        peer.add_transceiver_from_kind(RtpCodecKind::Audio, Some(init)).expect("a transceiver");
    }
    let base_config = CandidateConfig {
        network: "udp".to_owned(),
        address: at.ip().to_string(),
        port: at.port(),
        component: 1,
        ..Default::default()
    };
    let candidate =
        CandidateHostConfig { base_config, ..Default::default() }.new_candidate_host().expect("a candidate");
    let candidate = RTCIceCandidate::from(&candidate).to_json().expect("a candidate");
    peer.add_local_candidate(candidate).expect("added");
    (peer, sender)
}
