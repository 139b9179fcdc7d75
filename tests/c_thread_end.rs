//! Hosts that end the library's threads inside its callbacks, tried from C. What was in the hands of such a thread is lost, so a
//! leak checker has something to say: not for valgrind.sh.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;
#[path = "common/header_text.rs"]
mod header_text;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cc::Standard;

/// Every callback that the header knows: `esrpc_stream_callbacks.on_message`, `esrpc_flush_callback`.
fn callbacks() -> Vec<String> {
    let header = header_text::committed();
    let mut callbacks = Vec::new();
    let mut slots = Vec::new();
    for line in header.lines() {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("typedef void (*") {
            callbacks.extend(rest.split_once(')').map(|(name, _)| name.to_owned()));
        } else if let Some(rest) = line.strip_prefix("void (*") {
            slots.extend(rest.split_once(')').map(|(name, _)| name.to_owned()));
        } else if let Some(rest) = line.strip_prefix("} esrpc_") {
            let table = rest.trim_end_matches(';');
            callbacks.extend(slots.drain(..).map(|slot| format!("esrpc_{table}.{slot}")));
        }
    }
    assert!(slots.is_empty() && callbacks.len() > 20, "{callbacks:?}, {slots:?}");
    callbacks
}

/// Several tests run it, and each would write over it while another one runs.
fn thread_end() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = "test_thread_end.c";
        for standard in cc::standards() {
            let result = cc::check_syntax(standard, &cc::root().join("tests/c").join(source));
            result.unwrap_or_else(|error| panic!("{source} as {standard:?}: {error}"));
        }
        cc::compile(Standard::C11, source)
    })
}

#[test]
fn a_thread_may_end_inside_every_callback() {
    let program = thread_end();
    for callback in callbacks() {
        eprintln!("{callback}");
        cc::run(program, &[&callback]);
    }
}

#[test]
fn nobody_waits_for_a_thread_that_has_ended() {
    for case in ["waits", "default", "default log", "log", "others", "listener"] {
        cc::run(thread_end(), &[case]);
    }
}
