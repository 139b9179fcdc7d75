//! Every exported function is one call of the guard, so that no panic and no call from a log callback slips through.

use std::fs;
use std::path::Path;

/// The exported functions of a source file: name and body.
fn exports(source: &str) -> Vec<(String, String)> {
    let mut exports = Vec::new();
    // Only named functions: a type `extern "C" fn(...)` has no space after `fn`.
    for (at, _) in source.match_indices("extern \"C\" fn ") {
        let line = source[..at].rsplit('\n').next().unwrap_or_default();
        if line.contains("//") || !line.contains("pub") {
            continue;
        }
        let rest = &source[at + "extern \"C\" fn ".len()..];
        let name = rest.split('(').next().unwrap_or_default().to_owned();
        let body = rest.split_once("{\n").map(|(_, body)| body).unwrap_or_default();
        let body = body.split("\n}").next().unwrap_or_default();
        exports.push((name, body.to_owned()));
    }
    exports
}

/// Whether the whole body is `guard::call(...)` or one of its kind.
fn is_guarded(body: &str) -> bool {
    let body = body.trim();
    if !["guard::call(", "guard::value(", "guard::system_call(", "guard::system_value("]
        .iter()
        .any(|start| body.starts_with(start))
    {
        return false;
    }
    let mut depth = 0;
    for (at, c) in body.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at + 1 == body.len();
        }
    }
    false
}

#[test]
fn every_exported_function_goes_through_the_guard() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ffi");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the repository has src/ffi") {
        let path = entry.expect("a file").path();
        let source = fs::read_to_string(&path).expect("a source file");
        let exports = exports(&source);
        assert_eq!(
            source.matches("\n#[unsafe(no_mangle)]\npub").count(),
            exports.len(),
            "{}: an export that this test does not see",
            path.display()
        );
        count += exports.len();
        for (name, body) in exports {
            assert!(is_guarded(&body), "{name} in {} is not one call of the guard", path.display());
        }
    }
    assert!(count > 40, "only {count} exports found");
}

#[test]
fn nothing_outside_ffi_is_exported() {
    for layer in ["codec", "rpc", "transport", "runtime"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(layer);
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("a file").path();
            let source = fs::read_to_string(&path).unwrap_or_default();
            assert!(!source.contains("no_mangle"), "{}", path.display());
        }
    }
}

#[test]
fn a_function_that_does_something_beside_the_guard_would_be_noticed() {
    let source = "#[unsafe(no_mangle)]\npub extern \"C\" fn esrpc_x() {\n    work();\n    guard::value((), || ())\n}\n";
    assert!(!is_guarded(&exports(source)[0].1));
    assert!(!is_guarded("guard::call(|| Ok(())) + work()"));
    assert!(is_guarded("guard::call(|| f(1))"));
}

/// The lines of a source file that call a callback, or read a slot of a table, other than through `host_call::call`.
fn direct_calls(source: &str) -> Vec<&str> {
    let code = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let is_slot = |line: &str| {
        ["table.on_", "callbacks.on_"].iter().any(|slot| line.contains(slot))
            && !["Some(function) = ", "Some(callback) = "].iter().any(|bound| line.contains(bound))
    };
    let calls = |line: &str, name: &str| {
        line.match_indices(&format!("{name}(")).any(|(at, _)| {
            let before = &line[..at];
            let is_name = !before.ends_with(|c: char| c.is_alphanumeric() || "_.)".contains(c));
            is_name && !before.ends_with("fn ")
        })
    };
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines
        .filter(|line| is_slot(line) || ["function", "callback", "task"].iter().any(|name| calls(line, name)))
        .collect()
}

#[test]
fn every_callback_is_called_through_a_frame_where_unwinding_ends() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ffi");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the repository has src/ffi") {
        let path = entry.expect("a file").path();
        let source = fs::read_to_string(&path).expect("a source file");
        count += source.matches("host_call::call(").count();
        let calls = direct_calls(&source);
        assert!(calls.is_empty(), "{}: {calls:#?} is not a host_call::call", path.display());
    }
    assert!(count > 20, "only {count} callbacks found");
}

#[test]
fn a_callback_that_is_called_directly_would_be_noticed() {
    let bound = "if let Some(function) = self.table.on_setup {\n";
    for call in [
        "unsafe { function(connection, self.user_data.0) }",
        "unsafe { (callback(status)) }",
        "unsafe { self.table.on_setup.map(|f| f(connection)) };",
        "(self.callbacks.on_error.unwrap())(status)",
    ] {
        assert_eq!(direct_calls(&format!("{bound}{call}\n")), [call]);
    }
    assert!(
        direct_calls(&format!("{bound}unsafe {{ host_call::call(function, (a,)) }}\nfn function(x: u8) {{}}\n"))
            .is_empty()
    );
    assert!(
        direct_calls("fn flush_callback(x: u8) {}\nlet x = flush_callback(callback, user_data); // callback(x)\n")
            .is_empty()
    );
}
