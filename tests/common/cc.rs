//! Compiles C against the committed header and the shared library that cargo just built, and runs it.
//!
//! CC and CXX name the compilers. ESRPC_TEST_CFLAGS adds flags (such as those of a sanitizer), ESRPC_TEST_WRAPPER a
//! command (such as valgrind) in front of the programs, and ESRPC_TEST_LIBRARY names another build of the library.
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
    Cxx20,
}

impl Standard {
    pub fn is_cxx(self) -> bool {
        matches!(self, Standard::Cxx11 | Standard::Cxx20)
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Standard::C99 => &["-std=c99", "-x", "c"],
            Standard::C11 => &["-std=c11", "-x", "c"],
            Standard::Cxx11 => &["-std=c++11", "-x", "c++"],
            Standard::Cxx20 => &["-std=c++20", "-x", "c++"],
        }
    }

    fn compiler(self) -> Command {
        let (variable, usual) = if self.is_cxx() { ("CXX", "c++") } else { ("CC", "cc") };
        let mut command = Command::new(env::var(variable).unwrap_or_else(|_| usual.to_owned()));
        command.args(self.flags()).args(WARNINGS);
        command
    }
}

/// The standards that the header and the tests in C are held to.
pub fn standards() -> [Standard; 4] {
    [Standard::C99, Standard::C11, Standard::Cxx11, Standard::Cxx20]
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The shared library that cargo built together with this test, or the one that is to be tested instead.
pub fn shared_library() -> &'static Path {
    static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
        if let Some(library) = env::var_os("ESRPC_TEST_LIBRARY") {
            return library.into();
        }
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
        for name in ["libeventstream_rpc.so", "libeventstream_rpc.so.0"] {
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
    let mut command = standard.compiler();
    command.arg("-fsyntax-only").args(flags).arg("-I").arg(root().join("include")).arg(source);
    finish(command)
}

/// Whether the programs run under something that makes them slow: valgrind or a sanitizer.
pub fn is_slow() -> bool {
    !words("ESRPC_TEST_WRAPPER").is_empty() || !extra_flags().is_empty()
}

/// Compiles tests/c/`source` and links it with the library; returns the program.
pub fn compile(standard: Standard, source: &str) -> PathBuf {
    try_compile(standard, source, &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// As `compile`, with more flags for compiler and linker; the failure is what they say.
pub fn try_compile(standard: Standard, source: &str, flags: &[String]) -> Result<PathBuf, String> {
    let program = scratch().join(format!("{source}.{standard:?}"));
    let mut command = standard.compiler();
    command.args(["-g", "-pthread"]).args(extra_flags()).args(flags);
    command.arg("-I").arg(root().join("include")).arg("-I").arg(root().join("tests/c"));
    command.arg(root().join("tests/c").join(source)).arg("-o").arg(&program);
    command.arg("-L").arg(library_folder()).arg("-leventstream_rpc");
    command.arg(format!("-Wl,-rpath,{}", library_folder().display()));
    finish(command).map_err(|error| format!("{source} as {standard:?}: {error}"))?;
    Ok(program)
}

/// Compiles tests/c/`source` into a library for LD_PRELOAD; returns where it is.
pub fn compile_preloaded(source: &str) -> PathBuf {
    let library = scratch().join(format!("{source}.so"));
    let mut command = Command::new(env::var("CC").unwrap_or_else(|_| "cc".to_owned()));
    command.args(["-std=gnu11", "-g", "-O1", "-shared", "-fPIC", "-pthread"]).args(WARNINGS);
    command.arg(root().join("tests/c").join(source)).arg("-o").arg(&library).arg("-ldl");
    finish(command).unwrap_or_else(|error| panic!("{source}: {error}"));
    library
}

fn finish(mut command: Command) -> Result<(), String> {
    let output = command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!(
            "{} is needed: install gcc and g++, or name other compilers in CC and CXX",
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
    let mut command = match words("ESRPC_TEST_WRAPPER").as_slice() {
        [] => Command::new(program),
        [wrapper, rest @ ..] => {
            let mut command = Command::new(wrapper);
            command.args(rest).arg(program);
            command
        }
    };
    // cargo's own search path comes before the rpath, and may hold an older library.
    command.env("LD_LIBRARY_PATH", library_folder()).envs(environment.iter().copied());
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
