//! The server's end of ICE, which is the light one (RFC 8445, 2.5): it asks nothing and answers checks that are signed
//! with the session's password.

use std::net::SocketAddr;

use rtc::crypto::RTCCrypto;
use rtc::stun::attributes::{ATTR_MESSAGE_INTEGRITY, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use rtc::stun::xoraddr::XorMappedAddress;

/// The alphabet of names and passwords.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const NAME: usize = 12;
const PASSWORD: usize = 24;

/// What a session is called in checks, and what signs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
}

impl Credentials {
    /// New ones.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; NAME + PASSWORD];
        getrandom::fill(&mut bytes)?;
        let text: String = bytes.iter().map(|b| char::from(ALPHABET[usize::from(b % 64)])).collect();
        let (ufrag, pwd) = text.split_at(NAME);
        Ok(Self { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() })
    }
}

/// A check of a client. It is nothing until it is found authentic.
#[derive(Debug)]
pub(crate) struct Check {
    message: Message,
    /// Whose session it says it is for.
    pub(crate) ufrag: String,
    /// The client has chosen this way.
    pub(crate) nominates: bool,
    /// How good the client finds it.
    pub(crate) priority: u32,
}

impl Check {
    /// Reads a request; anything else is nothing to the server.
    pub(crate) fn read(datagram: &[u8]) -> Option<Self> {
        let mut message = Message::new();
        message.raw = datagram.to_vec();
        message.decode().ok()?;
        if message.typ != BINDING_REQUEST {
            return None;
        }
        // What stands behind the signature is not covered by it: anybody can have put it there.
        let signed = message.attributes.0.iter().take_while(|attribute| attribute.typ != ATTR_MESSAGE_INTEGRITY);
        let value = |kind| signed.clone().find(|attribute| attribute.typ == kind).map(|found| found.value.as_slice());
        let (ufrag, _client) = std::str::from_utf8(value(ATTR_USERNAME)?).ok()?.split_once(':')?;
        let priority = value(ATTR_PRIORITY).and_then(|bytes| bytes.try_into().ok());
        Some(Self {
            ufrag: ufrag.to_owned(),
            nominates: value(ATTR_USE_CANDIDATE).is_some(),
            priority: priority.map_or(0, u32::from_be_bytes),
            message,
        })
    }

    /// Whether it is signed with the session's password.
    pub(crate) fn is_authentic(&mut self, pwd: &str, crypto: &dyn RTCCrypto) -> bool {
        MessageIntegrity::check(&mut self.message, pwd.as_bytes(), crypto).is_ok()
    }

    /// The answer, signed.
    pub(crate) fn answer(&self, to: SocketAddr, pwd: &str, crypto: &dyn RTCCrypto) -> Option<Vec<u8>> {
        let mut answer = Message::new();
        answer.transaction_id = self.message.transaction_id;
        answer.set_type(BINDING_SUCCESS);
        answer.write_header();
        XorMappedAddress { ip: to.ip(), port: to.port() }.add_to(&mut answer).ok()?;
        MessageIntegrity::new_raw_integrity_with_provider(pwd.as_bytes(), crypto).add_to(&mut answer).ok()?;
        FINGERPRINT.add_to(&mut answer).ok()?;
        Some(answer.raw)
    }
}

/// A check as a client sends it.
#[cfg(any(test, fuzzing))]
pub(crate) fn request(ufrag: &str, pwd: &str, nominates: bool, priority: u32) -> Vec<u8> {
    let provider = rtc::crypto::default_provider().expect("a provider");
    let mut request = Message::new();
    request.set_type(BINDING_REQUEST);
    request.write_header();
    request.add(ATTR_USERNAME, format!("{ufrag}:client").as_bytes());
    request.add(ATTR_PRIORITY, &priority.to_be_bytes());
    if nominates {
        request.add(ATTR_USE_CANDIDATE, &[]);
    }
    MessageIntegrity::new_raw_integrity_with_provider(pwd.as_bytes(), provider.crypto())
        .add_to(&mut request)
        .expect("signed");
    FINGERPRINT.add_to(&mut request).expect("a sum");
    request.raw
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(ufrag: &str, pwd: &str) -> Vec<u8> {
        request(ufrag, pwd, true, 7)
    }

    #[test]
    fn a_check_is_answered_to_where_it_came_from() {
        let provider = rtc::crypto::default_provider().expect("a provider");
        let mut read = Check::read(&check("me", "secret")).expect("a check");
        assert_eq!((read.ufrag.as_str(), read.nominates, read.priority), ("me", true, 7));
        assert!(!read.is_authentic("wrong", provider.crypto()));
        assert!(read.is_authentic("secret", provider.crypto()));
        for to in ["192.0.2.7:4000", "[2001:db8::1]:4000"] {
            let to: SocketAddr = to.parse().expect("an address");
            let raw = read.answer(to, "secret", provider.crypto()).expect("an answer");
            let mut answer = Message::new();
            answer.raw = raw;
            answer.decode().expect("well formed");
            assert_eq!((answer.typ, answer.transaction_id), (BINDING_SUCCESS, read.message.transaction_id));
            assert!(MessageIntegrity::check(&mut answer, b"secret", provider.crypto()).is_ok());
            FINGERPRINT.check(&answer).expect("a good sum");
            let mut mapped = XorMappedAddress::default();
            rtc::stun::message::Getter::get_from(&mut mapped, &answer).expect("an address");
            assert_eq!(SocketAddr::new(mapped.ip, mapped.port), to);
        }
    }

    #[test]
    fn credentials_are_their_own() {
        let (a, b) = (Credentials::random().expect("random"), Credentials::random().expect("random"));
        assert_ne!(a, b);
        assert_eq!((a.ufrag.len(), a.pwd.len()), (NAME, PASSWORD));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), at in 0usize..100, with: u8) {
            let provider = rtc::crypto::default_provider().expect("a provider");
            let mut changed = check("me", "secret");
            let at = at % changed.len();
            changed[at] = with;
            for datagram in [bytes, changed] {
                if let Some(mut check) = Check::read(&datagram) {
                    check.is_authentic("secret", provider.crypto());
                    let _ = check.answer(([192, 0, 2, 1], 1).into(), "secret", provider.crypto());
                }
            }
        }
    }
}
