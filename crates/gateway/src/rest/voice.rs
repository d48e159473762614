//! Where there are voice servers.

use super::answer::{Answer, Answered};
use super::call::Call;
use super::guild::named_guild;

pub(super) async fn regions(call: Call) -> Answered {
    let state = &call.shared.state;
    Ok(Answer::object(&state.voice.regions(&state.voice_region)))
}

pub(super) async fn guild_regions(call: Call) -> Answered {
    named_guild(&call).await?;
    regions(call).await
}
