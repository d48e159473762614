//! What the router counts: questions, members, slots, what administrators do.

use super::label::label;
use super::{By, Counter, Gauge, instruments};

label! {
    /// Whether the answer was at hand.
    Cached = "cached" { No = "false", Yes = "true" }
}

label! {
    /// What a member of the cluster is.
    MemberKind = "kind" { Gateway = "gateway", Channel = "channel", Router = "router", Voice = "voice" }
}

label! {
    /// What an administrator did.
    AdminAction = "action" {
        CreateUser = "create_user", CreateGuild = "create_guild", AddMember = "add_member",
        RemoveMember = "remove_member", IssueToken = "issue_token", RevokeToken = "revoke_token",
        ControlSession = "control_session", SetLogLevel = "set_log_level",
    }
}

impl From<bool> for Cached {
    fn from(cached: bool) -> Self {
        if cached { Cached::Yes } else { Cached::No }
    }
}

instruments! {
    /// The instruments of the router.
    RouterMetrics:
    /// Questions who owns a channel.
    routes: By<Cached, Counter> = "router.routes", Count;
    /// Live members of the cluster.
    members: By<MemberKind, Gauge> = "router.members", Count;
    /// Slots nobody owns.
    slots_unowned: Gauge = "router.slots.unowned", Count;
    /// Whether it is the router that orders who holds which slot: 1 at one of them, 0 at the others.
    leads: Gauge = "router.leads", Count;
    /// What administrators did.
    admin_actions: By<AdminAction, Counter> = "admin.actions", Count;
}
