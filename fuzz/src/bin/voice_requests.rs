//! Session descriptions and voice tokens.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clarion_voice::fuzzing::requests(data));
