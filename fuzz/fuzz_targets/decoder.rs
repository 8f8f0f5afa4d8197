//! The JSON-RPC decoder: any bytes as one message.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate_fuzz::decoder(data));
