//! esrpc-serve: it answers as its file says, and explains mistakes in the file.

use super::callers::{file, socket_path};
use super::*;

const SCRIPT: &str = r#"{
  "connect": {"headers": {"client-name": "me", "number": 5}, "token": "s3cret", "reply": {"json": {"welcome": true}}},
  "operations": {
    "Object": {"replies": [{"json": {"a": [1, 2]}, "headers": {"n": 5, "t": "x", "b": false}}]},
    "Array": [{"text": "h\u00e9", "headers": [{"name": "d", "type": "timestamp", "value": 7}]}],
    "Bytes": [{"base64": "/wA="}],
    "Echo": [{"echo": true}],
    "Fails": {"error": {"type": "my#Error", "message": "as asked"}},
    "FailsLater": [{"text": "first"}, {"error": {"message": "then"}}],
    "Stream": {"replies": [{"text": "open"}], "on_message": [{"echo": true}, {"text": "again"}], "keep_open": true},
    "Ticks": [{"text": "tick", "times": 3, "delay_ms": 20}, {"text": "end", "type": "APPLICATION_ERROR"}],
    "Flood": [{"text": "a message that is sent many times", "times": 100000}],
    "Silent": []
  }
}"#;

const ADMITTED: &[&str] = &[
    "--connect-header",
    "client-name=me",
    "--connect-header",
    "number:integer=5",
    "--connect-data",
    r#"{"authToken": "s3cret"}"#,
];

fn serve(options: &[&str], script: &str) -> Server {
    let path = file("script.json", script);
    Server::start_program(example("esrpc-serve", &[options, &[&path]].concat()))
}

/// The replies to a call, as lines of JSON, and the rest.
fn call(place: &[&str], operation: &str, more: &[&str], input: &str) -> Ended {
    let arguments = [place, ADMITTED, &["--operation", operation], more].concat();
    run_with_input(example("esrpc-call", &arguments), input.as_bytes())
}

