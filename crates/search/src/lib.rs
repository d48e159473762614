//! Search: finds messages by what they say, soon after they were said, and knows how soon.
//!
//! The **indexer** (`indexer.rs`) follows the logs of all keys in the store and writes an index; how far each key has got
//! is in the index, in the same commit. What the logs no longer have is read from the stores (`refill.rs`); that the two
//! agree is counted now and then (`audit.rs`). The **supervisor** (`supervisor.rs`) has one index serve, and builds
//! another beside it when that is lost or an operator asks. Queries (`grpc.rs`) are answered with ids alone.

mod admin;
mod audit;
mod config;
mod cpu;
mod failure;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod indexer;
mod keys;
mod refill;
mod request;
mod server;
mod standing;
mod supervisor;
#[cfg(test)]
mod tests;

pub use admin::Operators;
pub use config::Config;
pub use server::{Deps, Server};
