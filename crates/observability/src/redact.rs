//! Values that must not be read: they format redacted, and only an explicit `expose()` gives them away.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::ClientIpPolicy;

/// A credential. Shows its last 4 characters, nothing of one under 12.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// An e-mail address. Shows its first letters, 4 at most, and the domain.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

/// A client's address. Shows nothing by itself; a log line shows what the policy allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientIp(IpAddr);

/// What somebody wrote. Shows its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(String);

const SHOWN_OF_TOKEN: usize = 4;
const SHORTEST_SHOWN_TOKEN: usize = 12;
const SHOWN_OF_EMAIL: usize = 4;

impl Token {
    /// Wraps a credential.
    pub fn new(token: impl Into<String>) -> Self {
        Token(token.into())
    }

    /// The credential itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.0.chars().count();
        if length < SHORTEST_SHOWN_TOKEN {
            return f.write_str("***");
        }
        f.write_str("***")?;
        self.0.chars().skip(length - SHOWN_OF_TOKEN).try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

impl Email {
    /// Wraps an address.
    pub fn new(email: impl Into<String>) -> Self {
        Email(email.into())
    }

    /// The address itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((local, domain)) = self.0.rsplit_once('@') else { return f.write_str("***") };
        // A short name would be shown whole: at least its last letter stays hidden.
        let shown = local.chars().count().saturating_sub(1).min(SHOWN_OF_EMAIL);
        let start: String = local.chars().take(shown).collect();
        write!(f, "{start}***@{domain}")
    }
}

impl ClientIp {
    /// Wraps an address.
    pub fn new(address: IpAddr) -> Self {
        ClientIp(address.to_canonical())
    }

    /// The address itself.
    pub fn expose(&self) -> IpAddr {
        self.0
    }

    /// What a policy lets a reader see.
    pub fn shown(&self, policy: ClientIpPolicy) -> Option<String> {
        match (policy, self.0) {
            (ClientIpPolicy::None, _) => None,
            (ClientIpPolicy::Full, address) => Some(address.to_string()),
            (ClientIpPolicy::Truncated, IpAddr::V4(v4)) => {
                let [a, b, c, _] = v4.octets();
                Some(format!("{}/24", Ipv4Addr::new(a, b, c, 0)))
            }
            (ClientIpPolicy::Truncated, IpAddr::V6(v6)) => {
                let [a, b, c, ..] = v6.segments();
                Some(format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)))
            }
        }
    }

    /// The number a log event carries it as, so that no text of it exists before the policy is applied.
    pub(crate) fn to_bits(self) -> u128 {
        match self.0 {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        }
    }

    pub(crate) fn from_bits(bits: u128) -> Self {
        ClientIp::new(IpAddr::V6(Ipv6Addr::from_bits(bits)))
    }
}

impl fmt::Display for ClientIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Content {
    /// Wraps a text.
    pub fn new(content: impl Into<String>) -> Self {
        Content(content.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its length in characters.
    pub fn len(&self) -> usize {
        self.0.chars().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} characters]", self.len())
    }
}

macro_rules! debug_is_display {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!(stringify!($name), "({})"), self) }
        }
    )*};
}
debug_is_display!(Token, Email, ClientIp, Content);

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: &(impl fmt::Display + fmt::Debug)) -> String {
        format!("{value} {value:?} {value:#?} {value:>80} {:?}", Some(value))
    }

    #[test]
    fn a_token_shows_its_last_four_characters() {
        let text = texts(&Token::new("abcdefghijklm-canary-WXYZ"));
        assert!(text.contains("***WXYZ") && !text.contains("canary") && !text.contains("-WXYZ"), "{text}");
    }

    #[test]
    fn a_short_token_shows_nothing() {
        assert_eq!(Token::new("elevenchars").to_string(), "***");
        assert_eq!(Token::new("twelve-chars").to_string(), "***hars");
        assert_eq!(Token::new("").to_string(), "***");
        assert_eq!(Token::new("ééééééééééé").to_string(), "***");
    }

    #[test]
    fn an_email_shows_four_letters_at_most() {
        assert_eq!(Email::new("username@domain.com").to_string(), "user***@domain.com");
        assert_eq!(Email::new("bob@domain.com").to_string(), "bo***@domain.com");
        assert_eq!(Email::new("a@domain.com").to_string(), "***@domain.com");
        assert_eq!(Email::new("no address").to_string(), "***");
    }

    #[test]
    fn an_address_shows_what_the_policy_allows() {
        let v4 = ClientIp::new("203.0.113.77".parse().unwrap());
        let v6 = ClientIp::new("2001:db8:7:8:9::1".parse().unwrap());
        let mapped = ClientIp::new("::ffff:203.0.113.77".parse().unwrap());
        assert_eq!(v4.shown(ClientIpPolicy::Truncated).unwrap(), "203.0.113.0/24");
        assert_eq!(mapped.shown(ClientIpPolicy::Truncated).unwrap(), "203.0.113.0/24");
        assert_eq!(v6.shown(ClientIpPolicy::Truncated).unwrap(), "2001:db8:7::/48");
        assert_eq!(v4.shown(ClientIpPolicy::Full).unwrap(), "203.0.113.77");
        assert_eq!(v4.shown(ClientIpPolicy::None), None);
        assert!(!texts(&v4).contains("203"));
        assert_eq!(ClientIp::from_bits(v4.to_bits()), v4);
        assert_eq!(ClientIp::from_bits(v6.to_bits()), v6);
    }

    #[test]
    fn content_shows_its_length() {
        let text = texts(&Content::new("the canary sings"));
        assert!(text.contains("16 characters") && !text.contains("canary"), "{text}");
    }
}
