//! Which names a request may call this machine by, where only this machine's own programs and people are to be served.
//!
//! A web page can make a name of its own point at this machine and then read what is here (DNS rebinding). It cannot
//! choose the name that its browser sends.

use std::net::IpAddr;

/// Whether a `Host` header, with or without a port, is `localhost` or an address: a name that no stranger can own.
pub fn is_local_name(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.contains(']') { host } else { name });
    let name = name.trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_stranger_can_own_are_not_local() {
        for local in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "10.0.0.7:1"]
        {
            assert!(is_local_name(local), "{local}");
        }
        for other in ["", "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example:80"] {
            assert!(!is_local_name(other), "{other}");
        }
    }
}
