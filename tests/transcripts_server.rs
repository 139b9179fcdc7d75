//! The recorded conversations with a server: raw bytes sent to ours, through the C interface, and its answers, its
//! callbacks and the end of the connection compared with the recorded ones.

#[allow(dead_code, reason = "the test of the client uses the rest of it")]
mod common {
    pub mod echo_service;
    pub mod recorder;
    pub mod transcripts;
}

use common::echo_service::TERMINATE_STREAM;
use common::echo_service::{
    APPLICATION_ERROR, CONNECT_ACK, EchoService, PING, PING_RESPONSE, REFUSAL, REFUSAL_HEADERS,
};
use common::recorder::Runtime;
use common::transcripts::*;
use std::net::TcpStream;
use std::time::Duration;

/// How long a server waits for the client's end after last words, a little rounded down.
const LINGER: Duration = Duration::from_millis(950);

const NOTHING_AFTER_A_VIOLATION: &str =
    "wire: After a violation the offender's further messages are not dispatched, also not those of the same read.";
const BAD_HEADERS: &str = "wire: sound framing with bad headers (overrun, too many, unknown type) or a broken rule is answered \
                           with PROTOCOL_ERROR, then linger";
const LATE: &str = "wire: a late message for a stream that has ended is harmless up to a limit, with or \
                    without TERMINATE_STREAM.";
const ORDER_OF_CHECKS: &str =
    "wire: Order of checks, in every decoder: prelude CRC (at byte 12), lengths, headers, message CRC";
const HEADER_ORDER: &str = "echo service: Header order out: the caller's headers, then `:message-type`, `:message-flags`, \
                            `:stream-id`, then `operation`.";

/// Where this library differs on purpose. A row that changes nothing fails the test.
const DIFFERENCES: &[Difference] = &[
    Difference { case: "two_violations_in_one_write", rule: NOTHING_AFTER_A_VIOLATION, ours: one_answer_less },
    Difference {
        case: "violation_then_ping_in_one_write",
        rule: NOTHING_AFTER_A_VIOLATION,
        ours: |outcome| {
            one_answer_less(outcome);
            outcome.remove_events("protocol_message PING");
        },
    },
    Difference {
        case: "violation_then_stream_in_one_write",
        rule: NOTHING_AFTER_A_VIOLATION,
        ours: |outcome| {
            one_answer_less(outcome);
            outcome.remove_events("incoming_stream");
            outcome.remove_events("stream_");
        },
    },
    Difference {
        case: "rejected_connect_and_ping_in_one_write",
        rule: "wire: A CONNECT_ACK without CONNECTION_ACCEPTED rejects: it is delivered, then the connection ends",
        ours: |outcome| {
            one_answer_less(outcome);
            outcome.remove_events("protocol_message PING");
        },
    },
    Difference {
        case: "connect_flags_255",
        rule: "wire: TERMINATE_STREAM [...] on a protocol message [...] ends the connection after it is written / delivered. Promise 2: \
               TERMINATE_STREAM on stream-id 0: OK for the sender, PEER_CLOSED for the receiver. (255 has its bit.)",
        ours: |outcome| {
            outcome.remove_events("protocol_message PING");
            outcome.stays_open = false;
        },
    },
    Difference { case: "stream_reuse_after_server_close", rule: LATE, ours: late_message_is_harmless },
    Difference { case: "stream_reuse_after_server_close_with_operation", rule: LATE, ours: late_message_is_harmless },
    Difference { case: "stream_reuse_after_client_close", rule: LATE, ours: late_message_is_harmless },
    Difference {
        case: "incoming_stream_refused_by_app",
        rule: "wire: A stream the server's application refuses: APPLICATION_ERROR with TERMINATE_STREAM; the connection \
               stays open.",
        ours: |outcome| {
            one_answer_less(outcome);
            let headers = strings(&REFUSAL_HEADERS);
            outcome.sent.push(describe(&encode(&headers, APPLICATION_ERROR, TERMINATE_STREAM, 1, REFUSAL)));
            open_to_the_end(outcome);
        },
    },
    Difference {
        case: "header_overrun_before_connect",
        rule: BAD_HEADERS,
        ours: |outcome| {
            one_answer_less(outcome);
            outcome.sent.push("PROTOCOL_ERROR flags=0".to_owned());
            outcome.replace_event("shutdown", "shutdown HEADER_OVERRUN");
        },
    },
    Difference {
        case: "header_unknown_type",
        rule: BAD_HEADERS,
        ours: |outcome| {
            outcome.sent.push("PROTOCOL_ERROR flags=0".to_owned());
            outcome.remove_events("protocol_message PING");
            outcome.events.push("shutdown UNKNOWN_HEADER_TYPE".to_owned());
        },
    },
    Difference {
        case: "header_value_32768",
        rule: "limits: header value sent; received: 32,767 bytes (what peers accept); 65,535. Wire: copying a list for sending \
               [...] checks no send limits",
        ours: |outcome| {
            one_answer_less(outcome);
            let headers = strings(&[("s", &"x".repeat(32_768))]);
            outcome.sent.push(describe(&encode(&headers, PING_RESPONSE, 0, 0, b"")));
            outcome.events.insert(2, "protocol_message PING flags=0 payload_len=0 headers=4".to_owned());
            open_to_the_end(outcome);
        },
    },
    Difference {
        case: "garbage_bytes",
        rule: ORDER_OF_CHECKS,
        ours: |outcome| outcome.replace_event("shutdown", "shutdown PRELUDE_CHECKSUM"),
    },
    Difference {
        case: "garbage_bytes_before_connect",
        rule: ORDER_OF_CHECKS,
        ours: |outcome| outcome.replace_event("shutdown", "shutdown PRELUDE_CHECKSUM"),
    },
    Difference {
        case: "close_inside_message",
        rule: "promise 2: A clean end by the peer: PEER_CLOSED. (An end inside a message is not clean; promise 11: errors \
               explain themselves.)",
        ours: |outcome| outcome.replace_event("shutdown", "shutdown INCOMPLETE"),
    },
];

