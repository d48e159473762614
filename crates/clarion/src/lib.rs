//! All services in one process: the list, the admin port, the demo workspace, and the command line.

mod admin;
pub mod check;
pub mod cli;
mod config;
pub mod demo;
mod doctor;
pub mod load;
pub mod monitor;
mod start;

pub use config::{AdminConfig, Config, StorageConfig, StorageKind};
pub use start::{Clarion, Topology, start};
