//! The arrows of the design: which layer may use which, which crates, and which file may use which.

use std::collections::{BTreeMap, BTreeSet};
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
        layers: &["codec"],
        crates: &["base64", "mio", "socket2", "rustls", "rustls_native_certs", "x509_parser", "libc"],
        may_be_unsafe: true,
    },
    Layer { name: "runtime", layers: &["codec", "rpc", "transport"], crates: &["mio", "libc"], may_be_unsafe: true },
    Layer {
        name: "ffi",
        layers: &["codec", "rpc", "transport", "runtime"],
        crates: &["base64", "libc", "serde_json"],
        may_be_unsafe: true,
    },
];

/// The rooms of the runtime, from the ground up: each uses only those before it.
const ROOMS: &[&str] = &[
    "event_loop",
    "error",
    "log",
    "settings",
    "statistics",
    "members",
    "admission",
    "life",
    "default",
    "connection",
    "listener",
    "blocking",
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

/// A path in the code, such as `crate::runtime::Error`, by its segments.
type Segments = Vec<String>;

fn segments(path: &str) -> Segments {
    path.split("::").map(|segment| segment.trim().to_owned()).collect()
}

/// A `use` declaration of one name.
struct Use {
    path: Segments,
    /// What the name is here.
    name: String,
    /// Others can have it from here.
    is_export: bool,
}

/// The paths, with the names they get, of a tree as it stands behind `use`.
fn paths_of_tree(tree: &str) -> Vec<(Segments, String)> {
    let tree = tree.trim();
    let Some((prefix, rest)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name.trim())));
        let path = segments(path);
        let name = name.or(path.last().map(String::as_str)).unwrap_or_default().to_owned();
        return vec![(path, name)];
    };
    let prefix: Vec<_> = segments(prefix).into_iter().filter(|segment| !segment.is_empty()).collect();
    let group = rest.trim_end().strip_suffix('}').unwrap_or(rest);
    let mut depth = 0;
    let items = group.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    let below = |(path, name): (Segments, String)| {
        let is_parent = path == ["self"];
        let name = if is_parent && name == "self" { prefix.last().cloned().unwrap_or_default() } else { name };
        (prefix.iter().cloned().chain(path.into_iter().filter(|_| !is_parent)).collect(), name)
    };
    items.filter(|item| !item.trim().is_empty()).flat_map(paths_of_tree).map(below).collect()
}

fn without_visibility(line: &str) -> &str {
    let rest = line.trim_start().strip_prefix("pub").unwrap_or(line);
    let rest = rest.strip_prefix('(').map_or(rest, |inside| inside.split_once(')').map_or("", |(_, rest)| rest));
    rest.trim_start()
}

/// The `use` declarations of the code, and the code without them and without declarations of modules.
fn declarations(code: &str) -> (Vec<Use>, String) {
    let (mut uses, mut rest) = (Vec::new(), String::new());
    let mut open: Option<(bool, String)> = None;
    for line in code.lines() {
        let declared = without_visibility(line);
        match &mut open {
            Some((_, tree)) => tree.push_str(line),
            None if declared.starts_with("mod ") && declared.ends_with(';') => {}
            None => match declared.strip_prefix("use ") {
                Some(tree) => open = Some((line.trim_start().starts_with("pub"), tree.to_owned())),
                None => rest.extend([line, "\n"]),
            },
        }
        if let Some((is_export, tree)) = open.take_if(|(_, tree)| tree.ends_with(';')) {
            let paths = paths_of_tree(tree.trim_end_matches(';'));
            uses.extend(paths.into_iter().map(|(path, name)| Use { path, name, is_export }));
        }
    }
    (uses, rest)
}

/// The paths from `crate`, `super` or `self` that the code has outside of declarations.
fn paths_in(code: &str) -> Vec<Segments> {
    let is_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let paths = code.split(|c| !is_of_path(c)).map(|path| path.trim_matches(':'));
    let is_local = |path: &&str| ["crate::", "super::", "self::"].iter().any(|start| path.starts_with(start));
    paths.filter(is_local).map(segments).collect()
}

/// The source files by their path below src, each with what it uses of the others. Re-exports are followed to where a name
/// comes from; to re-export something is not yet to use it.
struct Files {
    uses: BTreeMap<String, BTreeSet<String>>,
}

/// The module of a file, from the crate on.
fn module_of(file: &str) -> Segments {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    if path == "lib" { Vec::new() } else { segments(&path) }
}

