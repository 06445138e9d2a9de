//! See `rowlock_faults::garbage::words`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rowlock_faults::garbage::words(data));
