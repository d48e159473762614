//! The gateway as operators reach it through the router: which sessions there are, and what can be done to one.

use clarion_model::id::UserId;
use clarion_observability::log::{self, Fields};
use clarion_proto::v1;
use clarion_proto::v1::control_session_request::Action;
use clarion_proto::v1::gateway_server::Gateway;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use crate::adopted::Adopted;
use crate::frame::CloseCode;
use crate::hub::{HubHandle, Seat};
use crate::session::CannotResume;
use crate::session_id::Place;
use crate::shard::{Command, Inbox, Operation};

/// Answers operators.
pub(crate) struct Operators {
    pub(crate) hub: HubHandle,
    pub(crate) shards: Vec<Inbox>,
    /// The number of this gateway in session ids.
    pub(crate) number: u32,
    /// The sessions of other gateways that are here.
    pub(crate) adopted: Adopted,
}

#[tonic::async_trait]
impl Gateway for Operators {
    async fn list_sessions(
        &self,
        _: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let mut sessions = Vec::new();
        for shard in &self.shards {
            let (reply, answer) = oneshot::channel();
            shard.send(Command::List(reply)).await.map_err(|_| stopping())?;
            sessions.extend(answer.await.map_err(|_| stopping())?);
        }
        let guilds = self.hub.count_guilds().await;
        for session in &mut sessions {
            session.guilds = guilds.get(&session.id).copied().unwrap_or_default();
        }
        Ok(Response::new(v1::ListSessionsResponse { sessions }))
    }

    async fn control_session(
        &self,
        request: Request<v1::ControlSessionRequest>,
    ) -> Result<Response<v1::ControlSessionResponse>, Status> {
        let v1::ControlSessionRequest { id, action } = request.into_inner();
        let operation = operation(action)?;
        let Some((place, shard)) = self.place(&id) else {
            return Ok(Response::new(v1::ControlSessionResponse { found: false }));
        };
        let (reply, answer) = oneshot::channel();
        let command = Command::Operate { seat: place.seat, id, operation, reply };
        shard.send(command).await.map_err(|_| stopping())?;
        let found = answer.await.map_err(|_| stopping())?;
        Ok(Response::new(v1::ControlSessionResponse { found }))
    }

    async fn take_session(
        &self,
        request: Request<v1::TakeSessionRequest>,
    ) -> Result<Response<v1::KeptSession>, Status> {
        let v1::TakeSessionRequest { gateway, id, user_id, sequence } = request.into_inner();
        if gateway != self.number {
            return Err(Status::failed_precondition("another gateway"));
        }
        let (seat, shard) = self.place(&id).ok_or_else(|| Status::not_found("no such session"))?;
        // Nothing is taken from a client that then could not go on.
        let (reply, answer) = oneshot::channel();
        let command = Command::Check { seat: seat.seat, id: id.clone(), user: UserId(user_id), sequence, reply };
        shard.send(command).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?.map_err(|why| match why {
            CannotResume::Ahead | CannotResume::Forgotten => Status::out_of_range(why.to_string()),
            _ => Status::not_found(why.to_string()),
        })?;
        let kept = self.hub.give_up(seat, &id, Some(sequence)).await;
        let kept = kept.ok_or_else(|| Status::not_found("no such session"))?;
        log::SESSION_MOVED.emit(Fields { session_id: Some(id), user_id: Some(kept.user), ..Fields::default() });
        Ok(Response::new((&kept).into()))
    }
}

impl Operators {
    /// Where a session sits, and its shard.
    fn place(&self, id: &str) -> Option<(Seat, &Inbox)> {
        let own = Place::of(id).filter(|place| place.gateway == self.number);
        let own = own.map(|place| Seat { shard: place.shard, seat: place.seat });
        let seat = self.adopted.seat(id).or(own)?;
        Some((seat, self.shards.get(usize::from(seat.shard))?))
    }
}

fn operation(action: Option<Action>) -> Result<Operation, Status> {
    match action {
        Some(Action::Reconnect(true)) => Ok(Operation::Reconnect),
        Some(Action::Drop(true)) => Ok(Operation::Drop),
        Some(Action::Invalidate(resumable)) => Ok(Operation::Invalidate { resumable }),
        Some(Action::Close(code)) => {
            let code = u16::try_from(code).ok().map(CloseCode).filter(|code| code.is_sendable());
            code.map(Operation::Close).ok_or_else(|| Status::invalid_argument("not a close code"))
        }
        _ => Err(Status::invalid_argument("no action")),
    }
}

fn stopping() -> Status {
    Status::unavailable("the gateway is stopping")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_that_may_be_sent_are_taken() {
        assert!(operation(Some(Action::Close(4_000))).is_ok());
        for bad in [0, 999, 1_005, 1_006, 5_000, 70_000] {
            assert!(operation(Some(Action::Close(bad))).is_err(), "{bad}");
        }
        assert!(operation(None).is_err());
    }
}
