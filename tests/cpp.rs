//! The C++ header, under several standards and compilers.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;
#[path = "common/certificates.rs"]
mod certificates;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use certificates::Authority;

const STANDARDS: [&str; 3] = ["-std=c++17", "-std=c++20", "-std=c++2b"];
const FLAGS: [&str; 5] = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror"];
const SANITIZERS: [&str; 2] = ["-g", "-fsanitize=address,undefined"];

fn run(command: &mut Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|error| panic!("{name} is needed: {error}"));
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{printed}{errors}", output.status);
    printed.into_owned()
}

fn compiler(name: &str, standard: &str) -> Command {
    let mut command = Command::new(name);
    command.arg(standard).args(FLAGS).arg("-I").arg(cc::root().join("include"));
    command
}

fn source() -> PathBuf {
    cc::root().join("tests/cpp/test_header.cpp")
}

/// A folder in which the library has the name that programs look for.
fn library_folder() -> &'static Path {
    static FOLDER: std::sync::LazyLock<PathBuf> = std::sync::LazyLock::new(|| {
        let folder = cc::scratch().join("lib");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the target folder can be written");
        for name in ["libeventstream_rpc.so", "libeventstream_rpc.so.0"] {
            std::os::unix::fs::symlink(cc::shared_library(), folder.join(name)).expect("a link can be made");
        }
        folder
    });
    &FOLDER
}

/// Compiles the scenarios, and runs each in a process of its own.
fn run_scenarios(name: &str, standard: &str, flags: &[&str]) {
    let folder = cc::scratch().join(name);
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let identity = Authority::new("CA").server(&["localhost"]);
    fs::write(folder.join("certificate.pem"), &identity.certificate).expect("the target folder can be written");
    fs::write(folder.join("key.pem"), &identity.key).expect("the target folder can be written");
    let program = folder.join("test_header");
    run(compiler(name, standard)
        .args(flags)
        .arg(source())
        .args(["-pthread", "-L"])
        .arg(library_folder())
        .args(["-leventstream_rpc", &format!("-Wl,-rpath,{}", library_folder().display()), "-o"])
        .arg(&program));
    let scenarios = run(&mut Command::new(&program));
    assert!(scenarios.lines().count() > 10, "{scenarios}");
    for scenario in scenarios.lines() {
        if scenario.starts_with("tls") && !cc::has_tls() {
            continue;
        }
        let mut command = Command::new("timeout");
        command.arg("120").arg(&program).arg(scenario).arg(&folder);
        assert_eq!(run(&mut command), "ok\n", "{scenario}");
    }
}

#[test]
fn it_compiles_in_every_standard() {
    for standard in STANDARDS {
        run(compiler("c++", standard).arg("-fsyntax-only").arg(source()));
    }
}

/// With leaks, since the library's own memory is none at the end.
#[test]
fn it_works_under_address_sanitizer() {
    run_scenarios("c++", "-std=c++17", &SANITIZERS);
}

#[test]
fn the_example_echoes() {
    let program = cc::scratch().join("echo");
    run(compiler("c++", "-std=c++17")
        .arg(cc::root().join("examples-c/echo.cpp"))
        .args(["-pthread", "-L"])
        .arg(library_folder())
        .args(["-leventstream_rpc", &format!("-Wl,-rpath,{}", library_folder().display()), "-o"])
        .arg(&program));
    let printed = run(Command::new("timeout").arg("120").arg(&program).arg("words"));
    assert!(printed.starts_with("words\nagain\n"), "{printed}");
    assert!(printed.ends_with(": {\"message\":\"there is nothing to echo\"}\n"), "{printed}");
}

#[test]
#[ignore = "needs clang++"]
fn clang_compiles_it_and_it_works() {
    for standard in STANDARDS {
        run(compiler("clang++", standard).arg("-fsyntax-only").arg(source()));
    }
    run_scenarios("clang++", "-std=c++20", &["-g"]);
}

/// The macros of a header reach into all code behind it.
#[test]
fn it_defines_no_macros() {
    let text = fs::read_to_string(cc::root().join("include/eventstream_rpc.hpp")).expect("the header can be read");
    let defined: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("#define ")).collect();
    assert_eq!(defined, ["EVENTSTREAM_RPC_HPP"]);
}
