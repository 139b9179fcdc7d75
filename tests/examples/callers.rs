//! Servers that look at who calls, and servers that are given their socket.

use super::*;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A file that belongs to this test.
pub fn file(name: &str, content: &str) -> String {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let path = cc::scratch().join(format!("{}-{name}", FILES.fetch_add(1, Ordering::Relaxed)));
    fs::write(&path, content).expect("the target folder can be written");
    path.to_str().expect("a UTF-8 path").to_owned()
}

/// A path for a socket: short and unique.
pub fn socket_path(name: &str) -> String {
    let path = std::env::temp_dir().join(format!("esrpc-{name}-{}", std::process::id()));
    let _ = fs::remove_file(&path);
    path.to_str().expect("a UTF-8 path").to_owned()
}

/// A token server, which accepts clients with the token and no others; `server_tls` and `client_tls` are options.
fn assert_token_decides(place: &[&str], server_tls: &[&str], client_tls: &[&str], connected: &str) {
    let (right, wrong) = (file("right.token", "s3cret\n"), file("wrong.token", "s3creT\n"));
    let server =
        Server::start_program(example("token_server", &[&["--token-file", &right], place, server_tls].concat()));
    let port = server.address.rsplit(':').next().unwrap_or_default().to_owned();
    let place = if place[0] == "--port" { vec!["--port", &port] } else { place.to_vec() };
    let client = |token: &[&str]| run(example("echo_client", &[&place, client_tls, token].concat()));
    let admitted = client(&["--token-file", &right]);
    assert_eq!((admitted.code, admitted.err.as_str()), (Some(0), ""));
    let conversation = admitted.out.strip_prefix("connected to ").expect("it connected");
    assert!(conversation.starts_with(connected) && conversation.ends_with(CONVERSATION), "{conversation}");
    for token in [&["--token-file", wrong.as_str()][..], &[]] {
        let refused = client(token);
        assert_eq!((refused.code, refused.out.as_str()), (Some(FAILED), ""));
        assert!(refused.err.starts_with("cannot connect: ESRPC_ERROR_HANDSHAKE_REFUSED: "), "{}", refused.err);
    }
    let ended = server.stop("TERM");
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (Some(0), "refused a client whose token is wrong or missing\n".repeat(2).as_str())
    );
}

#[test]
fn the_token_server_decides_by_the_token_over_tcp() {
    assert_token_decides(&["--port", "0"], &[], &[], "127.0.0.1:");
}

