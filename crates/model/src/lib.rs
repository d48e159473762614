//! The domain's words: ids, keys and slots, guilds, messages, permissions, events, and the rules of ownership.
//!
//! Everything here is pure: no I/O, no clock, no async. Time is an argument.

pub mod breaker;
pub mod event;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod guild;
pub mod id;
pub mod key;
pub mod limits;
pub mod message;
pub mod ownership;
pub mod permission;
pub mod presence;
pub mod rendezvous;
pub mod time;
pub mod token;
pub mod user;
pub mod voice;
