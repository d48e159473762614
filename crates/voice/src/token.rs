//! Tokens: what a gateway's admission says, signed, so that the HTTP endpoint knows it again. Pure; the key is the
//! process's own and lasts as long.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rtc::crypto::{HmacAlgorithm, RTCCryptoProvider};

/// Longer than any token of ours.
const LONGEST: usize = 1_024;
/// Bytes of the signature.
const SIGNATURE: usize = 32;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Claims {
    /// The admission that it belongs to. A later one voids it.
    #[serde(rename = "jti")]
    pub(crate) admission: u64,
    #[serde(rename = "sid")]
    pub(crate) session: String,
    #[serde(rename = "room")]
    pub(crate) channel: u64,
    #[serde(rename = "sub")]
    pub(crate) user: u64,
    /// What was permitted when it was made; what is permitted now is the server's to know.
    #[serde(rename = "perms")]
    pub(crate) permissions: u8,
    /// When it may be used for the first time at the latest, in milliseconds since 1970.
    #[serde(rename = "exp")]
    pub(crate) expires: u64,
    /// Where the request stands in its trace.
    #[serde(rename = "tp", default, skip_serializing_if = "String::is_empty")]
    pub(crate) traceparent: String,
}

/// Signs tokens and knows them again.
#[derive(Clone)]
pub(crate) struct Signer {
    crypto: Arc<dyn RTCCryptoProvider>,
    key: [u8; 32],
}

/// It is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is not one of this server")]
pub(crate) struct NotOurs;

impl Signer {
    /// With a key of its own.
    pub(crate) fn new(crypto: Arc<dyn RTCCryptoProvider>, key: [u8; 32]) -> Self {
        Self { crypto, key }
    }

    /// The claims and their signature.
    pub(crate) fn sign(&self, claims: &Claims) -> anyhow::Result<String> {
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
        let mut signature = [0; SIGNATURE];
        let mut mac = self.crypto.crypto().new_hmac(HmacAlgorithm::Sha256, &self.key)?;
        mac.sign(&[body.as_bytes()], &mut signature)?;
        Ok(format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What a token says, if it was signed here.
    pub(crate) fn read(&self, token: &str) -> Result<Claims, NotOurs> {
        if token.len() > LONGEST {
            return Err(NotOurs);
        }
        let (body, signature) = token.split_once('.').ok_or(NotOurs)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| NotOurs)?;
        let mut mac = self.crypto.crypto().new_hmac(HmacAlgorithm::Sha256, &self.key).map_err(|_| NotOurs)?;
        mac.verify(&[body.as_bytes()], &signature).map_err(|_| NotOurs)?;
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| NotOurs)?;
        serde_json::from_slice(&body).map_err(|_| NotOurs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(key: u8) -> Signer {
        Signer::new(rtc::crypto::default_provider().expect("a provider"), [key; 32])
    }

    fn claims() -> Claims {
        Claims {
            admission: 7,
            session: "s-1".into(),
            channel: u64::MAX,
            user: 2,
            permissions: 3,
            expires: 1_000,
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        }
    }

    #[test]
    fn what_is_signed_is_read() {
        let token = signer(1).sign(&claims()).expect("signed");
        assert_eq!(signer(1).read(&token), Ok(claims()));
    }

    #[test]
    fn what_another_signed_or_changed_is_not_ours() {
        let token = signer(1).sign(&claims()).expect("signed");
        assert_eq!(signer(2).read(&token), Err(NotOurs));
        let (body, signature) = token.split_once('.').expect("two parts");
        let other = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&Claims { user: 3, ..claims() }).expect("json"));
        for bad in [
            format!("{other}.{signature}"),
            format!("{body}."),
            format!("{body}.{}", &signature[..20]),
            body.to_owned(),
            String::new(),
            "é.é".to_owned(),
            format!("{}{token}", "A".repeat(LONGEST)),
        ] {
            assert_eq!(signer(1).read(&bad), Err(NotOurs), "{bad}");
        }
    }
}
