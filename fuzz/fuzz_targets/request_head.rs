#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roletap_fuzz::request_head(bytes));

/// Only `cargo fuzz` brings libFuzzer.
#[cfg(not(fuzzing))]
fn main() {}
