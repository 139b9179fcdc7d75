//! The C++ header, by both compilers and in every standard from C++17 on. Each file of tests/cpp has scenarios,
//! `TEST(scenario)`; main.cpp runs the one that is named, in a process of its own.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;
#[path = "common/certificates.rs"]
mod certificates;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cc::Standard;
use certificates::Authority;

const COMPILERS: [&str; 2] = ["g++", "clang++"];

fn folder() -> PathBuf {
    cc::root().join("tests/cpp")
}

fn sources() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the repository has tests/cpp");
    let files = entries.map(|entry| entry.expect("a directory entry").path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "cpp")).collect()
}

fn shadowing() -> Vec<String> {
    vec!["-Wshadow".to_owned()]
}

/// A folder with the files that tests/cpp/calls.cpp names.
static CERTIFICATES: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = cc::scratch().join("certificates");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let authority = Authority::new("test CA");
    let server = authority.server(&["server.example", "localhost"]);
    for (name, content) in
        [("ca.pem", &authority.pem), ("server.pem", &server.certificate), ("server.key", &server.key)]
    {
        fs::write(folder.join(name), content).expect("the target folder can be written");
    }
    folder
});

/// Builds all scenarios with AddressSanitizer, which also reports leaks, and runs them.
fn every_scenario_passes(compiler: &str, standard: Standard) {
    let mut flags = shadowing();
    // A wrapper such as valgrind does its work itself.
    if !cc::is_slow() {
        flags.extend(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"].map(str::to_owned));
    }
    let program = cc::compile_by(compiler, standard, &sources(), &format!("scenarios.{compiler}"), &flags)
        .unwrap_or_else(|error| panic!("{compiler} as {standard:?}: {error}"));
    let scenarios = cc::run(&program, &[]);
    let with_tls = |scenario: &&str| cc::has_tls() || !scenario.starts_with("tls_");
    let scenarios: Vec<_> = scenarios.lines().filter(with_tls).collect();
    assert!(scenarios.len() > 40, "only {scenarios:?}");
    for scenario in scenarios {
        println!("{scenario}");
        cc::run_in(&program, &[scenario], &[("ESRPC_TEST_CERTIFICATES", &CERTIFICATES)]);
    }
}

#[test]
fn every_scenario_passes_when_gcc_has_compiled_it() {
    every_scenario_passes("g++", Standard::Cxx17);
}

#[test]
fn every_scenario_passes_when_clang_has_compiled_it() {
    every_scenario_passes("clang++", Standard::Cxx20);
}

/// The standards in which nothing is run; these files use nearly all of the header.
#[test]
fn every_standard_is_accepted() {
    for compiler in COMPILERS {
        for standard in [Standard::Cxx17, Standard::Cxx20, Standard::Cxx23] {
            for source in ["calls.cpp", "codec.cpp", "settings.cpp"] {
                cc::check_syntax_by(compiler, standard, &folder().join(source), &shadowing())
                    .unwrap_or_else(|error| panic!("{source} by {compiler} as {standard:?}: {error}"));
            }
        }
    }
}

#[test]
fn the_example_echoes() {
    let source = cc::root().join("examples-c/echo.cpp");
    let program = cc::compile_by("g++", Standard::Cxx17, &[source], "echo", &shadowing());
    let printed = cc::run(&program.unwrap_or_else(|error| panic!("{error}")), &["words"]);
    assert!(printed.starts_with("words\nagain\n"), "{printed}");
    assert!(printed.ends_with(": {\"message\":\"there is nothing to echo\"}\n"), "{printed}");
}

/// As it is, except for the port, which may be in use here.
#[test]
fn the_program_that_readme_shows_says_hello() {
    let readme = fs::read_to_string(cc::root().join("README.md")).expect("README.md can be read");
    let (_, rest) = readme.split_once("```cpp\n").expect("README.md shows C++");
    let (program, _) = rest.split_once("```").expect("the program ends");
    let program = program.replacen("8033", "0", 1).replacen("8033", "server.port()", 1);
    let source = cc::scratch().join("readme.cpp");
    fs::write(&source, program).expect("the target folder can be written");
    let program = cc::compile_by("g++", Standard::Cxx17, &[source], "readme", &shadowing());
    assert_eq!(cc::run(&program.unwrap_or_else(|error| panic!("{error}")), &[]), "hello\n");
}

/// A client and a server, each as the page shows them.
#[test]
fn the_code_of_its_page_compiles_and_runs() {
    let page = fs::read_to_string(cc::root().join("docs/cpp.md")).expect("docs/cpp.md can be read");
    let blocks: Vec<_> =
        page.split("```cpp\n").skip(1).map(|rest| rest.split_once("```").expect("it ends").0).collect();
    let [includes, client, server, rest @ ..] = &blocks[..] else { panic!("{} blocks", blocks.len()) };
    let rest: Vec<_> = rest.iter().filter(|block| cc::has_tls() || !block.contains("tls_config")).copied().collect();
    let mut rest = rest.join("\n");
    for file in ["ca.pem", "server.pem", "server.key"] {
        rest = rest.replace(file, &CERTIFICATES.join(file).display().to_string());
    }
    // The server of the page chooses its port; the client finds it there.
    let client =
        client.replace("8033", "server.port()").replace(".handshake(connect)", ".handshake(connect, \"a token\")");
    let text = format!("{includes}\nint main() {{\n{server}\n{client}\n{rest}}}\n");
    let source = cc::scratch().join("page.cpp");
    fs::write(&source, &text).expect("the target folder can be written");
    let program = cc::compile_by("g++", Standard::Cxx17, &[source], "page", &[]);
    let printed = cc::run(&program.unwrap_or_else(|error| panic!("{error}")), &[]);
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[0].starts_with("port "), "{printed}");
    assert_eq!(lines[1..5], ["hello", "1", "2", "3"], "{printed}");
    let refused = lines.iter().position(|line| line.contains("3 is the only number")).expect("the service's sentence");
    assert!(refused > 4, "{printed}");
    assert!(!cc::has_tls() || lines.last() == Some(&"encrypted"), "{printed}");
}

/// The macros of a header reach into all code behind it.
#[test]
fn the_header_defines_no_macros() {
    let text = header();
    let defined: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("#define ")).collect();
    assert_eq!(defined, ["EVENTSTREAM_RPC_HPP"]);
}

#[test]
fn no_line_of_the_header_is_too_long() {
    let text = header();
    let long: Vec<_> = text.lines().filter(|line| line.len() > 120 || !line.is_ascii()).collect();
    assert!(long.is_empty(), "{long:#?}");
}

fn header() -> String {
    let path: &Path = &cc::root().join("include/eventstream_rpc.hpp");
    fs::read_to_string(path).expect("the header can be read")
}
