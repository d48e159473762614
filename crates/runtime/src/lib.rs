//! One way to start, listen, find peers, be probed and drain: what every service of Clarion stands on.
//!
//! A process is a list of services. Each has a thread with its own tokio runtime and its own telemetry; they are started
//! in order and stopped in reverse. In one process they speak over in-memory pipes, between processes over TCP: the same
//! clients, the same wire.

mod address;
mod circuit;
pub mod config;
mod describe;
mod host;
mod listen;
mod local;
mod peer;
pub mod probe;
mod process;
mod signal;
mod wire;

pub use address::{Address, ParseAddressError};
pub use circuit::{Guarded, LeftAlone, never_reached};
pub use host::Host;
pub use listen::{Listen, Listener};
pub use local::is_local_name;
pub use peer::Peer;
pub use process::{Process, StopReport, Threads};
pub use signal::stop_requested;
pub use wire::Wire;
