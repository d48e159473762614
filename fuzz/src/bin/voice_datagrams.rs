//! Datagrams to a shard, one after another.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clarion_voice::fuzzing::datagrams(data));
