//! Requests to the owners of a guild and of an account.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clarion_channel::fuzzing::commands(data));
