//! What clients say over a socket.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clarion_gateway::fuzzing::frames(data));
