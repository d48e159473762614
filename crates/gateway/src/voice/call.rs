//! The calls behind voice: to the guild's owner, the router and voice servers. Each has a deadline.

use std::time::Duration;

use clarion_model::id::{ChannelId, UserId};
use clarion_model::key::Key;
use clarion_observability::{Instrument, TraceContext, span};
use clarion_proto::v1;
use clarion_proto::v1::router_client::RouterClient;
use clarion_proto::v1::voice_client::VoiceClient;
use clarion_runtime::{Address, Host, Peer};
use tonic::Code;

use super::book::{Admitted, Found, LegKey, NotAllowed, Wanted, participant};
use crate::directory::{CallError, Directory, Target};

const DEADLINE: Duration = Duration::from_secs(3);
/// How long a router may think before the next one is asked.
const NEXT_ROUTER: Duration = Duration::from_millis(500);

/// A session wants to be in a voice channel, or in none.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) key: LegKey,
    pub(super) user: UserId,
    pub(super) channel: Option<ChannelId>,
    pub(super) self_mute: bool,
    pub(super) self_deaf: bool,
    pub(super) again: bool,
    pub(super) if_own: bool,
}

/// Asks the guild's owner.
pub(super) async fn ask(directory: Directory, gateway: String, ask: Ask) -> Result<(), CallError> {
    let guild = Key::Guild(ask.key.0);
    let request = v1::SetVoiceStateRequest {
        key: Some(guild.into()),
        user_id: ask.user.0,
        session_id: ask.key.1,
        gateway,
        channel_id: ask.channel.map(|channel| channel.0),
        self_mute: ask.self_mute,
        self_deaf: ask.self_deaf,
        again: ask.again,
        if_own: ask.if_own,
    };
    let set = directory.call(Target::Key(guild), move |mut client, _| {
        let request = request.clone();
        Box::pin(async move { client.set_voice_state(request).await })
    });
    set.await.map(drop)
}

/// Finds a server for a leg and has it admitted there. `None`: not now.
pub(super) async fn place(
    host: Host,
    routers: Vec<Peer>,
    key: LegKey,
    wanted: Wanted,
    region: String,
    gateway: String,
) -> Option<Admitted> {
    let parent = TraceContext::parse(&wanted.traceparent).unwrap_or_default();
    let span = span::voice_admit(&parent, wanted.channel, &key.1);
    let entering = enter(&host, routers, &key, &wanted, region, gateway).instrument(span.clone());
    let result = match tokio::time::timeout(DEADLINE, entering).await {
        Ok(Ok(admitted)) => {
            span::routed(&span, &admitted.server.instance);
            return Some(admitted);
        }
        Ok(Err(why)) => why,
        Err(_) => "timeout",
    };
    span::fail(&span, result);
    None
}

async fn enter(
    host: &Host,
    routers: Vec<Peer>,
    key: &LegKey,
    wanted: &Wanted,
    region: String,
    gateway: String,
) -> Result<Admitted, &'static str> {
    let region = if wanted.region.is_empty() { region } else { wanted.region.clone() };
    let request = v1::PlaceVoiceRequest { channel_id: wanted.channel.0, region };
    let server = find(routers, request).await.ok_or("no_voice_server")?;
    let address: Address = server.address.parse().map_err(|_| "no_voice_server")?;
    let participant = participant(key, wanted);
    let request = v1::AdmitRequest {
        participant: Some(participant.clone()),
        guild_id: key.0.0,
        permissions: Some(wanted.permissions),
        room_capacity: wanted.capacity,
        gateway,
    };
    let admission =
        VoiceClient::new(host.peer(&address)).admit(request).await.map_err(|status| match status.code() {
            Code::ResourceExhausted => "full",
            _ => "unavailable",
        })?;
    Ok(Admitted { server, admission: admission.into_inner(), participant, permissions: wanted.permissions })
}

/// Finds the server on which a leg is already, and says there what it may do. Where the router would place it is asked first,
/// then `others`. `None`: it is nowhere, or nobody knows.
pub(super) async fn find_there(
    host: Host,
    routers: Vec<Peer>,
    others: Vec<v1::VoiceServer>,
    key: LegKey,
    wanted: Wanted,
    region: String,
    gateway: String,
) -> Option<Found> {
    let participant = participant(&key, &wanted);
    let permissions = wanted.permissions;
    let looking = async {
        let region = if wanted.region.is_empty() { region } else { wanted.region.clone() };
        let likely = find(routers, v1::PlaceVoiceRequest { channel_id: wanted.channel.0, region }).await;
        let likely_one = likely.as_ref().map(|server| server.instance.clone());
        let others = others.into_iter().filter(|other| Some(&other.instance) != likely_one.as_ref());
        for server in likely.into_iter().chain(others) {
            let request = v1::AllowRequest {
                participant: Some(participant.clone()),
                permissions: Some(permissions),
                gateway: gateway.clone(),
            };
            if allow(host.clone(), server.address.clone(), request, permissions).await.is_ok() {
                return Some(Found { server, participant: participant.clone(), permissions });
            }
        }
        None
    };
    tokio::time::timeout(DEADLINE, looking).await.ok().flatten()
}

/// Asks the routers, one after the other and everybody in the same order: so that one of them says where a new room is.
async fn find(routers: Vec<Peer>, request: v1::PlaceVoiceRequest) -> Option<v1::VoiceServer> {
    for router in routers {
        let mut client = RouterClient::new(router);
        if let Ok(Ok(server)) = tokio::time::timeout(NEXT_ROUTER, client.place_voice(request.clone())).await {
            return Some(server.into_inner());
        }
    }
    None
}

/// Says what a participant may do. `before` was said before.
pub(super) async fn allow(
    host: Host,
    address: String,
    request: v1::AllowRequest,
    before: v1::VoicePermissions,
) -> Result<(), NotAllowed> {
    let address: Address = address.parse().map_err(|_| NotAllowed::Failed(before))?;
    let mut client = VoiceClient::new(host.peer(&address));
    match tokio::time::timeout(DEADLINE, client.allow(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) if status.code() == Code::NotFound => Err(NotAllowed::NotThere),
        Ok(Err(_)) | Err(_) => Err(NotAllowed::Failed(before)),
    }
}

/// Ends a participant's media. A server that does not hear it lets the participant go when its client is gone.
pub(super) async fn dismiss(host: Host, address: String, participant: v1::Participant) {
    let Ok(address) = address.parse::<Address>() else { return };
    let request = v1::DismissRequest { participant: Some(participant) };
    let _ = tokio::time::timeout(DEADLINE, VoiceClient::new(host.peer(&address)).dismiss(request)).await;
}
