//! The demo accounts with their tokens, for the web client of whoever sits at this machine, and for nobody else.

use axum::http::{HeaderMap, HeaderName, header};
use clarion_runtime::is_local_name;
use serde::Serialize;

use super::answer::{Answer, Answered};
use super::call::OpenCall;
use super::refusal::Refusal;

/// What browsers say of where a request comes from; `none` is the address bar.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What proxies add. Behind one, this machine is everybody.
const FORWARDED: [HeaderName; 5] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];

#[derive(Serialize)]
struct Workspace<'a> {
    guild_id: String,
    channel_id: String,
    accounts: Vec<Account<'a>>,
    traces: &'a str,
}

#[derive(Serialize)]
struct Account<'a> {
    name: &'a str,
    id: String,
    token: &'a str,
    bot: bool,
}

/// To all others it is a path that does not exist.
pub(super) fn get(call: OpenCall) -> Answered {
    let near = call.peer.is_some_and(|peer| peer.to_canonical().is_loopback());
    let shown = call.shared.state.demo.as_ref().filter(|_| near && is_own_page(&call.headers));
    let demo = shown.and_then(|demo| demo.workspace()).ok_or(Refusal::NOT_FOUND)?;
    let accounts = demo.accounts.iter().map(|account| Account {
        name: &account.name,
        id: account.id.to_string(),
        token: &account.token,
        bot: account.bot,
    });
    Ok(Answer::object(&Workspace {
        guild_id: demo.guild_id.to_string(),
        channel_id: demo.channel_id.to_string(),
        accounts: accounts.collect(),
        traces: &demo.traces,
    }))
}

/// Whether a request comes from a page of this listener, or from a program of this machine: by a name that nobody else
/// can own, through no proxy, from no other site.
fn is_own_page(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let own = |origin: &str| origin.strip_prefix("http://").is_some_and(|named| named.eq_ignore_ascii_case(host));
    let origin = headers.get(header::ORIGIN).is_none_or(|origin| origin.to_str().is_ok_and(own));
    let site = headers.get(FETCH_SITE).is_none_or(|site| site == "same-origin" || site == "none");
    let direct = FORWARDED.iter().all(|name| !headers.contains_key(name));
    is_local_name(host) && origin && site && direct
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| (name.parse().expect("a name"), value.parse().expect("a value"));
        pairs.iter().map(pair).collect::<Vec<(HeaderName, _)>>().into_iter().collect()
    }

    #[test]
    fn only_a_page_of_this_listener_may_ask() {
        let host = ("host", "127.0.0.1:8080");
        for fine in [
            vec![host],
            vec![("host", "localhost:8080"), ("origin", "http://localhost:8080")],
            vec![host, ("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")],
            vec![host, ("sec-fetch-site", "none")],
        ] {
            assert!(is_own_page(&headers(&fine)), "{fine:?}");
        }
        for foreign in [
            vec![],
            vec![("host", "evil.example:8080")],
            vec![("host", "evil.example:8080"), ("origin", "http://evil.example:8080")],
            vec![host, ("origin", "http://evil.example")],
            vec![host, ("origin", "http://127.0.0.1:9000")],
            vec![host, ("origin", "https://127.0.0.1:8080")],
            vec![host, ("origin", "null")],
            vec![host, ("sec-fetch-site", "cross-site")],
            vec![host, ("sec-fetch-site", "same-site")],
            vec![host, ("x-forwarded-for", "1.2.3.4")],
            vec![host, ("via", "1.1 proxy")],
        ] {
            assert!(!is_own_page(&headers(&foreign)), "{foreign:?}");
        }
    }
}
