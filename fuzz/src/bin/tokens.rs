//! Tokens and ids.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clarion_model::fuzzing::tokens(data));
