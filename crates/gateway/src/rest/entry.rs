//! Where sockets go, and how they may be opened.

use std::time::Instant;

use super::answer::{Answer, Answered};
use super::call::{Call, OpenCall};
use crate::api::{GatewayBot, GatewayUrl, SessionStartLimit};

pub(super) fn gateway(call: OpenCall) -> Answered {
    Ok(Answer::object(&GatewayUrl { url: &call.gateway_url() }))
}

pub(super) async fn gateway_bot(call: Call) -> Answered {
    let starts = &call.shared.state.entry.starts;
    let left = starts.left(Instant::now(), call.user_id()).await;
    let session_start_limit = SessionStartLimit {
        total: starts.rules().session_start_limit,
        remaining: left.remaining,
        reset_after: left.reset_after.as_millis() as u64,
        max_concurrency: starts.rules().max_concurrency,
    };
    Ok(Answer::object(&GatewayBot { url: &call.gateway_url(), shards: 1, session_start_limit }))
}
