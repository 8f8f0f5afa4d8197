//! The header ladder: sound modern requests with any headers, against a naive comparison.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate_fuzz::headers_of_calls(data));
