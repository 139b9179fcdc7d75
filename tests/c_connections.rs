//! Names, sockets and times, tried from C against peers that stall, vanish or refuse: compiled under every standard, run over
//! TCP and, where that makes a difference, over Unix sockets.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;
#[path = "common/certificates.rs"]
mod certificates;

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use cc::Standard;
use certificates::Authority;

/// Much of their time is waiting for deadlines, so each program runs once per kind of socket.
fn run(source: &str, over_unix_sockets: bool) {
    let program = compile(source);
    cc::run(&program, &[]);
    if over_unix_sockets {
        cc::run(&program, &["--unix"]);
    }
}

fn compile(source: &str) -> PathBuf {
    for standard in cc::standards() {
        let result = cc::check_syntax(standard, &cc::root().join("tests/c").join(source));
        result.unwrap_or_else(|error| panic!("{source} as {standard:?}: {error}"));
    }
    cc::compile(Standard::C11, source)
}

#[test]
fn every_phase_has_a_deadline() {
    run("test_deadlines.c", true);
}

#[test]
fn deadlines_of_streams() {
    run("test_stream_deadline.c", true);
}

#[test]
fn keep_alive_and_paused_reading() {
    run("test_keep_alive.c", true);
}

#[test]
fn the_end_of_either_side_loses_nothing() {
    run("test_peer_end.c", true);
}

#[test]
fn host_names() {
    run("test_names.c", false);
}

#[test]
fn socket_options_and_addresses() {
    run("test_sockets.c", false);
}

#[test]
fn sockets_of_the_application() {
    run("test_adopted_sockets.c", false);
    run("test_wrong_sockets.c", false);
}

#[test]
fn inherited_sockets() {
    run("test_inherited_state.c", true);
}

#[test]
fn who_is_at_the_other_end() {
    run("test_peer_credentials.c", false);
}

#[test]
fn servers_that_decide_later() {
    run("test_deciding_later.c", true);
}

#[test]
fn the_end_of_a_listener() {
    cc::run(&compile("test_listener_end.c"), &[CERTIFICATES.as_str()]);
}

#[test]
fn limits_of_a_listener() {
    cc::run(&compile("test_listener_limits.c"), &[CERTIFICATES.as_str()]);
}

#[test]
fn memory_in_the_worst_case() {
    cc::run(&compile("test_worst_case.c"), &[CERTIFICATES.as_str()]);
}

#[test]
fn statistics() {
    let program = compile("test_statistics.c");
    cc::run(&program, &[CERTIFICATES.as_str()]);
    cc::run(&program, &[CERTIFICATES.as_str(), "--unix"]);
}

#[test]
fn ten_thousand_connections() {
    cc::run(&compile("test_many_connections.c"), &[CERTIFICATES.as_str()]);
}

/// A folder with the files that tests/c/certificates.h names.
static CERTIFICATES: LazyLock<String> = LazyLock::new(|| {
    let folder = cc::scratch().join("certificates");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let (authority, other) = (Authority::new("test CA"), Authority::new("other CA"));
    let server = authority.server(&["server.example"]);
    let files = [
        ("ca.pem", &authority.pem),
        ("other-ca.pem", &other.pem),
        ("server.pem", &server.certificate),
        ("server.key", &server.key),
    ];
    for (name, content) in files {
        fs::write(folder.join(name), content).expect("the target folder can be written");
    }
    folder.display().to_string()
});

#[test]
fn reads_that_end_early() {
    let program = compile("test_divided_reads.c");
    for protection in ["plain", "tls"] {
        cc::run(&program, &[CERTIFICATES.as_str(), protection]);
        cc::run(&program, &[CERTIFICATES.as_str(), protection, "--unix"]);
    }
}