const PEER_TO_PEER_DIFFERENCES: &[Difference] = &[Difference {
    case: "p2p_client_terminate_with_payload",
    rule: "promise 3: If the peer ends the stream first, sends still waiting get STREAM_CLOSED. (New ones too.)",
    ours: |outcome| {
        one_answer_less(outcome);
        let closed = outcome.events.iter().position(|event| event.starts_with("stream_closed")).expect("an end");
        outcome.events.insert(closed, "answer STREAM_CLOSED".to_owned());
    },
}];

const GREENGRASS_DIFFERENCES: &[Difference] = &[
    Difference { case: "component_sdk_publish", rule: HEADER_ORDER, ours: in_our_order },
    Difference { case: "awsiotsdk_python_publish", rule: HEADER_ORDER, ours: in_our_order },
];

fn one_answer_less(outcome: &mut Outcome) {
    outcome.sent.pop();
}

/// The connection is still there for the PING after the recorded bytes, and until the client ends it.
fn open_to_the_end(outcome: &mut Outcome) {
    outcome.replace_event("shutdown", "protocol_message PING flags=0 payload_len=4 headers=4");
    outcome.events.push("shutdown PEER_CLOSED".to_owned());
    outcome.stays_open = true;
}

fn late_message_is_harmless(outcome: &mut Outcome) {
    one_answer_less(outcome);
    open_to_the_end(outcome);
}

/// Plays the client of a case against our server.
fn replay(case: &Case, expected: &Outcome, pace: Pace, runtime: &Runtime) -> Result<Outcome, String> {
    let service = EchoService::start(runtime);
    let stream = TcpStream::connect(("127.0.0.1", service.port())).map_err(|error| error.to_string())?;
    let mut client = RawPeer::new(stream, pace, case.damaged_from(Side::Client));
    let mut sent = Vec::new();
    let mut answers_so_far = 0;
    let mut steps = case.steps.iter().peekable();
    while let Some(step) = steps.next() {
        match step {
            Step::Send(Side::Server, _) => answers_so_far += 1,
            // The server ends it by itself, while the client's end is still up.
            Step::Close(Side::Server) => read_end(&mut client, &mut sent)?,
            Step::Close(Side::Client) => {
                client.read_up_to(answers_so_far.min(expected.sent.len()), &mut sent)?;
                client.half_close();
            }
            Step::Send(Side::Client, bytes) => {
                client.read_up_to(answers_so_far, &mut sent)?;
                let mut bytes = bytes.clone();
                while pace == Pace::OneWrite
                    && let Some(Step::Send(Side::Client, more)) = steps.peek()
                {
                    bytes.extend_from_slice(more);
                    steps.next();
                }
                client.write(&bytes)?;
            }
        }
    }
    client.read_up_to(expected.sent.len(), &mut sent)?;
    let stays_open = expected.stays_open && answers_ping(&mut client)?;
    // Step by step it is the server that ends the connection, within the second that it lingers.
    if stays_open || pace != Pace::StepByStep {
        client.half_close();
    }
    read_end(&mut client, &mut sent)?;
    client.half_close();

    service.recorder.wait_until("end", |events| events.iter().any(|event| event == "destroyed"))?;
    let mut events = service.recorder.events();
    if events.pop().as_deref() != Some("destroyed") {
        return Err(format!("callbacks after the last one: {events:#?}"));
    }
    Ok(Outcome { sent, events, stays_open })
}

