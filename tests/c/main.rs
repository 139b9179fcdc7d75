//! The tests in C. Each tests/c/test_NAME.c is a program with a table of scenarios, `TEST(scenario)`. Each scenario is
//! a test here, NAME::SCENARIO, and runs in a process of its own; over Unix sockets it is NAME::SCENARIO::over_unix.
//!
//!     cargo test --test c -- --list
//!     cargo test setup::                      all scenarios of test_setup.c
//!     cargo test --test c -- --exact flush::a_flush_callback_can_send_again_and_again
//!
//! Those that left_out.rs names do not run on some systems, or without TLS; they count as ignored.
//!
//! A new file or a new scenario needs no other line; program.rs lists what some programs need beyond that. "Promise 3"
//! in a test is the promise of that number in docs/architecture.md.

#[cfg(target_os = "linux")]
#[path = "../common/cc.rs"]
mod cc;
#[cfg(target_os = "linux")]
#[path = "../common/certificates.rs"]
mod certificates;
#[cfg(target_os = "linux")]
mod every_call;
#[cfg(target_os = "linux")]
#[path = "../common/header_text.rs"]
mod header_text;
#[cfg(target_os = "linux")]
mod left_out;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod sanitized_host;
#[cfg(target_os = "linux")]
mod thread_end;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let mut tests = program::tests(arguments.nocapture);
    tests.extend(sanitized_host::tests());
    libtest_mimic::run(&arguments, left_out::marked(tests)).exit_code()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
