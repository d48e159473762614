//! Calls with WebRTC clients that know nothing of the server but what it tells them.

mod bare;
mod caller;
mod hostile;
mod packets;
mod room;
mod server;
mod talk;
mod tcp;
mod tunnel;
