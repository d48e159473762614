//! One request of an operation, read as far as every operation needs it.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use axum::http::HeaderMap;
use bytes::Bytes;
use clarion_model::id::UserId;
use clarion_model::key::Key;
use clarion_model::user::User;
use clarion_proto::v1::channel_client::ChannelClient;
use clarion_runtime::Peer;
use futures_util::future::BoxFuture;
use percent_encoding::percent_decode_str;
use tonic::{Response, Status};

use super::refusal::Refusal;
use super::{Shared, origin};
use crate::api::error::Fault;
use crate::directory::Target;

/// How a user names oneself in a path.
const ME: &str = "@me";

/// A request by somebody with an account.
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    /// Who asks.
    pub(super) user: User,
    pub(super) path: Path,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// When it came.
    pub(super) began: Instant,
}

/// A request by anybody.
pub(super) struct OpenCall {
    pub(super) shared: Arc<Shared>,
    pub(super) headers: HeaderMap,
    /// The other end of the connection, whatever a proxy says.
    pub(super) peer: Option<IpAddr>,
}

/// The parts of a path that vary, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Path(pub(super) Vec<(String, String)>);

/// What follows the path.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Call {
    /// Who asks.
    pub(super) fn user_id(&self) -> UserId {
        self.user.id
    }

    /// The user a path names.
    pub(super) fn named_user(&self) -> Result<UserId, Refusal> {
        if self.path.text("user") == ME { Ok(self.user.id) } else { self.path.id("user").map(UserId) }
    }

    /// The URL of the gateway for this client.
    pub(super) fn gateway_url(&self) -> String {
        gateway_url(&self.shared, &self.headers)
    }

    /// Asks the owner of something; asks again while it changes hands.
    pub(super) async fn ask<T, F>(&self, target: Target, f: F) -> Result<T, Refusal>
    where
        F: Fn(ChannelClient<Peer>, Key) -> BoxFuture<'static, Result<Response<T>, Status>>,
    {
        Ok(self.shared.state.directory.call(target, f).await?)
    }
}

impl OpenCall {
    /// The URL of the gateway for this client.
    pub(super) fn gateway_url(&self) -> String {
        gateway_url(&self.shared, &self.headers)
    }
}

/// Without a final slash: libraries put a path behind it.
fn gateway_url(shared: &Shared, headers: &HeaderMap) -> String {
    match &shared.state.entry.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("ws://{}", origin::host(headers).unwrap_or("localhost")),
    }
}

impl Path {
    /// A part by its name; empty if the path has none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// A part that is an id.
    pub(super) fn id(&self, name: &str) -> Result<u64, Refusal> {
        let text = self.text(name);
        snowflake(text).ok_or_else(|| Refusal::field(&format!("{name}_id"), not_an_id(text)))
    }

    /// The channel or guild it is about; zero if it is about neither.
    pub(super) fn major(&self) -> u64 {
        ["channel", "guild"].iter().find_map(|name| snowflake(self.text(name))).unwrap_or(0)
    }
}

impl Query {
    pub(super) fn read(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    /// A value that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Whether a flag is up, in one of the ways that libraries write it.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.text(name), Some("true" | "True" | "1"))
    }

    /// All values of a name that may be there several times, in the ways that libraries write lists.
    pub(super) fn all(&self, name: &str, most: usize) -> Result<Vec<&str>, Refusal> {
        let listed = |key: &str| key == name || key.strip_suffix("[]") == Some(name);
        let mut values: Vec<&str> = Vec::new();
        for value in self.0.iter().filter(|(key, _)| listed(key)).map(|(_, value)| value.as_str()) {
            if !value.is_empty() && !values.contains(&value) {
                values.push(value);
            }
        }
        if values.len() > most {
            let fault = Fault::new("BASE_TYPE_MAX_LENGTH", format!("Must be {most} or fewer in length."));
            return Err(Refusal::field(name, fault));
        }
        Ok(values)
    }

