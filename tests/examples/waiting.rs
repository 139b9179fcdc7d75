//! Programs that wait for whole steps, and a server that ends gracefully.

use super::callers::{file, socket_path};
use super::*;
use std::process::ChildStdout;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[path = "../common/greengrass.rs"]
mod greengrass;

/// The calls of the README, one that waits and one with callbacks.
#[test]
fn one_call_prints_its_answer() {
    let socket = socket_path("one-call");
    let server = Server::start();
    let local = Server::start_at(&["--unix", &socket]);
    for (name, place) in
        [("quick_call", server.port()), ("blocking_call", server.port()), ("blocking_call", socket.as_str())]
    {
        let call = run(example(name, &[place]));
        assert_eq!(
            (call.code, call.out.as_str(), call.err.as_str()),
            (Some(0), "{\"hello\":\"world\"}\n", ""),
            "{name}"
        );
    }
    for server in [server, local] {
        let ended = server.stop("TERM");
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    }
}

/// The server of the README, over TCP and a Unix socket, until its input ends.
#[test]
fn the_quick_server_answers_the_quick_calls() {
    let socket = socket_path("quick-server");
    for place in ["0", socket.as_str()] {
        let mut command = example("quick_server", &[place]);
        command.stdin(Stdio::piped());
        let mut server = Server::start_program(command);
        let place = if place == "0" { server.port().to_owned() } else { socket.clone() };
        let callers: &[&str] = if place == socket { &["blocking_call"] } else { &["blocking_call", "quick_call"] };
        for name in callers {
            let call = run(example(name, &[&place]));
            let seen = (call.code, call.out.as_str(), call.err.as_str());
            assert_eq!(seen, (Some(0), "{\"hello\":\"world\"}\n", ""), "{name}");
        }
        drop(server.child.stdin.take());
        let ended = end_of(server.child);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    }
    for wrong in [&["80x"][..], &[""], &["65536"], &["8033", "8034"]] {
        let ended = run(example("quick_server", wrong));
        assert_eq!(ended.code, Some(USAGE), "{wrong:?}");
        assert!(ended.err.starts_with("usage: quick_server "), "{wrong:?}: {}", ended.err);
    }
    let taken = run(example("quick_server", &["/nowhere/socket"]));
    assert_eq!(taken.code, Some(FAILED));
    assert!(taken.err.contains("/nowhere/socket"), "{}", taken.err);
}

#[test]
fn one_call_explains_what_is_wrong() {
    let nobody = socket_path("nobody");
    let missing = run(example("blocking_call", &[&nobody]));
    assert_eq!((missing.code, missing.out.as_str()), (Some(FAILED), ""));
    assert!(missing.err.contains(&nobody) && missing.err.contains("o such file"), "{}", missing.err);
    for wrong in [&["80x"][..], &[""], &["0"], &["-1"], &["65536"], &["8033", "8034"]] {
        let ended = run(example("blocking_call", wrong));
        assert_eq!((ended.code, ended.out.as_str()), (Some(USAGE), ""), "{wrong:?}");
        assert!(ended.err.starts_with("usage: blocking_call "), "{wrong:?}: {}", ended.err);
    }
    for wrong in [&["abc"][..], &["80x"], &[""], &["0"], &["65536"], &["8033", "8034"]] {
        let ended = run(example("quick_call", wrong));
        assert_eq!(ended.code, Some(USAGE), "{wrong:?}");
        assert!(ended.err.starts_with("usage: quick_call "), "{wrong:?}: {}", ended.err);
    }
}

fn greengrass(environment: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = example("greengrass_client", arguments);
    command.env_remove(greengrass::SOCKET_VARIABLE).env_remove(greengrass::TOKEN_VARIABLE);
    command.envs(environment.iter().copied());
    run(command)
}

