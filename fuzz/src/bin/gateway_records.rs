//! What other services and the cache tell a gateway.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clarion_gateway::fuzzing::records(data));
