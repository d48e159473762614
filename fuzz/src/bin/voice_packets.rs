//! STUN, RTP, RTCP and redundant audio.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clarion_voice::fuzzing::packets(data));
