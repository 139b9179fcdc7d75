//! The recorded conversations with a client: our client, through the C interface, does what the recorded program did,
//! against a server of raw bytes; what it sends, its callbacks and the end of the connection are compared.

#[allow(dead_code, reason = "the test of the server uses the rest of it")]
mod common {
    pub mod client_program;
    pub mod recorder;
    pub mod transcripts;
}

use common::client_program::Program;
use common::recorder::Runtime;
use common::transcripts::*;
use std::net::TcpListener;
use std::thread;

const FLUSH_ORDER: &str = "promise 3: Order: flush callbacks in the order of the sends, all before `on_closed`. The flush \
                           callback comes once the kernel has taken the last byte (so before any reply).";
const REFUSED: &str = "wire: A CONNECT_ACK without CONNECTION_ACCEPTED rejects: it is delivered, then the connection ends, \
                       and no stream can be opened. Promise 2: A refused CONNECT: HANDSHAKE_REFUSED on the client";
const FORBIDDEN_SEND: &str = "promise 1: A call that returned an error made no object and calls nothing back. (Sends that the \
                              handshake forbids return a status and leave the connection up.)";
const BAD_HEADERS: &str = "wire: sound framing with bad headers (overrun, too many, unknown type) or a broken rule is answered \
                           with PROTOCOL_ERROR, then linger";
const ORDER_OF_CHECKS: &str =
    "wire: Order of checks, in every decoder: prelude CRC (at byte 12), lengths, headers, message CRC";
const HEADER_ORDER: &str = "echo service: Header order out: the caller's headers, then `:message-type`, `:message-flags`, \
                            `:stream-id`, then `operation`.";

/// Where this library differs on purpose. A row that changes nothing fails the test.
const DIFFERENCES: &[Difference] = &[
    Difference {
        case: "client_connect_rejected",
        rule: REFUSED,
        ours: |outcome| {
            outcome.sent.pop();
            outcome.replace_event("flushed activate", "shutdown HANDSHAKE_REFUSED");
            outcome.replace_event("is_open", "not sent activate 1 CONNECTION_CLOSED");
            outcome.events.push("is_open false".to_owned());
        },
    },
    Difference {
        case: "client_connect_rejected_then_closed",
        rule: REFUSED,
        ours: |outcome| outcome.replace_event("shutdown", "shutdown HANDSHAKE_REFUSED"),
    },
    Difference {
        case: "client_sends_ping_before_connect",
        rule: FORBIDDEN_SEND,
        ours: |outcome| send_is_only_refused(outcome, "PING", "HANDSHAKE_PENDING"),
    },
    Difference {
        case: "client_sends_ping_before_ack",
        rule: FORBIDDEN_SEND,
        ours: |outcome| send_is_only_refused(outcome, "PING", "HANDSHAKE_PENDING"),
    },
    Difference {
        case: "client_sends_connect_twice",
        rule: FORBIDDEN_SEND,
        ours: |outcome| send_is_only_refused(outcome, "CONNECT", "HANDSHAKE_ALREADY_DONE"),
    },
    Difference {
        case: "client_sends_connect_ack",
        rule: FORBIDDEN_SEND,
        ours: |outcome| send_is_only_refused(outcome, "CONNECT_ACK", "WRONG_MESSAGE_TYPE"),
    },
    Difference {
        case: "client_header_overrun",
        rule: BAD_HEADERS,
        ours: |outcome| tells_bad_headers(outcome, "HEADER_OVERRUN"),
    },
    Difference {
        case: "client_headers_1025",
        rule: BAD_HEADERS,
        ours: |outcome| tells_bad_headers(outcome, "TOO_MANY_HEADERS"),
    },
    Difference {
        case: "client_header_unknown_type",
        rule: BAD_HEADERS,
        ours: |outcome| {
            outcome.sent.push("PROTOCOL_ERROR flags=0".to_owned());
            outcome.replace_event("protocol_message PING", "stream_closed 1");
            outcome.replace_event("is_open", "shutdown UNKNOWN_HEADER_TYPE");
            outcome.events.push("is_open false".to_owned());
        },
    },
    Difference {
        case: "client_server_connect",
        rule: "wire: CONNECT to a client and CONNECT_ACK to a server are violations (a deliberate difference from recorded peers).",
        ours: |outcome| {
            outcome.sent.push("PROTOCOL_ERROR flags=0".to_owned());
            outcome.replace_event("protocol_message CONNECT ", "shutdown PROTOCOL_VIOLATION");
            outcome.replace_event("is_open", "is_open false");
            outcome.stays_open = false;
        },
    },
    Difference {
        case: "client_violation_then_stream_message_in_one_write",
        rule: "wire: After a violation the offender's further messages are not dispatched, also not those of the same read.",
        ours: |outcome| outcome.remove_events("stream_message"),
    },
    Difference {
        case: "client_garbage",
        rule: ORDER_OF_CHECKS,
        ours: |outcome| outcome.replace_event("shutdown", "shutdown PRELUDE_CHECKSUM"),
    },
    Difference {
        case: "client_garbage_before_ack",
        rule: ORDER_OF_CHECKS,
        ours: |outcome| outcome.replace_event("shutdown", "shutdown PRELUDE_CHECKSUM"),
    },
    Difference {
        case: "client_server_closes_mid_message",
        rule: "promise 2: A clean end by the peer: PEER_CLOSED. (An end inside a message is not clean; promise 11: errors \
               explain themselves.)",
        ours: |outcome| outcome.replace_event("shutdown", "shutdown INCOMPLETE"),
    },
    Difference { case: "client_activate_with_terminate", rule: FLUSH_ORDER, ours: flushes_first },
    Difference { case: "client_terminates_stream", rule: FLUSH_ORDER, ours: flushes_first },
    Difference { case: "client_sends_after_terminate", rule: FLUSH_ORDER, ours: flushes_first },
];

