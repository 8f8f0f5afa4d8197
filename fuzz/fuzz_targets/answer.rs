//! A whole exchange in either era: header lines, a blank line and a body, or a line of stdio.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate_fuzz::answer(data));