/// The path from the crate on, for code in `module`. One that begins with neither `crate` nor `super` begins at a child, or
/// in another crate.
fn absolute(module: &Segments, path: &[String]) -> Segments {
    let (mut start, mut rest) = match path.split_first() {
        Some((first, rest)) if first == "crate" => (Segments::new(), rest),
        Some((first, rest)) if first == "self" => (module.clone(), rest),
        _ => (module.clone(), path),
    };
    while let Some((_, others)) = rest.split_first().filter(|(first, _)| *first == "super") {
        start.pop();
        rest = others;
    }
    start.extend(rest.iter().cloned());
    start
}

impl Files {
    fn read(sources: &[(String, String)]) -> Files {
        let modules: BTreeMap<Segments, &str> =
            sources.iter().map(|(file, _)| (module_of(file), file.as_str())).collect();
        let mut exports: BTreeMap<(Segments, String), Segments> = BTreeMap::new();
        let mut used: BTreeMap<&str, Vec<Segments>> = BTreeMap::new();
        for (file, code) in sources {
            let module = module_of(file);
            let (declared, rest) = declarations(code);
            let words: BTreeSet<_> = rest.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let paths = used.entry(file).or_default();
            for Use { path, name, is_export } in declared {
                let path = absolute(&module, &path);
                if !is_export || words.contains(name.as_str()) {
                    paths.push(path.clone());
                }
                if is_export {
                    exports.insert((module.clone(), name), path);
                }
            }
            paths.extend(paths_in(&rest).iter().map(|path| absolute(&module, path)));
        }
        let resolve = |path: &Segments| {
            let mut path = path.clone();
            // Re-exports of re-exports end after a few steps.
            for _ in 0..sources.len() {
                let depth = (0..=path.len()).rev().find(|len| modules.contains_key(&path[..*len]))?;
                let (module, rest) = path.split_at(depth);
                match rest.first().and_then(|name| exports.get(&(module.to_vec(), name.clone()))) {
                    Some(target) => path = target.iter().chain(&rest[1..]).cloned().collect(),
                    None => return Some(modules[module].to_owned()),
                }
            }
            None
        };
        let mut uses = BTreeMap::new();
        for (file, paths) in used {
            let files: BTreeSet<_> =
                paths.iter().filter_map(resolve).filter(|other| other != file && other != "lib.rs").collect();
            uses.insert(file.to_owned(), files);
        }
        Files { uses }
    }

    /// What can be reached from a file by its uses.
    fn reached(&self, file: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![file];
        while let Some(next) = open.pop() {
            for other in self.uses.get(next).into_iter().flatten() {
                if reached.insert(other.as_str()) {
                    open.push(other);
                }
            }
        }
        reached
    }

    /// Files that use each other, directly or by others.
    fn circles(&self) -> BTreeSet<Vec<&str>> {
        let reached: BTreeMap<&str, _> = self.uses.keys().map(|file| (file.as_str(), self.reached(file))).collect();
        let in_circle = reached.iter().filter(|(file, others)| others.contains(*file));
        in_circle
            .map(|(file, others)| others.iter().copied().filter(|other| reached[other].contains(file)).collect())
            .collect()
    }

    /// Uses of a later room by an earlier one.
    fn upward(&self, folder: &str, rooms: &[&str]) -> Vec<String> {
        let room = |file: &str| {
            let inside = file.strip_prefix(folder)?.strip_prefix('/')?;
            let name = inside.split('/').next()?.trim_end_matches(".rs");
            rooms.iter().position(|room| *room == name)
        };
        let arrows = self.uses.iter().flat_map(|(file, others)| others.iter().map(move |other| (file, other)));
        let is_upward =
            |(file, other): &(&String, &String)| room(file).zip(room(other)).is_some_and(|(from, to)| from < to);
        arrows.filter(is_upward).map(|(file, other)| format!("{file} uses {other}")).collect()
    }
}

/// The folders of transport of which each build has one, under the name `system`.
const SYSTEMS: [&str; 2] = ["unix", "windows"];

