//! What the pages in docs say: their code compiles, their programs and commands do what is shown, their links lead
//! somewhere, and no status, limit or default is missing or wrong.

#[path = "common/cc.rs"]
mod cc;
#[path = "common/header_text.rs"]
mod header_text;
#[path = "common/page_text.rs"]
mod page_text;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cc::Standard;
use page_text::{links, marked};

/// The pages of docs by their names, such as "errors.md", with their texts.
fn pages() -> BTreeMap<String, String> {
    let folder = cc::root().join("docs");
    let entries = fs::read_dir(&folder).expect("the repository has docs").map(|entry| entry.expect("docs").path());
    let pages: BTreeMap<_, _> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| (path.file_name().expect("a file").to_string_lossy().into_owned(), read(&path)))
        .collect();
    assert!(pages.len() > 12, "only {:?} found", pages.keys());
    pages
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn page(name: &str) -> String {
    read(&cc::root().join("docs").join(name))
}

/// The blocks of C of a page, each with the line on which it begins.
fn blocks_of_c(text: &str) -> Vec<(usize, &str)> {
    let mut blocks = Vec::new();
    for (at, start) in text.match_indices("\n```c\n") {
        let rest = &text[at + start.len()..];
        let end = rest.find("\n```").expect("a block ends");
        blocks.push((text[..at].matches('\n').count() + 3, &rest[..end]));
    }
    blocks
}

/// A block that begins with one of these is whole; anything else stands in a function that has some objects.
fn is_whole(block: &str) -> bool {
    ["#include ", "static ", "extern "].iter().any(|word| block.starts_with(word))
}

fn program_of(block: &str) -> String {
    const INCLUDES: &str =
        "#include <eventstream_rpc.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n";
    const OBJECTS: [&str; 9] = [
        "esrpc_client_options *client_options",
        "esrpc_listener_options *listener_options",
        "esrpc_connection *connection",
        "esrpc_stream *stream",
        "esrpc_listener *listener",
        "const esrpc_message *message",
        "esrpc_tls_config *server_config",
        "esrpc_tls_config *client_config",
        "void *user_data",
    ];
    if is_whole(block) {
        return format!("{INCLUDES}#line 1\n{block}\n");
    }
    let unused = OBJECTS.map(|object| format!("(void){};", object.rsplit(['*', ' ']).next().unwrap_or_default()));
    format!(
        "{INCLUDES}void fragment({objects});\nvoid fragment({objects})\n{{\n{unused}\n#line 1\n{block}\n}}\n",
        objects = OBJECTS.join(", "),
        unused = unused.join(" ")
    )
}

#[test]
fn every_block_of_c_compiles() {
    let mut count = 0;
    for (name, text) in pages() {
        for (line, block) in blocks_of_c(&text) {
            let source = cc::scratch().join(format!("{}_{line}.c", name.trim_end_matches(".md")));
            fs::write(&source, program_of(block)).expect("the target folder can be written");
            for standard in [Standard::C99, Standard::C11] {
                let flags = ["-Wno-unused-function".to_owned()];
                if let Err(error) = cc::check_syntax_with(standard, &source, &flags) {
                    panic!("docs/{name}, the block at line {line}, as {standard:?}:\n{error}");
                }
            }
            count += 1;
        }
    }
    assert!(count > 15, "only {count} blocks were found");
}

#[test]
fn a_block_that_does_not_compile_would_be_noticed() {
    let text = "a\n\n```c\nesrpc_stream_close(strem);\n```\n";
    let [(4, block)] = blocks_of_c(text)[..] else { panic!("{:?}", blocks_of_c(text)) };
    let source = cc::scratch().join("broken.c");
    fs::write(&source, program_of(block)).expect("the target folder can be written");
    assert!(cc::check_syntax(Standard::C99, &source).expect_err("it is wrong").contains("strem"));
}

/// An empty folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = cc::scratch().join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// Runs a program of the first page in its folder; returns what it printed, to whichever output.
fn conversation(folder: &Path, commands: &str) -> String {
    let mut shown = String::new();
    for command in commands.lines().filter_map(|line| line.strip_prefix("$ ./")) {
        let mut words = command.split(' ');
        let program = folder.join(words.next().expect("a program"));
        let output = Command::new(program)
            .args(words)
            .current_dir(folder)
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::null())
            .output()
            .expect("the program was compiled");
        shown += &format!("$ ./{command}\n");
        shown += &String::from_utf8_lossy(&output.stdout);
        shown += &String::from_utf8_lossy(&output.stderr);
    }
    shown
}

