//! Our connections with a TLS stack that is not ours: the `openssl` command as client and as server.

use crate::certificates::{Authority, Identity, in_year};
use crate::raw::message;
use crate::recorder::*;
use crate::rig::*;
use crate::server::Server;
use crate::settings::{self, Builder, NAME};
use eventstream_rpc::ffi::constants::esrpc_tls_client_auth::*;
use eventstream_rpc::ffi::constants::{esrpc_tls_version, esrpc_tls_version::*};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

const VERSIONS: [(esrpc_tls_version, &str, &str); 2] =
    [(ESRPC_TLS_VERSION_1_2, "-tls1_2", "TLSv1.2"), (ESRPC_TLS_VERSION_1_3, "-tls1_3", "TLSv1.3")];

/// Files of one test, which the command reads.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("openssl").join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the target folder can be written");
        Folder(folder)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).into_os_string().into_string().expect("UTF-8")
    }

    pub fn keep(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).expect("the target folder can be written");
        self.path(name)
    }

    /// The options that make the command show this identity.
    fn identity(&self, identity: &Identity) -> [String; 4] {
        let certificate = self.keep("certificate.pem", &identity.certificate);
        ["-cert".to_owned(), certificate, "-key".to_owned(), self.keep("key.pem", &identity.key)]
    }
}

pub fn openssl(arguments: &[String]) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments);
    command
}

#[track_caller]
pub fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| panic!("the openssl command is needed: install openssl ({error})"))
}

/// What a running command has written so far, on both of its outputs.
#[derive(Default)]
pub struct Output {
    bytes: Mutex<Vec<u8>>,
    changed: Condvar,
}

impl Output {
    fn gather(self: &Arc<Self>, mut from: impl Read + Send + 'static) {
        let output = self.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                output.bytes.lock().expect("no panic").extend_from_slice(&buffer[..count]);
                output.changed.notify_all();
            }
        });
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("no panic")).into_owned()
    }

    /// Waits for these words.
    #[track_caller]
    fn wait_for(&self, words: &str) -> String {
        let bytes = self.bytes.lock().expect("no panic");
        let is_missing = |bytes: &mut Vec<u8>| !String::from_utf8_lossy(bytes).contains(words);
        let (bytes, timeout) = self.changed.wait_timeout_while(bytes, PATIENCE, is_missing).expect("no panic");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        drop(bytes);
        assert!(!timeout.timed_out(), "openssl does not say {words:?}, but:\n{text}");
        text
    }
}

/// A running command.
pub struct Openssl {
    child: Child,
    input: Option<ChildStdin>,
    pub output: Arc<Output>,
}

impl Openssl {
    fn start(arguments: &[String]) -> Openssl {
        let mut command = openssl(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(&mut command);
        let output = Arc::new(Output::default());
        output.gather(child.stdout.take().expect("a pipe"));
        output.gather(child.stderr.take().expect("a pipe"));
        let input = child.stdin.take();
        Openssl { child, input, output }
    }

    /// A client of our server, which trusts the CA in the file `ca`.
    fn client(server: &Server, ca: &str, more: &[String]) -> Openssl {
        let address = format!("127.0.0.1:{}", server.port());
        let fixed = ["s_client", "-connect", &address, "-servername", NAME, "-verify_hostname", NAME];
        let checks = ["-verify_return_error", "-nocommands", "-CAfile", ca];
        let arguments: Vec<_> = fixed.iter().chain(&checks).map(|word| (*word).to_owned()).collect();
        Openssl::start(&[&arguments[..], more].concat())
    }

    /// A server; the port that it listens on.
    pub fn server(more: &[String]) -> (Openssl, u16) {
        let fixed = ["s_server", "-accept", "127.0.0.1:0"].map(str::to_owned);
        let server = Openssl::start(&[&fixed[..], more].concat());
        let said = server.output.wait_for("ACCEPT 127.0.0.1:");
        // What it says on its other pipe may follow.
        let digits = said.split("ACCEPT 127.0.0.1:").nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let port = digits.parse().unwrap_or_else(|_| panic!("no port in {said:?}"));
        (server, port)
    }

    /// Goes through TLS as data.
    fn send(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("it is open");
        input.write_all(bytes).and_then(|()| input.flush()).expect("openssl takes it");
    }

    /// Ends a client in order, and checks that it succeeded.
    fn end(mut self) {
        self.input = None;
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}: {}", self.output.text());
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Whether this OpenSSL has the hybrid key exchange: since version 3.5.
fn has_mlkem() -> bool {
    let mut command = openssl(&words(&["list", "-kem-algorithms"]));
    let output = spawn(command.stdout(Stdio::piped())).wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout).contains("X25519MLKEM768")
}

fn expected_group() -> &'static str {
    if has_mlkem() && cfg!(feature = "aws-lc-rs") { "X25519MLKEM768" } else { "X25519" }
}

