//! The gateway: sockets and sessions, delivery to them, and the REST edge.
//!
//! It is compatible with libraries written for the Discord v10 bot API.

#![cfg_attr(test, recursion_limit = "256")]

mod accounts;
mod admission;
mod adopted;
mod api;
mod bounded;
mod config;
mod connection;
mod conversation;
mod demo;
mod directory;
mod elsewhere;
mod frame;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod handover;
mod hub;
mod intents;
mod membership;
mod outbox;
mod presence;
mod rate_limit;
mod rest;
mod server;
mod session;
mod session_id;
mod shard;
mod starts;
mod trace_pages;
mod upgrade;
mod visibility;
mod voice;
mod web;

pub use config::{AdmissionConfig, Config, Identify};
pub use demo::{Demo, DemoAccount, DemoWorkspace};
pub use rate_limit::RateLimit;
pub use rest::{RateLimits, RestConfig};
pub use server::{Deps, Server};
pub use trace_pages::TracePages;