const PEER_TO_PEER_DIFFERENCES: &[Difference] = &[
    Difference {
        case: "p2p_connect_rejected",
        rule: REFUSED,
        ours: |outcome| {
            flushes_first(outcome);
            outcome.replace_event("shutdown", "shutdown HANDSHAKE_REFUSED");
        },
    },
    Difference { case: "p2p_ping", rule: FLUSH_ORDER, ours: flushes_first },
    Difference { case: "p2p_client_terminate", rule: FLUSH_ORDER, ours: flushes_first },
    Difference { case: "p2p_client_terminate_with_payload", rule: FLUSH_ORDER, ours: flushes_first },
    Difference { case: "p2p_application_error", rule: FLUSH_ORDER, ours: flushes_first },
    Difference { case: "p2p_activate_with_terminate", rule: FLUSH_ORDER, ours: flushes_first },
];

const GREENGRASS_DIFFERENCES: &[Difference] =
    &[Difference { case: "component_sdk_publish", rule: HEADER_ORDER, ours: in_our_order }];

/// The recorded side closed the connection for it.
fn send_is_only_refused(outcome: &mut Outcome, what: &str, status: &str) {
    outcome.replace_event(&format!("not sent proto {what} "), &format!("not sent proto {what} {status}"));
    outcome.remove_events("shutdown");
    outcome.replace_event("is_open", "is_open true");
}

/// The recorded side sent INTERNAL_ERROR.
fn tells_bad_headers(outcome: &mut Outcome, reason: &str) {
    let last = outcome.sent.last_mut().expect("an error message");
    assert_eq!(last, "INTERNAL_ERROR flags=0");
    *last = "PROTOCOL_ERROR flags=0".to_owned();
    outcome.replace_event("shutdown", &format!("shutdown {reason}"));
}