#[test]
fn a_greengrass_component_calls_its_nucleus_and_ends_the_stream() {
    let socket = socket_path("nucleus");
    let nucleus = greengrass::Nucleus::start(Path::new(&socket), "a token \"quoted\"");
    let environment = |token| [(greengrass::SOCKET_VARIABLE, socket.as_str()), (greengrass::TOKEN_VARIABLE, token)];
    let good = greengrass(&environment("a token \"quoted\""), &["aws.greengrass#GetConfiguration", "{\"keyPath\":[]}"]);
    assert_eq!((good.code, good.out.as_str(), good.err.as_str()), (Some(0), "{\"asked\":{\"keyPath\":[]}}\n", ""));
    let failed = greengrass(&environment("a token \"quoted\""), &["aws.greengrass#Fail"]);
    assert_eq!((failed.code, failed.out.as_str()), (Some(FAILED), ""));
    assert!(failed.err.starts_with("aws.greengrass#Fail: ESRPC_ERROR_APPLICATION_ERROR: "), "{}", failed.err);
    assert!(failed.err.contains("ServiceError"), "{}", failed.err);
    let stranger = greengrass(&environment("another"), &["aws.greengrass#GetConfiguration"]);
    assert_eq!((stranger.code, stranger.out.as_str()), (Some(FAILED), ""));
    assert!(stranger.err.starts_with("cannot connect: ESRPC_ERROR_HANDSHAKE_REFUSED: "), "{}", stranger.err);
    assert_eq!(nucleus.finish(), ["GetConfiguration ended by the client", "Fail ended", "refused"]);
}

#[test]
fn a_greengrass_client_outside_a_component_says_what_is_missing() {
    let socket = (greengrass::SOCKET_VARIABLE, "/nowhere");
    let token = (greengrass::TOKEN_VARIABLE, "token");
    for (environment, arguments, says) in [
        (&[token][..], &["o"][..], "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT is not set"),
        (&[socket], &["o"], "SVCUID is not set"),
        (&[socket, token], &["o", "{"], "this is not JSON: {"),
        (&[socket, token], &[], "usage: greengrass_client OPERATION [JSON]"),
        (&[socket, token], &["o", "{}", "x"], "usage: greengrass_client OPERATION [JSON]"),
    ] {
        let ended = greengrass(environment, arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(USAGE), ""), "{arguments:?}");
        assert!(ended.err.contains(says), "{arguments:?}: {}", ended.err);
    }
    let nobody = greengrass(&[socket, token], &["o"]);
    assert_eq!((nobody.code, nobody.out.as_str()), (Some(FAILED), ""));
    assert!(nobody.err.starts_with("cannot connect: ESRPC_ERROR_NOT_FOUND: "), "{}", nobody.err);
}

/// A graceful server and its successors, which all print to the same pipe.
struct Graceful {
    /// Until it is waited for.
    first: Option<Child>,
    lines: BufReader<ChildStdout>,
    address: String,
    /// The process that listens now.
    process: String,
}

impl Graceful {
    fn start(arguments: &[&str]) -> Graceful {
        let mut first = example("graceful_server", arguments).spawn().expect("the program can be started");
        let lines = BufReader::new(first.stdout.take().expect("piped"));
        Graceful::of(first, lines)
    }

    fn of(first: Child, lines: BufReader<ChildStdout>) -> Graceful {
        let mut server = Graceful { first: Some(first), lines, address: String::new(), process: String::new() };
        server.await_listener();
        server
    }

    fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it prints text");
        assert!(!line.is_empty(), "every server has ended");
        line
    }

    fn await_listener(&mut self) {
        loop {
            let line = self.next_line();
            if let Some(listening) = line.strip_prefix("listening on ") {
                let (address, process) = listening.split_once(" (process ").expect("it says who it is");
                self.address = address.to_owned();
                self.process = process.trim_end().trim_end_matches(')').to_owned();
                return;
            }
            assert!(line.starts_with("draining: "), "{line}");
        }
    }

    fn port(&self) -> &str {
        self.address.strip_prefix("127.0.0.1:").expect("it listens on loopback")
    }

    fn signal(&self, name: &str) {
        signal(name, &self.process);
    }

    /// Waits until a successor listens.
    fn replace(&mut self) {
        let before = self.process.clone();
        self.signal("HUP");
        self.await_listener();
        assert_ne!(self.process, before);
    }

    /// Waits for the end of the first and of all successors; returns what they printed.
    fn finish(mut self) -> String {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("they print text");
        let ended = end_of(self.first.take().expect("it is waited for once"));
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        rest
    }
}

