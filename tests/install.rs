//! The library as `make install` installs it: found, linked and used as other C libraries are.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

const EXAMPLES: [&str; 2] = ["quick_server", "blocking_call"];

/// All installations are made in the same folder, one after the other.
fn run_make(command: &mut Command) -> Output {
    static MAKING: Mutex<()> = Mutex::new(());
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    command.stdin(Stdio::null()).output().expect("make is needed")
}

/// What the command prints.
fn run(command: &mut Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = match name == "make" {
        true => run_make(command),
        false => command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{name} is needed: {error}")),
    };
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{printed}{errors}", output.status);
    printed.into_owned()
}

/// `make` with the build of the library that cargo made for these tests.
fn make(goal: &str, prefix: &Path) -> Command {
    let library = cc::shared_library().canonicalize().expect("the library is there");
    // target/debug/deps, and target/debug/deps/.. without TLS or with another profile.
    let profile = library.parent().and_then(Path::parent).expect("it is in a folder of cargo's");
    let mut command = Command::new("make");
    command.arg("--no-print-directory").arg("-C").arg(cc::root()).arg(goal);
    command.arg(format!("PREFIX={}", prefix.display()));
    command.arg(if profile.ends_with("debug") { "PROFILE=dev" } else { "PROFILE=release" });
    if !cfg!(feature = "tls") {
        command.arg("CARGO_FLAGS=--no-default-features");
    } else if !cfg!(feature = "aws-lc-rs") {
        command.arg("CARGO_FLAGS=--no-default-features --features ring");
    }
    command.env("CARGO_TARGET_DIR", profile.parent().expect("the folder of all profiles"));
    command
}

/// A folder of one test.
fn folder(name: &str) -> PathBuf {
    let folder = cc::scratch().join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// A folder with an installed library that was moved after the installation.
fn installed() -> &'static Path {
    static INSTALLED: LazyLock<PathBuf> = LazyLock::new(|| {
        let (first, moved) = (folder("first"), cc::scratch().join("moved"));
        // Programs are linked faster without what debuggers need.
        run(&mut make("install-strip", &first));
        let _ = fs::remove_dir_all(&moved);
        fs::rename(&first, &moved).expect("the folder can be moved");
        moved
    });
    &INSTALLED
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn pkg_config(arguments: &[&str]) -> Vec<String> {
    let path = installed().join("lib/pkgconfig");
    words(&run(Command::new("pkg-config").env("PKG_CONFIG_PATH", path).args(arguments).arg("eventstream_rpc")))
}

/// Compiles both examples of README into `folder`.
fn compile_examples(folder: &Path, flags: &[String], libraries: &[String]) {
    for example in EXAMPLES {
        let source = cc::root().join("examples-c").join(example).with_extension("c");
        run(Command::new("cc").args(flags).arg(source).arg("-o").arg(folder.join(example)).args(libraries));
    }
}

/// Lets the client call the server.
fn converse(server: &Path, client: &Path) {
    let socket = server.with_extension("socket");
    let _ = fs::remove_file(&socket);
    let load = installed().join("lib");
    let program = |path: &Path| {
        let mut command = Command::new(path);
        command.arg(&socket).env("LD_LIBRARY_PATH", &load);
        command
    };
    let mut server = program(server).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("piped")).read_line(&mut line).expect("it prints text");
    assert!(line.starts_with("listening on unix:"), "{line:?}");
    assert_eq!(run(&mut program(client)), "{\"hello\":\"world\"}\n");
    drop(server.stdin.take());
    assert!(server.wait().expect("it can be waited for").success());
    UnixStream::connect(&socket).expect_err("the server has ended");
}

#[test]
fn the_tools_find_the_library_and_have_manual_pages() {
    for tool in ["esrpc-call", "esrpc-dump", "esrpc-serve"] {
        let program = installed().join("bin").join(tool);
        let version = run(Command::new(program).env_remove("LD_LIBRARY_PATH").arg("--version"));
        assert!(version.starts_with(&format!("{tool} {}", env!("CARGO_PKG_VERSION"))), "{version}");
        let page = installed().join("share/man/man1").join(format!("{tool}.1"));
        assert!(page.is_file(), "{} is missing", page.display());
    }
}