/// Moves each flush before the answer to its message, and before the end of its stream.
fn flushes_first(outcome: &mut Outcome) {
    let events = &mut outcome.events;
    for start in 1..events.len() {
        let mut at = start;
        while let Some(later) = consequence(&events[at])
            && later.iter().any(|later| events[at - 1].starts_with(later))
        {
            events.swap(at - 1, at);
            at -= 1;
        }
    }
}

/// What cannot come before this flush.
fn consequence(flush: &str) -> Option<Vec<String>> {
    let (kind, of) = flush.strip_prefix("flushed ")?.strip_suffix(" OK")?.split_once(' ')?;
    Some(match kind {
        "proto" if of == "CONNECT" => vec!["protocol_message CONNECT_ACK".to_owned()],
        "proto" => vec![format!("protocol_message {of}_RESPONSE")],
        "activate" => vec![format!("stream_message {of} "), format!("stream_closed {of}")],
        _ => vec![format!("stream_closed {of}")],
    })
}

/// Plays the server of a case to the end of the recording. `ends`: the client is expected to end the connection.
fn play_server(case: &Case, mut server: RawPeer, ends: bool) -> (RawPeer, Vec<String>, Result<(), String>) {
    let mut received = Vec::new();
    let result = play_steps(case, &mut server, &mut received).and_then(|()| {
        if ends {
            server.read_up_to(usize::MAX, &mut received)?;
            server.half_close();
        }
        Ok(())
    });
    (server, received, result)
}

fn play_steps(case: &Case, server: &mut RawPeer, received: &mut Vec<String>) -> Result<(), String> {
    let mut messages_so_far = 0;
    let mut joined = Vec::new();
    for step in &case.steps {
        if let Step::Send(Side::Server, bytes) = step {
            joined.push(&bytes[..]);
            if server.pace() == Pace::OneWrite {
                continue;
            }
        }
        if !joined.is_empty() {
            server.write(&joined.concat())?;
            joined.clear();
        }
        match step {
            Step::Send(Side::Server, _) => {}
            Step::Send(Side::Client, _) => {
                messages_so_far += 1;
                server.read_up_to(messages_so_far, received)?;
            }
            Step::Close(Side::Server) => server.half_close(),
            Step::Close(Side::Client) => return Ok(()),
        }
    }
    if joined.is_empty() { Ok(()) } else { server.write(&joined.concat()) }
}

/// Makes our client do what the program of a case did, callback by callback.
fn replay(case: &Case, expected: &Outcome, pace: Pace, runtime: &Runtime) -> Result<Outcome, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    let mut program = Program::connect(case, port, runtime);
    program.wait_for_events(1)?;
    let (stream, _) = listener.accept().map_err(|error| error.to_string())?;
    let server = RawPeer::new(stream, pace, case.damaged_from(Side::Server));
    let stays_open = expected.events.iter().any(|event| event == "is_open true");
    let sent = thread::scope(|scope| {
        let mut server = Some(scope.spawn(|| play_server(case, server, !stays_open)));
        let mut played = None;
        for (index, event) in expected.events.iter().enumerate() {
            match event.as_str() {
                "is_open true" => {
                    let (mut server, received, result) = server.take().expect("once").join().expect("no panic");
                    result?;
                    program.prove_that_it_is_open(&mut server)?;
                    program.note_is_open();
                    program.close();
                    played = Some((server, received));
                }
                "is_open false" => program.note_is_open(),
                "shutdown OK" => program.close(),
                event => program.act(event),
            }
            program.wait_for_events(index + 1)?;
        }
        let (mut server, mut received) = match (played, server) {
            (Some(played), _) => played,
            (None, Some(server)) => {
                let (server, received, result) = server.join().expect("no panic");
                result?;
                (server, received)
            }
            (None, None) => return Err("the transcript does not say how it ends".to_owned()),
        };
        server.read_up_to(usize::MAX, &mut received)?;
        server.half_close();
        Ok::<_, String>(received)
    })?;

    let mut events = program.finish()?;
    if expected.events.last().is_some_and(|last| last == "is_open true") {
        // What came of closing it was not recorded in these cases.
        let end = events.split_off(expected.events.len().min(events.len()));
        let is_orderly = end.iter().rev().skip(1).all(|event| event.starts_with("stream_closed"));
        if end.last().is_none_or(|last| last != "shutdown OK") || !is_orderly {
            return Err(format!("the close ended with {end:#?}"));
        }
    }
    Ok(Outcome { sent, events, stays_open: expected.stays_open })
}

