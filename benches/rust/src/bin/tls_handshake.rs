//! How long a full TLS handshake takes when both sides are in one thread and nothing is sent anywhere: the part of a TLS
//! connection's set-up that no library on rustls can save.
//!
//! usage: tls_handshake CA.pem CERTIFICATE.pem KEY.pem SECONDS

use std::error::Error;
use std::ffi::c_long;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

// SAFETY: it is so declared in time.h and takes nothing.
unsafe extern "C" {
    /// CPU time of this process, microseconds.
    safe fn clock() -> c_long;
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ca, certificate, key, seconds] = &arguments[..] else {
        return Err("usage: tls_handshake CA.pem CERTIFICATE.pem KEY.pem SECONDS".into());
    };
    let client = Arc::new(client_config(ca)?);
    let server = Arc::new(server_config(certificate, key)?);
    let limit = seconds.parse::<f64>()? * 1e6;

    handshake(&client, &server)?;
    let begin = clock();
    let mut count = 0u32;
    while ((clock() - begin) as f64) < limit {
        handshake(&client, &server)?;
        count += 1;
    }
    println!("handshake {:.2} us/op", (clock() - begin) as f64 / f64::from(count));
    Ok(())
}

/// With the suite that the library's two sides agree on.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(provider)
}

fn client_config(ca: &str) -> Result<ClientConfig, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn server_config(certificate: &str, key: &str) -> Result<ServerConfig, Box<dyn Error>> {
    let chain = vec![CertificateDer::from_pem_file(certificate)?];
    let key = PrivateKeyDer::from_pem_file(key)?;
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key)?;
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<(), Box<dyn Error>> {
    let name = ServerName::try_from("localhost")?;
    let mut client = ClientConnection::new(client.clone(), name)?;
    let mut server = ServerConnection::new(server.clone())?;
    let mut wire = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire)?;
        }
        let mut bytes = &wire[..];
        while !bytes.is_empty() {
            server.read_tls(&mut bytes)?;
            server.process_new_packets()?;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire)?;
        }
        let mut bytes = &wire[..];
        while !bytes.is_empty() {
            client.read_tls(&mut bytes)?;
            client.process_new_packets()?;
        }
    }
    Ok(())
}
