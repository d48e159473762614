//! The voice server: it forwards what people say in voice channels, and tells how well they are heard.
//!
//! ```text
//! gateways ── grpc ──▶ front ─┬─▶ desk: who is admitted, with which token        pure
//! clients ─── http ──▶        └─▶ shards, by room: commands
//!
//! clients ◀── UDP ──▶ shard (a thread and a port each) ──▶ engine                 no socket, no clock
//!         ◀── TCP ──▶   │    framing: where UDP does not get through
//!                       │    ice: checks         secure: handshake and keys
//!                       │    rtp, red, rewrite   slots, speaker: who is heard
//!                       │    rtcp, reception, quality, emodel: how well
//!                       └──▶ events: who is there, who is heard, how well ──▶ front
//! ```
//!
//! A packet meets no lock, no queue and no span: it comes off its shard's socket, goes through the engine, and what comes
//! of it is sent before the next turn.

mod config;
mod desk;
mod emodel;
mod engine;
mod entry;
mod framing;
mod front;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod http;
mod ice;
mod leg;
mod membership;
mod quality;
mod reception;
mod red;
mod remote;
mod rewrite;
mod rtcp;
mod rtp;
mod sdp;
mod secure;
mod server;
mod shard;
mod slots;
mod speaker;
mod token;

pub use config::Config;
pub use membership::Membership;
pub use server::{Deps, Server};
