//! Hosts that stop the library while it is at work, cancel threads, fork and take from it what it needs, tried from C.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;

use std::path::PathBuf;

use cc::Standard;

/// The program, once it is found to be right under every standard.
fn compile(source: &str) -> PathBuf {
    for standard in cc::standards() {
        let result = cc::check_syntax(standard, &cc::root().join("tests/c").join(source));
        result.unwrap_or_else(|error| panic!("{source} as {standard:?}: {error}"));
    }
    cc::compile(Standard::C11, source)
}

#[test]
fn a_stop_while_handles_live() {
    let program = compile("test_stop.c");
    cc::run(&program, &[]);
    cc::run(&program, &["--unix"]);
}

#[test]
fn a_host_thread_that_is_to_be_cancelled() {
    cc::run(&compile("test_cancel.c"), &[]);
}

#[test]
fn a_forked_child_with_the_same_process_id() {
    cc::run(&compile("test_namespaces.c"), &[]);
}

#[test]
fn a_system_that_gives_no_events() {
    cc::run(&compile("test_event_errors.c"), &[]);
}

#[test]
fn a_sandbox_without_random_bytes() {
    cc::run(&compile("test_randomness.c"), &[]);
}
