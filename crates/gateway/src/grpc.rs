//! The gateway as operators reach it through the router: which sessions there are, and what can be done to one.

use clarion_proto::v1;
use clarion_proto::v1::control_session_request::Action;
use clarion_proto::v1::gateway_server::Gateway;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use crate::frame::CloseCode;
use crate::hub::HubHandle;
use crate::session_id::Place;
use crate::shard::{Command, Inbox, Operation};

/// Answers operators.
pub(crate) struct Operators {
    pub(crate) hub: HubHandle,
    pub(crate) shards: Vec<Inbox>,
    /// The number of this gateway in session ids.
    pub(crate) number: u32,
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
        let place = Place::of(&id).filter(|place| place.gateway == self.number);
        let Some((place, shard)) = place.and_then(|p| Some((p, self.shards.get(usize::from(p.shard))?))) else {
            return Ok(Response::new(v1::ControlSessionResponse { found: false }));
        };
        let (reply, answer) = oneshot::channel();
        let command = Command::Operate { seat: place.seat, id, operation, reply };
        shard.send(command).await.map_err(|_| stopping())?;
        let found = answer.await.map_err(|_| stopping())?;
        Ok(Response::new(v1::ControlSessionResponse { found }))
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
