//! The library built without TLS: smaller, without the crates of TLS, and with the same functions.

use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "common/header_text.rs"]
mod header_text;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    String::from_utf8(output.stdout).expect("text")
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).args(["--no-default-features", "--locked"]).current_dir(root());
    command
}

/// The shared library, built in a folder of its own.
fn library() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("without_tls");
    output_of(cargo(&["build", "--lib"]).arg("--target-dir").arg(&folder));
    folder.join("debug/libeventstream_rpc.so")
}

#[test]
fn no_crate_of_tls_is_built() {
    let crates = output_of(&mut cargo(&["tree", "--edges", "normal", "--prefix", "none"]));
    assert!(crates.contains("mio"), "{crates}");
    for name in ["rustls", "aws-lc", "ring", "x509", "webpki", "native-certs"] {
        assert!(!crates.contains(name), "{name} is among\n{crates}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_functions_of_tls_say_that_there_is_none() {
    let source = root().join("tests/c/without_tls.c");
    let text = std::fs::read_to_string(&source).expect("a test");
    for function in header_text::functions() {
        let name = &function.name;
        let is_tried = !name.contains("tls") || text.contains(&format!("{name}("));
        assert!(is_tried, "{name} is not tried");
    }
    let library = library();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("without_tls.c.program");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut compile = Command::new(compiler);
    compile.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pthread"]);
    compile.arg("-I").arg(root().join("include")).arg("-iquote").arg(root().join("tests/c"));
    output_of(compile.arg(&source).arg("-o").arg(&program).arg(&library));
    // The library's name is not that of its file: the loader gets it by a link.
    let folder = library.parent().expect("a folder");
    let link = folder.join("libeventstream_rpc.so.0");
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(&library, &link).expect("a link");
    output_of(Command::new(&program).env("LD_LIBRARY_PATH", folder));
}
