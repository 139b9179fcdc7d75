//! The committed header is the one that the sources make, C and C++ of several ages take it, and the tests in C call its
//! functions.

#[path = "common/cc.rs"]
mod cc;
#[path = "common/header_text.rs"]
mod header_text;

use std::fs;
use std::process::Command;

fn generated() -> String {
    fs::read_to_string(concat!(env!("OUT_DIR"), "/eventstream_rpc.h")).expect("build.rs makes the header")
}

#[test]
fn the_committed_header_is_fresh() {
    let (committed, generated) = (header_text::committed(), generated());
    let difference = committed.lines().zip(generated.lines()).position(|(old, new)| old != new);
    assert!(
        committed == generated,
        "include/eventstream_rpc.h is not what src/ffi makes (first difference: line {}). Refresh it with\n    \
         cargo test --test header -- --ignored refresh",
        difference.unwrap_or_else(|| committed.lines().count().min(generated.lines().count())) + 1
    );
}

#[test]
#[ignore = "writes include/eventstream_rpc.h"]
fn refresh() {
    fs::write(cc::root().join("include/eventstream_rpc.h"), generated()).expect("the header can be written");
}

#[test]
fn the_header_compiles_alone_and_twice_in_every_standard() {
    let include = "#include \"eventstream_rpc.h\"\n";
    for (name, times) in [("alone", 1), ("twice", 2)] {
        let source = cc::scratch().join(format!("{name}.c"));
        let text = format!("{}int includes_{name}(void);\n", include.repeat(times));
        fs::write(&source, text).expect("the target folder can be written");
        for standard in cc::standards() {
            if let Err(error) = cc::check_syntax(standard, &source) {
                panic!("the header, included {name}, as {standard:?}: {error}");
            }
        }
    }
}

/// Functions and types of callbacks.
#[test]
fn everything_that_is_called_has_c_linkage_and_the_calling_convention() {
    let header = header_text::committed();
    let (before, block) = header.split_once("extern \"C\" {").expect("a block of C declarations");
    assert!(!before.contains("\ntypedef struct"), "something is declared before the block");
    let (mut callbacks, mut functions) = (0, 0);
    for line in block.lines().filter(|line| !line.trim_start().starts_with('*')) {
        assert!(!line.contains("(*"), "without ESRPC_CALL: {line}");
        callbacks += line.matches("(ESRPC_CALL *").count();
        if line.starts_with("ESRPC_API ") {
            assert!(line.contains("ESRPC_CALL esrpc_"), "without ESRPC_CALL: {line}");
            functions += 1;
        }
    }
    assert!(callbacks > 20, "only {callbacks} types of callbacks found");
    assert_eq!(functions, header_text::functions().len());
}

/// Bindings would otherwise give constants another type than the parameters have that take them.
#[test]
fn constants_have_the_type_of_the_parameters() {
    let header = header_text::committed();
    let enums: Vec<_> =
        header.lines().filter_map(|line| line.strip_prefix("typedef enum ")?.strip_suffix(" {")).collect();
    assert!(enums.len() > 10, "{enums:?}");
    let mut text = String::from("#include \"eventstream_rpc.h\"\n");
    for name in enums {
        text.push_str(&format!("_Static_assert(__builtin_types_compatible_p(enum {name}, int), \"{name}\");\n"));
    }
    let source = cc::scratch().join("enums.c");
    fs::write(&source, text).expect("the target folder can be written");
    cc::check_syntax(cc::Standard::C11, &source).expect("every enum is an int");
}

