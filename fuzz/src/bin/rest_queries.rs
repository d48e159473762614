//! Query strings, parts of paths, headers.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clarion_gateway::fuzzing::queries(data));
