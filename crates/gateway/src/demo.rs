//! The demo workspace as the web client offers it. It is made after the gateway is bound, so a gateway is given a place
//! to look for it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use clarion_model::id::{ChannelId, GuildId, UserId};

/// Where a gateway looks for the demo workspace. A clone is the same place.
#[derive(Debug, Clone, Default)]
pub struct Demo(Arc<OnceLock<DemoWorkspace>>);

/// A workspace that anybody at this machine may enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoWorkspace {
    /// The guild.
    pub guild_id: GuildId,
    /// The channel to begin in.
    pub channel_id: ChannelId,
    /// Who one can be.
    pub accounts: Vec<DemoAccount>,
    /// The page of recent traces.
    pub traces: String,
}

/// An account of the demo workspace.
#[derive(Clone, PartialEq, Eq)]
pub struct DemoAccount {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: UserId,
    /// A token that holds.
    pub token: String,
    /// Whether it is a program's.
    pub bot: bool,
}

impl Demo {
    /// From now on there is a workspace; the first one stays.
    pub fn open(&self, workspace: DemoWorkspace) {
        // A process has one demo workspace at most.
        let _ = self.0.set(workspace);
    }

    /// The workspace, if there is one.
    pub(crate) fn workspace(&self) -> Option<&DemoWorkspace> {
        self.0.get()
    }
}

impl fmt::Debug for DemoAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DemoAccount").field("name", &self.name).field("bot", &self.bot).finish_non_exhaustive()
    }
}
