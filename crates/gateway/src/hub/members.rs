//! The answer to op 8: members of a guild by the beginning of their name or by id, in pieces. Pure.
//!
//! By id and by name everybody can be looked up. Who asks for all at once and did not ask to hear of members gets its own
//! user alone. Presences are for those who asked to hear of them.

use std::collections::BTreeSet;

use clarion_model::guild::{GuildState, Member};
use clarion_model::id::UserId;
use clarion_model::limits::MEMBER_PAGE;

use super::watched::Watched;
use crate::api::dispatch::{self, MembersChunk};
use crate::conversation::MembersRequest;
use crate::frame::Dispatch;
use crate::intents::Intents;
use crate::visibility::Listener;

/// Most answers to a query by name; without one, all members are answered.
const BY_NAME: usize = 100;

/// The dispatches that answer a request; at least one.
pub(super) fn answer(
    guild: &GuildState,
    presences: &Watched,
    asking: Listener,
    request: &MembersRequest,
) -> Vec<Dispatch> {
    let (members, not_found) = find(guild, asking, request);
    let with_presences = with_presences(asking, request);
    let size = MEMBER_PAGE as usize;
    let count = members.len().div_ceil(size).max(1);
    (0..count)
        .map(|index| {
            let members = members[index * size..members.len().min((index + 1) * size)].to_vec();
            let present = members.iter().filter_map(|m| Some((m.user.id, &**presences.of(m.user.id)?))).collect();
            dispatch::guild_members_chunk(&MembersChunk {
                guild_id: guild.guild.id,
                members,
                index,
                count,
                not_found: if index == 0 { not_found.clone() } else { Vec::new() },
                presences: with_presences.then_some(present),
                nonce: request.nonce.as_deref(),
            })
        })
        .collect()
}

/// Whether a request is for presences, too, and may be.
pub(super) fn with_presences(asking: Listener, request: &MembersRequest) -> bool {
    request.presences && asking.intents.contains(Intents::GUILD_PRESENCES)
}

/// The members that answer a request.
pub(super) fn found(guild: &GuildState, asking: Listener, request: &MembersRequest) -> impl Iterator<Item = UserId> {
    find(guild, asking, request).0.into_iter().map(|member| member.user.id)
}

fn find<'a>(guild: &'a GuildState, asking: Listener, request: &MembersRequest) -> (Vec<&'a Member>, Vec<UserId>) {
    if let Some(ids) = &request.user_ids {
        let ids: BTreeSet<_> = ids.iter().copied().collect();
        let (found, missing): (Vec<UserId>, Vec<UserId>) =
            ids.into_iter().partition(|id| guild.members.contains_key(id));
        return (found.iter().filter_map(|id| guild.members.get(id)).map(|m| &**m).collect(), missing);
    }
    let query = request.query.to_lowercase();
    let limit = match (query.is_empty(), request.limit) {
        (true, 0) => usize::MAX,
        (true, limit) => limit,
        (false, 0) => BY_NAME,
        (false, limit) => limit.min(BY_NAME),
    };
    let everybody = !query.is_empty() || asking.intents.contains(Intents::GUILD_MEMBERS);
    let own = guild.members.get(&asking.user).filter(|_| !everybody);
    let searched = guild.members.values().filter(|_| everybody).chain(own);
    let matching = searched.filter(|m| {
        let names = [Some(&m.user.username), m.user.global_name.as_ref(), m.nick.as_ref()];
        query.is_empty() || names.into_iter().flatten().any(|name| name.to_lowercase().starts_with(&query))
    });
    (matching.take(limit).map(|m| &**m).collect(), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::guild;
    use clarion_model::id::GuildId;

    const ASKING: Listener = Listener { user: UserId(1), intents: Intents::GUILD_MEMBERS, large_threshold: 50 };

    fn request(query: &str, limit: usize, user_ids: Option<Vec<UserId>>) -> MembersRequest {
        MembersRequest { guild_id: GuildId(1), query: query.into(), limit, user_ids, presences: true, nonce: None }
    }

    #[test]
    fn everybody_comes_in_pieces_of_a_thousand() {
        let state = guild(2_001, 0);
        assert_eq!(answer(&state, &Watched::new(0), ASKING, &request("", 0, None)).len(), 3);
        assert_eq!(find(&state, ASKING, &request("", 5, None)).0.len(), 5);
    }

    #[test]
    fn members_are_found_by_name_and_by_id() {
        let state = guild(20, 0);
        let first = state.members.values().next().expect("members");
        let (found, _) = find(&state, ASKING, &request(&first.user.username.to_uppercase(), 0, None));
        assert!(found.iter().any(|m| m.user.id == first.user.id));
        assert!(find(&state, ASKING, &request("nobody", 0, None)).0.is_empty());
        let (found, missing) = find(&state, ASKING, &request("", 0, Some(vec![first.user.id, UserId(999_999)])));
        assert_eq!((found.len(), missing), (1, vec![UserId(999_999)]));
        assert_eq!(answer(&state, &Watched::new(0), ASKING, &request("nobody", 0, None)).len(), 1);
    }
}
