//! The admin/router: which channel server owns which slot, which key a channel lies in, and what operators do by hand.

mod admin;
mod config;
mod grpc;
mod http;
mod leader;
mod placement;
mod server;
mod table;
mod voice;

pub use admin::{Admin, AdminError, NewGuild, SessionAction};
pub use config::Config;
pub use http::for_operators;
pub use server::{Deps, Server};