/// They run elsewhere, so that a changed function would not be noticed here.
#[test]
fn the_soak_and_the_benchmarks_compile() {
    let soak = cc::root().join("tests/soak/soak.c");
    let include = |folder: &str| format!("-I{}", cc::root().join(folder).display());
    cc::check_syntax_with(cc::Standard::C11, &soak, &[include("tests/c")]).unwrap_or_else(|error| panic!("{error}"));
    let benches = cc::root().join("benches/rpc");
    let flags = ["-D_GNU_SOURCE".to_owned(), include("benches/common"), include("benches/rpc")];
    let mut count = 0;
    for entry in fs::read_dir(benches).expect("the repository has benches/rpc") {
        let source = entry.expect("a file").path();
        if source.extension().is_some_and(|extension| extension == "c") {
            cc::check_syntax_with(cc::Standard::C11, &source, &flags).unwrap_or_else(|error| panic!("{error}"));
            count += 1;
        }
    }
    assert!(count > 5, "only {count} sources found");
}

/// clang knows the rules of Windows' compiler.
#[test]
#[ignore = "needs clang; .ci/run installs it and runs this"]
fn the_header_is_read_by_the_rules_of_windows() {
    let source = cc::scratch().join("windows.c");
    fs::write(&source, "#include \"eventstream_rpc.h\"\n").expect("the target folder can be written");
    for language in [["-x", "c", "-std=c11"], ["-x", "c++", "-std=c++17"]] {
        let mut clang = Command::new("clang");
        clang.args(["--target=x86_64-pc-windows-msvc", "-ffreestanding", "-nostdlibinc", "-fsyntax-only"]);
        clang.args(["-Wall", "-Wextra", "-Werror"]).args(language).arg("-I").arg(cc::root().join("include"));
        let output = clang.arg(&source).output().expect("clang is installed and can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn no_line_is_longer_than_a_page_is_wide() {
    let header = header_text::committed();
    let long: Vec<_> = header.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn the_version_is_that_of_the_crate() {
    let version = concat!("#define ESRPC_VERSION \"", env!("CARGO_PKG_VERSION"), "\"\n");
    assert!(header_text::committed().contains(version));
}

#[test]
fn the_header_speaks_c() {
    let header = header_text::committed();
    for word in ["Box<", "Arc<", "Option<", "Result<", "`", "&self", "cbindgen:", "#[", "panic", "Rust"] {
        assert!(!header.contains(word), "the header says {word}");
    }
    for line in header.lines() {
        assert!(line.is_ascii(), "not ASCII: {line}");
    }
}

/// The chosen functions of the header that no test in C whose name begins with `tests` calls.
fn uncalled(tests: &str, is_chosen: impl Fn(&header_text::Function) -> bool) -> Vec<String> {
    let mut text = String::new();
    for entry in fs::read_dir(cc::root().join("tests/c")).expect("the repository has tests/c") {
        let path = entry.expect("a directory entry").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(tests)) {
            text.push_str(&fs::read_to_string(&path).expect("a test"));
        }
    }
    let functions = header_text::functions().into_iter().filter(is_chosen).map(|function| function.name);
    functions.filter(|name| !text.contains(&format!("{name}("))).collect()
}

/// A function that is new in the header needs its line in a test_null_arguments file.
#[test]
fn every_function_that_takes_a_pointer_is_tried_with_null() {
    let uncalled = uncalled("test_null_arguments", |function| {
        let mut parameters = function.parameters.iter().map(|parameter| &parameter.declaration);
        parameters.any(|declaration| declaration.contains('*') || declaration.contains("esrpc_bytes"))
    });
    assert!(uncalled.is_empty(), "not in tests/c/test_null_arguments*.c: {uncalled:?}");
}

/// A function that is new in the header needs its line in test_fork.c.
#[test]
fn every_function_on_a_counted_handle_is_tried_in_a_forked_child() {
    let handles = ["runtime", "listener", "connection", "stream"].map(|handle| format!("esrpc_{handle} *"));
    let uncalled = uncalled("test_fork.c", |function| {
        let first = function.parameters.first().map(|parameter| parameter.declaration.as_str()).unwrap_or_default();
        handles.iter().any(|handle| first.contains(handle))
    });
    assert!(uncalled.is_empty(), "not in tests/c/test_fork.c: {uncalled:?}");
}
