//! The programs: how each is compiled, and in which ways its scenarios run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, OnceLock};

use libtest_mimic::Trial;

use crate::cc::{self, Standard};
use crate::certificates::{Authority, encrypted_pkcs8, pem};
use crate::{every_call, thread_end};

/// A way to run a scenario.
#[derive(Clone, Copy)]
struct Way {
    /// What the test's name ends with.
    suffix: &'static str,
    arguments: &'static [&'static str],
    standard: Standard,
}

const PLAIN: Way = Way { suffix: "", arguments: &[], standard: Standard::C11 };
const UNIX: Way = Way { suffix: "::over_unix", arguments: &["--unix"], standard: Standard::C11 };
const TLS: Way = Way { suffix: "::over_tls", arguments: &["--tls"], standard: Standard::C11 };
const TLS_UNIX: Way = Way { suffix: "::over_tls_and_unix", arguments: &["--tls", "--unix"], standard: Standard::C11 };
const CXX: Way = Way { suffix: "::in_cxx", arguments: &[], standard: Standard::Cxx20 };

/// Programs that run over TCP or over no connection at all.
const NOT_OVER_UNIX: &[&str] = &[
    "adopted_sockets",
    "cancel",
    "codec",
    "copies",
    "decoder",
    "event_errors",
    "every_call",
    "failing_connects",
    "fork",
    "guest_exits",
    "guest_limits",
    "listener_end",
    "listener_limits",
    "listening",
    "many_calls",
    "many_connections",
    "many_streams",
    "memory",
    "names",
    "namespaces",
    "null_arguments",
    "null_arguments_options",
    "null_arguments_rpc",
    "null_arguments_tls",
    "peer_credentials",
    "pipes",
    "randomness",
    "sockets",
    "thread_end",
    "tls_config",
    "worst_case",
    "wrong_sockets",
];

/// Programs with <stdatomic.h>.
const NEEDS_C11: &[&str] = &["accept_errors"];

fn ways(program: &str) -> &'static [Way] {
    match program {
        "divided_reads" => &[PLAIN, UNIX, TLS, TLS_UNIX],
        "faults" => &[PLAIN, UNIX, TLS],
        // C++ sees the same functions: that it links them and sees the same structures is shown once.
        "headers" => &[PLAIN, CXX],
        "views" => &[PLAIN, UNIX, CXX],
        _ if NOT_OVER_UNIX.contains(&program) => &[PLAIN],
        _ => &[PLAIN, UNIX],
    }
}

struct Program {
    name: String,
    scenarios: Vec<String>,
    as_c: OnceLock<Result<PathBuf, String>>,
    as_cxx: OnceLock<Result<PathBuf, String>>,
}

/// All tests; with `nocapture` they show what the programs print.
pub fn tests(nocapture: bool) -> Vec<Trial> {
    let mut files: Vec<_> = fs::read_dir(cc::root().join("tests/c"))
        .expect("the repository has tests/c")
        .map(|entry| entry.expect("a directory entry").path())
        .collect();
    files.sort();
    let programs = files.iter().filter_map(|file| Program::from(file));
    programs.flat_map(|program| program.tests(nocapture)).collect()
}

impl Program {
    /// The program in this file; none if the driver has tests of its own for it, or it is something else.
    fn from(file: &Path) -> Option<Arc<Program>> {
        let name = file.file_name()?.to_str()?.strip_prefix("test_")?.strip_suffix(".c")?.to_owned();
        let source = fs::read_to_string(file).expect("a test");
        let mut scenarios: Vec<_> =
            source.split("TEST(").skip(1).map(|rest| rest.split(')').next().unwrap_or_default().to_owned()).collect();
        match name.as_str() {
            "sanitized_host" => return None,
            "every_call" => scenarios.extend(every_call::functions()),
            "thread_end" => scenarios.extend(thread_end::callbacks()),
            _ => {}
        }
        assert!(!scenarios.is_empty(), "{} has no TEST(scenario)", file.display());
        Some(Arc::new(Program { name, scenarios, as_c: OnceLock::new(), as_cxx: OnceLock::new() }))
    }