/// A failed test leaves no server behind.
impl Drop for Graceful {
    fn drop(&mut self) {
        if let Some(first) = &mut self.first {
            let _ = Command::new("sh").args(["-c", &format!("kill -KILL {}", self.process)]).status();
            let _ = first.kill();
        }
    }
}

/// A client with a call in progress.
fn open_call(server: &Graceful) -> TcpStream {
    let mut socket = TcpStream::connect(&server.address).expect("the server listens");
    socket.set_read_timeout(Some(TIME_LIMIT)).expect("a positive timeout");
    socket.write_all(&protocol_message(4, &[], b"")).expect("the server reads");
    socket.write_all(&stream_message(1, 0, Some("awstest#EchoStreamMessages"), "{}")).expect("the server reads");
    assert_eq!(read_messages(&mut socket, 2), [0, 2]);
    socket
}

fn assert_ended(socket: &mut TcpStream) {
    assert_eq!(socket.read(&mut [0]).expect("an end"), 0);
}

#[test]
fn a_graceful_server_finishes_what_is_open_and_takes_nothing_new() {
    let mut server = Graceful::start(&["--port", "0"]);
    let mut idle = TcpStream::connect(&server.address).expect("the server listens");
    idle.write_all(&protocol_message(4, &[], b"")).expect("the server reads");
    assert_eq!(read_messages(&mut idle, 1), [0]);
    let mut socket = open_call(&server);
    server.signal("TERM");
    assert_eq!(server.next_line(), "draining: 1 call on 2 connections\n");
    assert_ended(&mut idle);
    let late = run(example("blocking_call", &[server.port()]));
    assert_eq!(late.code, Some(FAILED));
    assert!(late.err.contains("onnection refused"), "{}", late.err);
    let last_words = "{\"streamMessage\":{\"stringMessage\":\"close\"}}";
    socket.write_all(&stream_message(1, 0, None, last_words)).expect("the server reads");
    assert_eq!(read_messages(&mut socket, 2), [last_words.len(), 0]);
    assert_ended(&mut socket);
    assert_eq!(server.finish(), "");
}

#[test]
fn a_graceful_server_cuts_off_what_is_open_at_its_deadline_or_a_second_signal() {
    let server = Graceful::start(&["--port", "0", "--drain-ms", "100"]);
    let mut socket = open_call(&server);
    server.signal("INT");
    assert_ended(&mut socket);
    assert_eq!(server.finish(), "draining: 1 call on 1 connection\n");

    let mut server = Graceful::start(&["--port", "0", "--drain-ms", "4294967294"]);
    let mut socket = open_call(&server);
    server.signal("TERM");
    assert_eq!(server.next_line(), "draining: 1 call on 1 connection\n");
    server.signal("TERM");
    assert_ended(&mut socket);
    assert_eq!(server.finish(), "");
}

/// A call may meet the drain, and is then repeated; there is a listener at all times.
fn call_until_answered(place: &str) {
    for _ in 0..100 {
        let call = run(example("blocking_call", &[place]));
        if call.code == Some(0) {
            assert_eq!(call.out, "{\"hello\":\"world\"}\n");
            return;
        }
        let by_drain =
            ["drained", "closed the connection", "onnection reset", "roken pipe", "accepts no more messages"];
        assert!(by_drain.iter().any(|reason| call.err.contains(reason)), "{}", call.err);
    }
    panic!("a call was never answered");
}