/// All of src but the files that are tests and those for other systems.
fn sources(system: &str) -> Vec<(String, String)> {
    let src = root().join("src");
    let files = source_files(&src).into_iter().filter(|file| !file.ends_with("tests.rs"));
    let named = files.map(|file| {
        let name = file.strip_prefix(&src).expect("a file below src").to_str().expect("text").replace('\\', "/");
        let of_system = format!("crate::transport::{system}");
        let code = code(&file).replace("super::system", "system");
        let code = code.replace("use system;", &format!("use {of_system};"));
        (name, code.replace("system::", &format!("{of_system}::")))
    });
    let is_other =
        |name: &str| SYSTEMS.iter().any(|other| *other != system && name.starts_with(&format!("transport/{other}/")));
    named.filter(|(name, _)| !is_other(name)).collect()
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

/// Shows the counts with `cargo test --test layering -- --nocapture`.
#[test]
fn no_files_use_each_other_in_a_circle() {
    for system in SYSTEMS {
        let sources = sources(system);
        let files = Files::read(&sources);
        let circles: Vec<_> = files.circles().into_iter().collect();
        let uses: usize = files.uses.values().map(BTreeSet::len).sum();
        let in_circles: usize = circles.iter().map(Vec::len).sum();
        println!(
            "{system}: {} files, {uses} uses of one by another, {} circles of {in_circles} files",
            sources.len(),
            circles.len()
        );
        assert!(circles.is_empty(), "{system}: {circles:?}");
    }
}

#[test]
fn each_room_of_the_runtime_uses_only_those_below_it() {
    let sources = sources("unix");
    let names = fs::read_dir(root().join("src/runtime")).expect("the runtime has files");
    for name in names.map(|entry| entry.expect("a directory entry").file_name().into_string().expect("text")) {
        let room = name.trim_end_matches(".rs");
        assert!(room == "mod" || ROOMS.contains(&room), "src/runtime/{name} has no place in the order of rooms");
    }
    let upward = Files::read(&sources).upward("runtime", ROOMS);
    assert!(upward.is_empty(), "\n{}", upward.join("\n"));
    // Not even the files that all others may use.
    let ground = Files::read(&sources).uses;
    let ground = ground.iter().filter(|(file, _)| file.starts_with("runtime/event_loop/"));
    for (file, others) in ground {
        let above =
            others.iter().find(|other| other.starts_with("runtime/") && !other.starts_with("runtime/event_loop/"));
        assert_eq!(above, None, "{file} uses more of the runtime than its own room");
    }
}

#[test]
fn a_planted_circle_would_be_noticed() {
    let read = |sources: &[(&str, &str)]| {
        let sources: Vec<_> = sources.iter().map(|(file, code)| ((*file).to_owned(), (*code).to_owned())).collect();
        Files::read(&sources)
    };
    let lib = ("lib.rs", "pub mod a;\npub mod b;");
    let room = ("b/mod.rs", "mod inner;\npub(crate) mod other;\npub use inner::{Name, Second as Renamed};");
    let user = ("a.rs", "use crate::{\n    b::{\n        Name,\n    },\n};\nstruct A(Name);");
    let honest =
        read(&[lib, room, user, ("b/inner.rs", "pub struct Name;"), ("b/other.rs", "fn f(_: super::Name) {}")]);
    assert_eq!(honest.uses["a.rs"], BTreeSet::from(["b/inner.rs".to_owned()]));
    assert_eq!(honest.uses["b/other.rs"], BTreeSet::from(["b/inner.rs".to_owned()]));
    assert!(honest.uses["b/mod.rs"].is_empty() && honest.circles().is_empty());

    let circle =
        read(&[lib, room, user, ("b/inner.rs", "pub struct Name;\nfn f() { crate::a::g() }"), ("b/other.rs", "")]);
    assert_eq!(circle.circles(), BTreeSet::from([vec!["a.rs", "b/inner.rs"]]));
    assert_eq!(circle.upward("b", &["inner", "other"]), Vec::<String>::new());

    let of_three = read(&[
        lib,
        ("b/mod.rs", "mod inner;\npub(in crate::b) mod other;\npub use inner::Name;\nfn g(_: Name) {}"),
        ("a.rs", "pub(super) use crate::b::g;\nfn h() { g() }"),
        ("b/inner.rs", "use super::other::Name;\nstruct Inner(Name);"),
        ("b/other.rs", "use crate::a::{self, h as i};\npub struct Name;"),
    ]);
    assert_eq!(of_three.circles(), BTreeSet::from([vec!["a.rs", "b/inner.rs", "b/mod.rs", "b/other.rs"]]));
    assert_eq!(of_three.upward("b", &["inner", "other"]), ["b/inner.rs uses b/other.rs"]);
}
