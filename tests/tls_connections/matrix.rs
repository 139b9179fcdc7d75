//! The verdicts of our sides and of OpenSSL's on the certificates of the usual tools: the same, or a sentence that says why not.
//!
//!     cargo test --test tls_connections matrix -- --nocapture

use crate::certificates::{Authority, Identity};
use crate::matrix_cases::{Case, REFUSED, TAKEN, of_clients, of_servers};
use crate::openssl::{Folder, Openssl, openssl, spawn, words};
use crate::recorder::*;
use crate::rig::*;
use crate::server::Server;
use crate::settings::{self, NAME, Tls};
use eventstream_rpc::ffi::constants::esrpc_tls_version::ESRPC_TLS_VERSION_1_2;
use std::net::IpAddr;
use std::process::Stdio;

/// What a judge says: taken, a status of ours with its sentence, or a reason of OpenSSL's.
struct Verdict {
    /// In the table.
    cell: String,
    sentence: String,
}

impl Verdict {
    /// Of an event such as "setup OK" or "failed TLS_WRONG_NAME: the TLS handshake ...".
    fn of_event(event: &str) -> Verdict {
        let said = event.split_once(' ').map_or("", |(_, said)| said);
        match said.split_once(": ") {
            None => Verdict { cell: TAKEN.to_owned(), sentence: String::new() },
            Some((status, sentence)) => Verdict { cell: status.to_owned(), sentence: sentence.to_owned() },
        }
    }

    /// Of what the openssl command printed.
    fn of_openssl(is_taken: bool, printed: &str) -> Verdict {
        if is_taken {
            return Verdict { cell: TAKEN.to_owned(), sentence: String::new() };
        }
        let reason = printed.lines().find_map(|line| line.split("verify error:num=").nth(1)?.split(':').nth(1));
        let reason =
            reason.or_else(|| printed.lines().find_map(|line| line.split("SSL routines:").nth(1)?.split(':').nth(1)));
        Verdict { cell: format!("{REFUSED}: {}", reason.unwrap_or("closed")), sentence: printed.to_owned() }
    }

    fn is(&self, expected: &str) -> bool {
        self.cell.split(':').next() == Some(expected)
    }
}

/// The files of a case, and the options that name them.
struct Files {
    trusted: Vec<String>,
    shown: Vec<String>,
}

impl Files {
    fn new(folder: &Folder, trusted: &str, identity: &Identity) -> Files {
        let certificate = folder.keep("certificate.pem", &identity.certificate);
        let key = folder.keep("key.pem", &identity.key);
        let ca = folder.keep("trusted.pem", trusted);
        Files {
            // A certificate that is given is trusted as itself.
            trusted: words(&["-CAfile", &ca, "-partial_chain", "-verify_return_error"]),
            shown: words(&["-cert", &certificate, "-cert_chain", &certificate, "-key", &key]),
        }
    }
}

