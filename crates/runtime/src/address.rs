//! Where a service answers: inside this process, or at a TCP endpoint.

use std::fmt;
use std::str::FromStr;

const IN_PROCESS: &str = "in-process:";

/// The address of a gRPC service. Its text form travels through the router.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Address {
    /// A pipe inside this process, by name.
    InProcess(String),
    /// A base URL: `http://host:port`.
    Http(String),
}

/// A text names no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address: expected http://host:port or in-process:name")]
pub struct ParseAddressError(pub String);

impl Address {
    /// A pipe of this process.
    pub fn in_process(name: impl Into<String>) -> Self {
        Self::InProcess(name.into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::InProcess(name) => write!(f, "{IN_PROCESS}{name}"),
            Address::Http(url) => url.fmt(f),
        }
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if let Some(name) = s.strip_prefix(IN_PROCESS)
            && !name.is_empty()
        {
            return Ok(Self::InProcess(name.to_owned()));
        }
        match s.parse::<http::Uri>() {
            Ok(uri) if uri.scheme_str() == Some("http") && uri.host().is_some() => {
                Ok(Self::Http(s.trim_end_matches('/').to_owned()))
            }
            _ => Err(ParseAddressError(s.to_owned())),
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl TryFrom<String> for Address {
    type Error = ParseAddressError;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_an_address_and_back() {
        for text in ["in-process:channel-0", "http://127.0.0.1:9000"] {
            assert_eq!(text.parse::<Address>().expect("valid").to_string(), text);
        }
        for bad in ["", "in-process:", "127.0.0.1:9000", "ftp://x", "http://"] {
            assert_eq!(bad.parse::<Address>(), Err(ParseAddressError(bad.to_owned())));
        }
    }
}
