//! Much data through one connection, cut anywhere, while reading is paused and resumed and the queue fills up: every
//! message arrives once, whole and in order.

#[path = "common/runtime_recorder.rs"]
mod runtime_recorder;

use eventstream_rpc::rpc::{self, MessageType, Outgoing};
use eventstream_rpc::runtime::{Connection, Error, Listener, Runtime, Settings};
use runtime_recorder::*;
use std::io::Write;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

const PING: i32 = MessageType::Ping as i32;

/// Random numbers that a seed reproduces (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// Mostly small, some around the sizes at which the library works differently, a few large.
fn payload(random: &mut Random, number: usize) -> Vec<u8> {
    let len = match random.below(100) {
        0..70 => random.below(200),
        70..80 => 4 * 1024 - 100 + random.below(200),
        80..90 => 8 * 1024 - 100 + random.below(200),
        90..98 => 256 * 1024 - 200 + random.below(400),
        _ => random.below(3_000_000),
    };
    let mut payload = vec![number as u8; len];
    payload.extend_from_slice(&number.to_be_bytes());
    payload
}

/// The numbers at the ends of the pings, until `count` have come.
fn check_pings(events: &Receiver<Event>, count: usize, seed: u64) {
    let mut random = Random(seed);
    for number in 0..count {
        let wanted = payload(&mut random, number);
        match wait_for(events, |event| matches!(event, Event::Protocol(PING, _) | Event::Shutdown(_))) {
            Event::Protocol(_, got) => assert!(got == wanted, "seed {seed}: message {number} is another one"),
            other => panic!("seed {seed}: {other:?} instead of message {number}"),
        }
    }
}

/// What the server is to notice.
struct Flow {
    events: Receiver<Event>,
    listener: Arc<Listener>,
}

/// A server whose connection pauses itself at every tenth ping, and is resumed by a thread.
fn pausing_server(runtime: &Arc<Runtime>) -> Flow {
    let (paused, resumer) = channel::<Arc<Connection>>();
    let paused = Mutex::new((paused, 0));
    let (recorder, events) = Recorder::new(move |recorder, on| match on {
        On::Protocol(connection, PING) => {
            let mut paused = paused.lock().expect("no panic");
            paused.1 += 1;
            if paused.1 % 10 == 0 {
                connection.set_reading_paused(true).expect("it is open");
                paused.0.send(connection.clone()).expect("the thread waits");
            }
        }
        on => serve(recorder, on),
    });
    thread::spawn(move || {
        for connection in resumer {
            // As an application that takes its breaks: off and on again, while the loop may be in the middle of things.
            for pause in [false, true, false] {
                let _ = connection.set_reading_paused(pause);
            }
        }
    });
    Flow { events, listener: serve_with(runtime, Settings::default(), &recorder) }
}

#[test]
fn from_a_peer_that_cuts_its_bytes_anywhere() {
    const COUNT: usize = 400;
    for seed in 1..=3 {
        let runtime = runtime();
        let server = pausing_server(&runtime);
        let mut peer = raw_peer(&server.listener);
        let writer = thread::spawn(move || {
            let (mut random, mut cuts) = (Random(seed), Random(seed + 1000));
            let mut bytes = message(MessageType::Connect, 0, 0, b"");
            for number in 0..COUNT {
                bytes.extend(message(MessageType::Ping, 0, 0, &payload(&mut random, number)));
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let len = match cuts.below(3) {
                    0 => 1 + cuts.below(20),
                    1 => 1 + cuts.below(5000),
                    _ => 1 + cuts.below(1_000_000),
                };
                let (part, after) = rest.split_at(len.min(rest.len()));
                peer.write_all(part).expect("the server reads");
                rest = after;
            }
            peer
        });
        check_pings(&server.events, COUNT, seed);
        // With the ack unread the system would reset the connection, not end it.
        read_message(&mut writer.join().expect("no panic"));
        wait_for(&server.events, |event| matches!(event, Event::Shutdown(Err(Error::PeerClosed(_)))));
    }
}

#[test]
fn from_a_client_that_fills_its_queue() {
    const COUNT: usize = 400;
    let runtime = runtime();
    let server = pausing_server(&runtime);
    let (client, events) = Recorder::new(|_, _| {});
    let mut settings = Settings::default();
    settings.limits.outbound = 500_000;
    let endpoint = endpoint_of(&server.listener);
    let connection = connect_with(&runtime, settings, endpoint, Some(Default::default()), &client);
    assert_eq!(connection.wait_setup(Some(LONG)), Ok(Ok(())));
    let sender = thread::spawn(move || {
        let mut random = Random(9);
        let mut refusals = 0;
        for number in 0..COUNT {
            let payload = payload(&mut random, number);
            loop {
                let ping = Outgoing { payload: &payload, ..Outgoing::empty(MessageType::Ping, 0) };
                match connection.send_protocol(ping, client.flush()) {
                    Ok(()) => break,
                    Err(Error::Rpc(rpc::Error::WouldBlock { .. })) => {
                        refusals += 1;
                        wait_for(&events, |event| *event == Event::Writable);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        connection.close(Ok(()));
        assert_eq!(wait_for(&events, |event| matches!(event, Event::Shutdown(_))), Event::Shutdown(Ok(())));
        refusals
    });
    check_pings(&server.events, COUNT, 9);
    wait_for(&server.events, |event| matches!(event, Event::Shutdown(Err(Error::PeerClosed(_)))));
    let refusals = sender.join().expect("no panic");
    assert!(refusals > 0, "the queue was never full");
}
