//! Certificates that were revoked, and lists that say too little or are too old.

use crate::certificates::{Authority, Identity};
use crate::client_certificates::Scene;
use crate::failures::assert_fails;
use crate::recorder::*;
use crate::rig::*;
use crate::server::Server;
use crate::settings::{self, Builder, NAME, Tls};
use eventstream_rpc::ffi::constants::esrpc_tls_client_auth::*;
use eventstream_rpc::ffi::constants::esrpc_tls_revocation_depth::*;
use eventstream_rpc::ffi::constants::esrpc_tls_version::*;

const VALID: i32 = 2400;
const GOOD: u64 = 1;
const BAD: u64 = 2;

/// A server below an authority that is itself below the one that clients trust.
struct Chain {
    root: Authority,
    between: Authority,
    server: Identity,
}

impl Chain {
    fn new() -> Chain {
        let root = Authority::new("test CA");
        let between = root.intermediate("between", BAD);
        let mut server = numbered(&between, BAD);
        server.certificate.push_str(&between.pem);
        Chain { root, between, server }
    }

    fn client(&self, change: impl FnOnce(&Builder)) -> Tls {
        settings::client(&self.root, change)
    }

    fn showing(&self) -> Tls {
        settings::server(&self.server, |_| {})
    }
}

fn numbered(authority: &Authority, serial: u64) -> Identity {
    authority.issue(&[NAME], |params| params.serial_number = Some(serial.into()))
}

#[track_caller]
fn assert_taken(client: &Tls, server: &Tls) {
    let runtime = Runtime::start();
    let server = Server::start(&runtime, server);
    Client::ready(&runtime, server.place(), client, NAME).end();
    drop(server);
    runtime.join();
}

#[test]
fn a_revoked_server_is_refused_and_another_is_not() {
    let authority = Authority::new("test CA");
    let (pem, der) = authority.revocation_list(&[BAD], VALID);
    let [good, bad] = [GOOD, BAD].map(|serial| settings::server(&numbered(&authority, serial), |_| {}));
    for list in [pem.as_bytes(), &der] {
        let client = settings::client(&authority, |builder| builder.refuse_revoked(list));
        assert_taken(&client, &good);
        let sentence = "the server's certificate, or one that vouches for it, is revoked";
        assert_fails(&client, &bad, "TLS_CERTIFICATE_REVOKED", sentence, "TLS_ALERT_RECEIVED");
    }
}

#[test]
fn a_revoked_client_is_refused_and_another_is_not() {
    let authority = Authority::new("test CA");
    let [good, bad] = [GOOD, BAD].map(|serial| {
        authority.issue(&[], |params| {
            params.serial_number = Some(serial.into());
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        })
    });
    let server = settings::server(&authority.server(&[NAME]), |builder| {
        builder.ask_clients(&authority, ESRPC_TLS_CLIENT_AUTH_REQUIRED);
        builder.refuse_revoked(authority.revocation_list(&[BAD], VALID).0.as_bytes());
    });
    let scene = Scene { authority, server };
    for version in [ESRPC_TLS_VERSION_1_2, ESRPC_TLS_VERSION_1_3] {
        scene.assert_accepted(version, Some(&good), &[&good]);
        scene.assert_refused(version, Some(&bad), "TLS_CERTIFICATE_REVOKED", "certificate_revoked (44)");
    }
}

#[test]
fn a_list_that_has_expired_does_not_count() {
    let authority = Authority::new("test CA");
    let (list, _) = authority.revocation_list(&[BAD], 2021);
    let client = settings::client(&authority, |builder| builder.refuse_revoked(list.as_bytes()));
    let server = settings::server(&numbered(&authority, GOOD), |_| {});
    assert_fails(&client, &server, "TLS_CRL_EXPIRED", "expired at 2021-12-31", "TLS_ALERT_RECEIVED");
}

