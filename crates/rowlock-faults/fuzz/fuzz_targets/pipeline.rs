//! See `rowlock_faults::garbage::pipeline`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rowlock_faults::garbage::pipeline(data));
