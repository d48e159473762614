//! The channel server: owns slots of keys, orders what happens under each key, keeps it, and tells whoever follows.
//!
//! ```text
//! grpc ──▶ keys ──▶ actor (one a key) ──▶ owner: decides        pure
//!                     │  ├──▶ store: one batch after another, several on their way
//!                     │  └──▶ follow: one stream a gateway
//! slots ──▶ router: which slots to hold
//! ```

mod actor;
mod config;
mod follow;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod keys;
mod owner;
mod read;
mod refusal;
mod server;
mod slots;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use server::{Deps, Server};