fn check(cases: &[Case], table: &[Difference], pace: Pace) {
    let runtime = Runtime::start();
    check_all(cases, |case| {
        let expected = case.expected(Side::Client, table);
        compare(&expected, &replay(case, &expected, pace, &runtime)?)
    });
    runtime.join();
}

fn client_cases() -> Vec<Case> {
    let cases = load("client_cases.json");
    assert_eq!(cases.len(), 48, "a case was lost");
    check_table(&cases, DIFFERENCES);
    cases
}

/// A client may close at once (promise 8), and the system resets the connection for what comes after: a violation and
/// what follows it are written together or not at all.
fn without_writes_after_the_end(mut cases: Vec<Case>) -> Vec<Case> {
    cases.retain(|case| case.name != "client_violation_then_stream_message_in_one_write");
    cases
}

#[test]
fn our_client_answers_raw_servers_as_recorded() {
    check(&without_writes_after_the_end(client_cases()), DIFFERENCES, Pace::StepByStep);
}

#[test]
fn our_client_answers_as_recorded_when_the_server_writes_everything_at_once() {
    let mut cases = client_cases();
    cases.retain(|case| case.name.ends_with("_in_one_write"));
    assert_eq!(cases.len(), 2, "a case was lost");
    check(&cases, DIFFERENCES, Pace::OneWrite);
}

#[test]
fn our_client_answers_as_recorded_when_each_byte_is_a_write() {
    check(&without_writes_after_the_end(client_cases()), DIFFERENCES, Pace::ByteByByte);
}

#[test]
fn our_client_calls_the_recorded_servers_of_the_other_library() {
    let cases = load("peer_to_peer.json");
    assert_eq!(cases.len(), 14, "a case was lost");
    check_table(&cases, PEER_TO_PEER_DIFFERENCES);
    check(&cases, PEER_TO_PEER_DIFFERENCES, Pace::StepByStep);
    check(&cases, PEER_TO_PEER_DIFFERENCES, Pace::ByteByByte);
}

#[test]
fn our_client_does_what_the_recorded_greengrass_clients_did() {
    let mut cases = load("greengrass_clients.json");
    assert_eq!(cases.len(), 2, "a case was lost");
    check_table(&cases, GREENGRASS_DIFFERENCES);
    // The callbacks of these clients were not recorded, but follow from the messages.
    for case in &mut cases {
        let ends_stream = case.name == "component_sdk_publish";
        let before = [
            "setup OK",
            "flushed proto CONNECT OK",
            "protocol_message CONNECT_ACK flags=1 headers=3 payload=",
            "flushed activate 1 OK",
            "stream_message 1 APPLICATION_MESSAGE flags=0 headers=5 closed=false payload=7b7d",
        ];
        let after = if ends_stream {
            ["flushed message 1 OK", "stream_closed 1", "is_open true", "shutdown OK"]
        } else {
            ["is_open true", "stream_closed 1", "shutdown OK", ""]
        };
        let events = before.into_iter().chain(after).filter(|event| !event.is_empty());
        case.client_events = events.map(str::to_owned).collect();
    }
    check(&cases, GREENGRASS_DIFFERENCES, Pace::StepByStep);
    check(&cases, GREENGRASS_DIFFERENCES, Pace::ByteByByte);
}