#[test]
fn the_token_server_decides_by_the_token_over_unix_sockets() {
    let path = socket_path("token-server");
    assert_token_decides(&["--unix", &path], &[], &[], "unix:");
    let name = format!("esrpc-token-{}", std::process::id());
    assert_token_decides(&["--abstract", &name], &[], &[], "unix:@");
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs TLS")]
fn the_token_server_decides_by_the_token_over_tls() {
    let authority = certificates::Authority::new("test CA");
    let identity = authority.server(&["server.example"]);
    let (ca, certificate, key) =
        (file("ca.pem", &authority.pem), file("server.pem", &identity.certificate), file("server.key", &identity.key));
    let client = ["--ca", &ca, "--server-name", "server.example"];
    assert_token_decides(&["--port", "0"], &["--tls-cert", &certificate, "--tls-key", &key], &client, "127.0.0.1:");
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs TLS")]
fn a_client_with_a_revoked_certificate_is_refused_by_the_servers_list() {
    const REVOKED: u64 = 7;
    let authority = certificates::Authority::new("test CA");
    let identity = authority.server(&["server.example"]);
    let (list, _) = authority.revocation_list(&[REVOKED], 2400);
    let [good, revoked] = [1, REVOKED].map(|serial| {
        let identity = authority.issue(&[], |params| {
            params.serial_number = Some(serial.into());
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        });
        let name = format!("client{serial}");
        [file(&format!("{name}.pem"), &identity.certificate), file(&format!("{name}.key"), &identity.key)]
    });
    let files =
        [("mutual-ca.pem", &authority.pem), ("mutual.pem", &identity.certificate), ("mutual.key", &identity.key)];
    let [ca, certificate, key] = files.map(|(name, content)| file(name, content));
    let crl = file("mutual.crl", &list);
    let server = ["--port", "0", "--cert", &certificate, "--key", &key, "--client-ca", &ca, "--crl", &crl];
    let server = Server::start_at(&server);
    let client = |[certificate, key]: &[String; 2]| {
        let tls = ["--ca", &ca, "--server-name", "server.example", "--cert", certificate, "--key", key];
        run(example("echo_client", &[&["--port", server.port()][..], &tls].concat()))
    };
    assert_eq!(client(&good).code, Some(0));
    let refused = client(&revoked);
    assert_eq!(refused.code, Some(FAILED));
    assert!(refused.err.contains("certificate_revoked"), "{}", refused.err);
    let ended = server.stop("TERM");
    assert!(ended.err.starts_with("a connection failed: ESRPC_ERROR_TLS_CERTIFICATE_REVOKED: "), "{}", ended.err);
}

#[test]
fn the_token_server_turns_other_users_away() {
    let token = file("user.token", "s3cret\n");
    let own = fs::metadata("/proc/self").expect("Linux has it").uid();
    let name = format!("esrpc-user-{}", std::process::id());
    for (uid, admitted) in [(own, true), (own + 1, false)] {
        let uid = uid.to_string();
        let server = ["--abstract", &name, "--token-file", &token, "--uid", &uid];
        let server = Server::start_program(example("token_server", &server));
        let client = run(example("echo_client", &["--abstract", &name, "--token-file", &token]));
        let ended = server.stop("INT");
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        if admitted {
            assert_eq!((client.code, client.err.as_str(), ended.err.as_str()), (Some(0), "", ""));
        } else {
            assert_eq!((client.code, client.out.as_str()), (Some(FAILED), ""));
            assert!(client.err.starts_with("cannot connect: ESRPC_ERROR_"), "{}", client.err);
            assert!(ended.err.starts_with("turned process "), "{}", ended.err);
            assert!(ended.err.ends_with(&format!(" of user {own} away\n")), "{}", ended.err);
        }
    }
}

/// echo_server as a supervisor starts it: descriptor 3 is the socket, and the environment says so.
fn activated(socket: impl Into<OwnedFd>, descriptors: &str) -> Command {
    let script = r#"LISTEN_PID=$$ exec "$0" "$@" 3<&0 <&-"#;
    let program = build_folder().join("echo_server");
    let mut command = command(Path::new("sh"), &["-c", script, program.to_str().expect("a UTF-8 path"), "--port", "1"]);
    command.env("LISTEN_FDS", descriptors).stdin(Stdio::from(socket.into()));
    command
}

#[test]
fn a_supervisor_may_pass_the_socket_to_listen_on() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = socket.local_addr().expect("it has one").to_string();
    let server = Server::start_program(activated(socket.try_clone().expect("a second descriptor"), "1"));
    assert_eq!(server.address, address);
    let client = run(example("echo_client", &["--port", server.port()]));
    assert_eq!((client.code, client.err.as_str()), (Some(0), ""), "{}", client.out);
    let ended = server.stop("TERM");
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));

    // The supervisor starts the next one on the same socket, in which a client waits already.
    let waiting = thread::spawn({
        let port = address.rsplit(':').next().unwrap_or_default().to_owned();
        move || run(example("echo_client", &["--port", &port]))
    });
    let server = Server::start_program(activated(socket, "1"));
    let client = waiting.join().expect("no panic");
    assert_eq!((client.code, client.err.as_str()), (Some(0), ""), "{}", client.out);
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn a_passed_socket_outlives_the_server_with_its_file() {
    let path = socket_path("passed");
    let socket = UnixListener::bind(&path).expect("a short path");
    let server = Server::start_program(activated(socket, "1"));
    assert_eq!(server.address, path);
    let client = run(example("echo_client", &["--unix", &path]));
    assert_eq!((client.code, client.err.as_str()), (Some(0), ""), "{}", client.out);
    assert_eq!(server.stop("TERM").code, Some(0));
    fs::remove_file(&path).expect("it is the supervisor's");
}

