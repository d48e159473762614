//! Headers that say where in a trace a request stands.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clarion_observability::fuzzing::trace_headers(data));
