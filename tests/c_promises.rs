//! Every promise of the C interface, tried from C: compiled under each standard, over TCP, and over Unix sockets once.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;

use cc::Standard;

fn run(source: &str) {
    cc::run_everywhere(source);
    cc::run(&cc::compile(Standard::C11, source), &["--unix"]);
}

#[test]
fn setup_is_first_and_once() {
    run("test_setup.c");
}
