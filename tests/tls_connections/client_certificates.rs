//! Servers that ask their clients for certificates.

use crate::certificates::{Authority, Identity, in_year};
use crate::recorder::*;
use crate::rig::*;
use crate::server::Server;
use crate::settings::{self, NAME, Tls};
use eventstream_rpc::ffi::constants::esrpc_tls_client_auth::*;
use eventstream_rpc::ffi::constants::{esrpc_tls_client_auth, esrpc_tls_version, esrpc_tls_version::*};

const BOTH_VERSIONS: [esrpc_tls_version; 2] = [ESRPC_TLS_VERSION_1_2, ESRPC_TLS_VERSION_1_3];

pub struct Scene {
    pub authority: Authority,
    pub server: Tls,
}

impl Scene {
    fn new(auth: esrpc_tls_client_auth) -> Scene {
        let authority = Authority::new("test CA");
        let server = settings::server(&authority.server(&[NAME]), |builder| builder.ask_clients(&authority, auth));
        Scene { authority, server }
    }

    fn client(&self, version: esrpc_tls_version, identity: Option<&Identity>) -> Tls {
        settings::client(&self.authority, |builder| {
            builder.only(version);
            identity.into_iter().for_each(|identity| builder.show(identity));
        })
    }

    #[track_caller]
    pub fn assert_accepted(&self, version: esrpc_tls_version, identity: Option<&Identity>, seen: &[&Identity]) {
        let runtime = Runtime::start();
        let server = Server::start(&runtime, &self.server);
        let client = Client::ready(&runtime, server.place(), &self.client(version, identity), NAME);
        let seen: Vec<_> = seen.iter().map(|identity| identity.certificate_der.clone()).collect();
        assert_eq!(server.facts().certificates, seen);
        client.call("unary", b"hello", 0).side.wait_for("message hello");
        client.end();
        drop(server);
        runtime.join();
    }

    /// The status of the server, and part of the client's message.
    #[track_caller]
    pub fn assert_refused(&self, version: esrpc_tls_version, identity: Option<&Identity>, failure: &str, alert: &str) {
        for handshake in [false, true] {
            let runtime = Runtime::start();
            let server = Server::start(&runtime, &self.server);
            let tls = self.client(version, identity);
            let how = How { tls: Some((&tls, NAME)), handshake, options: None };
            let client = Client::connect(&runtime, server.place(), how);
            // A client of TLS 1.3 has finished before the server judges.
            let late = version == ESRPC_TLS_VERSION_1_3 && !handshake;
            let end = client.side.wait_for(if late { "shutdown" } else { "setup" });
            assert!(end.contains(" TLS_ALERT_RECEIVED: ") && end.contains(alert), "{end} does not say {alert:?}");
            let failed = server.side.wait_for("failed");
            assert!(failed.starts_with(&format!("failed {failure}: ")), "{failed}");
            let side = client.side.clone();
            drop(client);
            side.wait_for("destroy");
            match late {
                true => assert_eq!(side.outline(), ["setup OK", "shutdown TLS_ALERT_RECEIVED", "destroy"]),
                false => assert_eq!(side.outline(), ["setup TLS_ALERT_RECEIVED", "destroy"]),
            }
            assert_eq!(
                server.side.outline(),
                [format!("failed {failure}")],
                "the application is told of no connection"
            );
            drop(server);
            runtime.join();
        }
    }
}

#[test]
fn a_server_that_asks_for_none_sees_none() {
    let authority = Authority::new("test CA");
    let server = settings::server(&authority.server(&[NAME]), |_| {});
    let scene = Scene { authority, server };
    let identity = scene.authority.client("a client");
    BOTH_VERSIONS.into_iter().for_each(|version| scene.assert_accepted(version, Some(&identity), &[]));
}

#[test]
fn an_optional_certificate_may_be_missing_but_not_bad() {
    let scene = Scene::new(ESRPC_TLS_CLIENT_AUTH_OPTIONAL);
    let (good, bad) = (scene.authority.client("a client"), Authority::new("another CA").client("a client"));
    for version in BOTH_VERSIONS {
        scene.assert_accepted(version, None, &[]);
        scene.assert_accepted(version, Some(&good), &[&good]);
        scene.assert_refused(version, Some(&bad), "TLS_UNKNOWN_CA", "unknown_ca (48)");
    }
}

#[test]
fn a_required_certificate_is_shown() {
    let scene = Scene::new(ESRPC_TLS_CLIENT_AUTH_REQUIRED);
    let good = scene.authority.client("a client");
    BOTH_VERSIONS.into_iter().for_each(|version| scene.assert_accepted(version, Some(&good), &[&good]));
}

#[test]
fn a_required_certificate_may_not_be_missing() {
    let scene = Scene::new(ESRPC_TLS_CLIENT_AUTH_REQUIRED);
    scene.assert_refused(ESRPC_TLS_VERSION_1_2, None, "TLS_CERTIFICATE_REQUIRED", "");
    scene.assert_refused(ESRPC_TLS_VERSION_1_3, None, "TLS_CERTIFICATE_REQUIRED", "certificate_required (116)");
}

#[test]
fn a_required_certificate_must_be_good() {
    let scene = Scene::new(ESRPC_TLS_CLIENT_AUTH_REQUIRED);
    let unknown = Authority::new("another CA").client("a client");
    let expired = scene.authority.issue(&[], |params| {
        in_year(params, 2020);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    for version in BOTH_VERSIONS {
        scene.assert_refused(version, Some(&unknown), "TLS_UNKNOWN_CA", "unknown_ca (48)");
        scene.assert_refused(version, Some(&expired), "TLS_CERTIFICATE_EXPIRED", "certificate_expired (45)");
    }
}
