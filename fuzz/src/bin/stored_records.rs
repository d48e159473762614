//! Rows and keys of stores and indexes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clarion_storage::fuzzing::records(data));