#[test]
fn s_client_converses_with_our_server_and_takes_up_its_session() {
    for (_, option, version) in VERSIONS {
        let runtime = Runtime::start();
        let folder = Folder::new(&format!("s_client{option}"));
        let authority = Authority::new("test CA");
        let server = settings::server(&authority.server(&[NAME]), |builder| builder.alpn("rpc"));
        let server = Server::start(&runtime, &server);
        let (ca, session) = (folder.keep("ca.pem", &authority.pem), folder.path("session.pem"));
        for (reuse, said) in [("-sess_out", "New, "), ("-sess_in", "Reused, ")] {
            let before = server.side.callbacks.events().len();
            let more = words(&[option, "-alpn", "other,rpc", reuse, &session]);
            let mut client = Openssl::client(&server, &ca, &more);
            client.output.wait_for(&format!("{said}{version}, Cipher is "));
            client.send(&message(CONNECT, 0, 0, &[], b"a payload\n"));
            // The reply, which comes after the tickets.
            let text = client.output.wait_for(":message-type");
            assert!(text.contains("ALPN protocol: rpc"), "{text}");
            assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
            let facts = server.facts();
            assert_eq!((facts.version.as_str(), facts.alpn.as_str()), (version, "rpc"));
            assert_eq!(facts.resumed, reuse == "-sess_in", "{version}");
            if !facts.resumed {
                let group = if version == "TLSv1.3" { expected_group() } else { "X25519" };
                assert_eq!(facts.key_exchange, group);
            }
            client.end();
            let enough = |events: &[String]| events[before..].iter().any(|event| event.starts_with("shutdown"));
            server.side.callbacks.wait_until("shutdown", enough).unwrap_or_else(|error| panic!("{error}"));
            let events = server.side.callbacks.events().split_off(before);
            let end = events.iter().find(|event| event.starts_with("shutdown")).expect("it came");
            assert!(end.starts_with("shutdown PEER_CLOSED"), "{events:?}");
        }
        drop(server);
        runtime.join();
    }
}

#[test]
fn s_client_refuses_a_server_of_ours_that_it_cannot_trust() {
    let authority = Authority::new("test CA");
    let expired = authority.issue(&[NAME], |params| in_year(params, 2020));
    let cases = [
        ("wrong-ca", Authority::new("another CA").server(&[NAME]), "unable to get local issuer certificate"),
        ("expired", expired, "certificate has expired"),
        ("wrong-name", authority.server(&["other.example"]), "hostname mismatch"),
    ];
    for (name, identity, sentence) in cases {
        let runtime = Runtime::start();
        let ca = Folder::new(name).keep("ca.pem", &authority.pem);
        let server = Server::start(&runtime, &settings::server(&identity, |_| {}));
        let client = Openssl::client(&server, &ca, &[]);
        client.output.wait_for(sentence);
        let failed = server.side.wait_for("failed");
        assert!(failed.starts_with("failed TLS_ALERT_RECEIVED: "), "{name}: {failed}");
        drop((client, server));
        runtime.join();
    }
}

#[test]
fn s_client_shows_its_certificate_to_our_server() {
    for (_, option, version) in VERSIONS {
        let runtime = Runtime::start();
        let folder = Folder::new(&format!("client-certificate{option}"));
        let authority = Authority::new("test CA");
        let ca = folder.keep("ca.pem", &authority.pem);
        let ask = |builder: &Builder| builder.ask_clients(&authority, ESRPC_TLS_CLIENT_AUTH_REQUIRED);
        let server = Server::start(&runtime, &settings::server(&authority.server(&[NAME]), ask));
        let without = Openssl::client(&server, &ca, &words(&[option]));
        let failed = server.side.wait_for("failed");
        assert!(failed.starts_with("failed TLS_CERTIFICATE_REQUIRED: "), "{version}: {failed}");
        drop(without);
        let identity = authority.client("a client");
        let more = [&folder.identity(&identity)[..], &words(&[option])].concat();
        let mut client = Openssl::client(&server, &ca, &more);
        client.output.wait_for(&format!("New, {version}"));
        client.send(&message(CONNECT, 0, 0, &[], b""));
        client.output.wait_for(":message-type");
        // It adds its CA of its own accord.
        assert_eq!(server.facts().certificates, [identity.certificate_der, authority.der.clone()]);
        client.end();
        drop(server);
        runtime.join();
    }
}