#[test]
fn a_certificate_that_no_list_covers_is_refused_unless_that_is_allowed() {
    let (authority, other) = (Authority::new("test CA"), Authority::new("another CA"));
    let (list, _) = other.revocation_list(&[], VALID);
    let server = settings::server(&numbered(&authority, GOOD), |_| {});
    for allowed in [false, true] {
        let client = settings::client(&authority, |builder| {
            builder.refuse_revoked(list.as_bytes());
            builder.look_up(ESRPC_TLS_REVOCATION_DEPTH_CHAIN, allowed);
        });
        if allowed {
            assert_taken(&client, &server);
        } else {
            let sentence = "no revocation list here is for the server's certificate";
            assert_fails(&client, &server, "TLS_REVOCATION_UNKNOWN", sentence, "TLS_ALERT_RECEIVED");
        }
    }
}

#[test]
fn a_revoked_authority_counts_unless_only_the_leaf_is_looked_up() {
    let chain = Chain::new();
    let (of_root, of_between) =
        (chain.root.revocation_list(&[BAD], VALID).1, chain.between.revocation_list(&[], VALID).1);
    for depth in [ESRPC_TLS_REVOCATION_DEPTH_CHAIN, ESRPC_TLS_REVOCATION_DEPTH_LEAF] {
        let client = chain.client(|builder| {
            builder.refuse_revoked(&of_root);
            builder.refuse_revoked(&of_between);
            builder.look_up(depth, false);
        });
        if depth == ESRPC_TLS_REVOCATION_DEPTH_LEAF {
            assert_taken(&client, &chain.showing());
        } else {
            let sentence = "or one that vouches for it, is revoked";
            assert_fails(&client, &chain.showing(), "TLS_CERTIFICATE_REVOKED", sentence, "TLS_ALERT_RECEIVED");
        }
    }
}

#[test]
fn a_revoked_leaf_counts_at_every_depth() {
    let chain = Chain::new();
    let (of_root, of_between) =
        (chain.root.revocation_list(&[], VALID).1, chain.between.revocation_list(&[BAD], VALID).1);
    for depth in [ESRPC_TLS_REVOCATION_DEPTH_CHAIN, ESRPC_TLS_REVOCATION_DEPTH_LEAF] {
        let client = chain.client(|builder| {
            builder.refuse_revoked(&of_root);
            builder.refuse_revoked(&of_between);
            builder.look_up(depth, true);
        });
        assert_fails(&client, &chain.showing(), "TLS_CERTIFICATE_REVOKED", "is revoked", "TLS_ALERT_RECEIVED");
    }
}

#[test]
fn a_list_that_its_authority_did_not_sign_does_not_count() {
    let (authority, forger) = (Authority::new("test CA"), Authority::new("test CA"));
    let (list, _) = forger.revocation_list(&[], VALID);
    let client = settings::client(&authority, |builder| builder.refuse_revoked(list.as_bytes()));
    let server = settings::server(&numbered(&authority, GOOD), |_| {});
    assert_fails(&client, &server, "TLS_BAD_CRL", "has a signature that its CA did not make", "TLS_ALERT_RECEIVED");
}

#[test]
fn a_listener_takes_newer_lists_while_it_listens() {
    let authority = Authority::new("test CA");
    let client_identity = authority.issue(&[], |params| {
        params.serial_number = Some(BAD.into());
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let identity = authority.server(&[NAME]);
    let server_with = |serials: &[u64]| {
        settings::server(&identity, |builder| {
            builder.ask_clients(&authority, ESRPC_TLS_CLIENT_AUTH_REQUIRED);
            builder.refuse_revoked(authority.revocation_list(serials, VALID).0.as_bytes());
        })
    };
    let client = settings::client(&authority, |builder| builder.show(&client_identity));
    let runtime = Runtime::start();
    let server = Server::start(&runtime, &server_with(&[]));
    Client::ready(&runtime, server.place(), &client, NAME).end();
    server.set_tls(&server_with(&[BAD]));
    // The session of before is not taken up by the new settings.
    let how = How { tls: Some((&client, NAME)), handshake: true, options: None };
    let refused = Client::connect(&runtime, server.place(), how);
    refused.side.wait_for("setup TLS_ALERT_RECEIVED");
    server.side.wait_for("failed TLS_CERTIFICATE_REVOKED");
    drop(refused);
    drop(server);
    runtime.join();
}