#[test]
fn the_first_programs_do_what_is_shown() {
    let (text, folder) = (page("getting-started.md"), folder("first"));
    for name in ["greeter", "greet"] {
        let source = folder.join(format!("{name}.c"));
        fs::write(&source, marked(&text, &format!("{name}.c"))).expect("the target folder can be written");
        let program = cc::compile(Standard::C99, source.to_str().expect("a path of this repository"));
        fs::rename(program, folder.join(name)).expect("it was compiled");
    }
    let alone = marked(&text, "without a server");
    assert_eq!(conversation(&folder, alone), alone);
    let mut server = Command::new(folder.join("greeter"))
        .current_dir(&folder)
        .env_remove("LD_LIBRARY_PATH")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program was compiled");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("piped")).read_line(&mut line).expect("it prints where it listens");
    assert!(line.contains("unix:greeter.socket"), "{line}");
    let shown = marked(&text, "conversation");
    let happened = conversation(&folder, shown);
    drop(server.stdin.take());
    let status = server.wait().expect("it ends with its input");
    assert_eq!(happened, shown);
    assert!(status.success(), "{status}");
}

#[cfg(feature = "tls")]
#[test]
fn the_commands_for_certificates_make_some_that_work() {
    let (text, folder) = (page("tls.md"), folder("tls"));
    let run = |commands: &str| {
        let output = Command::new("sh").args(["-e", "-c", commands]).current_dir(&folder).output().expect("a shell");
        assert!(output.status.success(), "{commands}: {}", String::from_utf8_lossy(&output.stderr));
    };
    ["a CA", "one certificate", "a list"].iter().for_each(|name| run(marked(&text, name)));
    // A list of version 1, which is not accepted.
    run(
        "sed /crl/d ca.cnf >old.cnf; openssl ca -config old.cnf -cert ca.pem -keyfile ca.key -gencrl -crldays 9 -out old.crl",
    );
    // The advice of docs/scope.md.
    run("openssl pkcs12 -export -in server.pem -inkey server.key -passout pass: -out FILE");
    let scope = page("scope.md");
    let advice = scope.split('`').find(|words| words.starts_with("openssl pkcs12 ")).expect("an openssl command");
    run(&format!("{advice} -passin pass:"));

    let settings = blocks_of_c(&text).into_iter().map(|(_, block)| block).filter(|block| is_whole(block));
    let mut program = String::from("#include \"check.h\"\n#include <unistd.h>\n");
    settings.for_each(|block| program += &format!("{block}\n\n"));
    program += &read(&cc::root().join("tests/pages/tls.c"));
    let source = folder.join("tls.c");
    fs::write(&source, program).expect("the target folder can be written");
    let program = cc::compile(Standard::C11, source.to_str().expect("a path of this repository"));
    cc::run(&program, &[folder.to_str().expect("a path of this repository")]);
}

/// The anchor that Markdown readers make of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    kept.replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    let (mut count, mut broken) = (0, Vec::new());
    for (name, text) in pages() {
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (path, place) = link.split_once('#').unwrap_or((link, ""));
            let file = cc::root().join("docs").join(if path.is_empty() { &name } else { path });
            let leads = file.exists() && {
                let has = |line: &str| line.starts_with('#') && anchor(line.trim_start_matches(['#', ' '])) == place;
                place.is_empty() || read(&file).lines().any(has)
            };
            if !leads {
                broken.push(format!("docs/{name}: {link}"));
            }
            count += 1;
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
    assert!(count > 40, "only {count} links were found");
}

#[test]
fn every_page_is_in_the_contents() {
    let pages = pages();
    let contents: BTreeSet<_> = links(&pages["index.md"]).into_iter().collect();
    let missing: Vec<_> =
        pages.keys().filter(|name| *name != "index.md" && !contents.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/index.md has no link to {missing:?}");
}

#[test]
fn pages_are_short() {
    for (name, text) in pages() {
        assert!(text.lines().count() <= 200, "docs/{name} has {} lines", text.lines().count());
    }
}

/// The names in a text that begin like this, except beginnings of names such as ESRPC_MESSAGE_TYPE_...
fn names<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(|letter| !is_part(letter)).filter(|word| word.starts_with(prefix) && !word.ends_with('_')).collect()
}

#[test]
fn every_name_of_the_library_is_in_the_header() {
    let header = header_text::committed();
    for prefix in ["esrpc_", "ESRPC_"] {
        let known = names(&header, prefix);
        for (name, text) in pages() {
            let unknown: Vec<_> = names(&text, prefix).difference(&known).copied().collect();
            assert!(unknown.is_empty(), "docs/{name}: {unknown:?}");
        }
    }
}

/// The rows of a page's tables, as cells.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    lines.map(|line| line.split(" |").map(str::trim).collect()).collect()
}