#[test]
fn our_client_converses_with_s_server_and_takes_up_its_session() {
    for (_, option, version) in VERSIONS {
        let runtime = Runtime::start();
        let folder = Folder::new(&format!("s_server{option}"));
        let authority = Authority::new("test CA");
        let identity = authority.server(&[NAME]);
        let more = [&folder.identity(&identity)[..], &words(&[option, "-alpn", "rpc,other"])].concat();
        let (mut server, port) = Openssl::server(&more);
        let tls = settings::client(&authority, |builder| builder.alpn("rpc"));
        for resumed in [false, true] {
            let how = How { tls: Some((&tls, NAME)), handshake: true, options: None };
            let client = Client::connect(&runtime, Place::Port(port), how);
            server.output.wait_for(":message-type");
            server.output.bytes.lock().expect("no panic").clear();
            // It comes after the tickets.
            server.send(&message(CONNECT_ACK, ACCEPTED, 0, &[], b""));
            assert_eq!(client.side.wait_for("setup"), "setup OK");
            let facts = client.facts();
            assert_eq!((facts.version.as_str(), facts.alpn.as_str(), facts.resumed), (version, "rpc", resumed));
            assert_eq!(facts.certificates, std::slice::from_ref(&identity.certificate_der));
            if !resumed {
                let group = if version == "TLSv1.3" { expected_group() } else { "X25519" };
                assert_eq!(facts.key_exchange, group);
            }
            client.end();
        }
        drop(server);
        runtime.join();
    }
}

#[test]
fn our_client_refuses_an_s_server_that_it_cannot_trust() {
    let authority = Authority::new("test CA");
    let expired = authority.issue(&[NAME], |params| in_year(params, 2020));
    let cases = [
        (Authority::new("another CA").server(&[NAME]), "TLS_UNKNOWN_CA", "unknown ca"),
        (expired, "TLS_CERTIFICATE_EXPIRED", "certificate expired"),
        (authority.server(&["other.example"]), "TLS_WRONG_NAME", "bad certificate"),
    ];
    for (identity, status, alert) in cases {
        let runtime = Runtime::start();
        let folder = Folder::new(status);
        let (server, port) = Openssl::server(&folder.identity(&identity));
        let tls = settings::client(&authority, |_| {});
        let how = How { tls: Some((&tls, NAME)), ..How::default() };
        let client = Client::connect(&runtime, Place::Port(port), how);
        let setup = client.side.wait_for("setup");
        assert!(setup.starts_with(&format!("setup {status}: ")), "{setup}");
        server.output.wait_for(&format!("alert {alert}"));
        drop((client, server));
        runtime.join();
    }
}

#[test]
fn our_client_shows_its_certificate_to_s_server() {
    for (version, option, _) in VERSIONS {
        let runtime = Runtime::start();
        let folder = Folder::new(&format!("s_server-asks{option}"));
        let authority = Authority::new("test CA");
        let ca = folder.keep("ca.pem", &authority.pem);
        let asks = words(&[option, "-Verify", "1", "-verify_return_error", "-CAfile", &ca]);
        let more = [&folder.identity(&authority.server(&[NAME]))[..], &asks].concat();
        let (mut server, port) = Openssl::server(&more);

        let bare = settings::client(&authority, |_| {});
        let how = How { tls: Some((&bare, NAME)), handshake: true, options: None };
        let client = Client::connect(&runtime, Place::Port(port), how);
        let setup = client.side.wait_for("setup");
        assert!(setup.starts_with("setup TLS_ALERT_RECEIVED: "), "{version:?}: {setup}");
        drop(client);

        let identity = authority.client("a client");
        let tls = settings::client(&authority, |builder| builder.show(&identity));
        let how = How { tls: Some((&tls, NAME)), handshake: true, options: None };
        let client = Client::connect(&runtime, Place::Port(port), how);
        server.output.wait_for(":message-type");
        server.send(&message(CONNECT_ACK, ACCEPTED, 0, &[], b""));
        assert_eq!(client.side.wait_for("setup"), "setup OK");
        client.end();
        drop(server);
        runtime.join();
    }
}

#[test]
fn no_version_in_common_with_openssl() {
    let runtime = Runtime::start();
    let folder = Folder::new("versions");
    let authority = Authority::new("test CA");
    let more = [&folder.identity(&authority.server(&[NAME]))[..], &words(&["-tls1_3"])].concat();
    let (server, port) = Openssl::server(&more);
    let tls = settings::client(&authority, |builder| builder.only(ESRPC_TLS_VERSION_1_2));
    let how = How { tls: Some((&tls, NAME)), ..How::default() };
    let client = Client::connect(&runtime, Place::Port(port), how);
    client.side.wait_for("setup TLS_NO_COMMON_VERSION");
    drop((client, server));
    runtime.join();
}
