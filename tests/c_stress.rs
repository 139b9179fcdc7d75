//! The hard environment, tried from C: load, failing peers and systems, and the process that the library is a guest of.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;
#[path = "common/header_text.rs"]
mod header_text;

use cc::Standard;

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
    let streams = if cc::is_slow() { "3000" } else { "100000" };
    print!("{}", run("stress_streams.c", &[streams, "8"]));
}

#[test]
fn peers_that_fail_are_told_with_the_promised_callbacks() {
    run_over_both("test_failing_peers.c");
}

#[test]
fn connections_that_cannot_be_made_are_explained() {
    run("test_failing_connects.c", &[]);
}

#[test]
fn connections_that_cannot_be_accepted() {
    let program = cc::compile(Standard::C11, "test_accept_errors.c");
    cc::run(&program, &[]);
    cc::run(&program, &["--unix"]);
}

#[test]
fn listeners_and_socket_files() {
    run("test_listening.c", &[]);
}

#[test]
fn the_library_is_a_good_guest() {
    run_over_both("test_good_guest.c");
}

#[test]
fn forked_children() {
    run("test_fork.c", &[]);
}

/// A function that is new in the header needs its line in test_fork.c.
#[test]
fn every_function_on_a_counted_handle_is_tried_in_a_forked_child() {
    let test = std::fs::read_to_string(cc::root().join("tests/c/test_fork.c")).expect("a test");
    let handles =
        ["esrpc_runtime", "esrpc_listener", "esrpc_connection", "esrpc_stream"].map(|handle| format!("{handle} *"));
    let missing: Vec<_> = header_text::functions()
        .into_iter()
        .filter(|function| {
            let first = function.parameters.first().map(|parameter| parameter.declaration.as_str()).unwrap_or_default();
            handles.iter().any(|handle| first.contains(handle))
        })
        .map(|function| function.name)
        .filter(|name| !test.contains(&format!("{name}(")))
        .collect();
    assert!(missing.is_empty(), "not in tests/c/test_fork.c: {missing:?}");
}

#[test]
fn unloading_the_library_under_its_threads() {
    // Linked only if needed, which it is not: dlopen alone has it in memory.
    let program = cc::compile_with(Standard::C99, "test_unload.c", &["-Wl,--as-needed"]);
    cc::run(&program, &[cc::shared_library().to_str().expect("the target folder's path is UTF-8")]);
}

#[test]
fn runtimes() {
    run_over_both("test_runtime.c");
}

#[test]
fn tasks_waits_and_the_log() {
    run_over_both("test_waits.c");
}

/// The goal is 8 KiB for an idle connection.
#[test]
fn memory_of_connections() {
    if cc::is_slow() {
        return; // They have memory of their own.
    }
    print!("{}", run("measure_memory.c", &["1000", "8192"]));
}
