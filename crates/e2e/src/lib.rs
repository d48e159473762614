//! Whole clusters and real clients, for the tests that need both.
//!
//! [`Cluster`] is the product's own list of services in this process, on free ports and a data folder of its own.
//! [`Program`] is the product as a program of its own, for tests that kill it; [`Processes`] are its services as programs.
//! [`Meili`] stands in for a Meilisearch server, [`otlp::Receiver`] for a collector.

mod client;
mod cluster;
pub mod meili;
pub mod otlp;
mod processes;
mod program;

pub use client::{Api, Frame, Socket};
pub use cluster::{Cluster, PATIENCE};
pub use meili::Meili;
pub use processes::{Processes, Shape};
pub use program::Program;
