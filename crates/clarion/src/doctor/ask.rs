//! Asks one service where it answers its peers: whether it is there, and what it says of itself. Nothing is changed by it.

use std::time::{Duration, Instant, SystemTime};

use clarion_model::time::Timestamp;
use clarion_proto::v1;
use clarion_proto::v1::process_client::ProcessClient;
use clarion_runtime::Address;
use tonic::transport::{Channel as GrpcChannel, Endpoint};
use tonic::{Code, Status};

use super::{Finding, Verdict, other_clock};

/// How long a connection, and then each answer, may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What an address is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Router,
    Presence,
    Search,
    Gateway,
    Channel,
    Voice,
}

impl Kind {
    /// As people say it, and the clock of one.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Presence => "presence server",
            Self::Search => "search service",
            Self::Gateway => "gateway",
            Self::Channel => "channel server",
            Self::Voice => "voice server",
        }
    }

    fn clock(self) -> &'static str {
        match self {
            Self::Router => "router's clock",
            Self::Presence => "presence server's clock",
            Self::Search => "search service's clock",
            Self::Gateway => "gateway's clock",
            Self::Channel => "channel server's clock",
            Self::Voice => "voice server's clock",
        }
    }

    /// As a service calls itself.
    fn service(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Presence => "presence",
            Self::Search => "search",
            Self::Gateway => "gateway",
            Self::Channel => "channel",
            Self::Voice => "voice",
        }
    }
}

/// A connection to a service, or why there is none.
pub(super) async fn connect(at: &Address) -> Result<GrpcChannel, String> {
    let Address::Http(url) = at else { return Err("is inside one process, expected http://host:port".to_owned()) };
    let endpoint = Endpoint::from_shared(url.clone()).map_err(|error| format!("is no address: {error}"))?;
    let connected = tokio::time::timeout(PATIENCE, endpoint.connect()).await;
    let connected = connected.map_err(|_| "lets nobody connect".to_owned())?;
    connected.map_err(|error| format!("cannot be reached: {}", root(&error)))
}

/// An answer, or that none came in time.
pub(super) async fn within<A>(answer: impl Future<Output = Result<A, Status>>) -> Result<A, Status> {
    let late = |_| Err(Status::deadline_exceeded("no answer in time"));
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(late)
}

/// A refusal as a line says it.
pub(super) fn said(status: &Status) -> String {
    match status.code() {
        Code::DeadlineExceeded => "does not answer".to_owned(),
        code => format!("refuses: {code:?}: {}", status.message()),
    }
}

/// Has a service describe itself: how it is, and how its clock goes. `name` is how lines call it.
pub(super) async fn describe(kind: Kind, name: &str, channel: GrpcChannel) -> Vec<Finding> {
    let (asked, here) = (Instant::now(), Timestamp::from(SystemTime::now()));
    let told = within(ProcessClient::new(channel).describe(v1::DescribeRequest {})).await;
    // The answer's way is taken for half of it.
    let here = here.as_micros() + u64::try_from(asked.elapsed().as_micros() / 2).unwrap_or(0);
    match told {
        Ok(told) => described(kind, name, told.get_ref(), here),
        Err(status) if status.code() == Code::Unimplemented => {
            let detail = format!("{name} could not be asked what it is: its program is older than this one");
            vec![Finding::doubtful(kind.what(), detail)]
        }
        Err(status) => vec![Finding::refused(kind.what(), format!("{name} {}", said(&status)))],
    }
}

fn described(kind: Kind, name: &str, told: &v1::Description, here_us: u64) -> Vec<Finding> {
    if told.service != kind.service() {
        let detail = format!("{name} says that it is {} ({}), no {}", told.instance, told.service, kind.what());
        return vec![Finding::refused(kind.what(), detail)];
    }
    let ready = match (told.draining, told.ready) {
        (true, _) => "drains",
        (false, true) => "is ready",
        (false, false) => "is not ready",
    };
    let (version, known) = (env!("CARGO_PKG_VERSION"), clarion_storage::scylla::SCHEMA);
    let mut detail = format!("{name} {ready}, version {}", told.version);
    let mut verdict = if told.ready && !told.draining { Verdict::Fine } else { Verdict::Doubtful };
    if told.version != version {
        detail.push_str(&format!(", expected {version} as here"));
        verdict = Verdict::Doubtful;
    }
    if let Some(schema) = told.schema {
        detail.push_str(&format!(", schema {schema}"));
        if schema != known {
            detail.push_str(&format!(", expected {known} as here"));
            verdict = Verdict::Doubtful;
        }
    }
    let ahead_us = i128::from(told.now_us) - i128::from(here_us);
    let ahead_ms = i64::try_from(ahead_us / 1_000).unwrap_or(i64::MAX);
    vec![Finding { what: kind.what(), verdict, detail }, other_clock(kind.clock(), &name, ahead_ms)]
}

/// What lies behind an error that only says that there was one.
fn root(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_of_itself_is_judged() {
        let fine = v1::Description {
            service: "gateway".into(),
            instance: "gateway-7".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            ready: true,
            draining: false,
            now_us: 60_000_000,
            schema: None,
        };
        let verdicts = |told: &v1::Description| {
            described(Kind::Gateway, "it", told, 60_000_000).iter().map(|found| found.verdict).collect::<Vec<_>>()
        };
        use Verdict::{Doubtful, Fine, Refused};
        assert_eq!(verdicts(&fine), [Fine, Fine]);
        assert_eq!(verdicts(&v1::Description { ready: false, ..fine.clone() }), [Doubtful, Fine]);
        assert_eq!(verdicts(&v1::Description { draining: true, ..fine.clone() }), [Doubtful, Fine]);
        assert_eq!(verdicts(&v1::Description { version: "0.0.1".into(), ..fine.clone() }), [Doubtful, Fine]);
        let schema = |schema| v1::Description { schema: Some(schema), ..fine.clone() };
        assert_eq!(verdicts(&schema(clarion_storage::scylla::SCHEMA)), [Fine, Fine]);
        assert_eq!(verdicts(&schema(clarion_storage::scylla::SCHEMA + 1)), [Doubtful, Fine]);
        assert_eq!(verdicts(&v1::Description { now_us: 62_000_000, ..fine.clone() }), [Fine, Doubtful]);
        assert_eq!(verdicts(&v1::Description { now_us: 0, ..fine.clone() }), [Fine, Refused]);
        assert_eq!(verdicts(&v1::Description { service: "voice".into(), ..fine }), [Refused]);
    }
}
