//! The example programs, built by their Makefile with the library that cargo just built, do what they say.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use eventstream_rpc::codec::{HeaderList, HeaderValue, Limits, MessageDecoder, encode_into};

#[path = "examples/callers.rs"]
mod callers;
#[path = "examples/calling.rs"]
mod calling;
#[path = "common/cc.rs"]
mod cc;
#[path = "common/certificates.rs"]
mod certificates;
#[path = "examples/dumping.rs"]
mod dumping;
#[path = "examples/explaining.rs"]
mod explaining;
#[path = "common/page_text.rs"]
mod page_text;
#[path = "examples/serving.rs"]
mod serving;
#[path = "examples/waiting.rs"]
mod waiting;

use certificates::Authority;

const TIME_LIMIT: Duration = Duration::from_secs(60);

const USAGE: i32 = 2;
const FAILED: i32 = 1;

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn build_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = cc::scratch().join("examples");
        let made = Command::new("make")
            .args(["all", "tools", "-C"])
            .arg(cc::root().join("examples-c"))
            .arg(format!("BUILD={}", folder.display()))
            .arg(format!("LIBRARY={}", cc::shared_library().display()))
            .env_remove("MAKEFLAGS")
            .output()
            .expect("make is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        folder
    })
}

fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    // cargo's own search path comes before the rpath, and may hold an older library.
    command.args(arguments).env_remove("LD_LIBRARY_PATH");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn example(name: &str, arguments: &[&str]) -> Command {
    command(&build_folder().join(name), arguments)
}

fn run_with_input(mut command: Command, input: &[u8]) -> Ended {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the program can be started");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // A program that fails early does not read all of it.
    thread::spawn(move || stdin.write_all(&input));
    end_of(child)
}

fn run(mut command: Command) -> Ended {
    end_of(command.spawn().expect("the program can be started"))
}

fn end_of(child: Child) -> Ended {
    let id = child.id().to_string();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let output = receiver.recv_timeout(TIME_LIMIT).unwrap_or_else(|_| {
        signal("KILL", &id);
        panic!("process {id} hangs");
    });
    let output = output.expect("a child can be waited for");
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("the examples print text"),
        err: String::from_utf8(output.stderr).expect("the examples print text"),
    }
}

fn signal(name: &str, process: &str) {
    // The shell's own kill is always there.
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status();
    assert!(sent.expect("sh is installed").success(), "process {process} is gone");
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> Server {
        Server::start_at(&["--port", "0"])
    }

    fn start_at(arguments: &[&str]) -> Server {
        Server::start_program(example("echo_server", arguments))
    }

    fn start_program(mut command: Command) -> Server {
        let mut child = command.spawn().expect("the program can be started");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("it prints text");
        let address = line.strip_prefix("listening on ").expect("it says where it listens").trim_end().to_owned();
        Server { child, address }
    }

    fn port(&self) -> &str {
        self.address.strip_prefix("127.0.0.1:").expect("it listens on loopback")
    }

    fn stop(self, name: &str) -> Ended {
        signal(name, &self.child.id().to_string());
        end_of(self.child)
    }
}

const CONVERSATION: &str = r#"-> awstest#EchoMessage {"message":{"stringMessage":"hello"}}
<- reply {"message":{"stringMessage":"hello"}} (last)
-> awstest#EchoStreamMessages {}
<- event {}
-> event {"streamMessage":{"stringMessage":"one"}}
<- event {"streamMessage":{"stringMessage":"one"}}
-> event {"keyValuePair":{"key":"two","value":"2"}}
<- event {"keyValuePair":{"key":"two","value":"2"}}
-> event {"streamMessage":{"stringMessage":"close"}}
<- event {"streamMessage":{"stringMessage":"close"}}
<- event (last)
-> PING are you there?
<- PING_RESPONSE are you there?
all 6 replies as expected
"#;

#[test]
fn the_demo_holds_its_conversation_over_tcp_and_over_a_unix_socket() {
    let folder = build_folder().display().to_string();
    let demo = run(command(&cc::root().join("examples-c/demo.sh"), &[&folder]));
    assert_eq!((demo.code, demo.err.as_str()), (Some(0), ""), "{}", demo.out);
    assert_eq!(demo.out.matches(CONVERSATION).count(), 2, "{}", demo.out);
    assert!(demo.out.ends_with("demo passed\n"), "{}", demo.out);
}

