#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eventstream_rpc_fuzz::rpc::run_server(bytes));
