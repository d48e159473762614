//! A client of which every packet is made by hand: a check, a handshake, and then whatever a test likes to send. It waits
//! for nothing that it is not asked to, so that hundreds fit into one thread.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::{HashAlgorithm, RTCCryptoProvider};
use rtc::dtls::config::{ConfigBuilder, ExtendedMasterSecretType};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use rtc::srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;
use rtc::stun::attributes::{ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId};
use rtc::stun::xoraddr::XorMappedAddress;

/// Longest wait for the server.
const PATIENCE: Duration = Duration::from_secs(10);
/// With which checks of the client's side are signed.
pub(crate) const PASSWORD: &str = "abcdefghijklmnopqrstuvwx";

/// What a client is before it has posted its offer.
pub(crate) struct Bare {
    crypto: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    /// SHA-256, in hex with colons.
    pub(crate) fingerprint: String,
    /// The source it announces.
    pub(crate) ssrc: u32,
}

/// A client with keys.
pub(crate) struct Connected {
    crypto: Arc<dyn RTCCryptoProvider>,
    pub(crate) socket: UdpSocket,
    pub(crate) server: SocketAddr,
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    pub(crate) inbound: Context,
    pub(crate) outbound: Context,
    pub(crate) ssrc: u32,
    dtls: Endpoint,
}

/// Redundant audio, and Opus.
pub(crate) const RED: u8 = 63;
pub(crate) const OPUS: u8 = 111;

impl Bare {
    pub(crate) fn new(ssrc: u32) -> Self {
        let crypto = rtc::crypto::default_provider().expect("a provider");
        let certificate = Certificate::generate_self_signed(vec!["client".into()], crypto.crypto()).expect("made");
        let hash = crypto.crypto().hash(HashAlgorithm::Sha256, &certificate.certificate[0]).expect("a hash");
        let fingerprint = hash.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        Self { crypto, certificate, fingerprint, ssrc }
    }

    /// One section to speak in and so many to hear.
    pub(crate) fn offer(&self, slots: usize) -> String {
        let mids: Vec<String> = (0..=slots).map(|n| n.to_string()).collect();
        let mut sdp = format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n", mids.join(" "));
        sdp += "a=ice-ufrag:bare\r\na=setup:active\r\n";
        sdp += &format!("a=ice-pwd:{PASSWORD}\r\na=fingerprint:sha-256 {}\r\n", self.fingerprint);
        for n in 0..=slots {
            let direction = if n == 0 { "sendonly" } else { "recvonly" };
            sdp += &format!(
                "m=audio 9 UDP/TLS/RTP/SAVPF {OPUS} {RED}\r\na=mid:{n}\r\na=rtcp-mux\r\na={direction}\r\n\
                a=rtpmap:{OPUS} opus/48000/2\r\na=rtpmap:{RED} red/48000/2\r\n\
                a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"
            );
            if n == 0 {
                sdp += &format!("a=ssrc:{} cname:bare\r\n", self.ssrc);
            }
        }
        sdp
    }

    /// Connects as the answer says.
    pub(crate) fn connect(self, answer: &str) -> Connected {
        let local: SocketAddr =
            if candidate(answer).is_ipv4() { ([127, 0, 0, 1], 0).into() } else { (Ipv6Addr::LOCALHOST, 0).into() };
        self.connect_from(UdpSocket::bind(local).expect("a socket"), answer)
    }

    /// The same, from a socket that is there already. Whether it is an answer or an offer does not matter.
    pub(crate) fn connect_from(self, socket: UdpSocket, answer: &str) -> Connected {
        let value = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).expect("in the answer");
        let (ufrag, pwd) = (value("a=ice-ufrag:").to_owned(), value("a=ice-pwd:").to_owned());
        let server = candidate(answer);
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let mut buffer = [0; 2_048];
        let deadline = Instant::now() + PATIENCE;
        let check = check(&*self.crypto, &ufrag, &pwd);
        loop {
            assert!(Instant::now() < deadline, "no check was answered");
            socket.send_to(&check, server).expect("sent");
            let length = socket.recv_from(&mut buffer).map_or(0, |(length, _)| length);
            if length > 20 && buffer[..2] == [1, 1] {
                break;
            }
            if let Some(answer) = answer_to(&*self.crypto, server, &buffer[..length]) {
                socket.send_to(&answer, server).expect("sent");
            }
        }
        let config = ConfigBuilder::default()
            .with_crypto_provider(self.crypto.clone())
            .with_certificates(vec![self.certificate])
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            // A server may not listen yet when it has just answered the check.
            .with_flight_interval(Duration::from_millis(200))
            .build(true, None)
            .expect("a configuration");
        let local = socket.local_addr().expect("an address");
        let mut dtls = Endpoint::new(local, TransportProtocol::UDP, None);
        dtls.connect(Instant::now(), server, Arc::new(config), None).expect("begun");
        let mut complete = false;
        while !complete {
            assert!(Instant::now() < deadline, "no handshake");
            while let Some(out) = dtls.poll_transmit() {
                socket.send_to(&out.message, server).expect("sent");
            }
            let length = socket.recv_from(&mut buffer).map_or(0, |(length, _)| length);
            if let Some(answer) = answer_to(&*self.crypto, server, &buffer[..length]) {
                socket.send_to(&answer, server).expect("sent");
            } else if length > 0 && (20..64).contains(&buffer[0]) {
                let events = dtls.read(Instant::now(), server, None, BytesMut::from(&buffer[..length]));
                complete = events.expect("a handshake").iter().any(|e| matches!(e, EndpointEvent::HandshakeComplete));
            }
            dtls.handle_timeout(server, Instant::now()).expect("a handshake");
        }
        while let Some(out) = dtls.poll_transmit() {
            socket.send_to(&out.message, server).expect("sent");
        }
        let state = dtls.get_connection_state(server).expect("a state");
        let profile = ProtectionProfile::AeadAes128Gcm;
        let mut config = Config { profile, ..Config::default() };
        let length = config.keying_material_len();
        let material = state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], length).expect("keys");
        config.set_session_keys_from_keying_material(material.as_ref(), true).expect("keys");
        let context = |key: &[u8], salt: &[u8]| {
            Context::new(key, salt, profile, None, None, self.crypto.crypto()).expect("a context")
        };
        let keys = &config.keys;
        let inbound = context(&keys.remote_master_key, &keys.remote_master_salt);
        let outbound = context(&keys.local_master_key, &keys.local_master_salt);
        Connected { crypto: self.crypto, socket, server, ufrag, pwd, inbound, outbound, ssrc: self.ssrc, dtls }
    }
}