#[test]
fn client_and_server_meet_at_an_abstract_name() {
    let name = format!("esrpc-examples-{}", std::process::id());
    let server = Server::start_at(&["--abstract", &name]);
    assert_eq!(server.address, format!("@{name}"));
    let client = run(example("echo_client", &["--abstract", &name]));
    let ended = server.stop("INT");
    assert_eq!(client.out, format!("connected to unix:@{name}\n{CONVERSATION}"));
    assert_eq!((client.code, ended.code), (Some(0), Some(0)), "{}{}", client.err, ended.err);
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs TLS")]
fn client_and_server_show_each_other_certificates_and_mind_the_time() {
    let folder = cc::scratch().join("certificates");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let authority = Authority::new("test CA");
    let (server, client) = (authority.server(&["server.example"]), authority.client("a client"));
    let keep = |name: &str, content: &str| {
        let path = folder.join(name);
        fs::write(&path, content).expect("the target folder can be written");
        path.into_os_string().into_string().expect("a UTF-8 path")
    };
    let ca = keep("ca.pem", &authority.pem);
    let shown = |name: &str, identity: &certificates::Identity| {
        [keep(&format!("{name}.pem"), &identity.certificate), keep(&format!("{name}.key"), &identity.key)]
    };
    let ([server_chain, server_key], [client_chain, client_key]) = (shown("server", &server), shown("client", &client));
    let times = ["--setup-timeout", "60000", "--idle-timeout", "60000", "--keep-alive", "50000"];
    let with_times = |more: &[&str]| [more, &times].concat().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let as_client = |name: &str, alpn: &str| {
        let identity = ["--tls-cert", &client_chain, "--tls-key", &client_key, "--ca", &ca];
        with_times(&[&identity[..], &["--server-name", name, "--alpn", alpn, "--ip", "4"]].concat())
    };

    let identity = ["--tls-cert", &server_chain, "--tls-key", &server_key, "--client-ca", &ca];
    let arguments = with_times(&[&identity[..], &["--alpn", "echo", "--port", "0"]].concat());
    let server = Server::start_at(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let talk = |arguments: Vec<String>| {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).chain(["--port", server.port()]).collect();
        run(example("echo_client", &arguments))
    };
    let good = talk(as_client("server.example", "echo"));
    let expected = format!("connected to {} by TLSv1.3\n{CONVERSATION}", server.address);
    assert_eq!((good.code, good.out, good.err.as_str()), (Some(0), expected, ""));
    let misled = talk(as_client("other.example", "echo"));
    assert_eq!(misled.code, Some(FAILED));
    assert!(misled.err.starts_with("cannot connect: ESRPC_ERROR_TLS_WRONG_NAME: "), "{}", misled.err);
    let foreign = talk(as_client("server.example", "other"));
    assert!(foreign.err.starts_with("cannot connect: ESRPC_ERROR_TLS_NO_COMMON_ALPN: "), "{}", foreign.err);
    let bare = talk(with_times(&["--ca", &ca, "--server-name", "server.example"]));
    assert!(bare.err.starts_with("cannot connect: ESRPC_ERROR_TLS_ALERT_RECEIVED: "), "{}", bare.err);
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn a_port_that_is_taken_is_named_as_the_reason() {
    let server = Server::start();
    let second = run(example("echo_server", &["--port", server.port()]));
    assert_eq!((second.code, second.out.as_str()), (Some(FAILED), ""));
    assert!(second.err.starts_with("cannot listen: ESRPC_ERROR_ADDRESS_IN_USE: "), "{}", second.err);
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn a_port_without_a_listener_is_named_as_the_reason() {
    let server = Server::start();
    let port = server.port().to_owned();
    assert_eq!(server.stop("TERM").code, Some(0));
    let client = run(example("echo_client", &["--port", &port]));
    assert_eq!((client.code, client.out.as_str()), (Some(FAILED), ""));
    assert!(client.err.starts_with("cannot connect: ESRPC_ERROR_CONNECTION_REFUSED: "), "{}", client.err);
    let call = run(example("quick_call", &[&port]));
    assert_eq!(call.code, Some(FAILED));
    assert!(!call.err.trim().is_empty());
}

/// The server reports each of these connections; nobody reads that, and a pipe has room for 64 KiB.
#[test]
fn a_server_goes_on_when_its_stderr_is_full() {
    let server = Server::start();
    let address = format!("127.0.0.1:{}", server.port());
    let request = "GET / HTTP/1.1\r\n\r\n";
    let started = Instant::now();
    for _ in 0..1000 {
        assert!(started.elapsed() < TIME_LIMIT, "the server became slow");
        let mut stranger = TcpStream::connect(&address).expect("the server listens");
        stranger.set_read_timeout(Some(TIME_LIMIT)).expect("a positive timeout");
        stranger.write_all(request.as_bytes()).expect("a new connection takes some bytes");
        // Its end, in order or by a reset.
        let end = loop {
            match stranger.read(&mut [0; 512]) {
                Ok(count) if count > 0 => {}
                end => break end,
            }
        };
        assert!(!end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "the server hangs");
    }
    let call = run(example("quick_call", &[server.port()]));
    assert_eq!((call.code, call.err.as_str()), (Some(0), ""));
    let ended = server.stop("TERM");
    assert_eq!(ended.code, Some(0));
    assert!(ended.err.len() > 32 * 1024, "stderr was not full: {} bytes", ended.err.len());
}

#[test]
fn wrong_arguments_give_the_usage_and_exit_2() {
    let endpoint: &[&[&str]] = &[
        &["extra"],
        &["--port"],
        &["--port", "65536"],
        &["--port", "-1"],
        &["--port", "80x"],
        &["--port", ""],
        &["--host"],
        &["--tls-cert", "cert.pem"],
        &["--alpn", "without TLS"],
        &["--setup-timeout", "0"],
        &["--keep-alive", "86400001"],
        &["--unix", "/a", "--abstract", "b"],
    ];
    let dump: &[&[&str]] =
        &[&[], &["--chunk"], &["--chunk", "0", "-"], &["--chunk", "1x", "-"], &["--what", "-"], &["a", "b"]];
    for (program, cases) in [("echo_server", endpoint), ("echo_client", endpoint), ("codec_dump", dump)] {
        for arguments in cases {
            let ended = run(example(program, arguments));
            assert_eq!((ended.code, ended.out.as_str()), (Some(USAGE), ""), "{program} {arguments:?}");
            assert!(ended.err.starts_with(&format!("usage: {program} ")), "{program} {arguments:?}: {}", ended.err);
        }
    }
}

/// A protocol message as a client sends it.
fn protocol_message(message_type: i32, text_headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut headers = HeaderList::new();
    for (name, value) in text_headers {
        headers.add(name.as_bytes(), HeaderValue::String(value.as_bytes())).expect("a good header");
    }
    for (name, value) in [(":message-type", message_type), (":message-flags", 0), (":stream-id", 0)] {
        headers.add(name.as_bytes(), HeaderValue::Int32(value)).expect("a good header");
    }
    let mut bytes = Vec::new();
    encode_into(&[headers.as_bytes()], payload, &mut bytes);
    bytes
}

/// A message on a stream.
fn stream_message(id: i32, flags: i32, operation: Option<&str>, payload: &str) -> Vec<u8> {
    let mut headers = HeaderList::new();
    for (name, value) in [(":message-type", 0), (":message-flags", flags), (":stream-id", id)] {
        headers.add(name.as_bytes(), HeaderValue::Int32(value)).expect("a good header");
    }
    if let Some(operation) = operation {
        headers.add(b"operation", HeaderValue::String(operation.as_bytes())).expect("a good header");
    }
    let mut bytes = Vec::new();
    encode_into(&[headers.as_bytes()], payload.as_bytes(), &mut bytes);
    bytes
}

/// Reads this many messages and returns the lengths of the payloads.
fn read_messages(socket: &mut TcpStream, count: usize) -> Vec<usize> {
    let (mut decoder, mut chunk, mut lengths) = (MessageDecoder::new(Limits::default()), vec![0; 65536], Vec::new());
    while lengths.len() < count {
        let len = socket.read(&mut chunk).expect("the server goes on answering");
        assert!(len > 0, "the server closed after {} messages", lengths.len());
        decoder.push(&chunk[..len]).expect("sound messages");
        while let Some(message) = decoder.next_message().expect("sound messages") {
            lengths.push(message.payload.len());
        }
    }
    lengths
}

/// Writes until the server reads no more, and returns how much.
fn write_until_full(socket: &mut TcpStream, bytes: &[u8]) -> usize {
    socket.set_write_timeout(Some(Duration::from_millis(500))).expect("a positive timeout");
    let mut written = 0;
    let stopped = loop {
        match socket.write(&bytes[written..]) {
            Ok(len) => written += len,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break error.kind(),
        }
        assert!(written < bytes.len(), "the server took all {written} bytes");
    };
    assert!(matches!(stopped, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{stopped}");
    written
}

#[test]
fn echo_server_stops_reading_from_a_client_that_reads_nothing_and_loses_nothing() {
    const PINGS: usize = 200;
    const PAYLOAD: usize = 256 * 1024;
    let server = Server::start();
    let mut socket = TcpStream::connect(&server.address).expect("the server listens");
    socket.set_read_timeout(Some(TIME_LIMIT)).expect("a positive timeout");
    let connect = protocol_message(4, &[(":version", "0.1.0"), ("client-name", "accepted.tester")], b"");
    socket.write_all(&connect).expect("the server reads");
    assert_eq!(read_messages(&mut socket, 1), [0]);

    let pings = protocol_message(2, &[], &[7; PAYLOAD]).repeat(PINGS);
    let written = write_until_full(&mut socket, &pings);
    socket.set_write_timeout(None).expect("none is allowed");
    let mut reader = socket.try_clone().expect("a socket can be cloned");
    let reader = thread::spawn(move || read_messages(&mut reader, PINGS));
    socket.write_all(&pings[written..]).expect("the server reads again");
    assert_eq!(reader.join().expect("every answer comes"), [PAYLOAD; PINGS]);
    drop(socket);
    let ended = server.stop("TERM");
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

/// Two messages, and what codec_dump makes of them.
fn two_messages() -> (Vec<u8>, String) {
    let folder = cc::root().join("tests/data/vectors/published/botocore");
    let bytes = ["int64_header", "all_headers_types"].map(|name| fs::read(folder.join(name)).expect("a test vector"));
    let lines = concat!(
        r#"{"total_length":30,"headers":[{"name":"long","type":"int64","value":-1}],"payload":""}"#,
        "\n",
        r#"{"total_length":98,"headers":[{"name":"0","type":"bool_true","value":true},"#,
        r#"{"name":"1","type":"bool_false","value":false},{"name":"2","type":"byte","value":2},"#,
        r#"{"name":"3","type":"int16","value":3},{"name":"4","type":"int32","value":4},"#,
        r#"{"name":"5","type":"int64","value":5},{"name":"6","type":"byte_buf","value":"Ynl0ZXM="},"#,
        r#"{"name":"7","type":"string","value":"utf8"},{"name":"8","type":"timestamp","value":8},"#,
        r#"{"name":"9","type":"uuid","value":"30313233-3435-3637-3839-616263646566"}],"payload":""}"#,
        "\n",
    );
    (bytes.concat(), lines.to_owned())
}

/// Runs codec_dump on the input in every mode; each has to print the same.
fn assert_dumps(input: &[u8], code: i32, lines: &str, error: &str) {
    for mode in [&["-"][..], &["--whole", "-"], &["--chunk", "1", "-"], &["--chunk", "7", "-"]] {
        let ended = run_with_input(example("codec_dump", mode), input);
        assert_eq!((ended.code, ended.out.as_str()), (Some(code), lines), "{mode:?}: {}", ended.err);
        if error.is_empty() {
            assert_eq!(ended.err, "", "{mode:?}");
        } else {
            assert!(ended.err.starts_with(&format!("codec_dump: {error}: ")), "{mode:?}: {}", ended.err);
            assert_eq!(ended.err.lines().count(), 1, "{mode:?}: {}", ended.err);
        }
    }
}

#[test]
fn codec_dump_prints_a_line_for_each_message() {
    let (input, lines) = two_messages();
    assert_dumps(&input, 0, &lines, "");
    let file = cc::scratch().join("two_messages.bin");
    fs::write(&file, &input).expect("the target folder can be written");
    let ended = run(example("codec_dump", &[file.to_str().expect("a UTF-8 path")]));
    assert_eq!((ended.code, ended.out, ended.err.as_str()), (Some(0), lines, ""));
}

#[test]
fn codec_dump_prints_nothing_for_no_input() {
    assert_dumps(b"", 0, "", "");
}

#[test]
fn codec_dump_prints_the_messages_before_a_cut_one_and_fails() {
    let (mut input, lines) = two_messages();
    input.extend_from_within(..29);
    assert_dumps(&input, FAILED, &lines, "ESRPC_ERROR_INCOMPLETE");
    input.truncate(input.len() - 18);
    assert_dumps(&input, FAILED, &lines, "ESRPC_ERROR_INCOMPLETE");
}

#[test]
fn codec_dump_prints_the_messages_before_a_damaged_one_and_fails() {
    let (good, lines) = two_messages();
    let damaged = |offset: usize| {
        let mut input = [good.as_slice(), &good].concat();
        input[good.len() + offset] ^= 1;
        input
    };
    assert_dumps(&damaged(0), FAILED, &lines, "ESRPC_ERROR_PRELUDE_CHECKSUM");
    assert_dumps(&damaged(25), FAILED, &lines, "ESRPC_ERROR_MESSAGE_CHECKSUM");
}

#[test]
fn codec_dump_says_why_a_file_cannot_be_read() {
    let missing = run(example("codec_dump", &["no such file"]));
    assert_eq!((missing.code, missing.out.as_str()), (Some(FAILED), ""));
    assert!(missing.err.starts_with("codec_dump: no such file: "), "{}", missing.err);
    let folder = run(example("codec_dump", &["."]));
    assert_eq!((folder.code, folder.err.as_str()), (Some(FAILED), "codec_dump: .: cannot be read\n"));
}
