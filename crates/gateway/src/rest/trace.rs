//! From a message to the trace of the request that made it. An extension of the API.

use clarion_model::message::MessageView;
use serde::Serialize;

use super::answer::{Answer, Answered};
use super::call::Call;
use super::message;
use super::refusal::Refusal;

pub(super) async fn get(call: Call) -> Answered {
    #[derive(Serialize)]
    struct Trace {
        trace_id: String,
        url: Option<String>,
    }
    // Whoever may not read the message is told nothing of it, not even that it is there.
    let read = message::read(&call).await.map_err(|refusal| match refusal.status.as_u16() {
        403 | 404 => Refusal::UNKNOWN_MESSAGE,
        _ => refusal,
    });
    let trace = MessageView::try_from(read?)?.message.trace_id.ok_or(Refusal::UNKNOWN_TRACE)?;
    let trace_id = trace.to_string();
    let url = call.shared.state.trace_pages.url(&trace_id);
    Ok(Answer::object(&Trace { trace_id, url }))
}