#[test]
fn every_status_has_its_row_with_its_number_cause_and_remedy() {
    let (header, text) = (header_text::committed(), page("errors.md"));
    let (_, rest) = header.split_once("typedef enum esrpc_status_code {").expect("the enum of statuses");
    let (statuses, _) = rest.split_once("ESRPC_STATUS_CODE_NEGATIVE").expect("its end");
    let statuses =
        statuses.lines().filter_map(|line| line.strip_prefix("    ESRPC_")?.strip_suffix(',')?.split_once(" = "));
    let expected: BTreeSet<_> = statuses.map(|(name, number)| format!("`ESRPC_{name}` ({number})")).collect();
    assert!(expected.len() > 90, "only {} statuses were found", expected.len());
    let mut described = BTreeSet::new();
    for row in rows(&text).into_iter().filter(|row| row[0].starts_with("`ESRPC_")) {
        let [status, cause, remedy] = row[..] else { panic!("{row:?}") };
        assert!(cause.len() > 10 && (remedy.len() > 8 || status.starts_with("`ESRPC_OK`")), "{row:?}");
        assert!(described.insert(status.to_owned()), "{status} has two rows");
    }
    assert_eq!(described, expected);
}

/// A default as the tables write it.
fn as_written(default: &str) -> String {
    let time = default.parse().ok().filter(|time: &u32| time.is_multiple_of(1000) && *time > 1000);
    match (default, time) {
        ("ESRPC_NO_TIMEOUT", _) => "none".to_owned(),
        (_, Some(time)) => format!("{} s", time / 1000),
        _ => default.replace(" a second, ", "; ").replace(" at once", ""),
    }
}

#[test]
fn every_limit_stands_with_its_default() {
    let text = page("limits.md");
    let rows = rows(&text);
    let is_limit = |name: &str| {
        name.starts_with("esrpc_connection_options_set_")
            || name.starts_with("esrpc_listener_options_set_max_")
            || ["esrpc_runtime_options_set_thread_count", "esrpc_stream_set_deadline_ms"].contains(&name)
    };
    let functions = header_text::functions();
    let limits: Vec<_> = functions.iter().filter(|function| is_limit(&function.name)).collect();
    assert!(limits.len() > 25, "only {} limits were found", limits.len());
    for function in limits {
        let option = format!("`{}`", function.name);
        let row = rows.iter().find(|row| row.contains(&option.as_str()));
        let row = row.unwrap_or_else(|| panic!("docs/limits.md has no row for {option}"));
        let documentation = function.documentation.replace('\n', " ");
        let Some((_, default)) = documentation.split_once("Default: ") else { continue };
        let end = default.find(['.', ';']).unwrap_or(default.len());
        let default = default[..end].split(", ").next().map_or(default, |first| {
            // Two numbers belong together; words behind a comma explain.
            if default[..end].contains(" at once") { &default[..end] } else { first }
        });
        let written = as_written(default);
        let number = default.replace("65535", "65,535 B");
        assert!(
            row.iter().any(|cell| cell.starts_with(&written) || *cell == number) || default.starts_with('0'),
            "{option}: the header says {default:?}, docs/limits.md {row:?}"
        );
    }
}

#[test]
fn each_row_of_the_comparison_has_its_evidence() {
    let text = page("comparison.md");
    let (table, evidence) = text.split_once("## Evidence").expect("the evidence");
    let numbers: Vec<_> = rows(table).iter().filter_map(|row| Some(row[0].split_once(". ")?.0.to_owned())).collect();
    assert!((12..=16).contains(&numbers.len()), "{numbers:?}");
    let notes: Vec<_> = evidence.lines().filter_map(|line| Some(line.split_once(". Ours: ")?.0)).collect();
    assert_eq!(notes, numbers, "the numbers of the notes and of the rows");
    let names = evidence.split('`').skip(1).step_by(2).filter(|name| !name.starts_with("program::"));
    for file in names.clone().filter(|name| name.starts_with("tests/") || name.starts_with("packaging/")) {
        assert!(cc::root().join(file).exists(), "{file}");
    }
    for (program, test) in names.filter_map(|name| name.split_once("::")).filter(|(_, test)| test.contains('_')) {
        let source = read(&cc::root().join(format!("tests/c/test_{program}.c")));
        assert!(source.contains(&format!("TEST({test})")), "{program}::{test}");
    }
}

#[test]
fn the_comparison_has_the_sizes_of_the_page_about_devices() {
    let (text, devices) = (page("comparison.md"), page("devices.md"));
    let row = rows(&text).into_iter().find(|row| row[0].contains("Size")).expect("a row about sizes");
    let sizes: Vec<_> = row[1].split("; ").map(|part| part.trim_end_matches(" without TLS")).collect();
    let measured: Vec<_> = rows(&devices).into_iter().filter_map(|row| row.get(1).copied()).collect();
    assert_eq!(sizes.len(), 2, "{row:?}");
    assert!(sizes.iter().all(|size| measured.contains(size)), "{sizes:?} are not in docs/devices.md");
}
