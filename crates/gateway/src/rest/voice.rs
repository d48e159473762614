//! Where there are voice servers, and the way to one for clients that reach gateways only.

use std::time::Duration;

use clarion_proto::v1;
use clarion_proto::v1::voice_client::VoiceClient;
use serde::Serialize;
use tonic::Code;

use super::answer::{Answer, Answered};
use super::call::Call;
use super::form::Form;
use super::guild::named_guild;
use super::refusal::Refusal;
use crate::api::error::Fault;

/// Longest wait for a voice server.
const DEADLINE: Duration = Duration::from_secs(3);
/// Longest address, token and description, in characters.
const ADDRESS: usize = 512;
const TOKEN: usize = 4_096;
const DESCRIPTION: usize = 64 << 10;

pub(super) async fn regions(call: Call) -> Answered {
    let state = &call.shared.state;
    Ok(Answer::object(&state.voice.regions(&state.voice_region)))
}

pub(super) async fn guild_regions(call: Call) -> Answered {
    named_guild(&call).await?;
    regions(call).await
}

/// Passes an offer on to the voice server that a session was told of. The token says who may talk there, not the account.
pub(super) async fn offer(call: Call) -> Answered {
    #[derive(Serialize)]
    struct Description {
        sdp: String,
    }
    let mut form = Form::read(&call.headers, &call.body)?;
    let read = (form.text("url", ADDRESS), form.text("token", TOKEN), form.text("sdp", DESCRIPTION));
    let (url, token, offer) = form.finish(read)?;
    let url = required("url", url)?;
    let (token, offer) = (required("token", token)?, required("sdp", offer)?);
    // Nothing is asked but of a server that the routers name.
    let Some((server, session_id)) = call.shared.state.voice.server(&url) else {
        return Err(Refusal::field("url", Fault::new("VOICE_SERVER_UNKNOWN", "There is no such voice server.")));
    };
    let mut server = VoiceClient::new(server);
    let asked = server.answer(v1::AnswerRequest { session_id, token, offer });
    match tokio::time::timeout(DEADLINE, asked).await {
        Ok(Ok(answer)) => Ok(Answer::object(&Description { sdp: answer.into_inner().answer }).created()),
        Ok(Err(status)) => Err(match status.code() {
            Code::PermissionDenied => {
                Refusal::field("token", Fault::new("VOICE_TOKEN_VOID", status.message().to_owned()))
            }
            Code::InvalidArgument => Refusal::field("sdp", Fault::new("VOICE_OFFER_BAD", status.message().to_owned())),
            _ => Refusal::unavailable(status.message()),
        }),
        Err(_) => Err(Refusal::unavailable("the voice server did not answer")),
    }
}

fn required(field: &str, text: Option<String>) -> Result<String, Refusal> {
    text.ok_or_else(|| Refusal::field(field, Fault::new("BASE_TYPE_REQUIRED", "This field is required")))
}
