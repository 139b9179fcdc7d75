//! TLS settings from C, with certificates that are made here.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;
#[path = "common/certificates.rs"]
mod certificates;

use std::fs;

use certificates::{Authority, encrypted_pkcs8, pem};

#[test]
fn null_and_bytes_that_are_not_there() {
    cc::run_everywhere("test_null_arguments_tls.c");
}

#[test]
fn what_a_builder_takes_and_refuses() {
    let folder = cc::scratch().join("certificates");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let authority = Authority::new("test CA");
    let (server, other) = (authority.server(&["server.example"]), authority.server(&["other.example"]));
    let encrypted = pem("ENCRYPTED PRIVATE KEY", &encrypted_pkcs8());
    let (list, _) = authority.revocation_list(&[], 2400);
    let damaged = list.replacen("\nMI", "\n!!", 1);
    let files = [
        ("ca.pem", &authority.pem),
        ("server.pem", &server.certificate),
        ("server.key", &server.key),
        ("other.key", &other.key),
        ("encrypted.key", &encrypted),
        ("good.crl", &list),
        ("damaged.crl", &damaged),
    ];
    for (name, content) in files {
        fs::write(folder.join(name), content).expect("the target folder can be written");
    }
    for standard in cc::standards() {
        cc::run(&cc::compile(standard, "test_tls_config.c"), &[&folder.display().to_string()]);
    }
}