#[test]
fn programs_are_built_with_pkg_config_and_the_shared_library() {
    let folder = folder("pkg_config_shared");
    compile_examples(&folder, &pkg_config(&["--cflags"]), &pkg_config(&["--libs"]));
    converse(&folder.join("quick_server"), &folder.join("blocking_call"));
}

#[test]
fn programs_are_built_with_pkg_config_and_contain_the_library_alone() {
    let folder = folder("pkg_config_archive");
    let archive = installed().join("lib/libeventstream_rpc.a").display().to_string();
    let libraries: Vec<_> = pkg_config(&["--libs", "--static"])
        .into_iter()
        .map(|word| if word == "-leventstream_rpc" { archive.clone() } else { word })
        .collect();
    compile_examples(&folder, &pkg_config(&["--cflags"]), &libraries);
    converse(&folder.join("quick_server"), &folder.join("blocking_call"));
}

#[test]
fn programs_are_built_with_pkg_config_without_any_shared_library() {
    let folder = folder("pkg_config_static");
    let mut flags = pkg_config(&["--cflags"]);
    flags.push("-static".to_owned());
    compile_examples(&folder, &flags, &pkg_config(&["--libs", "--static"]));
    converse(&folder.join("quick_server"), &folder.join("blocking_call"));
}

/// The libraries of the system are those that Rust's compiler names, except those that C compilers link on their own.
#[test]
fn pkg_config_names_the_libraries_that_rust_names() {
    let folder = folder("native");
    let source = folder.join("empty.rs");
    fs::write(&source, "").expect("the target folder can be written");
    let output = Command::new("rustc")
        .args(["--crate-type", "staticlib", "--print", "native-static-libs", "--out-dir"])
        .args([&folder, &source])
        .output()
        .expect("rustc is needed");
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    let named = printed.split_once("native-static-libs:").expect("it names them").1;
    let named: BTreeSet<_> = words(named.lines().next().unwrap_or_default()).into_iter().collect();
    let own: BTreeSet<_> = ["-lgcc_s", "-lc"].map(str::to_owned).into();
    let ours: BTreeSet<_> = pkg_config(&["--libs-only-l", "--static"]).into_iter().collect();
    let mut expected: BTreeSet<_> = named.difference(&own).cloned().collect();
    expected.insert("-leventstream_rpc".to_owned());
    assert_eq!(ours, expected);
}

fn cmake(project: &str, settings: &[String], folder: &Path) {
    let source = cc::root().join("tests/install").join(project);
    let examples = format!("-DEXAMPLES={}", cc::root().join("examples-c").display());
    run(Command::new("cmake").arg("-S").arg(source).arg("-B").arg(folder).arg(examples).args(settings));
    run(Command::new("cmake").arg("--build").arg(folder));
    for kind in ["shared", "static"] {
        converse(&folder.join(format!("quick_server_{kind}")), &folder.join(format!("blocking_call_{kind}")));
    }
}

#[test]
fn programs_are_built_with_cmake() {
    cmake("package", &[format!("-DCMAKE_PREFIX_PATH={}", installed().display())], &folder("cmake_package"));
}

#[test]
#[ignore = "builds an optimized library"]
fn the_library_is_part_of_a_cmake_project() {
    // Not emptied, so that the second time is short.
    let folder = cc::scratch().join("cmake_subproject");
    cmake("subproject", &[format!("-DLIBRARY={}", cc::root().display()), "-DESRPC_TLS=none".to_owned()], &folder);
}

