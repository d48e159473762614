//! Bodies of requests.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clarion_gateway::fuzzing::bodies(data));
