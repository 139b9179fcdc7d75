//! Reads include/eventstream_rpc.h as text, for the tests that compare it with the library and its rules.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::Path;

/// A function as the header declares it.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// The text before the name, such as `const char *`.
    pub return_type: String,
    pub parameters: Vec<Parameter>,
    /// The comment before it, without its frame of stars; empty if there is none.
    pub documentation: String,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    /// The whole declaration, such as `const uint8_t *data`.
    pub declaration: String,
}

pub fn committed() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/eventstream_rpc.h");
    std::fs::read_to_string(&path).expect("the repository has include/eventstream_rpc.h")
}

/// All functions of the committed header.
pub fn functions() -> Vec<Function> {
    let header = committed();
    let mut functions = Vec::new();
    let mut parts = header.split("\nESRPC_API ");
    let mut before = parts.next().expect("a header");
    for part in parts {
        let comment = before.rsplit_once("/**").and_then(|(_, comment)| comment.trim_end().strip_suffix("*/"));
        let (declaration, after) = part.split_once(';').expect("a declaration ends");
        let declaration = declaration.replace("ESRPC_CALL ", "").replace('\n', " ");
        functions.push(parse(&declaration, comment.map(without_stars).unwrap_or_default()));
        before = after;
    }
    assert!(functions.len() > 40, "only {} functions found in the header", functions.len());
    functions
}

fn without_stars(comment: &str) -> String {
    let lines: Vec<_> = comment.lines().map(|line| line.trim().trim_start_matches('*').trim()).collect();
    lines.join("\n").trim().to_owned()
}

fn parse(declaration: &str, documentation: String) -> Function {
    let (head, parameters) = declaration.split_once('(').expect("a function has parameters");
    let parameters = parameters.rsplit_once(')').expect("the parameters end").0;
    let split = |text: &str| {
        let text = text.trim();
        let at = text.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        (text[..at].trim().to_owned(), text[at..].to_owned())
    };
    let (return_type, name) = split(head);
    let parameters = parameters
        .split(',')
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|text| text != "void")
        .map(|declaration| Parameter { name: split(&declaration).1, declaration })
        .collect();
    Function { name, return_type, parameters, documentation }
}
