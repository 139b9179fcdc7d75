//! esrpc-call: what it prints, what it says about failures, and its exit codes.

use super::callers::{file, socket_path};
use super::*;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

const CONNECT: i32 = 3;
const TLS: i32 = 4;
const REFUSED: i32 = 5;
const ERROR_REPLY: i32 = 6;
const TIMED_OUT: i32 = 7;
const LOST: i32 = 8;

const ECHO: &[&str] = &["--connect-header", "client-name=accepted.tester", "--operation", "awstest#EchoMessage"];
const ECHO_STREAM: &[&str] =
    &["--connect-header", "client-name=accepted.tester", "--operation", "awstest#EchoStreamMessages", "--stream"];

/// A command that calls `place`.
fn call(place: &[&str], arguments: &[&[&str]]) -> Command {
    example("esrpc-call", &[place, &arguments.concat()].concat())
}

/// Checks the exit code, that nothing was printed, and what stderr says.
fn assert_fails(ended: &Ended, code: i32, sentences: &[&str]) {
    assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{}", ended.err);
    assert!(ended.err.starts_with("esrpc-call: "), "{}", ended.err);
    for sentence in sentences {
        assert!(ended.err.contains(sentence), "{sentence:?} is missing: {}", ended.err);
    }
}

#[test]
fn a_call_prints_the_payload_as_it_is() {
    let server = Server::start();
    let place = [server.address.as_str()];
    let text = run(call(&place, &[ECHO, &["--data", r#"{"message":{"stringMessage":"hello"}}"#]]));
    assert_eq!((text.code, text.err.as_str()), (Some(0), ""));
    assert_eq!(text.out, r#"{"message":{"stringMessage":"hello"}}"#);
    let request = file("request.json", "{\"a\":1}\n");
    let from_file = run(call(&place, &[ECHO, &["--data", &format!("@{request}")]]));
    assert_eq!((from_file.code, from_file.out.as_str()), (Some(0), "{\"a\":1}\n"));
    let from_stdin = run_with_input(call(&place, &[ECHO, &["--data", "-"]]), b"{\"b\":2}");
    assert_eq!((from_stdin.code, from_stdin.out.as_str()), (Some(0), "{\"b\":2}"));
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn a_reply_as_json_has_its_type_flags_headers_and_payload() {
    let path = socket_path("call");
    let server = Server::start_at(&["--unix", &path]);
    let reply = run(call(&["--unix", &path], &[ECHO, &["--json", "--data", r#"{"a":"b"}"#]]));
    assert_eq!((reply.code, reply.err.as_str()), (Some(0), ""));
    assert_eq!(
        reply.out,
        concat!(
            r#"{"type":"APPLICATION_MESSAGE","flags":2,"headers":["#,
            r#"{"name":":content-type","type":"string","value":"application/json"},"#,
            r#"{"name":"service-model-type","type":"string","value":"awstest#EchoMessageResponse"}],"#,
            r#""payload":"{\"a\":\"b\"}"}"#,
            "\n"
        )
    );
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn a_token_and_an_abstract_name_reach_the_token_server() {
    let token = file("call.token", "s3cret\n");
    let name = format!("@esrpc-call-{}", std::process::id());
    let server = Server::start_program(example("token_server", &["--abstract", &name[1..], "--token-file", &token]));
    let place = ["--unix", name.as_str()];
    let operation = ["--operation", "awstest#EchoMessage", "--data", "{}"];
    let admitted = run(call(&place, &[&operation, &["--connect-data", r#"{"authToken":"s3cret"}"#]]));
    assert_eq!((admitted.code, admitted.out.as_str(), admitted.err.as_str()), (Some(0), "{}", ""));
    let refused = run(call(&place, &[&operation]));
    assert_fails(&refused, REFUSED, &["ESRPC_ERROR_HANDSHAKE_REFUSED", "--connect-data"]);
    server.stop("TERM");
}

#[test]
fn greengrass_takes_socket_and_token_from_the_environment() {
    let token = file("svcuid.token", "s3cret\n");
    let path = socket_path("nucleus");
    let server = Server::start_program(example("token_server", &["--unix", &path, "--token-file", &token]));
    let component = |svcuid: Option<&str>| {
        let mut command = call(&["--greengrass"], &[&["--operation", "awstest#EchoMessage"]]);
        command.env("AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT", &path).env_remove("SVCUID");
        svcuid.map(|token| command.env("SVCUID", token));
        run(command)
    };
    let admitted = component(Some("s3cret"));
    assert_eq!((admitted.code, admitted.out.as_str(), admitted.err.as_str()), (Some(0), "{}", ""));
    assert_fails(&component(Some("wrong")), REFUSED, &["is the token in SVCUID"]);
    assert_fails(&component(None), USAGE, &["SVCUID is not set"]);
    server.stop("TERM");
}

#[test]
fn lines_become_messages_and_replies_become_lines_of_json() {
    let server = Server::start();
    let place = [server.address.as_str()];
    let input =
        b"{}\n{\"streamMessage\":{\"stringMessage\":\"one\"}}\n{\"streamMessage\":{\"stringMessage\":\"close\"}}\n";
    let ended = run_with_input(call(&place, &[ECHO_STREAM]), input);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let payloads: Vec<_> = ended
        .out
        .lines()
        .map(|line| {
            let reply: serde_json::Value = serde_json::from_str(line).expect("JSON");
            (reply["flags"].as_i64(), reply["payload"].as_str().map(str::to_owned))
        })
        .collect();
    let sent = String::from_utf8_lossy(input);
    let expected: Vec<_> = sent.lines().map(|line| (Some(0), line)).chain([(Some(2), "")]).collect();
    let expected: Vec<_> = expected.into_iter().map(|(flags, line)| (flags, Some(line.to_owned()))).collect();
    assert_eq!(payloads, expected);

    // The tool ends the stream: after so many replies, or when input and replies have ended.
    let two = run_with_input(call(&place, &[ECHO_STREAM, &["--data", "{}", "--replies", "2"]]), b"{}\n{}\n{}\n");
    assert_eq!((two.code, two.out.lines().count()), (Some(0), 2), "{}", two.err);
    let silent = run_with_input(call(&place, &[ECHO_STREAM, &["--wait", "3"]]), b"{}\n{}");
    assert_eq!((silent.code, silent.out.lines().count()), (Some(0), 2), "{}", silent.err);
    let late = run_with_input(call(&place, &[ECHO_STREAM, &["--timeout", "0.5"]]), b"{}\n");
    assert_eq!(late.code, Some(TIMED_OUT), "{}", late.err);
    assert!(late.err.contains("--timeout"), "{}", late.err);
    assert_fails(&run_with_input(call(&place, &[ECHO_STREAM]), b""), USAGE, &["its first line opens the stream"]);
    let failing = run_with_input(call(&place, &[ECHO_STREAM]), b"{}\nnot JSON\n");
    assert_eq!((failing.code, failing.out.lines().count()), (Some(ERROR_REPLY), 2), "{}", failing.err);
    server.stop("TERM");
}

#[test]
fn a_reader_that_goes_away_ends_the_call_quietly_and_a_full_disk_does_not() {
    let server = Server::start();
    let place = [server.address.as_str()];
    let (ours, theirs) = UnixStream::pair().expect("two sockets");
    drop(theirs);
    let mut closed = call(&place, &[ECHO, &["--data", "{}"]]);
    closed.stdout(Stdio::from(OwnedFd::from(ours)));
    let closed = run(closed);
    assert_eq!((closed.code, closed.err.as_str()), (Some(FAILED), ""));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let mut command = call(&place, &[ECHO_STREAM, &["--data", "{}"]]);
    command.stdout(Stdio::from(full));
    assert_fails(&run(command), FAILED, &["cannot write the output"]);
    server.stop("TERM");
}

/// A socket of the library could get the number of a closed descriptor.
#[test]
fn closed_descriptors_are_not_taken_for_input_or_output() {
    let server = Server::start();
    let program = build_folder().join("esrpc-call");
    let closed = |redirection: &str, arguments: &[&str]| {
        let script = format!("exec \"$0\" \"$@\" {redirection}");
        let fixed = ["-c", &script, program.to_str().expect("a UTF-8 path"), &server.address];
        run(command(Path::new("sh"), &[&fixed[..], ECHO, arguments].concat()))
    };
    assert_fails(&closed("<&-", &["--data", "-"]), USAGE, &["cannot read standard input"]);
    assert_fails(&closed("<&-", &["--stream"]), USAGE, &["cannot read standard input"]);
    assert_fails(&closed(">&-", &["--data", "{}"]), FAILED, &["cannot write the output"]);
    let silent = closed("2>&-", &["--data", "not JSON"]);
    assert_eq!((silent.code, silent.out.as_str(), silent.err.as_str()), (Some(ERROR_REPLY), "", ""));
    server.stop("TERM");
}

#[test]
fn every_kind_of_failure_has_its_exit_code_and_says_what_to_do() {
    let server = Server::start();
    let address = server.address.clone();
    let place = [address.as_str()];
    let refused = run(call(&place, &[&["--operation", "awstest#EchoMessage"][..]]));
    assert_fails(&refused, REFUSED, &["ESRPC_ERROR_HANDSHAKE_REFUSED", "what to do: ", "--connect-header"]);
    let operation = ["--connect-header", "client-name=accepted.x", "--operation", "awstest#CauseServiceError"];
    let error = run(call(&place, &[&operation]));
    assert_fails(&error, ERROR_REPLY, &["awstest#CauseServiceError: the service answered with an error"]);
    let as_json = run(call(&place, &[&operation, &["--json"]]));
    assert_eq!(as_json.code, Some(ERROR_REPLY));
    assert!(as_json.out.starts_with(r#"{"type":"APPLICATION_ERROR","flags":2,"#), "{}", as_json.out);
    // Without CAs in the system TLS cannot even begin.
    let not_tls = run(call(&place, &[&operation, &["--tls"]]));
    assert_fails(&not_tls, TLS, &[if cc::has_tls() { "ESRPC_ERROR_TLS_" } else { "ESRPC_ERROR_UNSUPPORTED" }]);
    server.stop("TERM");

    let nobody = run(call(&place, &[ECHO]));
    assert_fails(&nobody, CONNECT, &["ESRPC_ERROR_CONNECTION_REFUSED", "check host and port"]);
    let no_socket = run(call(&["--unix", "/nowhere/socket"], &[ECHO]));
    assert_fails(&no_socket, CONNECT, &["ESRPC_ERROR_NOT_FOUND", "check the path"]);
    for (failure, once) in [
        (&nobody, [address.as_str(), "cannot connect", "check host and port"]),
        (&no_socket, ["/nowhere/socket", "cannot connect", "check the path"]),
    ] {
        let counts = once.map(|words| failure.err.matches(words).count());
        assert_eq!(counts, [1; 3], "said twice: {}", failure.err);
    }

    // A server that accepts and is silent.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = silent.local_addr().expect("it has one").to_string();
    let late = run(call(&[&address], &[ECHO, &["--timeout", "0.2"]]));
    assert_fails(&late, TIMED_OUT, &["_TIMED_OUT", "--timeout SECONDS"]);

    // One that speaks HTTP.
    let web = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = web.local_addr().expect("it has one").to_string();
    let server = thread::spawn(move || {
        let (mut socket, _) = web.accept().expect("a client");
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("the client reads");
        // Until the client closes.
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let mistaken = run(call(&[&address], &[ECHO]));
    assert_fails(&mistaken, CONNECT, &["HTTP", "check the host and port"]);
    assert!(!mistaken.err.contains("what to do: "), "said twice: {}", mistaken.err);
    server.join().expect("the client did its part");

    // A server that accepts the handshake, and goes away when it is called.
    let lossy = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = lossy.local_addr().expect("it has one").to_string();
    let server = thread::spawn(move || {
        let (mut socket, _) = lossy.accept().expect("a client");
        read_messages(&mut socket, 1);
        let mut headers = HeaderList::new();
        for (name, value) in [(":message-type", 5), (":message-flags", 1), (":stream-id", 0)] {
            headers.add(name.as_bytes(), HeaderValue::Int32(value)).expect("a good header");
        }
        let mut accepted = Vec::new();
        encode_into(&[headers.as_bytes()], b"", &mut accepted);
        socket.write_all(&accepted).expect("the client reads");
        read_messages(&mut socket, 1);
    });
    let lost = run(call(&[&address], &[ECHO]));
    assert_fails(&lost, LOST, &["ESRPC_ERROR_PEER_CLOSED"]);
    assert_eq!(lost.err.matches(&address).count(), 1, "said twice: {}", lost.err);
    server.join().expect("the client did its part");
}

#[test]
fn headers_are_sent_with_their_types() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = server.local_addr().expect("it has one").to_string();
    let specs = [
        "a=text: x=y",
        ":b=colon",
        "c:bool=true",
        "d:bool=false",
        "e:byte=-128",
        "f:short=-1",
        "g:integer=2147483647",
        "h:long=-9223372036854775808",
        "i:bytes=AAEC/w==",
        "j:timestamp=9223372036854775807",
        "k:uuid=00000000-0000-0000-0000-0000000000ff",
        "l:m:string=",
    ];
    let options: Vec<_> = specs.iter().flat_map(|spec| ["--connect-header", spec]).collect();
    let client = thread::spawn({
        let command = call(&[&address], &[&options, &["--operation", "x", "--connect-data", "hello"]]);
        move || run(command)
    });
    let (mut socket, _) = server.accept().expect("a client");
    let (mut decoder, mut chunk) = (MessageDecoder::new(Limits::default()), [0; 4096]);
    loop {
        let len = socket.read(&mut chunk).expect("CONNECT comes");
        assert!(len > 0, "the client closed early");
        decoder.push(&chunk[..len]).expect("a sound message");
        let Some(message) = decoder.next_message().expect("a sound message") else { continue };
        assert_eq!(message.payload, b"hello");
        let found: Vec<_> = message.headers.iter().map(|header| (header.name.to_vec(), header.value)).collect();
        let uuid = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff];
        for (name, value) in [
            ("a", HeaderValue::String(b"text: x=y")),
            (":b", HeaderValue::String(b"colon")),
            ("c", HeaderValue::Bool(true)),
            ("d", HeaderValue::Bool(false)),
            ("e", HeaderValue::Byte(-128)),
            ("f", HeaderValue::Int16(-1)),
            ("g", HeaderValue::Int32(i32::MAX)),
            ("h", HeaderValue::Int64(i64::MIN)),
            ("i", HeaderValue::ByteBuf(&[0, 1, 2, 0xff])),
            ("j", HeaderValue::Timestamp(i64::MAX)),
            ("k", HeaderValue::Uuid(&uuid)),
            ("l:m", HeaderValue::String(b"")),
            (":version", HeaderValue::String(b"0.1.0")),
        ] {
            assert!(found.contains(&(name.as_bytes().to_vec(), value)), "{name}: {found:?}");
        }
        break;
    }
    drop(socket);
    assert_eq!(client.join().expect("it ends").code, Some(CONNECT));
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs TLS")]
fn failures_of_tls_name_the_option_that_mends_them() {
    let (authority, other) = (Authority::new("test CA"), Authority::new("other CA"));
    let shown = |name: &str, identity: &certificates::Identity| {
        [file(&format!("{name}.pem"), &identity.certificate), file(&format!("{name}.key"), &identity.key)]
    };
    let (ca, other_ca) = (file("call-ca.pem", &authority.pem), file("call-other-ca.pem", &other.pem));
    let [certificate, key] = shown("call-server", &authority.server(&["server.example"]));
    let [client_certificate, client_key] = shown("call-client", &authority.client("a client"));
    let server = Server::start_at(&["--port", "0", "--cert", &certificate, "--key", &key]);
    let place = [server.address.as_str()];
    let name = ["--server-name", "server.example", "--data", "{}"];
    let good = run(call(&place, &[ECHO, &name, &["--ca", &ca]]));
    assert_eq!((good.code, good.out.as_str(), good.err.as_str()), (Some(0), "{}", ""));
    let insecure = run(call(&place, &[ECHO, &["--insecure", "--data", "{}"]]));
    assert_eq!((insecure.code, insecure.out.as_str()), (Some(0), "{}"), "{}", insecure.err);
    let unknown = run(call(&place, &[ECHO, &name, &["--ca", &other_ca]]));
    assert_fails(&unknown, TLS, &["ESRPC_ERROR_TLS_UNKNOWN_CA", "--ca has to name the file"]);
    let misled = run(call(&place, &[ECHO, &["--ca", &ca]]));
    assert_fails(&misled, TLS, &["ESRPC_ERROR_TLS_WRONG_NAME", "--server-name NAME"]);
    let no_file = run(call(&place, &[ECHO, &["--ca", "/nowhere/ca.pem"]]));
    assert_fails(&no_file, TLS, &["cannot use --ca /nowhere/ca.pem"]);
    let no_ca = run(call(&place, &[ECHO, &["--ca", &key]]));
    assert_fails(&no_ca, TLS, &["ESRPC_ERROR_TLS_NO_CERTIFICATE"]);
    let plain = run(call(&place, &[ECHO]));
    assert_ne!(plain.code, Some(0));
    assert!(plain.err.contains("add --tls"), "{}", plain.err);
    server.stop("TERM");

    let strict = ["--port", "0", "--cert", &certificate, "--key", &key, "--client-ca", &ca];
    let server = Server::start_at(&strict);
    let place = [server.address.as_str()];
    let identity = ["--ca", &ca, "--cert", &client_certificate, "--key", &client_key];
    let admitted = run(call(&place, &[ECHO, &name, &identity]));
    assert_eq!((admitted.code, admitted.out.as_str()), (Some(0), "{}"), "{}", admitted.err);
    let bare = run(call(&place, &[ECHO, &name, &["--ca", &ca]]));
    assert_fails(&bare, TLS, &["ESRPC_ERROR_TLS_ALERT_RECEIVED", "--cert FILE and --key FILE"]);
    server.stop("TERM");
}

#[test]
fn a_load_ends_with_its_figures() {
    let server = Server::start();
    let address = server.address.clone();
    let place = [address.as_str()];
    let load = ["--data", "{}", "--bench", "--json", "--connections", "3", "--in-flight", "4"];
    for (end, least, most) in [(["--count", "100"], 100, 100), (["--duration", "0.5"], 1, u64::MAX)] {
        let ended = run(call(&place, &[ECHO, &load, &end]));
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        let figures: serde_json::Value = serde_json::from_str(&ended.out).expect("JSON");
        let calls = figures["calls"].as_u64().expect("a number");
        assert!((least..=most).contains(&calls), "{figures}");
        assert_eq!((&figures["failures"], &figures["error_replies"]), (&0.into(), &0.into()));
        let latency = |name: &str| figures["latency_ms"][name].as_f64().expect("a number");
        let all = ["p50", "p90", "p99", "p99.9", "max"].map(latency);
        assert!(all[0] > 0.0 && all.is_sorted(), "{figures}");
    }
    let table = run(call(&place, &[ECHO, &["--data", "{}", "--bench", "--count", "10"]]));
    assert!(table.out.contains("calls         10 in "), "{}", table.out);
    let failing = ["--connect-header", "client-name=accepted.x", "--operation", "awstest#CauseServiceError"];
    let failing = run(call(&place, &[&failing, &["--bench", "--count", "10"]]));
    assert_eq!(failing.code, Some(ERROR_REPLY));
    assert!(failing.err.contains("10 of 10 replies are errors"), "{}", failing.err);
    assert!(failing.err.contains("the service answered with an error: InternalServerError"), "{}", failing.err);
    server.stop("TERM");
    let nobody = run(call(&place, &[ECHO, &["--bench", "--count", "10", "--connections", "3"]]));
    assert_fails(&nobody, CONNECT, &["ESRPC_ERROR_CONNECTION_REFUSED"]);
}

/// Without an end of its own the load would go on: its count is out of reach.
#[test]
fn a_load_of_which_nothing_succeeds_ends_early_and_says_why() {
    let server = Server::start();
    let address = server.address.clone();
    let failing = ["--connect-header", "client-name=accepted.x", "--operation", "no#Operation", "--bench"];
    let load = ["--count", "4000000000", "--connections", "2", "--in-flight", "3", "--json"];
    let ended = run(call(&[&address], &[&failing, &load]));
    assert_eq!(ended.code, Some(ERROR_REPLY), "{}", ended.err);
    let figures: serde_json::Value = serde_json::from_str(&ended.out).expect("JSON");
    let calls = figures["calls"].as_u64().expect("a number");
    // Those that are in progress end, too.
    assert!((100..=106).contains(&calls) && figures["error_replies"] == calls, "{figures}");
    let sentence = format!("no#Operation: none of the first {calls} calls succeeded: no more were made");
    assert!(ended.err.contains(&sentence), "{}", ended.err);
    assert!(ended.err.contains("the service answered with an error"), "{}", ended.err);
    server.stop("TERM");

    // Calls that fail without a reply count as well.
    let silent = file("silent.json", r#"{"operations": {"Silent": []}}"#);
    let server = Server::start_program(example("esrpc-serve", &["--port", "0", &silent]));
    let address = server.address.clone();
    let load = ["--operation", "Silent", "--bench", "--timeout", "2", "--in-flight", "100", "--count", "4000000000"];
    let ended = run(call(&[&address], &[&load]));
    assert_eq!(ended.code, Some(TIMED_OUT), "{}", ended.err);
    assert!(ended.err.contains("Silent: none of the first "), "{}", ended.err);
    server.stop("TERM");
}

#[test]
fn a_reply_that_does_not_end_its_stream_is_said_to_have_more_behind_it() {
    let script = r#"{"operations": {"Ticks": [{"text": "tick", "times": 3}], "Once": [{"text": "tick"}]}}"#;
    let server = Server::start_program(example("esrpc-serve", &["--port", "0", &file("ticks.json", script)]));
    let ticks = |more: &[&str]| run(call(&[&server.address], &[more]));
    let hinted = ticks(&["--operation", "Ticks"]);
    assert_eq!((hinted.code, hinted.out.as_str()), (Some(0), "tick"));
    let hint = "esrpc-call: Ticks: this reply does not end the stream: add --stream to read the messages that follow\n";
    assert_eq!(hinted.err, hint);
    for (operation, option) in [("Ticks", "--quiet"), ("Once", "--json"), ("Ticks", "--stream")] {
        let silent = ticks(&["--operation", operation, option, "--data", ""]);
        assert_eq!((silent.code, silent.err.as_str()), (Some(0), ""), "{operation} {option}");
    }
    server.stop("TERM");
}

#[test]
fn mistakes_in_the_arguments_of_esrpc_call_are_explained() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "where is the server?"),
        (&["localhost", "--operation", "x"], "\"localhost\" has no port"),
        (&["::1:80", "--operation", "x"], "an IPv6 address is written as [ADDRESS]:PORT"),
        (&["[::1]", "--operation", "x"], "an IPv6 address is written as [ADDRESS]:PORT"),
        (&["host:0", "--operation", "x"], "\"0\" in \"host:0\" is not a port"),
        (&[":80", "--operation", "x"], "has no host"),
        (&["host:80", "--unix", "/a", "--operation", "x"], "exclude each other"),
        (&["--unix", "/a", "--tls", "--operation", "x"], "TLS over a Unix socket needs --server-name"),
        (&["host:80"], "which operation?"),
        (&["host:80", "Greet"], "what is \"Greet\"? An operation is given as --operation NAME"),
        (&["http://host:80", "--operation", "x"], "\"http://host:80\" is a URL: write HOST:PORT alone"),
    ];
    let of_calls: &[(&[&str], &str)] = &[
        (&["other:80"], "what is \"other:80\"?"),
        (&["--header"], "--header needs a value after it"),
        (&["--headers", "a=b"], "there is no option --headers: did you mean --header?"),
        (&["--conect-data=x"], "there is no option --conect-data: did you mean --connect-data?"),
        (&["--jsno"], "there is no option --jsno: did you mean --json?"),
        (&["--tls-cert", "a.pem"], "there is no option --tls-cert: did you mean --cert?"),
        (&["--op", "x"], "there is no option --op: did you mean --operation?"),
        (&["--frobnicate"], "there is no option --frobnicate\n"),
        (&["-x"], "there is no option -x\n"),
        (&["--stream=1"], "--stream takes no value"),
        (&["--timeout", "soon"], "--timeout takes seconds"),
        (&["--timeout", "0"], "--timeout takes seconds"),
        (&["--header", "a"], "takes NAME=VALUE"),
        (&["--header", "=b"], "takes NAME=VALUE"),
        (&["--header", "a:number=1"], "\"number\" in \"a:number=1\" is not a type of header"),
        (
            &["--header", "a:int=1"],
            "\"int\" in \"a:int=1\" is not a type of header; these are: bool, byte, short, integer,",
        ),
        (&["--header", "a:int32=1"], "is not a type of header"),
        (&["--header", "a:byte=128"], "not a number from -128 to 127"),
        (&["--header", "a:long=9223372036854775808"], "not a number from -9223372036854775808"),
        (&["--header", "a:integer=1.5"], "not a number from"),
        (&["--header", "a:bool=yes"], "a bool is true or false"),
        (&["--header", "a:bytes=AAE"], "is not base64"),
        (&["--header", "a:uuid=1"], "is not a UUID"),
        (&["--data", "@/nowhere/data"], "cannot open /nowhere/data: No such file"),
        (&["--data", "@"], "the name of a file has to follow"),
        (&["--stream", "--bench"], "exclude each other"),
        (&["--stream", "--data", "-"], "standard input holds the messages"),
        (&["--data", "-", "--connect-data", "-"], "can be read only once"),
        (&["--replies", "1"], "are for --stream"),
        (&["--count", "1"], "are for --bench"),
        (&["--bench", "--count", "1", "--duration", "1"], "exclude each other"),
        (&["--cert", "a.pem"], "--cert and --key go together"),
        (&["--insecure", "--ca", "a.pem"], "leave one of them out"),
    ];
    for (arguments, sentence) in cases {
        assert_fails(&run(example("esrpc-call", arguments)), USAGE, &[*sentence]);
    }
    for (arguments, sentence) in of_calls {
        let ended = run(call(&["127.0.0.1:1", "--operation", "x"], &[*arguments]));
        assert_fails(&ended, USAGE, &[*sentence]);
    }
}

#[test]
fn what_cannot_be_sent_is_a_mistake_of_the_caller() {
    let server = Server::start();
    let place = [server.address.as_str()];
    let reserved = run(call(&place, &[ECHO, &["--header", ":stream-id:integer=1"]]));
    assert_fails(&reserved, USAGE, &["ESRPC_ERROR_RESERVED_HEADER"]);
    let long = vec![b'x'; 25 * 1024 * 1024];
    let payload = run_with_input(call(&place, &[ECHO, &["--data", "-"]]), &long);
    assert_fails(&payload, USAGE, &["ESRPC_ERROR_MESSAGE_TOO_LARGE"]);
    let line = run_with_input(call(&place, &[ECHO_STREAM, &["--data", "{}"]]), &long);
    assert_eq!(line.code, Some(USAGE), "{}", line.err);
    assert!(line.err.contains("a line of standard input cannot be sent"), "{}", line.err);
    server.stop("TERM");
}
