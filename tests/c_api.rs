//! The tests in C, each compiled as C99, C11, C++11 and C++20 against the header and run with the shared library.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;
#[path = "common/header_text.rs"]
mod header_text;

use std::fs;

#[test]
fn header_lists() {
    cc::run_everywhere("test_headers.c");
}

#[test]
fn whole_messages() {
    cc::run_everywhere("test_codec.c");
}

#[test]
fn incremental_decoder() {
    cc::run_everywhere("test_decoder.c");
}

#[test]
fn null_and_numbers_out_of_range() {
    cc::run_everywhere("test_null_arguments.c");
    cc::run_everywhere("test_null_arguments_rpc.c");
    cc::run_everywhere("test_null_arguments_options.c");
}

/// A function that is new in the header needs its line in a test_null_arguments file.
#[test]
fn every_function_that_takes_a_pointer_is_tried_with_null() {
    let mut tried = String::new();
    for entry in fs::read_dir(cc::root().join("tests/c")).expect("the repository has tests/c") {
        let path = entry.expect("a directory entry").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("test_null_arguments")) {
            tried.push_str(&fs::read_to_string(&path).expect("a test"));
        }
    }
    let takes_a_pointer = |function: &header_text::Function| {
        let mut parameters = function.parameters.iter();
        parameters.any(|parameter| parameter.declaration.contains('*') || parameter.declaration.contains("esrpc_bytes"))
    };
    let functions = header_text::functions();
    let missing: Vec<_> = functions
        .iter()
        .filter(|function| takes_a_pointer(function) && !tried.contains(&format!("{}(", function.name)))
        .map(|function| &function.name)
        .collect();
    assert!(missing.is_empty(), "not in tests/c/test_null_arguments*.c: {missing:?}");
}

/// A test in C that nothing runs proves nothing.
#[test]
fn every_test_in_c_is_run_by_some_test() {
    let mut runners = String::new();
    for entry in fs::read_dir(cc::root().join("tests")).expect("the repository has tests") {
        let path = entry.expect("a directory entry").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            runners.push_str(&fs::read_to_string(&path).expect("a test"));
        }
    }
    for entry in fs::read_dir(cc::root().join("tests/c")).expect("the repository has tests/c") {
        let name = entry.expect("a directory entry").file_name().into_string().expect("text");
        assert!(name.ends_with(".h") || runners.contains(&format!("\"{name}\"")), "nothing runs tests/c/{name}");
    }
}
