#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eventstream_rpc_fuzz::calls::run(bytes));
