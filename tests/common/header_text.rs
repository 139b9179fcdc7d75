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
    // Functions come after all types, in the second block that C++ sees as C.
    let (_, mut rest) = header.split_once("extern \"C\" {").expect("a block of functions");
    let mut functions = Vec::new();
    while let Some((before, after)) = rest.split_once(';') {
        // A semicolon inside a comment does not end a declaration.
        let (documentation, declaration, after) = match before.split_once("/**") {
            None => (String::new(), before.to_owned(), after),
            Some(_) => {
                let (_, comment) = rest.split_once("/**").expect("found above");
                let (comment, declaration) = comment.split_once("*/").expect("a comment ends");
                let (declaration, after) = declaration.split_once(';').expect("a declaration follows a comment");
                (without_stars(comment), declaration.to_owned(), after)
            }
        };
        rest = after;
        let lines: Vec<_> = declaration.lines().filter(|line| !line.starts_with('#')).collect();
        functions.push(parse(&lines.join(" "), documentation));
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
