//! The hard environment, tried from C: load, failing peers and systems, and the process that the library is a guest of.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;

use cc::Standard;
use std::time::{Duration, Instant};

fn run(source: &str, arguments: &[&str]) -> String {
    cc::run(&cc::compile(Standard::C99, source), arguments)
}

fn run_over_both(source: &str) {
    let program = cc::compile(Standard::C99, source);
    cc::run(&program, &[]);
    cc::run(&program, &["--unix"]);
}

#[test]
fn many_threads_and_callbacks_open_streams_on_one_connection() {
    let begin = Instant::now();
    let (streams, time_limit) =
        if cc::is_slow() { ("3000", Duration::from_secs(300)) } else { ("100000", Duration::from_secs(30)) };
    print!("{}", run("stress_streams.c", &[streams, "8"]));
    assert!(begin.elapsed() < time_limit, "{streams} streams took {:?}", begin.elapsed());
}

#[test]
fn peers_that_fail_are_told_with_the_promised_callbacks() {
    run_over_both("test_failing_peers.c");
}

#[test]
fn connections_that_cannot_be_made_are_explained() {
    run("test_failing_connects.c", &[]);
}
