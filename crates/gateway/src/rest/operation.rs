//! The operations: what is asked for, by method and path.

use futures_util::future::BoxFuture;

use super::answer::Answered;
use super::call::{Call, OpenCall};
use super::{
    ban, channel, demo, entry, guild, member, message, reaction, read_state, role, search, trace, user, voice,
};

/// An operation of the API.
pub(super) struct Operation {
    /// In traces, and the name of its rate limit.
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// In metrics: the path below the current version's prefix.
    pub(super) template: &'static str,
    /// In logs: method and template.
    pub(super) endpoint: &'static str,
    pub(super) class: Class,
    pub(super) handler: Handler,
}

/// Which rate limit an operation is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Send,
    Edit,
    React,
    /// Counted by user alone: one person reads in one channel at a time.
    Read,
    Other,
}

/// What carries an operation out.
pub(super) enum Handler {
    /// For anybody.
    Open(fn(OpenCall) -> Answered),
    /// For whoever has an account.
    Known(fn(Call) -> BoxFuture<'static, Answered>),
}

/// An operation whose handler is an async function of a call.
macro_rules! operation {
    ($class:ident $method:literal $path:literal $name:literal => $handler:path) => {
        Operation {
            name: $name,
            method: $method,
            path: $path,
            template: concat!("/api/v10", $path),
            endpoint: concat!($method, " /api/v10", $path),
            class: Class::$class,
            handler: Handler::Known(|call| Box::pin($handler(call))),
        }
    };
}

/// The same, of an operation that is Clarion's own.
macro_rules! extension {
    ($class:ident $method:literal $path:literal $name:literal => $handler:path) => {
        Operation {
            name: $name,
            method: $method,
            path: $path,
            template: concat!("/api/x", $path),
            endpoint: concat!($method, " /api/x", $path),
            class: Class::$class,
            handler: Handler::Known(|call| Box::pin($handler(call))),
        }
    };
}

/// What the API has beside those of [`ALL`]. No library asks for it.
pub(super) const EXTENSIONS: &[Operation] = &[
    extension!(Other "GET" "/users/@me/read-states" "read_states_list" => read_state::list),
    extension!(Read "PUT" "/users/@me/read-states/{channel}" "read_state_put" => read_state::put),
    extension!(Other "GET" "/channels/{channel}/messages/{message}/trace" "message_trace_get" => trace::get),
    extension!(Other "POST" "/voice" "voice_offer" => voice::offer),
];

/// All of them.
pub(super) const ALL: &[Operation] = &[
    Operation {
        name: "gateway_get",
        method: "GET",
        path: "/gateway",
        template: "/api/v10/gateway",
        endpoint: "GET /api/v10/gateway",
        class: Class::Other,
        handler: Handler::Open(entry::gateway),
    },
    Operation {
        name: "demo_get",
        method: "GET",
        path: "/x/demo",
        template: "/api/v10/x/demo",
        endpoint: "GET /api/v10/x/demo",
        class: Class::Other,
        handler: Handler::Open(demo::get),
    },
    operation!(Other "GET" "/gateway/bot" "gateway_bot_get" => entry::gateway_bot),
    operation!(Other "GET" "/users/@me" "me_get" => user::me),
    operation!(Other "GET" "/users/{user}" "user_get" => user::get),
    operation!(Other "GET" "/users/@me/guilds" "my_guilds_list" => user::guilds),
    operation!(Other "GET" "/oauth2/applications/@me" "application_get" => user::application),
    operation!(Other "GET" "/applications/@me" "application_get" => user::application),
    operation!(Other "GET" "/guilds/{guild}" "guild_get" => guild::get),
    operation!(Other "GET" "/guilds/{guild}/channels" "guild_channels_list" => guild::channels),
    operation!(Other "GET" "/guilds/{guild}/roles" "guild_roles_list" => guild::roles),
    operation!(Other "GET" "/guilds/{guild}/members" "guild_members_list" => guild::members),
    operation!(Other "GET" "/guilds/{guild}/members/search" "guild_members_search" => guild::search_members),
    operation!(Other "GET" "/guilds/{guild}/messages/search" "guild_messages_search" => search::messages),
    operation!(Other "GET" "/guilds/{guild}/members/{user}" "guild_member_get" => guild::member),
    operation!(Other "DELETE" "/guilds/{guild}/members/{user}" "member_remove" => ban::kick),
    operation!(Other "DELETE" "/users/@me/guilds/{guild}" "guild_leave" => ban::leave),
    operation!(Other "GET" "/guilds/{guild}/bans" "guild_bans_list" => ban::list),
    operation!(Other "GET" "/guilds/{guild}/bans/{user}" "guild_ban_get" => ban::get),
    operation!(Other "PUT" "/guilds/{guild}/bans/{user}" "guild_ban_put" => ban::put),
    operation!(Other "DELETE" "/guilds/{guild}/bans/{user}" "guild_ban_delete" => ban::delete),
    operation!(Other "PATCH" "/guilds/{guild}/members/{user}" "guild_member_edit" => member::edit),
    operation!(Other "GET" "/guilds/{guild}/regions" "guild_voice_regions_list" => voice::guild_regions),
    operation!(Other "GET" "/voice/regions" "voice_regions_list" => voice::regions),
    operation!(Other "GET" "/channels/{channel}" "channel_get" => guild::channel),
    operation!(Other "GET" "/channels/{channel}/messages" "messages_list" => message::list),
    operation!(Send "POST" "/channels/{channel}/messages" "message_create" => message::create),
    operation!(Other "GET" "/channels/{channel}/messages/{message}" "message_get" => message::get),
    operation!(Edit "PATCH" "/channels/{channel}/messages/{message}" "message_edit" => message::edit),
    operation!(Edit "DELETE" "/channels/{channel}/messages/{message}" "message_delete" => message::delete),
    operation!(React "PUT" "/channels/{channel}/messages/{message}/reactions/{emoji}/@me" "reaction_add" => reaction::add),
    operation!(React "DELETE" "/channels/{channel}/messages/{message}/reactions/{emoji}/@me" "reaction_remove" => reaction::remove_own),
    operation!(React "DELETE" "/channels/{channel}/messages/{message}/reactions/{emoji}/{user}" "reaction_remove_user" => reaction::remove),
    operation!(Other "GET" "/channels/{channel}/messages/{message}/reactions/{emoji}" "reactions_list" => reaction::list),
    operation!(Edit "POST" "/channels/{channel}/typing" "typing_start" => message::typing),
    operation!(Other "POST" "/guilds/{guild}/channels" "channel_create" => channel::create),
    operation!(Other "PATCH" "/channels/{channel}" "channel_edit" => channel::edit),
    operation!(Other "DELETE" "/channels/{channel}" "channel_delete" => channel::delete),
    operation!(Other "PUT" "/channels/{channel}/permissions/{overwrite}" "overwrite_put" => channel::put_overwrite),
    operation!(Other "DELETE" "/channels/{channel}/permissions/{overwrite}" "overwrite_delete" => channel::delete_overwrite),
    operation!(Other "POST" "/guilds/{guild}/roles" "role_create" => role::create),
    operation!(Other "GET" "/guilds/{guild}/roles/{role}" "role_get" => role::get),
    operation!(Other "PATCH" "/guilds/{guild}/roles/{role}" "role_edit" => role::edit),
    operation!(Other "DELETE" "/guilds/{guild}/roles/{role}" "role_delete" => role::delete),
    operation!(Other "PUT" "/guilds/{guild}/members/{user}/roles/{role}" "member_role_give" => role::give),
    operation!(Other "DELETE" "/guilds/{guild}/members/{user}/roles/{role}" "member_role_take" => role::take),
];
