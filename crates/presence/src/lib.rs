//! The presence server: who is there, as gateways say, kept as long as their leases hold, told to those who watch.
//!
//! ```text
//! grpc (a stream a gateway) ──▶ actor ──▶ board: words, leases      pure
//!                                 │  └──▶ watchers: who is told      pure
//!                                 ├──▶ streams: changes, at once
//!                                 └──▶ keeper ──▶ cache: a hash a gateway, which runs out with its lease
//! ```
//!
//! Servers know nothing of each other: gateways say what concerns a user to two of them (see the model's `rendezvous`).
//! A gateway says one word a user, for all the user's sessions there, and one heartbeat for all its words. It is the
//! gateways that gather changes for a second before clients see them: here nothing waits.

mod actor;
mod board;
mod config;
mod grpc;
mod keeper;
mod server;
mod watchers;

pub use config::Config;
pub use server::{Deps, Server};
