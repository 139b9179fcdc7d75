//! The arrows of the design: which layer may use which, and which crates.

use std::fs;
use std::path::{Path, PathBuf};

struct Layer {
    name: &'static str,
    layers: &'static [&'static str],
    crates: &'static [&'static str],
    may_be_unsafe: bool,
}

const LAYERS: &[Layer] = &[
    Layer { name: "codec", layers: &[], crates: &["crc32fast", "uuid"], may_be_unsafe: false },
    Layer { name: "rpc", layers: &["codec"], crates: &["serde_json"], may_be_unsafe: false },
    Layer {
        name: "transport",
        layers: &[],
        crates: &["mio", "socket2", "rustls", "rustls_native_certs", "libc"],
        may_be_unsafe: true,
    },
    Layer { name: "runtime", layers: &["codec", "rpc", "transport"], crates: &["mio", "libc"], may_be_unsafe: true },
    Layer {
        name: "ffi",
        layers: &["codec", "rpc", "transport", "runtime"],
        crates: &["base64", "libc", "serde", "serde_json"],
        may_be_unsafe: true,
    },
];

/// More lines than this belong into two files.
const MAX_LINES: usize = 800;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The code of a file without comments and tests at its end, which may use more.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file");
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines: Vec<_> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    lines.join("\n")
}

/// The names that follow `start` in paths, also those in braces.
fn names_after(code: &str, start: &str) -> Vec<String> {
    let identifier = |text: &str| {
        let text = text.trim_start();
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    let mut names = Vec::new();
    for (at, _) in code.match_indices(start) {
        let is_inside_word = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if is_inside_word {
            continue;
        }
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            None => names.push(identifier(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => names.push(identifier(&std::mem::take(&mut item))),
                        _ => {}
                    }
                    if c != ',' {
                        item.push(c);
                    }
                }
                names.push(identifier(&item));
            }
        }
    }
    names
}

/// The crates that Cargo.toml names for the library itself.
fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let section = manifest.split("\n[dependencies]\n").nth(1).expect("the dependencies");
    let section = section.split("\n[").next().unwrap_or_default();
    section.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.replace('-', "_")).collect()
}

/// What a layer's code uses and may not.
fn offences(layer: &Layer, code: &str) -> Vec<String> {
    let mut offences = Vec::new();
    for start in ["crate::", "super::", "eventstream_rpc::"] {
        for name in names_after(code, start) {
            let is_layer = LAYERS.iter().any(|other| other.name == name);
            if is_layer && name != layer.name && !layer.layers.contains(&name.as_str()) {
                offences.push(format!("{start}{name}"));
            }
        }
    }
    for dependency in dependencies() {
        let used = !names_after(code, &format!("{dependency}::")).is_empty();
        if used && !layer.crates.contains(&dependency.as_str()) && layer.name != dependency {
            offences.push(dependency);
        }
    }
    let uses_unsafe = code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
    if uses_unsafe && !layer.may_be_unsafe {
        offences.push("unsafe".to_owned());
    }
    offences
}

#[test]
fn each_layer_uses_only_those_below_it() {
    let mut complaints = Vec::new();
    for layer in LAYERS {
        let folder = root().join("src").join(layer.name);
        let mut files = source_files(&folder);
        files.extend(Some(folder.with_extension("rs")).filter(|file| file.exists()));
        for file in files {
            let offences = offences(layer, &code(&file));
            if !offences.is_empty() {
                complaints.push(format!("{} uses {offences:?}", file.display()));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_folder_is_a_known_layer() {
    for entry in fs::read_dir(root().join("src")).expect("the repository has src") {
        let name = entry.expect("a directory entry").file_name().into_string().expect("text");
        assert!(name == "lib.rs" || LAYERS.iter().any(|layer| name == layer.name), "src/{name} is no layer");
    }
}

#[test]
fn no_source_file_is_too_long() {
    for file in source_files(&root().join("src")) {
        let lines = fs::read_to_string(&file).expect("a source file").lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", file.display());
    }
}

#[test]
fn what_is_forbidden_would_be_noticed() {
    let rpc = &LAYERS[1];
    assert!(offences(rpc, "use crate::codec::Message;\nuse std::fmt;").is_empty());
    assert_eq!(offences(rpc, "use crate::{codec::{A, B}, transport::C};"), ["crate::transport"]);
    assert_eq!(offences(rpc, "fn f() { crate::runtime::g() }"), ["crate::runtime"]);
    assert_eq!(offences(rpc, "use super::super::ffi::X;"), ["super::ffi"]);
    assert_eq!(offences(rpc, "use mio::Poll;"), ["mio"]);
    assert_eq!(offences(rpc, "unsafe { f() }"), ["unsafe"]);
}