#[test]
fn a_supervisor_that_passes_something_else_gets_an_error() {
    let two = run(activated(TcpListener::bind("127.0.0.1:0").expect("a port is free"), "2"));
    assert_eq!(
        (two.code, two.err.as_str()),
        (Some(USAGE), "echo_server: LISTEN_FDS must be 1: this server takes one socket\n")
    );
    let (one_end, _other) = UnixStream::pair().expect("two sockets");
    let connected = run(activated(one_end, "1"));
    assert_eq!(connected.code, Some(FAILED));
    assert_eq!(
        connected.err,
        "cannot start: ESRPC_ERROR_WRONG_SOCKET: the descriptor 3 is a connected socket; a listening one is needed here\n"
    );
}

#[test]
fn mistakes_in_arguments_are_explained_in_a_sentence() {
    let (token, empty, spaced) = (file("a.token", "x\n"), file("empty.token", "\nx\n"), file("spaced.token", "a b\n"));
    let cases: &[(&str, &[&str], &str)] = &[
        ("echo_server", &["--prot", "80"], "--prot is not an option of this program"),
        ("echo_server", &["--port", "80x"], "--port takes a number from 0 to 65535"),
        ("echo_server", &["--host"], "--host needs a value after it"),
        ("echo_server", &["--unix", "a", "--abstract", "b"], "--unix and --abstract exclude each other"),
        ("echo_server", &["--cert", "cert.pem"], "--cert and --key go together"),
        ("echo_server", &["--tls-cert", "cert.pem"], "--cert and --key go together"),
        ("echo_server", &["--tls"], "--cert and --key turn TLS on"),
        ("echo_client", &["--tls"], "--ca turns TLS on"),
        ("echo_server", &["--client-ca", "ca.pem"], "--client-ca is for TLS"),
        ("echo_server", &["--crl", "ca.crl"], "--crl needs the CA"),
        ("echo_client", &["--server-name", "x"], "--ca is needed for TLS"),
        ("echo_client", &["--token-file", &empty], "its first line is not a token"),
        ("token_server", &[], "--token-file is needed"),
        ("token_server", &["--token-file"], "--token-file needs a value after it"),
        ("token_server", &["--token-file", "/nowhere/token"], "/nowhere/token: No such file"),
        ("token_server", &["--token-file", &spaced], "its first line is not a token"),
        ("token_server", &["--token-file", &token, "--uid", "root"], "--uid takes the number of a user, not a name"),
    ];
    for (program, arguments, sentence) in cases {
        let ended = run(example(program, arguments));
        assert_eq!((ended.code, ended.out.as_str()), (Some(USAGE), ""), "{program} {arguments:?}");
        assert!(ended.err.contains(sentence), "{program} {arguments:?}: {}", ended.err);
    }
}

#[test]
fn help_is_printed_on_standard_output() {
    for (program, sentence) in [
        ("echo_server", "[--cert FILE --key FILE [--client-ca FILE"),
        ("echo_client", "[--ca FILE [--crl FILE]"),
        ("token_server", "is the token: 1 to 254 visible ASCII characters"),
        ("graceful_server", "[--drain-ms MILLISECONDS]"),
        ("codec_dump", "[--whole] [--chunk N] FILE|-"),
        ("greengrass_client", "OPERATION [JSON]"),
    ] {
        for option in ["--help", "-h"] {
            let ended = run(example(program, &[option]));
            assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{program} {option}");
            assert!(ended.out.starts_with(&format!("usage: {program} ")), "{program}: {}", ended.out);
            assert!(ended.out.contains(sentence), "{program}: {}", ended.out);
            let wide: Vec<_> = ended.out.lines().filter(|line| line.len() > 120).collect();
            assert!(wide.is_empty(), "{wide:?}");
        }
    }
}

/// Sooner than the default would end it.
#[test]
fn every_server_ends_a_silent_client_after_the_time_in_its_options() {
    let token = file("patience.token", "s3cret\n");
    for (program, own) in
        [("echo_server", &[][..]), ("graceful_server", &[]), ("token_server", &["--token-file", token.as_str()])]
    {
        let server =
            Server::start_program(example(program, &[own, &["--port", "0", "--setup-timeout", "50"]].concat()));
        let address = server.address.split(' ').next().expect("it says where it listens");
        let mut silent = TcpStream::connect(address).expect("it listens");
        silent.set_read_timeout(Some(Duration::from_secs(8))).expect("not zero");
        let mut said = Vec::new();
        silent.read_to_end(&mut said).unwrap_or_else(|error| panic!("{program} waits longer: {error}"));
        server.stop("TERM");
    }
}
