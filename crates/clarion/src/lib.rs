//! All services in one process, or one in each: the list, the admin port, the demo workspace, and the command line.

mod admin;
pub mod check;
pub mod cli;
mod config;
pub mod demo;
mod doctor;
pub mod load;
pub mod monitor;
mod print;
mod serve;
mod start;

/// Of every program that is made from this crate: sessions that come together leave less behind, and what they leave is
/// given back. How soon is said where the programs are built (`.cargo/config.toml`).
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub use config::{AdminConfig, Config, Peers, StorageConfig, StorageKind};
pub use print::print;
pub use serve::{One, Service};
pub use start::{Clarion, Topology, start};
