//! Compiles C against the committed header and the shared library that cargo just built, and runs it.
//!
//! Variables of the environment change that:
//!
//! * ESRPC_TEST_CC and ESRPC_TEST_CXX, else CC and CXX, name the compilers, and ESRPC_TEST_CFLAGS adds flags, such as
//!   those of a sanitizer.
//! * ESRPC_TEST_LIBRARY names another build of the library, shared or static; ESRPC_TEST_LDLIBS are the libraries that a
//!   static one needs. The tests are built with its cargo features.
//! * ESRPC_TEST_TARGET is Rust's name of the system that this build is for, if it is not the one that cargo builds for.
//! * ESRPC_TEST_WRAPPER is a command in front of the programs, such as valgrind or an emulator.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::env;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

/// Long enough for valgrind on a busy machine; a program that takes longer hangs.
const TIME_LIMIT: Duration = Duration::from_secs(300);

const WARNINGS: &[&str] = &["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    C99,
    C11,
    Cxx11,
    Cxx17,
    Cxx20,
    Cxx23,
}

impl Standard {
    pub fn is_cxx(self) -> bool {
        !matches!(self, Standard::C99 | Standard::C11)
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Standard::C99 => &["-std=c99", "-x", "c"],
            Standard::C11 => &["-std=c11", "-x", "c"],
            Standard::Cxx11 => &["-std=c++11", "-x", "c++"],
            Standard::Cxx17 => &["-std=c++17", "-x", "c++"],
            Standard::Cxx20 => &["-std=c++20", "-x", "c++"],
            // The name that older compilers know, too.
            Standard::Cxx23 => &["-std=c++2b", "-x", "c++"],
        }
    }

    fn compiler(self) -> Command {
        self.with(if self.is_cxx() { compiler("CXX", "c++") } else { compiler("CC", "cc") })
    }

    fn with(self, mut compiler: Command) -> Command {
        compiler.args(self.flags()).args(WARNINGS);
        compiler
    }
}

/// The compiler that this variable names, which build scripts of cargo also read, or one that is for the tests alone.
fn compiler(variable: &str, usual: &str) -> Command {
    let name = env::var(format!("ESRPC_TEST_{variable}")).or_else(|_| env::var(variable));
    Command::new(name.unwrap_or_else(|_| usual.to_owned()))
}

/// The standards that the header and the tests in C are held to.
pub fn standards() -> [Standard; 4] {
    [Standard::C99, Standard::C11, Standard::Cxx11, Standard::Cxx20]
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The system that the programs are for, if cargo builds for another.
pub fn target() -> Option<String> {
    env::var("ESRPC_TEST_TARGET").ok()
}

fn is_for_windows() -> bool {
    target().is_some_and(|target| target.contains("-windows-"))
}

/// Whether the programs contain the library rather than load it.
pub fn is_static() -> bool {
    shared_library().extension().is_some_and(|extension| extension == "a")
}

/// Whether the library has TLS.
pub fn has_tls() -> bool {
    cfg!(feature = "tls")
}

/// The shared library that cargo built together with this test, or the one that is to be tested instead.
pub fn shared_library() -> &'static Path {
    static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
        if let Some(library) = env::var_os("ESRPC_TEST_LIBRARY") {
            let found = fs::canonicalize(&library);
            return found.unwrap_or_else(|error| panic!("{}: {error}", library.display()));
        }
        assert!(target().is_none(), "ESRPC_TEST_TARGET needs ESRPC_TEST_LIBRARY");
        let test = env::current_exe().expect("a test knows where it is");
        let library = test.parent().expect("it is in a folder").join("libeventstream_rpc.so");
        assert!(library.exists(), "cargo built no {}", library.display());
        library
    });
    &LIBRARY
}

/// A folder of this test's own, for what it makes.
pub fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let test = env::current_exe().expect("a test knows where it is");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test.file_name().expect("a file name"));
        let folder = folder.join(target().unwrap_or_default());
        fs::create_dir_all(&folder).expect("the target folder can be written");
        folder
    })
}

/// A folder in which linker and loader find the library under the names that they look for.
fn library_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = scratch().join("lib");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the target folder can be written");
        let names: &[_] = if is_static() {
            &["libeventstream_rpc.a"]
        } else if is_for_windows() {
            &["eventstream_rpc.dll"]
        } else {
            &["libeventstream_rpc.so", "libeventstream_rpc.so.0"]
        };
        for name in names {
            std::os::unix::fs::symlink(shared_library(), folder.join(name)).expect("a link can be made");
        }
        folder
    })
}

fn extra_flags() -> Vec<String> {
    words("ESRPC_TEST_CFLAGS")
}

