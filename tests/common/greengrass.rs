//! A nucleus of Greengrass, as its lite version behaves: it accepts only int32 and string headers, answers a unary call
//! with a message that leaves the stream open, and closes when it gets a PING.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use eventstream_rpc::codec::{HeaderList, HeaderValue, Limits, Message, encode_into};

pub const SOCKET_VARIABLE: &str = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT";
pub const TOKEN_VARIABLE: &str = "SVCUID";

const CLIENTS: usize = 3;
const MOST_BYTES: usize = 10_000;

/// Serves a few clients, one after the other, and reports what each one did.
pub struct Nucleus {
    thread: JoinHandle<Vec<String>>,
    socket: PathBuf,
}

impl Nucleus {
    pub fn start(socket: &Path, token: &str) -> Nucleus {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).expect("the folder can be written");
        let expected = format!("{{\"authToken\":\"{}\"}}", token.replace('"', "\\\""));
        let serve_next = move || serve(listener.accept().expect("a client").0, &expected);
        let thread = thread::spawn(move || (0..CLIENTS).map(|_| serve_next()).collect());
        Nucleus { thread, socket: socket.to_owned() }
    }

    pub fn finish(self) -> Vec<String> {
        let _ = std::fs::remove_file(&self.socket);
        self.thread.join().expect("the clients keep to the protocol")
    }
}

/// One received message.
struct Received {
    numbers: [i32; 3],
    operation: Option<String>,
    texts: Vec<(String, String)>,
    payload: String,
}

const NAMES: [&str; 3] = [":message-type", ":message-flags", ":stream-id"];

fn serve(mut socket: UnixStream, expected: &str) -> String {
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a positive timeout");
    let connect = receive(&mut socket).expect("CONNECT");
    assert_eq!(connect.numbers, [4, 0, 0]);
    assert!(connect.texts.contains(&(":version".to_owned(), "0.1.0".to_owned())), "{:?}", connect.texts);
    let accepted = connect.payload == expected;
    send(&mut socket, [5, i32::from(accepted), 0], "");
    if !accepted {
        assert!(receive(&mut socket).is_none());
        return "refused".to_owned();
    }
    let request = receive(&mut socket).expect("a request");
    assert_eq!(request.numbers, [0, 0, 1]);
    let operation = request.operation.expect("the first message of a stream has one");
    assert!(request.texts.contains(&("service-model-type".to_owned(), format!("{operation}Request"))));
    let name = operation.trim_start_matches("aws.greengrass#");
    if name == "Fail" {
        send(&mut socket, [1, 2, 1], "{\"_errorCode\":\"ServiceError\"}");
        assert!(receive(&mut socket).is_none());
        return format!("{name} ended");
    }
    send(&mut socket, [0, 0, 1], &format!("{{\"asked\":{}}}", request.payload));
    let end = receive(&mut socket).expect("the client ends the stream");
    assert_eq!((end.numbers, end.payload.as_str()), ([0, 2, 1], ""));
    assert!(receive(&mut socket).is_none());
    format!("{name} ended by the client")
}

/// None at the end.
fn receive(socket: &mut UnixStream) -> Option<Received> {
    let mut bytes = vec![0; 4];
    if socket.read(&mut bytes[..1]).expect("a message or the end") == 0 {
        return None;
    }
    socket.read_exact(&mut bytes[1..]).expect("a whole message");
    let len = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    assert!(len <= MOST_BYTES, "{len} bytes are too much for the lite nucleus");
    bytes.resize(len, 0);
    socket.read_exact(&mut bytes[4..]).expect("a whole message");
    let (message, _) = Message::decode(&bytes, &Limits::default()).expect("a sound message");
    let mut received =
        Received { numbers: [-1; 3], operation: None, texts: Vec::new(), payload: text(message.payload) };
    for header in message.headers.iter() {
        let name = text(header.name);
        match header.value {
            HeaderValue::Int32(number) => {
                let at = NAMES.iter().position(|known| *known == name).expect("a header of the protocol");
                received.numbers[at] = number;
            }
            HeaderValue::String(value) if name == "operation" => received.operation = Some(text(value)),
            HeaderValue::String(value) => received.texts.push((name, text(value))),
            other => panic!("{name}: {other:?} is not for the lite nucleus"),
        }
    }
    Some(received)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn send(socket: &mut UnixStream, numbers: [i32; 3], payload: &str) {
    let mut headers = HeaderList::new();
    for (name, number) in NAMES.iter().zip(numbers) {
        headers.add(name.as_bytes(), HeaderValue::Int32(number)).expect("a good header");
    }
    let mut bytes = Vec::new();
    encode_into(&[headers.as_bytes()], payload.as_bytes(), &mut bytes);
    socket.write_all(&bytes).expect("the client reads");
}
