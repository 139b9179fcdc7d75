//! The promises of the C interface, tried from C: each program is compiled under every standard and run over TCP, and once
//! over Unix sockets. Every program ends with its runtimes joined, so that a leak checker has nothing to say.
//! That of the good guest is with c_stress.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;

fn run(source: &str) {
    cc::run_everywhere(source);
    cc::run(&cc::compile(cc::Standard::C11, source), &["--unix"]);
}

#[test]
fn setup_is_first_and_once() {
    run("test_setup.c");
}

#[test]
fn shutdown_is_once_and_last_with_the_reason() {
    run("test_shutdown.c");
}

#[test]
fn streams_end_once_whoever_ends_them() {
    run("test_stream_end.c");
}

#[test]
fn every_accepted_send_is_answered() {
    run("test_flush.c");
}

#[test]
fn everything_is_destroyed_once_and_last() {
    run("test_destroy.c");
}

#[test]
fn everything_may_be_done_inside_callbacks() {
    run("test_reentrancy.c");
}

#[test]
fn callbacks_come_on_one_thread_that_may_not_wait() {
    run("test_callbacks.c");
}

#[test]
fn close_loses_nothing() {
    run("test_close.c");
}

#[test]
fn any_thread_may_call() {
    run("test_threads.c");
}

#[test]
fn nothing_from_the_network_does_more_than_end_its_connection() {
    run("test_violations.c");
}

#[test]
fn errors_explain_themselves() {
    run("test_errors.c");
}

#[test]
fn the_outbound_queue_is_bounded() {
    run("test_pressure.c");
}

#[test]
fn reading_can_be_paused() {
    run("test_pause.c");
}

#[test]
fn views_last_for_the_callback_and_tables_can_grow() {
    run("test_views.c");
}

#[test]
fn handles_tell_what_they_are() {
    run("test_getters.c");
}

#[test]
fn a_server_accepts_and_refuses() {
    run("test_server.c");
}

#[test]
fn strangers_neither_grow_nor_hold_up_a_server() {
    run("test_strangers.c");
}

#[test]
fn limits_hold_just_inside_and_just_outside() {
    run("test_limits.c");
}