fn assert_replaced_under_load(mut server: Graceful, place: &str) {
    let (over, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    call_until_answered(place);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..3 {
            let before = calls.load(Ordering::Relaxed);
            while calls.load(Ordering::Relaxed) < before + 5 {
                thread::yield_now();
            }
            server.replace();
        }
        over.store(true, Ordering::Relaxed);
    });
    server.signal("TERM");
    assert!(server.finish().contains("draining: "));
}

#[test]
fn a_graceful_server_is_replaced_without_losing_a_call() {
    let server = Graceful::start(&["--port", "0"]);
    let port = server.port().to_owned();
    assert_replaced_under_load(server, &port);
    let path = socket_path("graceful");
    assert_replaced_under_load(Graceful::start(&["--unix", &path]), &path);
    let _ = fs::remove_file(&path);
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs TLS")]
fn a_graceful_server_is_replaced_with_its_tls_settings() {
    let authority = certificates::Authority::new("test CA");
    let identity = authority.server(&["server.example"]);
    let (ca, certificate, key) = (
        file("graceful-ca.pem", &authority.pem),
        file("graceful.pem", &identity.certificate),
        file("graceful.key", &identity.key),
    );
    let mut server = Graceful::start(&["--port", "0", "--cert", &certificate, "--key", &key]);
    for _ in 0..3 {
        let tls = ["--ca", &ca, "--server-name", "server.example"];
        let client = run(example("echo_client", &[&["--port", server.port()][..], &tls].concat()));
        assert_eq!((client.code, client.err.as_str()), (Some(0), ""));
        assert!(client.out.ends_with(CONVERSATION), "{}", client.out);
        server.replace();
    }
    server.signal("TERM");
    server.finish();
}

/// A successor that cannot start ends: the running server goes on.
#[test]
fn a_graceful_server_whose_successor_cannot_start_goes_on() {
    let program = cc::scratch().join("graceful_server_to_be_removed");
    let _ = fs::remove_file(&program);
    fs::copy(build_folder().join("graceful_server"), &program).expect("the target folder can be written");
    let library = build_folder().to_str().expect("a UTF-8 path");
    let mut command = command(&program, &["--port", "0"]);
    command.env("LD_LIBRARY_PATH", library);
    let mut first = command.spawn().expect("the program can be started");
    let lines = BufReader::new(first.stdout.take().expect("piped"));
    let mut errors = BufReader::new(first.stderr.take().expect("piped"));
    let server = Graceful::of(first, lines);
    fs::remove_file(&program).expect("it is there");
    server.signal("HUP");
    let mut complaint = String::new();
    errors.read_line(&mut complaint).expect("it prints text");
    assert!(complaint.contains("cannot start") && complaint.contains("this process goes on"), "{complaint}");
    call_until_answered(server.port());
    server.signal("TERM");
    assert!(server.finish().contains("draining: "));
}

#[test]
fn a_graceful_server_explains_wrong_arguments() {
    for (arguments, says) in [
        (&["--drain-ms", "soon"][..], "--drain-ms takes a number of milliseconds"),
        (&["--drain-ms"], "--drain-ms"),
        (&["--port", "65536"], "--port takes a number from 0 to 65535"),
        (&["--what", "x"], "--what is not an option of this program"),
    ] {
        let ended = run(example("graceful_server", arguments));
        assert_eq!((ended.code, ended.out.as_str()), (Some(USAGE), ""), "{arguments:?}");
        assert!(ended.err.contains(says), "{arguments:?}: {}", ended.err);
    }
    let taken = Graceful::start(&["--port", "0"]);
    let second = run(example("graceful_server", &["--port", taken.port()]));
    assert_eq!((second.code, second.out.as_str()), (Some(FAILED), ""));
    assert!(second.err.starts_with("cannot listen: ESRPC_ERROR_ADDRESS_IN_USE: "), "{}", second.err);
    taken.signal("TERM");
    taken.finish();
}
