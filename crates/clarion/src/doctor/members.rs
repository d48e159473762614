//! Who has joined the routers: gateways, channel servers and voice servers, which no setting names. Each is looked at where
//! it says that it answers, and each has to be known to every router.

use std::collections::{BTreeMap, BTreeSet};

use clarion_proto::v1::router_client::RouterClient;
use clarion_proto::v1::{ListMembersRequest, MemberKind};
use clarion_runtime::Address;
use futures_util::StreamExt;
use futures_util::stream::iter;
use tonic::transport::Channel as GrpcChannel;

use super::Finding;
use super::ask::{Kind, connect, describe, said, within};

/// So many are asked at a time.
const AT_ONCE: usize = 16;
const WHAT: &str = "members";

/// A member, by its kind and name.
type Name = (Kind, String);

/// What the routers that answered know.
#[derive(Debug, Default)]
struct Known {
    /// Those who answered.
    routers: Vec<String>,
    /// Where a member says that it is, and the routers that know it.
    members: BTreeMap<Name, (String, BTreeSet<String>)>,
}

/// Asks the routers that could be reached who is there, and then each of those. `named` is how many routers there are.
pub(super) async fn check(routers: Vec<(Address, GrpcChannel)>, named: usize) -> Vec<Finding> {
    let (mut known, mut findings) = (Known::default(), Vec::new());
    for (at, channel) in routers {
        let told = within(RouterClient::new(channel).list_members(ListMembersRequest {})).await;
        let members = match told {
            Ok(told) => told.into_inner().members,
            Err(status) => {
                let detail = format!("router {at} could not be asked who is there: it {}", said(&status));
                findings.push(Finding::doubtful(WHAT, detail));
                continue;
            }
        };
        known.routers.push(at.to_string());
        for member in members {
            let kind = match member.kind() {
                MemberKind::Channel => Kind::Channel,
                MemberKind::Gateway => Kind::Gateway,
                MemberKind::Voice => Kind::Voice,
                MemberKind::Unknown => continue,
            };
            let entry = known.members.entry((kind, member.instance)).or_insert((member.address, BTreeSet::new()));
            entry.1.insert(at.to_string());
        }
    }
    if known.routers.is_empty() {
        let why = if named == 0 { "peers.routers names nobody" } else { "no router tells of them" };
        let detail = format!("gateways, channel servers and voice servers could not be asked: {why}");
        let verdict = if named == 0 { Finding::fine } else { Finding::doubtful };
        findings.push(verdict(WHAT, detail));
        return findings;
    }
    findings.extend(known.missing());
    let asked = iter(known.members).map(|((kind, instance), (at, _))| member(kind, instance, at));
    findings.extend(asked.buffered(AT_ONCE).collect::<Vec<_>>().await.concat());
    findings
}

/// Looks at one member.
async fn member(kind: Kind, instance: String, at: String) -> Vec<Finding> {
    let name = format!("{instance} at {at}");
    let cannot = |why: String| vec![Finding::refused(kind.what(), format!("{name} could not be asked: it {why}"))];
    let address = match at.parse::<Address>() {
        Ok(Address::InProcess(_)) => {
            let detail = format!("{name} could not be asked: it is inside its router's process");
            return vec![Finding::fine(kind.what(), detail)];
        }
        Ok(address) => address,
        Err(error) => return cannot(format!("is no address: {error}")),
    };
    match connect(&address).await {
        Ok(channel) => describe(kind, &name, channel).await,
        Err(why) => cannot(why),
    }
}

impl Known {
    /// Kinds without which nobody is served, and members that some router does not know.
    fn missing(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for kind in [Kind::Gateway, Kind::Channel] {
            if !self.members.keys().any(|(of, _)| *of == kind) {
                findings.push(Finding::doubtful(kind.what(), "none has joined a router".into()));
            }
        }
        for ((kind, instance), (at, by)) in &self.members {
            let strangers: Vec<&str> =
                self.routers.iter().filter(|router| !by.contains(*router)).map(String::as_str).collect();
            if !strangers.is_empty() {
                let detail = format!("{instance} at {at} has not joined router {}", strangers.join(", "));
                findings.push(Finding::doubtful(kind.what(), detail));
            }
        }
        findings
    }
}
