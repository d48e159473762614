//! Fragments of descriptions (RFC 8840): what a client trickles, and how it asks for a new ICE session.

use super::answer::{Candidates, candidates, line};
use super::offer::ice_chars;

/// The ICE name of a fragment, if it has one that is well formed. The candidates do not matter: the server answers to
/// where checks come from.
pub(crate) fn fragment(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim_end);
    lines.find_map(|line| line.strip_prefix("a=ice-ufrag:")).filter(|ufrag| ice_chars(ufrag, 4))
}

/// What the server says to a new ICE session.
pub(crate) struct Fragment<'a> {
    pub(crate) ufrag: &'a str,
    pub(crate) pwd: &'a str,
    pub(crate) candidates: &'a Candidates,
}

impl Fragment<'_> {
    /// As it is sent.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        line(&mut text, format_args!("a=ice-lite"));
        line(&mut text, format_args!("a=ice-ufrag:{}", self.ufrag));
        line(&mut text, format_args!("a=ice-pwd:{}", self.pwd));
        candidates(&mut text, self.candidates);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_and_a_malformed_one_is_none() {
        assert_eq!(fragment("a=ice-options:trickle\r\na=ice-ufrag:EsAw\r\na=ice-pwd:x\r\n"), Some("EsAw"));
        for none in ["", "a=candidate:1 1 udp 1 192.0.2.1 1 typ host", "a=ice-ufrag:x", "a=ice-ufrag:a b c d"] {
            assert_eq!(fragment(none), None);
        }
    }
}
