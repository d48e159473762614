//! The other services: whether each answers where the settings say it does, and is what it is taken for; and who has joined
//! the routers.

use clarion_proto::v1;
use clarion_proto::v1::presences_client::PresencesClient;
use clarion_proto::v1::router_client::RouterClient;
use clarion_proto::v1::search_client::SearchClient;
use tonic::transport::Channel as GrpcChannel;
use tonic::{Code, Status};

use super::ask::{Kind, connect, describe, said, within};
use super::{Finding, members};
use crate::config::Peers;

/// Asks every service that the settings name, and every one that routers know.
pub(super) async fn check(peers: &Peers) -> Vec<Finding> {
    let routers = peers.routers.iter().map(|at| (Kind::Router, "peers.routers", at));
    let presence = peers.presence.iter().map(|at| (Kind::Presence, "peers.presence", at));
    let search = peers.search.iter().map(|at| (Kind::Search, "peers.search", at));
    let (mut findings, mut reached) = (Vec::new(), Vec::new());
    for (kind, setting, at) in routers.chain(presence).chain(search) {
        let name = format!("{setting}: {at}");
        let refused = |why: String| Finding::refused(kind.what(), format!("{name} {why}"));
        let channel = match connect(at).await {
            Ok(channel) => channel,
            Err(why) => {
                findings.push(refused(why));
                continue;
            }
        };
        match ask(kind, channel.clone()).await {
            Ok(detail) => findings.push(Finding::fine(kind.what(), format!("{name} {detail}"))),
            Err(why) => {
                findings.push(refused(why));
                continue;
            }
        }
        findings.extend(describe(kind, &name, channel.clone()).await);
        if kind == Kind::Router {
            reached.push((at.clone(), channel));
        }
    }
    let unnamed = [
        (peers.presence.is_empty(), Kind::Presence, "peers.presence"),
        (peers.search.is_none(), Kind::Search, "peers.search"),
    ];
    for (_, kind, setting) in unnamed.into_iter().filter(|(none, ..)| *none && !peers.routers.is_empty()) {
        findings.push(Finding::fine(kind.what(), format!("could not be asked: {setting} names nobody")));
    }
    findings.extend(members::check(reached, peers.routers.len()).await);
    findings
}

