//! The library as a guest in its process: few descriptors, threads and little memory; exits and other programs; several copies.
//! More of this is in c_stress: signals, descriptors of other programs, forks, unloading.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;

use cc::Standard;

#[test]
fn a_process_that_may_have_little() {
    cc::run(&cc::compile(Standard::C11, "test_guest_limits.c"), &[]);
}

#[test]
fn a_process_that_ends_while_connections_are_open() {
    cc::run(&cc::compile(Standard::C11, "test_guest_exits.c"), &[]);
}

#[test]
fn copies_of_the_library() {
    // Linked only if needed, which it is not: dlopen alone has it in memory.
    let program = cc::compile_with(Standard::C11, "test_copies.c", &["-Wl,--as-needed"]);
    let library = cc::shared_library();
    let copy = cc::scratch().join("another.so");
    std::fs::copy(&library, &copy).expect("the target folder can be written");
    let [library, copy] =
        [library, copy].map(|path| path.to_str().expect("the target folder's path is UTF-8").to_owned());
    cc::run(&program, &[&library, &copy]);
}
