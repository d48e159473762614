//! Where a request comes from: its address, its id, the host it asked.

use std::net::IpAddr;
use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderName, header};
use clarion_model::id;

/// The address at the other end of a request's connection. Whoever accepts connections puts it into the extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Longest id of a request that is taken from a client.
const LONGEST_ID: usize = 64;

/// The client's address: behind a proxy, what the proxy says.
pub(crate) fn address(headers: &HeaderMap, peer: Option<IpAddr>, behind_proxy: bool) -> Option<IpAddr> {
    let said = behind_proxy.then(|| headers.get_all(FORWARDED_FOR).iter().next_back()).flatten();
    let last = said.and_then(|value| value.to_str().ok()).and_then(|list| list.rsplit(',').next());
    last.and_then(|address| address.trim().parse().ok()).or(peer)
}

/// The request's id: the client's own if it is a sane one, else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| is_sane(id));
    given.map_or_else(new_id, str::to_owned)
}

fn is_sane(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}

fn new_id() -> String {
    let mut chance = [0; 16];
    // Without randomness the ids are all alike, which is bad for reading logs and for nothing else.
    let _ = getrandom::fill(&mut chance);
    format!("{:032x}", u128::from_be_bytes(chance))
}

/// A new id for something that is made here: this millisecond's, with chance in place of a count.
pub(super) fn new_snowflake() -> u64 {
    let mut chance = [0; 4];
    // Without randomness two things made in the same millisecond would be one: the owner refuses the second.
    let _ = getrandom::fill(&mut chance);
    let below = u64::from(u32::from_le_bytes(chance)) & ((1 << id::SEQUENCE_BITS) - 1);
    id::first_of(SystemTime::now().into()) | below
}

/// The host a client asked, if it can stand in a URL.
pub(crate) fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    (!host.is_empty() && host.bytes().all(fits)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn only_a_proxys_word_for_the_address_is_taken() {
        let peer = Some(IpAddr::from([10, 0, 0, 1]));
        let said = headers(FORWARDED_FOR, &["1.1.1.1", "6.6.6.6, 2.2.2.2"]);
        assert_eq!(address(&said, peer, false), peer);
        assert_eq!(address(&said, peer, true), Some(IpAddr::from([2, 2, 2, 2])));
        assert_eq!(address(&headers(FORWARDED_FOR, &["nonsense"]), peer, true), peer);
    }

    #[test]
    fn sane_ids_are_kept_and_others_replaced() {
        assert_eq!(request_id(&headers(REQUEST_ID, &["req-1.a:b_2"])), "req-1.a:b_2");
        for bad in ["", "a b", "a\"b", &"x".repeat(65)] {
            let id = request_id(&headers(REQUEST_ID, &[bad]));
            assert_eq!(id.len(), 32, "{bad:?}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn a_host_is_only_a_host() {
        assert_eq!(host(&headers(header::HOST, &["chat.example:8080"])), Some("chat.example:8080"));
        assert_eq!(host(&headers(header::HOST, &["[::1]:80"])), Some("[::1]:80"));
        assert_eq!(host(&headers(header::HOST, &["a/b"])), None);
        assert_eq!(host(&HeaderMap::new()), None);
    }
}
