//! What the system may do to every call: conversations over real sockets while a preloaded library lets reads and writes be
//! short, interrupted or delayed, connections fail at any byte, and system calls fail.
//!
//! ESRPC_FAULTS=all tries every byte of TLS conversations too (some minutes).
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;
#[path = "common/certificates.rs"]
mod certificates;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use cc::Standard;
use certificates::Authority;

/// The program, the library to preload, and a folder with certificates.
fn made() -> &'static (PathBuf, PathBuf, String) {
    static MADE: OnceLock<(PathBuf, PathBuf, String)> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = cc::scratch().join("certificates");
        fs::create_dir_all(&folder).expect("the target folder can be written");
        let authority = Authority::new("test CA");
        let server = authority.server(&["server.example"]);
        for (name, content) in
            [("ca.pem", &authority.pem), ("server.pem", &server.certificate), ("server.key", &server.key)]
        {
            fs::write(folder.join(name), content).expect("the target folder can be written");
        }
        let program = cc::compile(Standard::C11, "test_faults.c");
        (program, cc::compile_preloaded("fault_shim.c"), folder.display().to_string())
    })
}

/// Of so many bytes at which a connection may fail, one is tried.
fn converse(kind: &str, one_in: usize, arguments: &[&str]) {
    let (program, shim, folder) = made();
    let one_in = match env::var("ESRPC_FAULTS") {
        Ok(which) if which == "all" => 1,
        _ if cc::is_slow() => one_in * 50,
        _ => one_in,
    };
    let one_in = one_in.to_string();
    let arguments: Vec<_> = [kind, folder, &one_in].into_iter().chain(arguments.iter().copied()).collect();
    cc::run_in(program, &arguments, &[("LD_PRELOAD", shim)]);
}

#[test]
fn conversations_over_tcp() {
    converse("plain", 1, &[]);
}

#[test]
fn conversations_over_unix_sockets() {
    converse("plain", 5, &["--unix"]);
}

#[test]
fn conversations_over_tls() {
    converse("tls", 17, &[]);
}