    fn tests(self: Arc<Program>, nocapture: bool) -> Vec<Trial> {
        let mut tests = Vec::new();
        if !cc::is_slow() {
            let program = self.clone();
            tests.push(Trial::test(format!("{}::compiles_in_every_standard", self.name), move || {
                Ok(program.check_syntax()?)
            }));
        }
        for way in ways(&self.name) {
            for (name, arguments) in self.runs(*way) {
                let (program, way) = (self.clone(), *way);
                tests.push(Trial::test(format!("{}::{name}{}", self.name, way.suffix), move || {
                    let arguments: Vec<_> =
                        arguments.iter().map(String::as_str).chain(way.arguments.iter().copied()).collect();
                    let printed = cc::run_in(program.compiled(way.standard)?, &arguments, &program.environment());
                    if nocapture {
                        print!("{printed}");
                    }
                    Ok(())
                }));
            }
        }
        tests
    }

    /// Names of the runs, and the arguments of the program: a scenario each. Valgrind and sanitizers take long to
    /// start, so with these one run has all scenarios.
    fn runs(&self, way: Way) -> Vec<(&str, Vec<String>)> {
        if !cc::is_slow() || self.name == "thread_end" {
            self.scenarios.iter().map(|scenario| (scenario.as_str(), vec![scenario.clone()])).collect()
        } else if way.standard == Standard::C11 {
            vec![("every_scenario", Vec::new())]
        } else {
            Vec::new()
        }
    }

    fn file(&self) -> String {
        format!("test_{}.c", self.name)
    }

    fn check_syntax(&self) -> Result<(), String> {
        let source = cc::root().join("tests/c").join(self.file());
        // C11 is what it is compiled as.
        let others = cc::standards().into_iter().filter(|standard| *standard != Standard::C11);
        for standard in others.filter(|_| !NEEDS_C11.contains(&self.name.as_str())) {
            cc::check_syntax_with(standard, &source, &self.flags())
                .map_err(|error| format!("{} as {standard:?}: {error}", self.file()))?;
        }
        Ok(())
    }

    /// The program, which is compiled once.
    fn compiled(&self, standard: Standard) -> Result<&Path, String> {
        let built = if standard.is_cxx() { &self.as_cxx } else { &self.as_c };
        let built = built.get_or_init(|| cc::try_compile(standard, &self.file(), &self.flags()));
        built.as_deref().map_err(String::clone)
    }

    fn flags(&self) -> Vec<String> {
        match self.name.as_str() {
            // Linked only if needed, which it is not: dlopen alone has the library in memory.
            "copies" => vec!["-Wl,--as-needed".to_owned()],
            "every_call" | "log_calls" => vec![format!("-I{}", every_call::folder().display())],
            _ => Vec::new(),
        }
    }

    fn environment(&self) -> Vec<(&'static str, &'static Path)> {
        let mut variables = vec![("ESRPC_TEST_CERTIFICATES", CERTIFICATES.as_path())];
        match self.name.as_str() {
            "copies" => variables.extend([
                ("ESRPC_TEST_LIBRARY", cc::shared_library()),
                ("ESRPC_TEST_LIBRARY_COPY", LIBRARY_COPY.as_path()),
            ]),
            // Without caches, which glibc counts as memory in use.
            "faults" => variables.extend([
                ("LD_PRELOAD", FAULT_SHIM.as_path()),
                ("GLIBC_TUNABLES", Path::new("glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1")),
            ]),
            _ => {}
        }
        variables
    }
}

static FAULT_SHIM: LazyLock<PathBuf> = LazyLock::new(|| cc::compile_preloaded("fault_shim.c"));

static LIBRARY_COPY: LazyLock<PathBuf> = LazyLock::new(|| {
    let copy = cc::scratch().join("another.so");
    fs::copy(cc::shared_library(), &copy).expect("the target folder can be written");
    copy
});

/// A folder with the files that tests/c/certificates.h and test_tls_config.c name.
static CERTIFICATES: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = cc::scratch().join("certificates");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let (authority, other) = (Authority::new("test CA"), Authority::new("other CA"));
    let (server, other_server) = (authority.server(&["server.example"]), authority.server(&["other.example"]));
    let encrypted = pem("ENCRYPTED PRIVATE KEY", &encrypted_pkcs8());
    let (list, _) = authority.revocation_list(&[], 2400);
    let damaged = list.replacen("\nMI", "\n!!", 1);
    let files = [
        ("ca.pem", &authority.pem),
        ("other-ca.pem", &other.pem),
        ("server.pem", &server.certificate),
        ("server.key", &server.key),
        ("other.key", &other_server.key),
        ("encrypted.key", &encrypted),
        ("good.crl", &list),
        ("damaged.crl", &damaged),
    ];
    for (name, content) in files {
        fs::write(folder.join(name), content).expect("the target folder can be written");
    }
    folder
});
