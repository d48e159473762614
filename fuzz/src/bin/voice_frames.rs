//! Packets on a stream, in whatever pieces it comes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clarion_voice::fuzzing::frames(data));