/// Reads what is left, which has to end without a reset. After last words the server waits for the client's end,
/// dropping what comes, or the client might lose them (promise 8): at most a second, and a client that does not end
/// gets all of it.
fn read_end(client: &mut RawPeer, sent: &mut Vec<String>) -> Result<(), String> {
    let refusal = describe(&encode(b"", CONNECT_ACK, 0, 0, b""));
    let has_last_words = sent.last().is_some_and(|last| {
        *last == refusal || last.starts_with("PROTOCOL_ERROR") || last.starts_with("INTERNAL_ERROR")
    });
    let lingers = has_last_words && !client.is_half_closed();
    let begun = client.last_write();
    if lingers {
        client.write(&encode(b"", PING, 0, 0, b"to be dropped"))?;
    }
    client.read_up_to(usize::MAX, sent)?;
    if lingers && begun.elapsed() < LINGER {
        return Err(format!("the connection ended {:?} after the last words", begun.elapsed()));
    }
    Ok(())
}

/// The PING that the recorded client sent at the end to see whether the connection was still up.
fn answers_ping(client: &mut RawPeer) -> Result<bool, String> {
    let headers = strings(&[("p", "1")]);
    client.write(&encode(&headers, PING, 0, 0, b"ping"))?;
    let answer = client.read_message()?;
    let is_answered = answer == Some(describe(&encode(&headers, PING_RESPONSE, 0, 0, b"ping")));
    if is_answered { Ok(true) } else { Err(format!("PING was answered with {answer:?}")) }
}

fn check(cases: &[Case], table: &[Difference], pace: Pace) {
    let runtime = Runtime::start();
    check_all(cases, |case| {
        let expected = case.expected(Side::Server, table);
        compare(&expected, &replay(case, &expected, pace, &runtime)?)
    });
    runtime.join();
}

fn server_cases() -> Vec<Case> {
    let cases = load("server_cases.json");
    assert_eq!(cases.len(), 65, "a case was lost");
    check_table(&cases, DIFFERENCES);
    cases
}

#[test]
fn our_server_answers_raw_clients_as_recorded() {
    check(&server_cases(), DIFFERENCES, Pace::StepByStep);
}

#[test]
fn our_server_answers_as_recorded_when_the_client_writes_everything_at_once() {
    let mut cases = server_cases();
    cases.retain(|case| case.name.ends_with("_in_one_write"));
    assert_eq!(cases.len(), 6, "a case was lost");
    check(&cases, DIFFERENCES, Pace::OneWrite);
}

#[test]
fn our_server_answers_as_recorded_when_each_byte_is_a_write() {
    check(&server_cases(), DIFFERENCES, Pace::ByteByByte);
}

#[test]
fn our_server_serves_the_recorded_clients_of_the_other_library() {
    let cases = load("peer_to_peer.json");
    assert_eq!(cases.len(), 14, "a case was lost");
    check_table(&cases, PEER_TO_PEER_DIFFERENCES);
    check(&cases, PEER_TO_PEER_DIFFERENCES, Pace::StepByStep);
    check(&cases, PEER_TO_PEER_DIFFERENCES, Pace::ByteByByte);
}

#[test]
fn our_server_serves_the_recorded_greengrass_clients() {
    let mut cases = load("greengrass_clients.json");
    assert_eq!(cases.len(), 2, "a case was lost");
    check_table(&cases, GREENGRASS_DIFFERENCES);
    // The callbacks of that server were not recorded, but follow from the messages.
    for case in &mut cases {
        let is_sdk = case.name == "component_sdk_publish";
        let (connect, request) = if is_sdk { (32, (86, 5)) } else { (33, (72, 6)) };
        let (payload_len, headers) = request;
        let operation = "aws.greengrass#PublishToTopic";
        let message = format!("stream_message {operation}");
        case.server_events = vec![
            "new_connection".to_owned(),
            format!("protocol_message CONNECT flags=0 payload_len={connect} headers=4"),
            format!("incoming_stream {operation}"),
            format!("{message} n=1 APPLICATION_MESSAGE flags=0 payload_len={payload_len} headers={headers}"),
        ];
        if is_sdk {
            case.server_events.push(format!("{message} n=2 APPLICATION_MESSAGE flags=2 payload_len=0 headers=3"));
        }
        case.server_events.extend([format!("stream_closed {operation}"), "shutdown PEER_CLOSED".to_owned()]);
    }
    check(&cases, GREENGRASS_DIFFERENCES, Pace::StepByStep);
    check(&cases, GREENGRASS_DIFFERENCES, Pace::ByteByByte);
}