fn words(variable: &str) -> Vec<String> {
    env::var(variable).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Compiles `source` without linking; the failure is what the compiler says.
pub fn check_syntax(standard: Standard, source: &Path) -> Result<(), String> {
    check_syntax_with(standard, source, &[])
}

/// As `check_syntax`, with more flags for the compiler.
pub fn check_syntax_with(standard: Standard, source: &Path, flags: &[String]) -> Result<(), String> {
    only_check(standard.compiler(), source, flags)
}

/// As `check_syntax_with`, by this compiler.
pub fn check_syntax_by(compiler: &str, standard: Standard, source: &Path, flags: &[String]) -> Result<(), String> {
    only_check(standard.with(Command::new(compiler)), source, flags)
}

fn only_check(mut command: Command, source: &Path, flags: &[String]) -> Result<(), String> {
    command.arg("-fsyntax-only").args(extra_flags()).args(flags).arg("-I").arg(root().join("include")).arg(source);
    finish(command)
}

/// The command in front of the programs: it and its arguments, or nothing.
pub fn wrapper() -> Vec<String> {
    words("ESRPC_TEST_WRAPPER")
}

/// Whether the programs run under something that takes long to start: valgrind or a sanitizer, but not an emulator.
pub fn is_slow() -> bool {
    target().is_none() && (!wrapper().is_empty() || !extra_flags().is_empty())
}

/// Compiles tests/c/`source` and links it with the library; returns the program.
pub fn compile(standard: Standard, source: &str) -> PathBuf {
    try_compile(standard, source, &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// As `compile`, with more flags for compiler and linker; the failure is what they say.
pub fn try_compile(standard: Standard, source: &str, flags: &[String]) -> Result<PathBuf, String> {
    let suffix = if is_for_windows() { ".exe" } else { "" };
    let program = scratch().join(format!("{source}.{standard:?}{suffix}"));
    let mut command = standard.compiler();
    command.args(["-g", "-pthread"]).args(extra_flags()).args(flags);
    // Not -I: a test's process.h is not the system's.
    command.arg("-I").arg(root().join("include")).arg("-iquote").arg(root().join("tests/c"));
    if is_for_windows() {
        let posix = root().join("tests/c/windows");
        command.arg("-I").arg(&posix).arg("-include").arg(posix.join("posix.h"));
    }
    command.arg(root().join("tests/c").join(source));
    link(command, &program).map_err(|error| format!("{source} as {standard:?}: {error}"))?;
    Ok(program)
}

/// Compiles these sources by this compiler and links them with the library; returns the program of this name.
pub fn compile_by(
    compiler: &str,
    standard: Standard,
    sources: &[PathBuf],
    name: &str,
    flags: &[String],
) -> Result<PathBuf, String> {
    let program = scratch().join(name);
    let mut command = standard.with(Command::new(compiler));
    command.args(["-g", "-pthread"]).args(extra_flags()).args(flags).arg("-I").arg(root().join("include"));
    command.args(sources);
    link(command, &program)?;
    Ok(program)
}

fn link(mut command: Command, program: &Path) -> Result<(), String> {
    command.arg("-o").arg(program);
    command.arg("-L").arg(library_folder()).arg("-leventstream_rpc").args(words("ESRPC_TEST_LDLIBS"));
    if is_for_windows() {
        command.arg("-lws2_32");
    } else {
        command.arg(format!("-Wl,-rpath,{}", library_folder().display()));
    }
    finish(command)
}

/// Compiles tests/c/`source` into a library for LD_PRELOAD; returns where it is.
pub fn compile_preloaded(source: &str) -> PathBuf {
    let library = scratch().join(format!("{source}.so"));
    let mut command = compiler("CC", "cc");
    command.args(["-std=gnu11", "-g", "-O1", "-shared", "-fPIC", "-pthread"]).args(WARNINGS);
    command.arg(root().join("tests/c").join(source)).arg("-o").arg(&library).arg("-ldl");
    finish(command).unwrap_or_else(|error| panic!("{source}: {error}"));
    library
}

fn finish(mut command: Command) -> Result<(), String> {
    let output = command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!(
            "{} is needed: install gcc, g++ and clang, or name other compilers in CC and CXX",
            command.get_program().display()
        ),
        _ => format!("{command:?}: {error}"),
    })?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Runs a program to its end, which must be a success, and returns what it printed.
pub fn run(program: &Path, arguments: &[&str]) -> String {
    run_in(program, arguments, &[])
}

/// As `run`, with these environment variables.
pub fn run_in(program: &Path, arguments: &[&str], environment: &[(&str, &Path)]) -> String {
    let mut command = match wrapper().as_slice() {
        [] => Command::new(program),
        [wrapper, rest @ ..] => {
            let mut command = Command::new(wrapper);
            command.args(rest).arg(program);
            command
        }
    };
    // cargo's own search path comes before the rpath, and may hold an older library.
    command
        .env("LD_LIBRARY_PATH", library_folder())
        .env("WINEPATH", library_folder())
        .envs(environment.iter().copied());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));

    let (sender, receiver) = mpsc::channel();
    let (mut out, mut err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let err = thread::spawn(move || {
        let mut text = Vec::new();
        err.read_to_end(&mut text).map(|_| text)
    });
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = sender.send(out.read_to_end(&mut text).map(|_| text));
    });
    let printed = receiver.recv_timeout(TIME_LIMIT);
    if printed.is_err() {
        // With its children, which would keep the pipes open.
        let group = -(child.id() as libc::pid_t);
        // SAFETY: the child is not waited for yet, so no other group can have its id.
        unsafe { libc::kill(group, libc::SIGKILL) };
    }
    let status = child.wait().expect("a child can be waited for");
    let complaint = err.join().expect("reading does not panic").unwrap_or_default();
    let complaint = String::from_utf8_lossy(&complaint);
    let printed = printed.unwrap_or_else(|_| panic!("{} hangs: {complaint}", program.display()));
    assert!(status.success(), "{} ends with {status}:\n{complaint}", program.display());
    String::from_utf8_lossy(&printed.unwrap_or_default()).into_owned()
}
