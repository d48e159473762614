//! Questions to the search service.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clarion_search::fuzzing::requests(data));
