#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eventstream_rpc_fuzz::tls::run(bytes));
