//! The shared library exports what the header declares, and nothing else.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;
#[path = "common/header_text.rs"]
mod header_text;

use std::collections::BTreeSet;
use std::process::Command;

fn output(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).arg(cc::shared_library()).output();
    let output = output.unwrap_or_else(|error| panic!("{tool}, of the binutils: {error}"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the tool prints text")
}

#[test]
fn exported_symbols_and_declared_functions_are_the_same() {
    let symbols = output("nm", &["--dynamic", "--defined-only"]);
    let exported: BTreeSet<_> =
        symbols.lines().filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect();
    let declared: BTreeSet<_> = header_text::functions().into_iter().map(|function| function.name).collect();
    let missing: Vec<_> = declared.difference(&exported).collect();
    let extra: Vec<_> = exported.difference(&declared).collect();
    assert!(missing.is_empty(), "in the header, but not exported: {missing:?}");
    assert!(extra.is_empty(), "exported, but not in the header (is its file in build.rs?): {extra:?}");
    assert!(exported.iter().all(|name| name.starts_with("esrpc_")));
}

#[test]
fn the_library_has_its_name_and_stays_loaded() {
    let dynamic = output("readelf", &["--dynamic", "--wide"]);
    assert!(dynamic.contains("soname: [libeventstream_rpc.so.0]"), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
}
