//! Calls with WebRTC clients that know nothing of the server but what it tells them.

mod caller;
mod hostile;
mod room;
mod server;
mod talk;