/// Whether it does what it is there for.
async fn ask(kind: Kind, channel: GrpcChannel) -> Result<String, String> {
    match within(answer(kind, channel)).await {
        Ok(detail) => Ok(detail),
        // It says what is missing, so it would have heard.
        Err(status) if status.code() == Code::InvalidArgument => Ok("answers".to_owned()),
        Err(status) if status.code() == Code::Unimplemented => Err(format!("answers, but is no {}", kind.what())),
        Err(status) => Err(said(&status)),
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
                usize::from(clarion_model::key::SLOTS).saturating_sub(owned)
            ))
        }
        // A gateway without a name is not let in.
        Kind::Presence => {
            PresencesClient::new(channel).attend(tokio_stream::empty()).await.map(|_| "answers".to_owned())
        }
        // A search of nothing.
        Kind::Search => SearchClient::new(channel).find(v1::FindRequest::default()).await.map(|_| "answers".to_owned()),
        // No setting names these.
        Kind::Gateway | Kind::Channel | Kind::Voice => Ok("answers".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    use clarion_observability::capture::Capture;
    use clarion_proto::v1::presences_server::{Presences, PresencesServer};
    use clarion_proto::v1::router_server::{Router, RouterServer};
    use clarion_runtime::{Address, Host, Listen, Process};
    use tokio_stream::Empty;
    use tonic::service::Routes;
    use tonic::{Request, Response, Streaming};

    use super::*;

    struct Fake;

    #[tonic::async_trait]
    impl Presences for Fake {
        type AttendStream = Empty<Result<v1::AttendResponse, Status>>;

        async fn attend(
            &self,
            _: Request<Streaming<v1::AttendRequest>>,
        ) -> Result<Response<Self::AttendStream>, Status> {
            Err(Status::invalid_argument("the first request is hello"))
        }
    }

    /// A router that these have joined: instance, kind, address.
    struct Table(Vec<(&'static str, v1::MemberKind, String)>);

    #[tonic::async_trait]
    impl Router for Table {
        type JoinStream = Empty<Result<v1::JoinResponse, Status>>;
        type FollowSlotsStream = tokio_stream::Once<Result<v1::SlotsChanged, Status>>;

        async fn route(&self, _: Request<v1::RouteRequest>) -> Result<Response<v1::RouteResponse>, Status> {
            Err(Status::unimplemented("route"))
        }

        async fn join(&self, _: Request<Streaming<v1::JoinRequest>>) -> Result<Response<Self::JoinStream>, Status> {
            Err(Status::unimplemented("join"))
        }

        async fn follow_slots(
            &self,
            _: Request<v1::FollowSlotsRequest>,
        ) -> Result<Response<Self::FollowSlotsStream>, Status> {
            let slots = (0..1_000).map(|slot| v1::SlotEpoch { slot, epoch: 1 }).collect();
            let owned = vec![v1::SlotsOwned { server: "channel-0".into(), address: String::new(), slots }];
            Ok(Response::new(tokio_stream::once(Ok(v1::SlotsChanged { owned, unowned: Vec::new() }))))
        }

        async fn place_voice(&self, _: Request<v1::PlaceVoiceRequest>) -> Result<Response<v1::VoiceServer>, Status> {
            Err(Status::unimplemented("place_voice"))
        }

        async fn list_members(
            &self,
            _: Request<v1::ListMembersRequest>,
        ) -> Result<Response<v1::ListMembersResponse>, Status> {
            let member = |(instance, kind, address): &(&str, v1::MemberKind, String)| v1::RouterMember {
                instance: (*instance).into(),
                kind: (*kind).into(),
                address: address.clone(),
                leaving: false,
            };
            Ok(Response::new(v1::ListMembersResponse { members: self.0.iter().map(member).collect() }))
        }
    }

    fn free() -> std::net::SocketAddr {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        taken.local_addr().expect("an address")
    }

    fn serve(process: &mut Process, name: &'static str, instance: &str, routes: Routes) -> Address {
        let bind = |host: Host| async move {
            let listener = host.listen(&Listen::Tcp((Ipv4Addr::LOCALHOST, 0).into()))?;
            let address = listener.address().clone();
            Ok((address, async move { host.serve_grpc(listener, routes).await }))
        };
        process.start(name, instance, 1, bind).expect("a server")
    }

    fn process() -> (Capture, Process) {
        let capture = Capture::new().expect("telemetry");
        let process = Process::new(capture.process().clone(), Duration::ZERO);
        (capture, process)
    }

    async fn lines(peers: &Peers) -> Vec<String> {
        check(peers).await.iter().map(ToString::to_string).collect()
    }

    /// Whether a line begins so.
    fn says(lines: &[String], begins: &str) -> bool {
        lines.iter().any(|line| line.starts_with(begins))
    }

    #[tokio::test]
    async fn who_does_not_answer_or_is_somebody_else_is_named_with_the_setting() {
        let (_capture, mut process) = process();
        let fake = serve(&mut process, "presence", "presence-0", Routes::new(PresencesServer::new(Fake)));
        process.ready();
        let nobody = Address::Http(format!("http://{}", free()));
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let silent = (Address::Http(format!("http://{}", silent.local_addr().expect("an address"))), silent);
        let peers = Peers {
            routers: vec![nobody.clone(), silent.0.clone()],
            presence: vec![fake.clone()],
            search: Some(fake.clone()),
            ..Peers::default()
        };
        let found = lines(&peers).await;
        assert_eq!(found.len(), 7, "{found:#?}");
        assert!(
            found[0].starts_with(&format!("FAIL  router: peers.routers: {nobody} cannot be reached")),
            "{found:#?}"
        );
        assert!(found[1].starts_with(&format!("FAIL  router: peers.routers: {} ", silent.0)), "{found:#?}");
        assert_eq!(found[2], format!("ok    presence server: peers.presence: {fake} answers"));
        let ready = format!("ok    presence server: peers.presence: {fake} is ready, version ");
        assert!(found[3].starts_with(&ready), "{found:#?}");
        assert!(found[4].starts_with("ok    presence server's clock: "), "{found:#?}");
        assert_eq!(found[5], format!("FAIL  search service: peers.search: {fake} answers, but is no search service"));
        assert!(found[6].starts_with("warn  members: ") && found[6].contains("could not be asked"), "{found:#?}");
        process.stop();
    }

    #[tokio::test]
    async fn who_has_joined_a_router_is_looked_at() {
        let (_capture, mut process) = process();
        let gateway = serve(&mut process, "gateway", "gateway-0", Routes::default());
        let owner = serve(&mut process, "channel", "channel-0", Routes::default());
        let nobody = format!("http://{}", free());
        use v1::MemberKind::{Channel, Gateway, Voice};
        let members = vec![
            ("channel-0", Channel, owner.to_string()),
            ("channel-1", Channel, nobody.clone()),
            ("gateway-0", Gateway, gateway.to_string()),
            ("voice-0", Voice, gateway.to_string()),
            ("voice-1", Voice, "in-process:voice-1".to_owned()),
        ];
        let knows = serve(&mut process, "router", "router-0", Routes::new(RouterServer::new(Table(members.clone()))));
        let few = members[..2].to_vec();
        let other = serve(&mut process, "router", "router-1", Routes::new(RouterServer::new(Table(few))));
        let peers = Peers { routers: vec![knows.clone(), other.clone()], ..Peers::default() };
        let not_ready = lines(&peers).await;
        process.ready();
        let found = lines(&peers).await;
        for begins in [
            format!("ok    router: peers.routers: {knows} answers: 1000 slots of 1 channel servers, 24 of nobody"),
            format!("ok    router: peers.routers: {knows} is ready, version "),
            "ok    router's clock: ".to_owned(),
            format!("ok    channel server: channel-0 at {owner} is ready, version "),
            "ok    channel server's clock: ".to_owned(),
            format!("FAIL  channel server: channel-1 at {nobody} could not be asked: it cannot be reached"),
            format!("ok    gateway: gateway-0 at {gateway} is ready, version "),
            format!("warn  gateway: gateway-0 at {gateway} has not joined router {other}"),
            format!("FAIL  voice server: voice-0 at {gateway} says that it is gateway-0 (gateway), no voice server"),
            "ok    voice server: voice-1 at in-process:voice-1 could not be asked".to_owned(),
        ] {
            assert!(says(&found, &begins), "{begins} in {found:#?}");
        }
        assert!(says(&not_ready, &format!("warn  gateway: gateway-0 at {gateway} is not ready")), "{not_ready:#?}");
        assert!(!says(&found, "warn  channel server"), "both routers know those: {found:#?}");
        process.stop();
    }

    #[tokio::test]
    async fn without_routers_it_is_said_who_is_not_asked() {
        let found = lines(&Peers::default()).await;
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with("ok    members: ") && found[0].contains("could not be asked"), "{found:#?}");
    }
}