/// vcpkg's own functions are replaced: tests/install/vcpkg/run.cmake.
#[test]
#[ignore = "builds the library without TLS"]
fn the_port_for_vcpkg_installs_what_its_usage_says() {
    let root = cc::root();
    let text = fs::read_to_string(root.join("packaging/vcpkg/usage")).expect("the port has a usage");
    let (_, commands) = text.split_once("find_package").expect("it names the package");
    let (commands, _) = commands.split_once("\n\neventstream-rpc").expect("pkg-config follows");
    for (linkage, library) in [("dynamic", "lib/libeventstream_rpc.so.0"), ("static", "lib/libeventstream_rpc.a")] {
        let folder = folder(&format!("vcpkg_{linkage}"));
        let prefix = folder.join("prefix");
        run(Command::new("cmake")
            .arg(format!("-DPORT_DIR={}", root.join("packaging/vcpkg").display()))
            .arg(format!("-DSOURCE={}", root.display()))
            .arg(format!("-DPREFIX={}", prefix.display()))
            .arg(format!("-DBUILD={}", cc::scratch().join("vcpkg_build").display()))
            .arg(format!("-DLINKAGE={linkage}"))
            .args(["-DFEATURES=", "-DARGUMENTS=PROFILE=dev"])
            .arg("-P")
            .arg(root.join("tests/install/vcpkg/run.cmake")));
        let mut found = BTreeSet::new();
        files(&prefix, &mut found);
        let mut names: BTreeSet<_> =
            found.iter().map(|path| path.strip_prefix(&prefix).expect("below it").display().to_string()).collect();
        names.retain(|name| !name.starts_with(library));
        let expected = [
            "include/eventstream_rpc.h",
            "include/eventstream_rpc.hpp",
            "lib/pkgconfig/eventstream_rpc.pc",
            "share/eventstream-rpc/copyright",
            "share/eventstream-rpc/usage",
            "share/eventstream_rpc/eventstream_rpc-config-version.cmake",
            "share/eventstream_rpc/eventstream_rpc-config.cmake",
        ];
        let shared = linkage == "dynamic";
        let links = if shared { vec!["lib/libeventstream_rpc.so"] } else { vec![] };
        assert_eq!(names, expected.into_iter().chain(links).map(str::to_owned).collect());
        assert!(prefix.join(library).is_file(), "{found:?}");

        let project = folder.join("project");
        fs::create_dir(&project).expect("the target folder can be written");
        for example in EXAMPLES {
            let source = root.join("examples-c").join(example).with_extension("c");
            let text = format!(
                "cmake_minimum_required(VERSION 3.18)\nproject(caller C)\nadd_executable(main \"{}\")\nfind_package{}\n",
                source.display(),
                commands
            );
            fs::write(project.join("CMakeLists.txt"), text).expect("the target folder can be written");
            let built = folder.join(example);
            run(Command::new("cmake")
                .arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display()))
                .arg("-S")
                .arg(&project)
                .arg("-B")
                .arg(&built));
            run(Command::new("cmake").arg("--build").arg(&built));
        }
        converse(&folder.join("quick_server/main"), &folder.join("blocking_call/main"));
    }
}

