//! Where sockets go, and how they may be opened.

use super::answer::{Answer, Answered};
use super::call::{Call, OpenCall};
use crate::api::{GatewayBot, GatewayUrl, SessionStartLimit};

/// How long until the count of started sessions begins anew, in milliseconds.
const DAY_MS: u64 = 86_400_000;

pub(super) fn gateway(call: OpenCall) -> Answered {
    Ok(Answer::object(&GatewayUrl { url: &call.gateway_url() }))
}

pub(super) async fn gateway_bot(call: Call) -> Answered {
    let entry = &call.shared.state.entry;
    let session_start_limit = SessionStartLimit {
        total: entry.session_start_limit,
        remaining: entry.session_start_limit,
        reset_after: DAY_MS,
        max_concurrency: entry.max_concurrency,
    };
    Ok(Answer::object(&GatewayBot { url: &call.gateway_url(), shards: 1, session_start_limit }))
}