#[test]
fn each_operation_is_answered_as_the_file_says() {
    let server = serve(&["--port", "0"], SCRIPT);
    let place = [server.address.as_str()];
    let json = ["--json"];
    let content_type = r#"{"name":":content-type","type":"string","value":"application/json"}"#;
    let message = |kind: &str, headers: &str, payload: &str| {
        format!("{{\"type\":\"APPLICATION_{kind}\",\"flags\":2,\"headers\":[{headers}],{payload}}}\n")
    };
    let headers = concat!(
        r#"{"name":"n","type":"integer","value":5},{"name":"t","type":"string","value":"x"},"#,
        r#"{"name":"b","type":"bool","value":false},"#
    );
    let error = r#"{"name":"service-model-type","type":"string","value":"my#Error"},"#;
    for (operation, code, expected) in [
        ("Object", 0, message("MESSAGE", &format!("{headers}{content_type}"), r#""payload":"{\"a\": [1, 2]}""#)),
        ("Array", 0, message("MESSAGE", r#"{"name":"d","type":"timestamp","value":7}"#, r#""payload":"hé""#)),
        ("Bytes", 0, message("MESSAGE", "", r#""payload_base64":"/wA=""#)),
        ("Fails", 6, message("ERROR", &format!("{error}{content_type}"), r#""payload":"{\"message\":\"as asked\"}""#)),
    ] {
        let ended = call(&place, operation, &json, "");
        assert_eq!((ended.code, ended.out), (Some(code), expected), "{operation}: {}", ended.err);
    }
    let echo = call(&place, "Echo", &["--data", "what was sent"], "");
    assert_eq!((echo.code, echo.out.as_str()), (Some(0), "what was sent"), "{}", echo.err);
    let unknown = call(&place, "Unknown", &[], "");
    assert_eq!(unknown.code, Some(6));
    assert!(unknown.err.contains(r#"there is no operation \"Unknown\""#), "{}", unknown.err);
    let silent = call(&place, "Silent", &["--timeout", "0.2"], "");
    assert_eq!(silent.code, Some(7), "{}", silent.err);
    let ended = server.stop("TERM");
    assert_eq!(ended.code, Some(0));
    assert!(ended.err.contains("Unknown"), "{}", ended.err);
}

#[test]
fn lists_of_replies_are_sent_in_order_to_the_first_message_and_to_later_ones() {
    let path = socket_path("serve");
    let server = serve(&["--unix", &path], SCRIPT);
    assert_eq!(server.address, path);
    let payloads = |ended: &Ended| -> Vec<String> {
        let payload = |line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["payload"].clone();
        ended.out.lines().map(|line| payload(line).as_str().expect("text").to_owned()).collect()
    };
    let stream =
        |operation, more: &[&str], input| call(&["--unix", &path], operation, &[&["--stream"], more].concat(), input);
    let talk = stream("Stream", &["--replies", "5"], "first\nsecond\nthird\n");
    assert_eq!((talk.code, talk.err.as_str()), (Some(0), ""));
    assert_eq!(payloads(&talk), ["open", "second", "again", "third", "again"]);
    let ticks = stream("Ticks", &[], "go\n");
    assert_eq!((ticks.code, payloads(&ticks)), (Some(6), ["tick", "tick", "tick", "end"].map(str::to_owned).to_vec()));
    let fails = stream("FailsLater", &[], "go\n");
    assert_eq!((fails.code, fails.out.lines().count()), (Some(6), 2), "{}", fails.err);
    // More than the outbound queue holds at once.
    let flood = stream("Flood", &["--quiet"], "go\n");
    assert_eq!((flood.code, flood.out.lines().count()), (Some(0), 100_000), "{}", flood.err);
    assert_eq!(server.stop("INT").code, Some(0));
}

/// A stream whose first message is not answered, each later one after this long.
fn late_echo(delay_ms: u32) -> String {
    format!(
        r#"{{"operations": {{"Late": {{"replies": [], "on_message": [{{"echo": true, "delay_ms": {delay_ms}}}]}}}}}}"#
    )
}

#[test]
fn a_client_that_waits_for_too_many_delayed_replies_is_not_read_from() {
    const MESSAGES: usize = 20_000;
    const PAYLOAD: usize = 4096;
    const HOUR_MS: u32 = 3_600_000;
    let server = serve(&["--port", "0"], &late_echo(HOUR_MS));
    let mut socket = TcpStream::connect(&server.address).expect("the server listens");
    socket.write_all(&protocol_message(4, &[], b"")).expect("the server reads");
    socket.write_all(&stream_message(1, 0, Some("Late"), "")).expect("the server reads");
    assert_eq!(read_messages(&mut socket, 1), [0]);
    // What the system buffers is far less than this.
    let messages = stream_message(1, 0, None, &"x".repeat(PAYLOAD)).repeat(MESSAGES);
    write_until_full(&mut socket, &messages);
    drop(socket);
    let ended = server.stop("TERM");
    assert_eq!(ended.code, Some(0));
    let sentence = "1000 lists of replies, with 4096000 bytes to echo, wait to be sent to 127.0.0.1:";
    assert!(ended.err.starts_with(sentence), "{}", ended.err);
    assert!(ended.err.ends_with(": it is not read from until fewer wait\n"), "{}", ended.err);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
}

#[test]
fn more_delayed_replies_than_may_wait_at_once_all_arrive() {
    const MESSAGES: usize = 2500;
    let server = serve(&["--port", "0"], &late_echo(1000));
    let input = (0..MESSAGES).map(|number| format!("{number}\n")).collect::<String>();
    let replies = MESSAGES.to_string();
    let arguments = [&server.address, "--operation", "Late", "--stream", "--data", "", "--replies", &replies];
    let ended = run_with_input(example("esrpc-call", &arguments), input.as_bytes());
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let payload = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["payload"].clone();
    let numbers: Vec<_> =
        ended.out.lines().map(|line| format!("{}\n", payload(line).as_str().expect("text"))).collect();
    assert_eq!(numbers.concat(), input);
    let ended = server.stop("TERM");
    assert_eq!(ended.code, Some(0));
    assert!(ended.err.starts_with("1000 lists of replies, "), "{}", ended.err);
}

/// They count as waiting no more: with those of 300 streams at a time no limit is reached.
#[test]
fn replies_that_wait_for_an_ended_stream_are_dropped() {
    const HOUR_MS: u32 = 3_600_000;
    let server = serve(&["--port", "0"], &late_echo(HOUR_MS));
    let mut socket = TcpStream::connect(&server.address).expect("the server listens");
    socket.set_read_timeout(Some(TIME_LIMIT)).expect("a positive timeout");
    socket.write_all(&protocol_message(4, &[], b"")).expect("the server reads");
    assert_eq!(read_messages(&mut socket, 1), [0]);
    for id in 1..=10 {
        let [first, last] = [stream_message(id, 0, Some("Late"), ""), stream_message(id, 2, None, "")];
        let messages = stream_message(id, 0, None, "x").repeat(300);
        socket.write_all(&[first, messages, last].concat()).expect("the server reads");
    }
    // The last of all is answered.
    socket.write_all(&protocol_message(2, &[], b"ping")).expect("the server reads");
    assert_eq!(read_messages(&mut socket, 1), [4]);
    let ended = server.stop("TERM");
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[test]
fn clients_are_accepted_by_their_headers_and_their_token() {
    let server = serve(&["--port", "0", "--verbose"], SCRIPT);
    let place = server.address.as_str();
    let name = ["--connect-header", "client-name=me"];
    let number = ["--connect-header", "number:integer=5"];
    let token = ["--connect-data", r#"{"authToken":"s3cret"}"#];
    for arguments in [
        [&name[..], &token].concat(),
        [&name[..], &["--connect-header", "number:long=5"], &token].concat(),
        [&["--connect-header", "client-name=you"][..], &number, &token].concat(),
        [&name[..], &number].concat(),
        [&name[..], &number, &["--connect-data", r#"{"authToken":"s3creT"}"#]].concat(),
        [&name[..], &number, &["--connect-data", "s3cret"]].concat(),
    ] {
        let arguments = [&[place, "--operation", "Echo"], &arguments[..]].concat();
        let refused = run(example("esrpc-call", &arguments));
        assert_eq!((refused.code, refused.out.as_str()), (Some(5), ""), "{}", refused.err);
        assert!(refused.err.contains(r#"{"welcome": true}"#), "{}", refused.err);
    }
    let ended = server.stop("TERM");
    for objection in ["lacks this header: \"number\"", "in this header: \"number\"", "in this header: \"client-name\""]
    {
        assert!(ended.err.contains(objection), "{objection}: {}", ended.err);
    }
    assert_eq!(ended.err.matches("with the token").count(), 3, "{}", ended.err);
    assert_eq!(ended.err.matches(r#"{"type":"CONNECT","flags":0,"#).count(), 6, "{}", ended.err);

    let closed = serve(&["--port", "0"], r#"{"connect": {"accept": false}}"#);
    let refused = call(&[&closed.address], "Echo", &[], "");
    assert_eq!(refused.code, Some(5), "{}", refused.err);
    assert!(closed.stop("TERM").err.contains("the file accepts none"));
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs TLS")]
fn clients_may_be_served_by_tls() {
    let authority = Authority::new("test CA");
    let identity = authority.server(&["server.example"]);
    let client = authority.client("a client");
    let [ca, certificate, key] =
        [("serve-ca.pem", &authority.pem), ("serve.pem", &identity.certificate), ("serve.key", &identity.key)]
            .map(|(name, content)| file(name, content));
    let [client_certificate, client_key] =
        [("serve-client.pem", &client.certificate), ("serve-client.key", &client.key)]
            .map(|(name, content)| file(name, content));
    let tls = ["--port", "0", "--tls", "--cert", &certificate, "--key", &key, "--client-ca", &ca];
    let server = serve(&tls, r#"{"operations": {"Echo": [{"echo": true}]}}"#);
    let place = [server.address.as_str(), "--ca", &ca, "--server-name", "server.example"];
    let shown = ["--data", "hello", "--cert", &client_certificate, "--key", &client_key];
    let admitted = call(&place, "Echo", &shown, "");
    assert_eq!((admitted.code, admitted.out.as_str()), (Some(0), "hello"), "{}", admitted.err);
    assert_eq!(call(&place, "Echo", &[], "").code, Some(4));
    let ended = server.stop("TERM");
    assert!(ended.err.contains("ESRPC_ERROR_TLS_CERTIFICATE_REQUIRED"), "{}", ended.err);
    assert!(ended.err.contains("what to do: the client has to present a certificate"), "{}", ended.err);
    let script = file("tls-script.json", "{}");
    let wrong = run(example("esrpc-serve", &["--port", "0", "--cert", &ca, "--key", &key, &script]));
    assert_eq!((wrong.code, wrong.out.as_str()), (Some(4), ""));
    assert!(wrong.err.starts_with("esrpc-serve: cannot use --cert and --key: "), "{}", wrong.err);
}

#[test]
fn mistakes_in_the_file_are_reported_with_line_and_column() {
    let operation = |operation: &str| format!("{{\"operations\":\n{{\"A\":{operation}}}}}");
    let cases = [
        (String::new(), "1:1: the JSON ends too early"),
        ("{\"operations\": {},}".to_owned(), "1:19: this is not JSON"),
        ("[]".to_owned(), "1:1: the file has to hold an object"),
        (
            r#"{"operation": {}}"#.to_owned(),
            "1:2: there is no member \"operation\" here; these are: connect, operations",
        ),
        (r#"{"operations": []}"#.to_owned(), "1:16: operations are an object"),
        (r#"{"operations": {"A": [], "A": []}}"#.to_owned(), "1:26: this operation is given twice"),
        (r#"{"connect": {"accept": 1}}"#.to_owned(), "1:24: true or false is needed here"),
        (r#"{"connect": {"accept": true, "accept": true}}"#.to_owned(), "1:30: accept is given twice"),
        (operation("5"), "2:6: an operation is an object"),
        (operation("[5]"), "2:7: a reply is an object"),
        (operation(r#"{"replies": {}}"#), "2:18: replies are an array"),
        (operation(r#"{"replies": [], "error": {}}"#), "2:22: an operation has either replies or an error"),
        (operation(r#"[{"text": 5}]"#), "2:16: a string is needed here"),
        (operation(r#"[{"text": "a", "json": 1}]"#), "2:21: a reply has only one of"),
        (operation(r#"[{"base64": "a"}]"#), "2:18: this string is not base64"),
        (operation(r#"[{"delay_ms": -1}]"#), "2:20: a whole number from 0 to 86400000"),
        (operation(r#"[{"type": "PING"}]"#), "2:8: only APPLICATION_MESSAGE and APPLICATION_ERROR"),
        (operation(r#"[{"headers": {"a": null}}]"#), "2:25: the value of a header is a string"),
        (operation(r#"[{"flags": "last"}]"#), "2:17: flags are a whole number"),
    ];
    for (script, sentence) in cases {
        let path = file("mistaken.json", &script);
        let ended = run(example("esrpc-serve", &["--check", &path]));
        assert_eq!((ended.code, ended.out.as_str()), (Some(USAGE), ""), "{script}: {}", ended.err);
        assert!(ended.err.starts_with(&format!("esrpc-serve: {path}:{sentence}")), "{script}: {}", ended.err);
    }
    let path = file("good.json", SCRIPT);
    let good = run(example("esrpc-serve", &["--check", &path]));
    assert_eq!((good.code, good.out.as_str(), good.err.as_str()), (Some(0), "", ""));
}

#[test]
fn mistakes_in_the_arguments_of_esrpc_serve_are_explained() {
    let script = file("arguments.json", "{}");
    let taken = serve(&["--port", "0"], "{}");
    let cases: &[(&[&str], i32, &str)] = &[
        (&[], USAGE, "which file says what to answer?"),
        (&["--port", "65536", &script], USAGE, "--port takes a number from 0 to 65535"),
        (&["--cert", "a.pem", &script], USAGE, "--cert and --key go together"),
        (&["--tls", &script], USAGE, "give --cert FILE and --key FILE"),
        (&["--ca", "a.pem", &script], USAGE, "did you mean --client-ca?"),
        (&["--client-ca", "a.pem", &script], USAGE, "--client-ca and --alpn are for TLS"),
        (&["/nowhere/script.json"], USAGE, "cannot open /nowhere/script.json: No such file"),
        (&["--unix", "/nowhere/socket", &script], FAILED, "folder"),
        (&["--port", taken.port(), &script], FAILED, "--port 0 takes a port that is free"),
    ];
    for (arguments, code, sentence) in cases {
        let ended = run(example("esrpc-serve", arguments));
        assert_eq!((ended.code, ended.out.as_str()), (Some(*code), ""), "{arguments:?}: {}", ended.err);
        assert!(ended.err.starts_with("esrpc-serve: ") && ended.err.contains(sentence), "{}", ended.err);
    }
    taken.stop("TERM");
}

/// Each of these calls is reported with the name of its operation, which fills a pipe of 64 KiB alone: "\u0001" 12,000 times.
#[test]
fn long_names_do_not_stop_a_server_whose_stderr_is_full() {
    const CALLS: i32 = 3;
    let server = serve(&["--port", "0"], r#"{"operations": {}}"#);
    let mut socket = TcpStream::connect(&server.address).expect("the server listens");
    socket.set_read_timeout(Some(TIME_LIMIT)).expect("a positive timeout");
    socket.write_all(&protocol_message(4, &[(":version", "0.1.0")], b"")).expect("a new connection takes some bytes");
    read_messages(&mut socket, 1);
    let name = "\u{1}".repeat(12_000);
    for id in 1..=CALLS {
        socket.write_all(&stream_message(id, 0, Some(&name), "")).expect("the server reads");
        read_messages(&mut socket, 1);
    }
    let ended = server.stop("TERM");
    assert_eq!(ended.code, Some(0));
    assert!(ended.err.len() > 32 * 1024, "stderr was not full: {} bytes", ended.err.len());
}
