//! What README.md and CONTRIBUTING.md say exists: the code is a file that is compiled and run; names, commands and
//! links are real.

#[path = "common/page_text.rs"]
mod page_text;

use std::fs;
use std::path::Path;

use page_text::links;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("README has no {start:?}"));
    rest.split_once(end).unwrap_or_else(|| panic!("README has no {end:?} after {start:?}")).0
}

/// The words of a text that begin like this and are whole names, not beginnings such as ESRPC_MESSAGE_TYPE_...
fn names<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(|letter| !is_part(letter)).filter(|word| word.starts_with(prefix) && !word.ends_with('_')).collect()
}

#[test]
fn its_call_and_its_server_in_c_are_the_examples_that_are_compiled_and_run() {
    let readme = read("README.md");
    for name in ["blocking_call.c", "quick_server.c"] {
        let (start, end) = (format!("<!-- {name} -->\n```c\n"), format!("```\n<!-- end of {name} -->"));
        let quoted = between(&readme, &start, &end);
        assert_eq!(quoted, read(&format!("examples-c/{name}")), "copy examples-c/{name} into README.md");
        assert!(quoted.lines().count() <= 60, "a newcomer sees {name} first");
    }
}

#[test]
fn its_two_commands_are_the_ones_that_ci_runs() {
    let (readme, ci) = (read("README.md"), read(".ci/run"));
    for command in ["make -C examples-c demo", "cargo test"] {
        assert!(readme.contains(&format!("\n{command} ")), "README does not show {command:?}");
        assert!(ci.lines().any(|line| line.ends_with(command)), ".ci/run does not run {command:?}");
    }
    assert!(read("examples-c/Makefile").contains("\ndemo: "));
}

#[test]
fn every_name_in_it_is_in_the_header_or_a_variable_of_cmake() {
    let (readme, header, cmake) = (read("README.md"), read("include/eventstream_rpc.h"), read("CMakeLists.txt"));
    let constants = names(&header, "ESRPC_").into_iter().chain(names(&cmake, "ESRPC_"));
    let known: Vec<_> = names(&header, "esrpc_").into_iter().chain(constants).collect();
    let used: Vec<_> = names(&readme, "esrpc_").into_iter().chain(names(&readme, "ESRPC_")).collect();
    assert!(used.len() > 50, "only {} names were found", used.len());
    for name in used {
        assert!(known.contains(&name), "{name} is neither in the header nor in CMakeLists.txt");
    }
}

#[test]
fn every_link_in_it_leads_somewhere() {
    let readme = read("README.md");
    let links = links(&readme);
    assert!(links.len() > 4, "only {} links were found", links.len());
    for link in links.into_iter().filter(|link| !link.starts_with("https://")) {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(link).exists(), "{link} does not exist");
    }
}

#[test]
fn every_file_and_scenario_in_contributing_exists() {
    let text = read("CONTRIBUTING.md");
    let words: Vec<_> = text.split(|letter: char| letter.is_whitespace() || "`()[],;".contains(letter)).collect();
    let folders = ["src/", "include/", "examples-c/", "tests/", "benches/", "fuzz/", ".ci/"];
    let files =
        words.iter().filter(|word| folders.iter().any(|folder| word.starts_with(folder)) && !word.contains('*'));
    let missing: Vec<_> = files
        .filter(|file| !Path::new(env!("CARGO_MANIFEST_DIR")).join(file.trim_end_matches(['.', ':'])).exists())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let scenarios = words.iter().filter(|word| !word.starts_with("guard::")).filter_map(|word| word.split_once("::"));
    for (program, scenario) in scenarios {
        let source = read(&format!("tests/c/test_{program}.c"));
        assert!(scenario.is_empty() || source.contains(&format!("TEST({scenario})")), "{program}::{scenario}");
    }
}
