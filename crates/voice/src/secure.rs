//! DTLS-SRTP of one session: the server's handshake, and the keys that come of it.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::{HashAlgorithm, RTCCryptoProvider};
use rtc::dtls::cipher_suite::CipherSuiteId;
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, VerifyPeerCertificateFn};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::dtls::state::State;
use rtc::shared::TransportProtocol;
use rtc::shared::error::Error;
use rtc::srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc::srtp::context::Context;
use rtc::srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc::srtp::protection_profile::ProtectionProfile;

/// Packets that may come late and are told from replays.
const REPLAY_WINDOW: usize = 256;
/// Bytes that are taken of a client's handshake, all that it sends again included. An honest one sends some 2 KiB. What is
/// in pieces is kept until it is whole, and is put together by a function that calls itself for each piece: with more, who
/// sends pieces of one byte fills the memory, and then the stack.
const HANDSHAKE: usize = 32 << 10;
/// When a flight of the handshake is sent again.
const FLIGHT: Duration = Duration::from_millis(500);
/// The handshake knows one peer; where its datagrams go is the session's to know, and may change.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));

/// Who the server is: one certificate a process. Sessions tell clients its fingerprint.
pub(crate) struct Identity {
    pub(crate) crypto: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    /// SHA-256, in hex with colons.
    pub(crate) fingerprint: String,
}

impl Identity {
    /// A new one.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let crypto = rtc::crypto::default_provider()?;
        let certificate = Certificate::generate_self_signed(vec!["clarion".to_owned()], crypto.crypto())?;
        let der = certificate.certificate.first().map(|der| der.as_ref()).unwrap_or_default();
        let hash = crypto.crypto().hash(HashAlgorithm::Sha256, der)?;
        let mut fingerprint = String::new();
        for byte in hash {
            let colon = if fingerprint.is_empty() { "" } else { ":" };
            // Writing to a string cannot fail.
            let _ = write!(fingerprint, "{colon}{byte:02X}");
        }
        Ok(Self { crypto, certificate, fingerprint })
    }
}

/// The keys of a session.
pub(crate) struct Keys {
    /// Of what the client sends.
    pub(crate) inbound: Context,
    /// Of what it is sent.
    pub(crate) outbound: Context,
}

/// What came of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing yet.
    Pending,
    /// There are keys now.
    Keyed,
    /// The client has ended it.
    Closed,
}

/// The secured way of a session.
pub(crate) struct Secure {
    endpoint: Endpoint,
    crypto: Arc<dyn RTCCryptoProvider>,
    pub(crate) keys: Option<Keys>,
    /// Bytes that are still taken.
    left: usize,
}

impl Secure {
    /// Waits for the handshake of the client whose certificate has this fingerprint.
    pub(crate) fn new(identity: &Identity, client: [u8; 32]) -> Result<Self, Error> {
        let crypto = identity.crypto.clone();
        let known: VerifyPeerCertificateFn = Arc::new(move |chain, _| {
            let hash = chain.first().and_then(|der| crypto.crypto().hash(HashAlgorithm::Sha256, der).ok());
            match hash {
                Some(hash) if hash == client => Ok(()),
                _ => Err(Error::ErrNoMatchingCertificateFingerprint),
            }
        });
        let config = ConfigBuilder::default()
            .with_crypto_provider(identity.crypto.clone())
            .with_certificates(vec![identity.certificate.clone()])
            // The certificate is ECDSA: with another suite a handshake would hang.
            .with_cipher_suites(vec![
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_256_Cbc_Sha,
            ])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
                SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
            ])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // Not the chain is verified but the fingerprint.
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(known))
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_flight_interval(FLIGHT)
            .build(false, None)?;
        let endpoint = Endpoint::new(PEER, TransportProtocol::UDP, Some(Arc::new(config)));
        Ok(Self { endpoint, crypto: identity.crypto.clone(), keys: None, left: HANDSHAKE })
    }

    /// A datagram of the client. What is malformed changes nothing, and neither does what is too much: who has sent that
    /// much is found to be gone by its silence.
    pub(crate) fn read(&mut self, now: Instant, datagram: &[u8]) -> Outcome {
        let Some(left) = self.left.checked_sub(datagram.len()) else { return Outcome::Pending };
        self.left = left;
        let events = self.endpoint.read(now, PEER, None, BytesMut::from(datagram)).unwrap_or_default();
        let mut outcome = Outcome::Pending;
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => {
                    let state = self.endpoint.get_connection_state(PEER);
                    self.keys = state.and_then(|state| keys(state, &*self.crypto).ok());
                    outcome = if self.keys.is_some() { Outcome::Keyed } else { Outcome::Closed };
                }
                EndpointEvent::PeerClosed => outcome = Outcome::Closed,
                _ => {}
            }
        }
        outcome
    }

    /// Sends again what was not answered.
    pub(crate) fn tick(&mut self, now: Instant) {
        // It fails when the handshake has been given up; the session's own deadline ends it.
        let _ = self.endpoint.handle_timeout(PEER, now);
    }

    /// Tells the client that it is over.
    pub(crate) fn close(&mut self, now: Instant) {
        let _ = self.endpoint.close(now);
    }

    /// What is to be sent.
    pub(crate) fn next(&mut self) -> Option<BytesMut> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message)
    }
}

fn keys(state: &State, crypto: &dyn RTCCryptoProvider) -> Result<Keys, Error> {
    let profile = match state.srtp_protection_profile() {
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => ProtectionProfile::AeadAes256Gcm,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        _ => return Err(Error::ErrNoSuchSrtpProfile),
    };
    let mut config = Config { profile, ..Config::default() };
    let material = state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())?;
    config.set_session_keys_from_keying_material(material.as_ref(), state.is_client())?;
    let keys = &config.keys;
    let inbound = Context::new(
        &keys.remote_master_key,
        &keys.remote_master_salt,
        profile,
        Some(srtp_replay_protection(REPLAY_WINDOW)),
        Some(srtcp_replay_protection(REPLAY_WINDOW)),
        crypto.crypto(),
    )?;
    let outbound = Context::new(&keys.local_master_key, &keys.local_master_salt, profile, None, None, crypto.crypto())?;
    Ok(Keys { inbound, outbound })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with pieces of one message, each of one byte, from `from` down.
    fn pieces(sequence: u64, from: u32, count: u32) -> Vec<u8> {
        let mut body = Vec::new();
        for offset in ((from + 1).saturating_sub(count)..=from).rev() {
            let number = |n: u32| n.to_be_bytes()[1..].to_vec();
            // The first says that there are more.
            let length = if offset == 0 { 2 } else { 1 };
            body.extend([vec![1], number(length), vec![0, 0], number(offset), number(1), vec![0]].concat());
        }
        let mut record = vec![22, 0xfe, 0xfd, 0, 0];
        record.extend_from_slice(&sequence.to_be_bytes()[2..]);
        record.extend_from_slice(&(body.len() as u16).to_be_bytes());
        record.extend(body);
        record
    }

    #[test]
    fn pieces_of_a_message_do_not_pile_up() {
        let identity = Identity::new().expect("an identity");
        let mut secure = Secure::new(&identity, [0; 32]).expect("a way");
        let now = Instant::now();
        // The last ones first, so that all of them are put together at once, one within the other.
        let (count, most) = (100, 30_000);
        for (n, from) in (1..=most).rev().step_by(count as usize).enumerate() {
            assert_eq!(secure.read(now, &pieces(n as u64, from, count)), Outcome::Pending);
        }
        assert_eq!(secure.read(now, &pieces(u64::from(most), 0, 1)), Outcome::Pending);
    }
}
