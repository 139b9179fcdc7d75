//! Functions that wait, and graceful ends, tried from C over TCP and over Unix sockets.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;

use cc::Standard;

/// Compiled under every standard, run once per kind of socket.
fn run(source: &str) {
    for standard in cc::standards() {
        let result = cc::check_syntax(standard, &cc::root().join("tests/c").join(source));
        result.unwrap_or_else(|error| panic!("{source} as {standard:?}: {error}"));
    }
    let program = cc::compile(Standard::C11, source);
    cc::run(&program, &[]);
    cc::run(&program, &["--unix"]);
}

#[test]
fn connecting_calling_and_reading_wait() {
    run("test_blocking.c");
}

#[test]
fn listeners_and_runtimes_end_gracefully() {
    run("test_drain.c");
}

/// The program prints the seed of each round.
#[test]
fn sixteen_threads_call_until_the_connection_ends_somehow() {
    let rounds = if cc::is_slow() { "8" } else { "48" };
    print!("{}", cc::run(&cc::compile(Standard::C99, "stress_blocking.c"), &["1", rounds]));
}

#[test]
fn a_server_under_load_is_replaced_on_its_listening_descriptor() {
    let program = cc::compile(Standard::C99, "test_replacement.c");
    for arguments in [&[][..], &["--unix"]] {
        print!("{}", cc::run(&program, arguments));
    }
}
