//! The server as others see it: over gRPC, a real store and a router that does what it is told.

mod bench;
mod faults;
mod follow;
mod handover;
mod loading;
mod messages;
mod router;
mod tracing;
mod trim;
mod unread;
