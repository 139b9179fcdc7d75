//! What SECURITY.md says is there: its block of C compiles and works, its names are in the header, its files exist.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;

use cc::Standard;
use std::fs;

fn read(path: &str) -> String {
    let path = cc::root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in a text that begin with `prefix`.
fn names<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(|letter| !is_part(letter)).filter(|word| word.starts_with(prefix)).collect()
}

/// The words in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A program that listens with the limits of the block.
fn program_with(block: &str) -> String {
    format!(
        r#"#include "check.h"

{block}
int main(void) {{
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener_callbacks callbacks;
    esrpc_listener *listener = NULL;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    CHECK(!set_limits(options));
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, NULL, &listener));
    CHECK_OK(esrpc_listener_close(listener));
    CHECK_OK(esrpc_listener_wait_closed(listener, 60000));
    esrpc_listener_release(listener);
    esrpc_listener_options_release(options);
    CHECK_OK(esrpc_runtime_join(NULL, 60000));
    return 0;
}}
"#
    )
}

#[test]
fn its_block_for_a_server_that_strangers_can_reach_compiles_and_is_accepted() {
    let text = read("SECURITY.md");
    let (_, rest) = text.split_once("<!-- listener for strangers -->\n```c\n").expect("a block begins");
    let (block, _) = rest.split_once("```\n<!-- end of listener for strangers -->").expect("it ends");
    let source = cc::scratch().join("listener_for_strangers.c");
    fs::write(&source, program_with(block)).expect("the target folder can be written");
    let source = source.to_str().expect("a path of this repository");
    for standard in [Standard::C99, Standard::Cxx11] {
        cc::run(&cc::compile(standard, source), &[]);
    }
}

#[test]
fn every_name_in_it_is_in_the_header() {
    let (text, header) = (read("SECURITY.md"), read("include/eventstream_rpc.h"));
    for prefix in ["esrpc_", "ESRPC_"] {
        let (known, used) = (names(&header, prefix), names(&text, prefix));
        assert!(!used.is_empty());
        for name in used {
            assert!(known.contains(&name), "{name} is not in the header");
        }
    }
}

#[test]
fn every_file_in_it_exists() {
    let text = read("SECURITY.md");
    let paths: Vec<_> =
        quoted(&text).filter(|word| word.contains('/') && !word.contains(char::is_whitespace)).collect();
    assert!(paths.len() > 5, "only {paths:?} were found");
    for path in paths {
        assert!(cc::root().join(path).exists(), "{path} does not exist");
    }
}
