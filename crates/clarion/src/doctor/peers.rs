//! The other services: whether each answers where the settings say it does, and is what it is taken for.

use std::time::Duration;

use clarion_proto::v1;
use clarion_proto::v1::presences_client::PresencesClient;
use clarion_proto::v1::router_client::RouterClient;
use clarion_proto::v1::search_client::SearchClient;
use clarion_runtime::Address;
use tonic::transport::{Channel as GrpcChannel, Endpoint};
use tonic::{Code, Status};

use super::Finding;
use crate::config::Peers;

/// How long a connection, and then an answer, may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What an address is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Router,
    Presence,
    Search,
}

/// Asks every service that the settings name.
pub(super) async fn check(peers: &Peers) -> Vec<Finding> {
    let routers = peers.routers.iter().map(|at| (Kind::Router, at));
    let presence = peers.presence.iter().map(|at| (Kind::Presence, at));
    let search = peers.search.iter().map(|at| (Kind::Search, at));
    let mut findings = Vec::new();
    for (kind, at) in routers.chain(presence).chain(search) {
        let found = match ask(kind, at).await {
            Ok(detail) => Finding::fine(kind.what(), format!("{}: {at} {detail}", kind.setting())),
            Err(why) => Finding::refused(kind.what(), format!("{}: {at} {why}", kind.setting())),
        };
        findings.push(found);
    }
    findings
}

impl Kind {
    fn what(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Presence => "presence server",
            Self::Search => "search service",
        }
    }

    fn setting(self) -> &'static str {
        match self {
            Self::Router => "peers.routers",
            Self::Presence => "peers.presence",
            Self::Search => "peers.search",
        }
    }
}

async fn ask(kind: Kind, at: &Address) -> Result<String, String> {
    let Address::Http(url) = at else { return Err("is inside one process, expected http://host:port".to_owned()) };
    let endpoint = Endpoint::from_shared(url.clone()).map_err(|error| format!("is no address: {error}"))?;
    let connected = tokio::time::timeout(PATIENCE, endpoint.connect()).await;
    let connected = connected.map_err(|_| "lets nobody connect".to_owned())?;
    let channel = connected.map_err(|error| format!("cannot be reached: {}", root(&error)))?;
    let answer = tokio::time::timeout(PATIENCE, answer(kind, channel)).await;
    match answer.map_err(|_| "does not answer".to_owned())? {
        Ok(detail) => Ok(detail),
        // It says what is missing, so it would have heard.
        Err(status) if status.code() == Code::InvalidArgument => Ok("answers".to_owned()),
        Err(status) if status.code() == Code::Unimplemented => Err(format!("answers, but is no {}", kind.what())),
        Err(status) => Err(format!("refuses: {:?}: {}", status.code(), status.message())),
    }
}

/// Asks for what changes nothing.
async fn answer(kind: Kind, channel: GrpcChannel) -> Result<String, Status> {
    match kind {
        Kind::Router => {
            let mut told = RouterClient::new(channel).follow_slots(v1::FollowSlotsRequest {}).await?.into_inner();
            let slots = told.message().await?.ok_or_else(|| Status::unavailable("it tells nothing"))?;
            let owned: usize = slots.owned.iter().map(|of| of.slots.len()).sum();
            Ok(format!(
                "answers: {owned} slots of {} channel servers, {} of nobody",
                slots.owned.len(),
                slots.unowned.len()
            ))
        }
        // A gateway without a name is not let in.
        Kind::Presence => {
            PresencesClient::new(channel).attend(tokio_stream::empty()).await.map(|_| "answers".to_owned())
        }
        // A search of nothing.
        Kind::Search => SearchClient::new(channel).find(v1::FindRequest::default()).await.map(|_| "answers".to_owned()),
    }
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
    use std::net::{Ipv4Addr, TcpListener};

    use clarion_observability::capture::Capture;
    use clarion_proto::v1::presences_server::{Presences, PresencesServer};
    use clarion_proto::v1::{AttendRequest, AttendResponse};
    use clarion_runtime::{Host, Listen, Process};
    use tokio_stream::Empty;
    use tonic::service::Routes;
    use tonic::{Request, Response, Streaming};

    use super::*;

    struct Fake;

    #[tonic::async_trait]
    impl Presences for Fake {
        type AttendStream = Empty<Result<AttendResponse, Status>>;

        async fn attend(&self, _: Request<Streaming<AttendRequest>>) -> Result<Response<Self::AttendStream>, Status> {
            Err(Status::invalid_argument("the first request is hello"))
        }
    }

    fn free() -> std::net::SocketAddr {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        taken.local_addr().expect("an address")
    }

    #[tokio::test]
    async fn who_does_not_answer_or_is_somebody_else_is_named_with_the_setting() {
        let capture = Capture::new().expect("telemetry");
        let mut process = Process::new(capture.process().clone(), Duration::ZERO);
        let bind = |host: Host| async move {
            let listener = host.listen(&Listen::Tcp((Ipv4Addr::LOCALHOST, 0).into()))?;
            let address = listener.address().clone();
            Ok((address, async move { host.serve_grpc(listener, Routes::new(PresencesServer::new(Fake))).await }))
        };
        let fake = process.start("presence", "presence-0", 1, bind).expect("a server");
        let nobody = Address::Http(format!("http://{}", free()));
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let silent = (Address::Http(format!("http://{}", silent.local_addr().expect("an address"))), silent);
        let peers = Peers {
            routers: vec![nobody.clone(), silent.0.clone()],
            presence: vec![fake.clone()],
            search: Some(fake.clone()),
            ..Peers::default()
        };
        let found: Vec<String> = check(&peers).await.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(
            found[0].starts_with(&format!("FAIL  router: peers.routers: {nobody} cannot be reached")),
            "{found:#?}"
        );
        assert!(found[1].starts_with(&format!("FAIL  router: peers.routers: {} ", silent.0)), "{found:#?}");
        assert_eq!(found[2], format!("ok    presence server: peers.presence: {fake} answers"));
        assert_eq!(found[3], format!("FAIL  search service: peers.search: {fake} answers, but is no search service"));
        process.stop();
    }
}