impl Connected {
    /// A packet with an audio level, encrypted and sent.
    pub(crate) fn say(&mut self, payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) {
        let mut packet = vec![0x90, payload_type];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        // One word of one-byte extensions: level 20, and padding.
        packet.extend_from_slice(&[0xBE, 0xDE, 0, 1, 0x10, 0x80 | 20, 0, 0]);
        packet.extend_from_slice(payload);
        self.send_rtp(&packet);
    }

    /// Any packet, encrypted and sent.
    pub(crate) fn send_rtp(&mut self, packet: &[u8]) {
        if let Ok(packet) = self.outbound.encrypt_rtp(packet) {
            self.socket.send_to(&packet, self.server).expect("sent");
        }
    }

    /// Any report, encrypted and sent.
    pub(crate) fn send_rtcp(&mut self, packet: &[u8]) {
        if let Ok(packet) = self.outbound.encrypt_rtcp(packet) {
            self.socket.send_to(&packet, self.server).expect("sent");
        }
    }

    /// A sign of life.
    pub(crate) fn check(&self) {
        let check = check(&*self.crypto, &self.ufrag, &self.pwd);
        self.socket.send_to(&check, self.server).expect("sent");
    }

    /// The next packet of media, decrypted: its stream, sequence and payload. `None` when there is none for a while.
    pub(crate) fn hear(&mut self) -> Option<(u32, u16, Vec<u8>)> {
        let mut buffer = [0; 2_048];
        loop {
            let (length, _) = self.socket.recv_from(&mut buffer).ok()?;
            let packet = &buffer[..length];
            if length < 12 || packet[0] >> 6 != 2 || (192..224).contains(&packet[1]) {
                continue;
            }
            let plain = self.inbound.decrypt_rtp(packet).expect("ours");
            let word = |at: usize| u32::from_be_bytes(plain[at..at + 4].try_into().expect("four bytes"));
            return Some((word(8), word(0) as u16, plain[12..].to_vec()));
        }
    }

    /// Whether the server has ended the session.
    pub(crate) fn is_ended(&mut self) -> bool {
        let mut buffer = [0; 2_048];
        while let Ok((length, _)) = self.socket.recv_from(&mut buffer) {
            if (20..64).contains(&buffer[0]) {
                let data = BytesMut::from(&buffer[..length]);
                let events = self.dtls.read(Instant::now(), self.server, None, data).unwrap_or_default();
                if events.iter().any(|event| matches!(event, EndpointEvent::PeerClosed)) {
                    return true;
                }
            }
        }
        false
    }
}

/// Where media goes, as an answer says.
pub(crate) fn candidate(answer: &str) -> SocketAddr {
    let line = answer.lines().find(|line| line.starts_with("a=candidate:")).expect("a candidate");
    let words: Vec<&str> = line.split(' ').collect();
    SocketAddr::new(words[4].parse().expect("an address"), words[5].parse().expect("a port"))
}

/// The answer to a check: a server that asks back waits for it. `None` if it is something else.
fn answer_to(crypto: &dyn RTCCryptoProvider, to: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
    let mut request = Message::new();
    request.raw = datagram.to_vec();
    request.decode().ok()?;
    let mut answer = Message::new();
    answer.transaction_id = request.transaction_id;
    answer.set_type(BINDING_SUCCESS);
    answer.write_header();
    XorMappedAddress { ip: to.ip(), port: to.port() }.add_to(&mut answer).ok()?;
    MessageIntegrity::new_raw_integrity_with_provider(PASSWORD.as_bytes(), crypto.crypto()).add_to(&mut answer).ok()?;
    FINGERPRINT.add_to(&mut answer).ok()?;
    (request.typ == BINDING_REQUEST).then_some(answer.raw)
}

/// A check that nominates.
pub(crate) fn check(crypto: &dyn RTCCryptoProvider, ufrag: &str, pwd: &str) -> Vec<u8> {
    let mut request = Message::new();
    request.transaction_id = TransactionId::new();
    request.set_type(BINDING_REQUEST);
    request.write_header();
    request.add(ATTR_USERNAME, format!("{ufrag}:bare").as_bytes());
    request.add(ATTR_PRIORITY, &1u32.to_be_bytes());
    request.add(ATTR_USE_CANDIDATE, &[]);
    let integrity = MessageIntegrity::new_raw_integrity_with_provider(pwd.as_bytes(), crypto.crypto());
    integrity.add_to(&mut request).expect("signed");
    FINGERPRINT.add_to(&mut request).expect("a sum");
    request.raw
}
