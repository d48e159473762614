//! Messages between services, as types of the domain.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clarion_proto::fuzzing::types(data));
