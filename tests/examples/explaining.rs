//! What the tools say about themselves: --help, --version, their manual pages, and README.

use super::*;
use std::collections::BTreeSet;

const TOOLS: [&str; 3] = ["esrpc-call", "esrpc-dump", "esrpc-serve"];

/// The long options that a text mentions, each behind `prefix`.
fn options(text: &str, prefix: &str) -> BTreeSet<String> {
    let is_of_name = |letter: char| letter.is_ascii_lowercase() || letter == '-';
    let names = text.split(prefix).skip(1).map(|rest| rest.split(|letter| !is_of_name(letter)).next());
    names.flatten().filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn manual(tool: &str) -> PathBuf {
    cc::root().join("docs/man").join(format!("{tool}.1"))
}

#[test]
fn help_and_version_are_printed() {
    for tool in TOOLS {
        let help = run(example(tool, &["--help"]));
        assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
        assert!(help.out.starts_with(&format!("Usage: {tool} ")), "{}", help.out);
        let wide: Vec<_> = help.out.lines().filter(|line| line.len() > 90).collect();
        assert!(wide.is_empty(), "{wide:?}");
        let version = run(example(tool, &["--version"]));
        assert_eq!(version.code, Some(0));
        assert!(version.out.starts_with(&format!("{tool} {} (TLS: ", env!("CARGO_PKG_VERSION"))), "{}", version.out);
    }
}

#[test]
fn the_manual_pages_have_the_options_of_the_help() {
    for tool in TOOLS {
        let page = fs::read_to_string(manual(tool)).expect("each tool has a page");
        let mut in_help = options(&run(example(tool, &["--help"])).out, " --");
        in_help.extend(["help".to_owned(), "version".to_owned()]);
        assert_eq!(options(&page, "Fl Fl "), in_help, "{tool}");
    }
}

#[test]
fn the_commands_in_readme_work() {
    let readme = fs::read_to_string(cc::root().join("README.md")).expect("README is there");
    let (_, section) = readme.split_once("\n## From the shell\n").expect("README has this section");
    let (_, block) = section.split_once("```sh\n").expect("it has commands");
    let commands: Vec<_> = block.lines().take_while(|line| *line != "```").collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    let server = Server::start();
    let shell = |line: &str| {
        let mut shell = command(Path::new("sh"), &["-c", line]);
        let path = std::env::var("PATH").expect("a search path");
        shell.env("PATH", format!("{}:{path}", build_folder().display()));
        run(shell)
    };
    let called = shell(&commands[0].replace("127.0.0.1:8033", &server.address));
    assert_eq!((called.code, called.out.as_str(), called.err.as_str()), (Some(0), r#"{"a":1}"#, ""));
    server.stop("TERM");
    let checked = shell(&commands[1].replace("--port 8034", "--check"));
    assert_eq!((checked.code, checked.err.as_str()), (Some(0), ""));
    let shown = shell(commands[2]);
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
    assert!(shown.out.contains("\"answer\" integer 42"), "{}", shown.out);
}

/// Runs the commands of a block and returns them with what they print, as the block shows both.
fn conversation(folder: &Path, block: &str) -> String {
    let path = std::env::var("PATH").expect("a search path");
    let mut script = "code=0\n".to_owned();
    for line in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
        // All in one shell, for `$?`. A payload ends without a newline, which a terminal makes up for.
        script += &format!("printf '%s\\n' '$ {}'\n", line.replace('\'', r"'\''"));
        script += &format!("output=$( {{ (exit $code); {line}; }} 2>&1)\ncode=$?\n");
        script += "[ -z \"$output\" ] || printf '%s\\n' \"$output\"\n";
    }
    let mut shell = command(Path::new("sh"), &["-c", &script]);
    shell.current_dir(folder).env("PATH", format!("{}:{path}", build_folder().display()));
    run(shell).out
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs TLS")]
fn the_page_of_tls_shows_what_the_tools_do() {
    const PORT: &str = "8443";
    let page = fs::read_to_string(cc::root().join("docs/tls.md")).expect("docs/tls.md is there");
    let folder = cc::scratch().join("tls_page");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    fs::write(folder.join("echo.json"), page_text::marked(&page, "echo.json"))
        .expect("the target folder can be written");
    let mut shell = command(Path::new("sh"), &["-e", "-c", page_text::marked(&page, "a CA")]);
    shell.current_dir(&folder);
    let made = run(shell);
    assert_eq!(made.code, Some(0), "{}", made.err);
    for (serving, calling) in [("serving", "calling"), ("mutual serving", "mutual calling")] {
        let line = page_text::marked(&page, serving).replace(PORT, "0");
        let mut words = line.split_whitespace();
        let mut server = example(words.next().expect("a program"), &words.collect::<Vec<_>>());
        server.current_dir(&folder);
        let server = Server::start_program(server);
        let shown = page_text::marked(&page, calling).replace(PORT, server.port());
        assert_eq!(conversation(&folder, &shown), shown);
        server.stop("TERM");
    }
}

#[test]
fn the_page_of_the_tools_shows_what_they_do() {
    let page = fs::read_to_string(cc::root().join("docs/tools.md")).expect("docs/tools.md is there");
    let marked = |name| page_text::marked(&page, name);
    let folder = cc::scratch().join("tools_page");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    fs::write(folder.join("greetings.json"), marked("greetings.json")).expect("the target folder can be written");
    let _ = fs::remove_file(folder.join("greetings.sock"));
    assert!(page.contains("\nesrpc-serve --unix ./greetings.sock greetings.json\n"));
    let mut server = example("esrpc-serve", &["--unix", "./greetings.sock", "greetings.json"]);
    server.current_dir(&folder);
    let server = Server::start_program(server);
    let shown = ["calls", "dump"].map(|block| conversation(&folder, marked(block)));
    server.stop("TERM");
    assert_eq!(shown, [marked("calls"), marked("dump")]);
}