    /// All ids of a name.
    pub(super) fn ids(&self, name: &str, most: usize) -> Result<Vec<u64>, Refusal> {
        let read = |text| snowflake(text).ok_or_else(|| Refusal::field(name, not_an_id(text)));
        self.all(name, most)?.into_iter().map(read).collect()
    }

    /// A flag that is up, down, or not named.
    pub(super) fn maybe(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.text(name) {
            None => Ok(None),
            Some("true" | "True" | "1") => Ok(Some(true)),
            Some("false" | "False" | "0") => Ok(Some(false)),
            Some(_) => Err(Refusal::field(name, Fault::new("BOOLEAN_TYPE_CONVERT", "Must be either true or false."))),
        }
    }

    /// A value that is one of a few.
    pub(super) fn one_of<'a>(&'a self, name: &str, known: &[&'static str]) -> Result<Option<&'a str>, Refusal> {
        let Some(value) = self.text(name) else { return Ok(None) };
        if known.contains(&value) { Ok(Some(value)) } else { Err(Refusal::field(name, not_one_of(known))) }
    }

    pub(super) fn id(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let read = |text| snowflake(text).ok_or_else(|| Refusal::field(name, not_an_id(text)));
        self.text(name).map(read).transpose()
    }

    /// An id before or after which a page lies; zero is before everything.
    pub(super) fn place(&self, name: &str) -> Result<Option<u64>, Refusal> {
        if self.text(name) == Some("0") { Ok(Some(0)) } else { self.id(name) }
    }

    pub(super) fn number(&self, name: &str, range: RangeInclusive<u32>, default: u32) -> Result<u32, Refusal> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let not_a_number = |_| Refusal::field(name, Fault::new("NUMBER_TYPE_COERCE", "Must be a number."));
        let number: i64 = text.parse().map_err(not_a_number)?;
        let (least, most) = (*range.start(), *range.end());
        if number > i64::from(most) {
            return Err(Refusal::field(name, Fault::new("NUMBER_TYPE_MAX", format!("Must be {most} or less."))));
        }
        match u32::try_from(number) {
            Ok(number) if number >= least => Ok(number),
            _ => Err(Refusal::field(name, Fault::new("NUMBER_TYPE_MIN", format!("Must be {least} or more.")))),
        }
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn snowflake(text: &str) -> Option<u64> {
    text.parse::<UserId>().ok().map(|id| id.0)
}

/// What is wrong with a text that should be one of a few.
pub(super) fn not_one_of(known: &[&str]) -> Fault {
    Fault::new("BASE_TYPE_CHOICES", format!("Value must be one of {{{}}}.", known.join(", ")))
}

/// What is wrong with a text that should be an id.
pub(super) fn not_an_id(text: &str) -> Fault {
    let shown: String = text.chars().take(32).collect();
    Fault::new("NUMBER_TYPE_COERCE", format!("Value \"{shown}\" is not snowflake."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_libraries_write_it() {
        let query = Query::read("limit=7&with_counts=1&wait=true&no=0&before=&after=123&x=a%20b+c&junk");
        assert_eq!(query.number("limit", 1..=100, 50).unwrap(), 7);
        assert_eq!(query.number("absent", 1..=100, 50).unwrap(), 50);
        assert!(query.flag("with_counts") && query.flag("wait") && !query.flag("no") && !query.flag("absent"));
        assert_eq!(query.id("before").unwrap(), None);
        assert_eq!(query.id("after").unwrap(), Some(123));
        assert_eq!(query.text("x"), Some("a b c"));
        assert!(query.id("x").is_err());
    }

    #[test]
    fn numbers_out_of_their_range_are_refused() {
        for bad in ["0", "101", "-1", "99999999999", "-99999999999", "9999999999999999999999", "x", "1.5"] {
            let query = Query(vec![("limit".into(), bad.into())]);
            assert!(query.number("limit", 1..=100, 50).is_err(), "{bad}");
        }
    }

    #[test]
    fn places_may_be_zero_but_ids_may_not() {
        let query = Query::read("after=0");
        assert_eq!(query.place("after").unwrap(), Some(0));
        assert!(query.id("after").is_err());
    }
}
