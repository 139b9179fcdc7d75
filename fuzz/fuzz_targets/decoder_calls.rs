#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eventstream_rpc_fuzz::decoder_calls::run(bytes));