/// OpenSSL as a client of any server.
fn s_client(port: u16, name: &str, more: &[String]) -> Verdict {
    let address = format!("127.0.0.1:{port}");
    let mut arguments = words(&["s_client", "-connect", &address]);
    arguments.extend(match name.parse::<IpAddr>() {
        Ok(_) => words(&["-verify_ip", name]),
        Err(_) => words(&["-servername", name, "-verify_hostname", name]),
    });
    arguments.extend_from_slice(more);
    let mut command = openssl(&arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawn(&mut command).wait_with_output().expect("it ends");
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    Verdict::of_openssl(output.status.success(), &printed)
}

/// Our client; `handshake`: CONNECT is answered.
fn our_client(runtime: &Runtime, port: u16, tls: &Tls, name: &str, handshake: bool) -> Verdict {
    let how = How { tls: Some((tls, name)), handshake, options: None };
    let client = Client::connect(runtime, Place::Port(port), how);
    Verdict::of_event(&client.side.wait_for("setup"))
}

/// The verdict of a client with a server of ours. If that one judges, its sentence stands for the client's, which knows the
/// alert alone.
fn at_our_server(runtime: &Runtime, tls: &Tls, client: &dyn Fn(u16) -> Verdict, server_judges: bool) -> Verdict {
    let server = Server::start(runtime, tls);
    let verdict = client(server.port());
    if verdict.cell == TAKEN {
        server.connection();
    } else if server_judges {
        return Verdict::of_event(&server.side.wait_for("failed"));
    }
    verdict
}

/// A row of the table, which is printed, and what is wrong with it.
fn report(case: &Case, cells: &[&Verdict], complaints: &mut Vec<String>) {
    let cells: Vec<_> = cells.iter().map(|verdict| format!("{:30.30}", verdict.cell)).collect();
    println!("| {:8} | {:34} | {} |", case.tool, case.what, cells.join(" | "));
    let differs = case.ours == TAKEN && case.openssl == REFUSED || case.ours != TAKEN && case.openssl == TAKEN;
    if differs && case.sentence.is_empty() {
        complaints.push(format!("{} {}: the verdicts differ, and nothing says why", case.tool, case.what));
    }
}

fn expect(case: &Case, who: &str, verdict: &Verdict, expected: &str, sentence: &str, complaints: &mut Vec<String>) {
    if !verdict.is(expected) || !verdict.sentence.contains(sentence) {
        let Verdict { cell, sentence: said } = verdict;
        complaints
            .push(format!("{} {}, {who}: {cell} {said}\n  instead of {expected} {sentence}", case.tool, case.what));
    }
}

fn print_head(columns: [&str; 4]) {
    println!("| {:8} | {:34} | {} |", "tool", "certificate", columns.map(|column| format!("{column:30}")).join(" | "));
    println!(
        "|{}|",
        ["-".repeat(10), "-".repeat(36)]
            .into_iter()
            .chain([(); 4].map(|()| "-".repeat(32)))
            .collect::<Vec<_>>()
            .join("|")
    );
}

#[test]
fn certificates_of_servers() {
    let folder = Folder::new("matrix-servers");
    let mut complaints = Vec::new();
    print_head(["our client, our server", "our client, s_server", "s_client, our server", "s_client, s_server"]);
    for case in of_servers(&folder) {
        let runtime = Runtime::start();
        let files = Files::new(&folder, &case.trusted, &case.identity);
        let client = settings::client_with(|builder| builder.trust_file(case.trusted.as_bytes()));

        let loose = words(&["-cipher", "DEFAULT:@SECLEVEL=0"]);
        let (s_server, port) = Openssl::server(&[&files.shown[..], &loose].concat());
        let ours_theirs = our_client(&runtime, port, &client, case.name, false);
        let theirs_theirs = s_client(port, case.name, &files.trusted);
        drop(s_server);
        expect(&case, "our client, s_server", &ours_theirs, case.ours, case.sentence, &mut complaints);
        expect(&case, "s_client, s_server", &theirs_theirs, case.openssl, "", &mut complaints);

        let (ours_ours, theirs_ours) = match settings::try_server(&case.identity) {
            Ok(tls) => {
                let client = |port| our_client(&runtime, port, &client, case.name, true);
                let ours_ours = at_our_server(&runtime, &tls, &client, false);
                let client = |port| s_client(port, case.name, &files.trusted);
                let theirs_ours = at_our_server(&runtime, &tls, &client, false);
                expect(&case, "our client, our server", &ours_ours, case.ours, case.sentence, &mut complaints);
                expect(&case, "s_client, our server", &theirs_ours, case.openssl, "", &mut complaints);
                (ours_ours, theirs_ours)
            }
            Err(sentence) => {
                let why = sentence.split(": ").next().unwrap_or_default().to_owned();
                if case.ours == TAKEN || !sentence.contains("cannot be used") && !sentence.contains("can be used") {
                    complaints.push(format!("{} {}: our server does not show it: {sentence}", case.tool, case.what));
                }
                let not_shown = || Verdict { cell: format!("not shown: {why}"), sentence: sentence.clone() };
                (not_shown(), not_shown())
            }
        };
        report(&case, &[&ours_ours, &ours_theirs, &theirs_ours, &theirs_theirs], &mut complaints);
        runtime.join();
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn certificates_of_clients() {
    let folder = Folder::new("matrix-clients");
    let own_folder = Folder::new("matrix-clients-server");
    let authority = Authority::new("the server's CA");
    let own = authority.server(&[NAME]);
    let of_server = Files::new(&own_folder, &authority.pem, &own);
    let mut complaints = Vec::new();
    print_head(["our client, our server", "our client, s_server", "s_client, our server", "s_client, s_server"]);
    for case in of_clients() {
        let runtime = Runtime::start();
        let files = Files::new(&folder, &case.trusted, &case.identity);
        // In TLS 1.2 a client hears of the verdict before it is done.
        let client = settings::client(&authority, |builder| {
            builder.only(ESRPC_TLS_VERSION_1_2);
            builder.show(&case.identity);
        });
        let shown = [&files.shown[..], &of_server.trusted, &words(&["-tls1_2"])].concat();

        let asks = [&of_server.shown[..], &files.trusted, &words(&["-Verify", "3"])].concat();
        let (s_server, port) = Openssl::server(&asks);
        let ours_theirs = our_client(&runtime, port, &client, NAME, false);
        let theirs_theirs = s_client(port, NAME, &shown);
        drop(s_server);
        let expected = if case.openssl == TAKEN { TAKEN } else { "TLS_ALERT_RECEIVED" };
        expect(&case, "our client, s_server", &ours_theirs, expected, "", &mut complaints);
        expect(&case, "s_client, s_server", &theirs_theirs, case.openssl, "", &mut complaints);

        let tls = settings::server(&own, |builder| {
            builder.trust_file(case.trusted.as_bytes());
            builder.require_certificates();
        });
        let ours_ours = at_our_server(&runtime, &tls, &|port| our_client(&runtime, port, &client, NAME, true), true);
        let theirs_ours = at_our_server(&runtime, &tls, &|port| s_client(port, NAME, &shown), true);
        for (who, verdict) in [("our client, our server", &ours_ours), ("s_client, our server", &theirs_ours)] {
            expect(&case, who, verdict, case.ours, case.sentence, &mut complaints);
        }
        report(&case, &[&ours_ours, &ours_theirs, &theirs_ours, &theirs_theirs], &mut complaints);
        runtime.join();
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
