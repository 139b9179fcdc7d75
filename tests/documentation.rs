//! Every function of the header says what a C programmer has to know.

#[path = "common/header_text.rs"]
mod header_text;

use std::collections::HashSet;

use header_text::Function;

/// What is missing, as sentences.
fn complaints(function: &Function) -> Vec<String> {
    let text = &function.documentation;
    let mut complaints = Vec::new();
    let mut demand = |is_there: bool, what: String| {
        if !is_there {
            complaints.push(format!("{}: {what}", function.name));
        }
    };

    let first_paragraph = text.split("\n\n").next().unwrap_or_default();
    let is_sentence = first_paragraph.starts_with(|c: char| c.is_uppercase()) && first_paragraph.contains('.');
    demand(is_sentence, "no sentence that says what it does".to_owned());

    let documented: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("@param "))
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
        .collect();
    let names: Vec<_> = documented.iter().map(|(name, _)| *name).collect();
    let parameters: Vec<_> = function.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    demand(names == parameters, format!("documents the parameters {names:?}, has {parameters:?}"));
    demand(documented.iter().all(|(_, what)| what.len() > 3), "an empty @param".to_owned());

    let answers = text.lines().filter(|line| line.starts_with("@return ")).count();
    demand(answers == usize::from(function.return_type != "void"), format!("{answers} @return"));
    if function.return_type == "esrpc_status" {
        let returned = text.split("@return ").nth(1).unwrap_or_default();
        demand(returned.contains("ESRPC_OK"), "@return names no ESRPC_OK".to_owned());
    }

    let thread = text.split("Thread: ").nth(1).unwrap_or_default();
    let kinds = ["any", "loop", "not-loop", "owner"];
    demand(kinds.iter().any(|kind| thread.starts_with(kind)), "no Thread: any, loop, not-loop or owner".to_owned());
    let since = text.split("Since: ").nth(1).unwrap_or_default();
    demand(since.starts_with(|c: char| c.is_ascii_digit()), "no Since: with a version".to_owned());
    complaints
}

#[test]
fn every_function_is_documented_for_c() {
    let complaints: Vec<_> = header_text::functions().iter().flat_map(complaints).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn a_function_without_documentation_would_be_noticed() {
    let bare = Function {
        name: "esrpc_x".to_owned(),
        return_type: "esrpc_status".to_owned(),
        parameters: vec![header_text::Parameter { name: "a".to_owned(), declaration: "int a".to_owned() }],
        documentation: "Does something.".to_owned(),
    };
    assert_eq!(complaints(&bare).len(), 5);
}

/// They all fail in a forked child, and after the runtime was stopped.
#[test]
fn functions_on_connections_streams_and_listeners_say_when_those_cannot_be_used() {
    let functions = header_text::functions();
    let on_counted = functions.iter().filter(|function| {
        let first = function.parameters.first().map_or("", |parameter| parameter.declaration.as_str());
        let is_counted = |kind: &&str| first.contains(&format!("esrpc_{kind} *"));
        // A reason why an object ended is not a failure of the call.
        let can_fail = function.return_type == "esrpc_status" && !function.name.ends_with("_get_end_status");
        can_fail && ["connection", "stream", "listener"].iter().any(is_counted)
    });
    let says = |function: &Function, status: &str| {
        function.documentation.split("@return ").nth(1).is_some_and(|returned| returned.contains(status))
    };
    let mut count = 0;
    for function in on_counted {
        for status in ["ESRPC_ERROR_FORKED", "ESRPC_ERROR_RUNTIME_SHUTDOWN"] {
            assert!(says(function, status), "{}: @return does not name {status}", function.name);
        }
        count += 1;
    }
    assert!(count > 30, "only {count} functions found");
}

/// What the comments of callback types and of the slots of callback tables say.
fn comments_of_callbacks() -> String {
    let header = header_text::committed();
    let comments = header.split("/**").skip(1).filter_map(|text| text.split_once("*/"));
    let of_callbacks = comments
        .filter(|(_, rest)| rest.trim_start().lines().next().is_some_and(|line| line.contains("(ESRPC_CALL *")));
    of_callbacks.map(|(comment, _)| comment).collect()
}

#[test]
fn every_status_stands_with_a_function_that_returns_it_or_a_callback_that_reports_it() {
    let header = header_text::committed();
    let statuses: Vec<_> = header
        .lines()
        .filter_map(|line| line.strip_prefix("    ESRPC_ERROR_")?.split_once(" = "))
        .filter(|(name, _)| !name.ends_with("_NEGATIVE"))
        .map(|(name, _)| format!("ESRPC_ERROR_{name}"))
        .collect();
    assert!(statuses.len() > 90, "only {} statuses found", statuses.len());
    let mut text = comments_of_callbacks();
    header_text::functions().iter().for_each(|function| text.push_str(&function.documentation));
    let words: HashSet<_> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let homeless: Vec<_> = statuses.iter().filter(|status| !words.contains(status.as_str())).collect();
    assert!(homeless.is_empty(), "{homeless:?}");
}

/// tests/c/test_sentences.c shows of each that it is true.
#[test]
fn sentences_that_are_tried_stand_in_the_header() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/test_sentences.c");
    let source = std::fs::read_to_string(path).expect("the repository has tests/c/test_sentences.c");
    let quoted = source.split("SAYS(\"").skip(1).filter_map(|rest| rest.split_once("\");"));
    let quoted: Vec<_> = quoted.map(|(sentence, _)| sentence.replace("\\\"", "\"")).collect();
    let header = header_text::committed();
    let words: Vec<_> = header.split_whitespace().filter(|word| *word != "*").collect();
    let header = words.join(" ");
    let invented: Vec<_> = quoted.iter().filter(|sentence| !header.contains(sentence.as_str())).collect();
    assert!(invented.is_empty(), "{invented:#?}");
    assert!(quoted.len() >= 60, "only {} sentences are tried", quoted.len());
}

/// Every status that a comment names exists.
#[test]
fn comments_name_only_constants_that_exist() {
    let header = header_text::committed();
    let words = header.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.starts_with("ESRPC_"));
    let is_defined =
        |word: &str| header.contains(&format!("    {word} = ")) || header.contains(&format!("#define {word} "));
    // A family is named with a star: ESRPC_ERROR_*. The rest is what esrpc_status_name says of no status, and what a program
    // defines before it includes the header.
    const OF_NO_VALUE: [&str; 3] = ["ESRPC_ERROR_UNKNOWN", "ESRPC_STATIC", "ESRPC_BUILDING"];
    let is_known = |word: &str| word.ends_with('_') || OF_NO_VALUE.contains(&word) || is_defined(word);
    let unknown: Vec<_> = words.filter(|word| !is_known(word)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
