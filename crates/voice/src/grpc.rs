//! What gateways ask of a voice server.

use std::sync::Arc;
use std::time::Instant;

use clarion_observability::Remote;
use clarion_observability::metric::LeaveReason;
use clarion_proto::v1;
use clarion_proto::v1::voice_server::Voice;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::desk::Refused;
use crate::entry::{self, DESCRIPTION, Entered, Refusal};
use crate::front::{AdmitError, Answer, Front};
use crate::leg::{Permissions, Who};

/// Longest name of a gateway.
const NAME: usize = 128;
const NO_NAME: &str = "gateway is not a gateway's name";

/// Answers gateways.
pub(crate) struct Grpc(pub(crate) Arc<Front>);

#[tonic::async_trait]
impl Voice for Grpc {
    type AttendStream = ReceiverStream<Answer>;

    async fn admit(&self, request: Request<v1::AdmitRequest>) -> Result<Response<v1::AdmitResponse>, Status> {
        let trace = request.extensions().get::<Remote>().map(|remote| remote.trace.traceparent());
        let v1::AdmitRequest { participant, permissions, room_capacity, gateway, .. } = request.into_inner();
        let (who, permissions, gateway) = (who(participant)?, permitted(permissions)?, named(gateway)?);
        let capacity = room_capacity as usize;
        let token = self.0.admit(&who, permissions, capacity, gateway, trace.unwrap_or_default()).map_err(refused)?;
        let url = format!("{}/v1/voice/{}", self.0.url, who.session);
        Ok(Response::new(v1::AdmitResponse { token, endpoint: self.0.endpoint.clone(), url }))
    }

    async fn answer(&self, request: Request<v1::AnswerRequest>) -> Result<Response<v1::AnswerResponse>, Status> {
        let began = Instant::now();
        let v1::AnswerRequest { session_id, token, offer } = request.into_inner();
        let entered = match entry::claims(&self.0, &session_id, &token) {
            Ok(_) if offer.len() > DESCRIPTION => Err(Refusal::Body),
            Ok(claims) => entry::enter(&self.0, &claims, &offer, began).await,
            Err(refusal) => Err(refusal),
        };
        let Entered { sdp, .. } = entry::told(&self.0, entered).map_err(not_answered)?;
        Ok(Response::new(v1::AnswerResponse { answer: sdp }))
    }

    async fn allow(&self, request: Request<v1::AllowRequest>) -> Result<Response<v1::AllowResponse>, Status> {
        let v1::AllowRequest { participant, permissions, gateway } = request.into_inner();
        if self.0.allow(&who(participant)?, permitted(permissions)?, named(gateway)?).await {
            Ok(Response::new(v1::AllowResponse {}))
        } else {
            Err(Status::not_found("not admitted here"))
        }
    }

    async fn dismiss(&self, request: Request<v1::DismissRequest>) -> Result<Response<v1::DismissResponse>, Status> {
        self.0.dismiss(&who(request.into_inner().participant)?, LeaveReason::Dismissed).await;
        Ok(Response::new(v1::DismissResponse {}))
    }

    async fn attend(&self, request: Request<v1::AttendVoiceRequest>) -> Result<Response<Self::AttendStream>, Status> {
        let gateway = named(request.into_inner().gateway)?;
        if gateway.is_empty() {
            return Err(Status::invalid_argument(NO_NAME));
        }
        let notices = self.0.attend(gateway);
        let notices = notices.ok_or_else(|| Status::resource_exhausted("there are as many gateways as may be"))?;
        Ok(Response::new(ReceiverStream::new(notices)))
    }
}

/// A gateway's name, or none.
fn named(gateway: String) -> Result<String, Status> {
    if gateway.len() > NAME { Err(Status::invalid_argument(NO_NAME)) } else { Ok(gateway) }
}

fn who(participant: Option<v1::Participant>) -> Result<Who, Status> {
    let participant = participant.ok_or_else(|| Status::invalid_argument("participant is missing"))?;
    Ok(Who { channel: participant.channel_id, user: participant.user_id, session: participant.session_id })
}

fn permitted(permissions: Option<v1::VoicePermissions>) -> Result<Permissions, Status> {
    let given = permissions.ok_or_else(|| Status::invalid_argument("permissions are missing"))?;
    Ok(Permissions { speak: given.speak, listen: given.listen, priority: given.priority })
}

fn refused(error: AdmitError) -> Status {
    let text = error.to_string();
    match error {
        AdmitError::Refused(Refused::Invalid) => Status::invalid_argument(text),
        AdmitError::Refused(Refused::RoomFull | Refused::ServerFull) => Status::resource_exhausted(text),
        AdmitError::Refused(Refused::Draining) => Status::unavailable(text),
        AdmitError::Token(_) => Status::internal(text),
    }
}

fn not_answered(refusal: Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::NoToken | Refusal::Token(_) | Refusal::OtherSession | Refusal::Shut(_) => {
            Status::permission_denied(text)
        }
        Refusal::ContentType(_) | Refusal::Body | Refusal::Text | Refusal::Offer(_) | Refusal::Precondition => {
            Status::invalid_argument(text)
        }
        Refusal::Busy => Status::unavailable(text),
        Refusal::Failed => Status::internal(text),
    }
}