#[test]
fn the_shared_library_is_loaded_without_anything_else() {
    let program = folder("loads").join("loads");
    run(Command::new("cc").arg(cc::root().join("tests/install/loads.c")).arg("-o").arg(&program).arg("-ldl"));
    let printed = run(Command::new(&program).arg(installed().join("lib/libeventstream_rpc.so.0")));
    assert_eq!(printed.trim(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn two_static_libraries_in_rust_are_in_one_program() {
    let folder = folder("two_libraries");
    let (sources, program) = (cc::root().join("tests/install"), folder.join("two_libraries"));
    let other = folder.join("libother.a");
    run(Command::new("rustc")
        .args(["--edition", "2024", "--crate-type", "staticlib", "-o"])
        .args([&other, &sources.join("other_library.rs")]));
    for (first, second) in [(installed().join("lib/libeventstream_rpc.a"), other.clone()), (other.clone(), other)] {
        let second = if first == second { installed().join("lib/libeventstream_rpc.a") } else { second };
        run(Command::new("cc")
            .args(pkg_config(&["--cflags"]))
            .arg(sources.join("two_libraries.c"))
            .args([&first, &second])
            .args(["-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-o"])
            .arg(&program));
        run(&mut Command::new(&program));
    }
}

#[test]
fn the_static_library_has_no_names_but_those_of_the_header() {
    let names = run(Command::new("nm")
        .args(["--extern-only", "--defined-only", "--format=just-symbols"])
        .arg(installed().join("lib/libeventstream_rpc.a")));
    let others: Vec<_> =
        names.lines().filter(|line| !line.is_empty() && !line.ends_with(':') && !line.starts_with("esrpc_")).collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(names.lines().any(|name| name == "esrpc_version"));
}

/// packaging/licences.sh writes them down.
#[test]
fn the_licences_of_all_crates_are_installed() {
    let crates = run(Command::new("cargo")
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(cc::root()));
    let licences = fs::read_to_string(installed().join("share/doc/eventstream_rpc/THIRD-PARTY-LICENSES"))
        .expect("the licences are installed");
    let mut missing = Vec::new();
    for line in crates.lines().skip(1) {
        // "name v1.2.3", perhaps with a remark behind it.
        let mut words = line.split_whitespace();
        let (name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let entry = format!("\n  {name} {}", version.trim_start_matches('v'));
        if !line.contains("(proc-macro)") && !licences.contains(&entry) {
            missing.push(line.to_owned());
        }
    }
    assert!(missing.is_empty(), "run packaging/licences.sh: {missing:?}");
    assert!(crates.lines().count() > 10, "{crates}");
}

fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        if entry.file_type().expect("it has a type").is_dir() {
            files(&entry.path(), found);
        } else {
            found.insert(entry.path());
        }
    }
}

#[test]
fn with_sudo_nothing_is_built() {
    installed();
    let install = |prefix: &Path| {
        let mut command = make("install", prefix);
        command.env("SUDO_USER", "somebody").arg("CARGO=/no/such/cargo");
        command
    };
    let prefix = folder("sudo");
    run(&mut install(&prefix));
    assert!(prefix.join("lib/libeventstream_rpc.a").exists());
    let empty = folder("not_built");
    let output = run_make(install(&prefix).env("CARGO_TARGET_DIR", &empty));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("run make without sudo first"), "{errors}");
}

#[test]
fn uninstall_leaves_nothing() {
    let prefix = folder("uninstalled");
    let of = |prefix: &Path| {
        let mut found = BTreeSet::new();
        files(prefix, &mut found);
        found
    };
    let stage = prefix.join("stage");
    let below = |goal| {
        let mut command = make(goal, Path::new("/usr"));
        command.arg(format!("DESTDIR={}", stage.display())).arg("LIBDIR=/usr/lib/triplet");
        command
    };
    run(&mut below("install"));
    let installed = of(&stage);
    for name in
        ["lib/triplet/libeventstream_rpc.so.0", "include/eventstream_rpc.h", "lib/triplet/pkgconfig/eventstream_rpc.pc"]
    {
        assert!(installed.contains(&stage.join("usr").join(name)), "{name} is not among {installed:?}");
    }
    let described = fs::read_to_string(stage.join("usr/lib/triplet/pkgconfig/eventstream_rpc.pc")).expect("it is text");
    assert!(described.contains("libdir=${prefix}/lib/triplet\n"), "{described}");
    assert!(!described.contains(&stage.display().to_string()), "{described}");
    // A folder that may lie anywhere, though /lib is a link on many systems.
    let anywhere = prefix.join("anywhere");
    let mut command = make("install", Path::new("/"));
    run(command.arg(format!("DESTDIR={}", anywhere.display())).arg("LIBDIR=/lib").arg("INCLUDEDIR=/include"));
    let described = anywhere.join("lib/pkgconfig/eventstream_rpc.pc");
    let described = fs::read_to_string(described).expect("it is text");
    assert!(described.starts_with("prefix=${pcfiledir}/../..\n"), "{described}");
    assert!(described.contains("\nlibdir=${prefix}/lib\nincludedir=${prefix}/include\n"), "{described}");
    run(&mut below("uninstall"));
    assert_eq!(of(&stage), BTreeSet::new());
}

/// Whoever installs may choose folders in which other things lie, too.
#[test]
fn uninstall_keeps_what_others_have_installed() {
    let prefix = folder("uninstalled_beside_others");
    let shared = prefix.join("shared");
    let below = |goal| {
        let mut command = make(goal, &prefix);
        command.arg(format!("DOCDIR={}", shared.display())).arg(format!("CMAKEDIR={}", shared.display()));
        command
    };
    run(&mut below("install"));
    fs::write(shared.join("other"), "of another package").expect("the folder is there");
    run(&mut below("uninstall"));
    let mut left = BTreeSet::new();
    files(&prefix, &mut left);
    assert_eq!(left, BTreeSet::from([shared.join("other")]));
}
