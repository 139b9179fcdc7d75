//! The cryptography that TLS uses, chosen when the library is built.

use std::ffi::CStr;
use std::sync::Arc;

use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

use crate::transport::Error;
#[cfg(target_os = "linux")]
use crate::transport::{ErrorKind, TlsErrorKind, words_of};

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as chosen;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use rustls::crypto::ring as chosen;

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("TLS needs cryptography: build with the feature aws-lc-rs (the default) or with the feature ring");

/// Empty in builds without TLS.
pub const PROVIDER_NAME: &CStr = if cfg!(feature = "aws-lc-rs") { c"aws-lc-rs" } else { c"ring" };

/// Passed to every configuration, so that nothing depends on (or changes) the provider of the process.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = chosen::default_provider();
    let suites = &mut provider.cipher_suites;
    for at in 1..suites.len() {
        if is_aes_128(suites[at].suite()) {
            suites.swap(at - 1, at);
        }
    }
    // The first random bytes of a process take tens of milliseconds, in which aws-lc measures the jitter of the CPU. Better
    // now than on a loop, where other connections would wait as well. A failure comes again when it matters.
    if check_randomness().is_ok() {
        let _ = provider.secure_random.fill(&mut [0]);
    }
    Arc::new(provider)
}

/// Whether the system gives random bytes: aws-lc aborts the process if it does not, as in a sandbox that was made for
/// programs without cryptography.
#[cfg(target_os = "linux")]
pub fn check_randomness() -> Result<(), Error> {
    let missing = |what: &str, error: std::io::Error| {
        let kind = ErrorKind::Tls(TlsErrorKind::Config);
        Err(Error::new(
            kind,
            format!("TLS needs random bytes, which the system refuses to give: {what}: {}", words_of(&error)),
        ))
    };
    let mut byte = 0u8;
    // SAFETY: the buffer is one byte long and lives during the call. By its number, as aws-lc asks.
    let count = unsafe { libc::syscall(libc::SYS_getrandom, &raw mut byte, 1usize, libc::GRND_NONBLOCK) };
    if count == 1 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    match error.raw_os_error() {
        // The system has just been started and makes whoever asks wait.
        Some(libc::EAGAIN) => Ok(()),
        Some(libc::ENOSYS) => {
            use std::os::fd::AsRawFd;
            // In place of it aws-lc reads this file, and asks how much randomness is in it.
            let file = match std::fs::File::open("/dev/urandom") {
                Ok(file) => file,
                Err(error) => return missing("getrandom is missing, and /dev/urandom cannot be opened", error),
            };
            let is_like_mips = cfg!(any(target_arch = "mips", target_arch = "mips64", target_arch = "powerpc64"));
            let request: u32 = if is_like_mips { 0x4004_5200 } else { 0x8004_5200 };
            let mut bits: libc::c_int = 0;
            // SAFETY: the request, RNDGETENTCNT, writes one int, which lives during the call.
            if unsafe { libc::ioctl(file.as_raw_fd(), request as libc::Ioctl, &raw mut bits) } != 0 {
                let error = std::io::Error::last_os_error();
                return missing("getrandom is missing, and the entropy of /dev/urandom cannot be queried", error);
            }
            Ok(())
        }
        _ => missing("getrandom", error),
    }
}

#[cfg(not(target_os = "linux"))]
pub fn check_randomness() -> Result<(), Error> {
    Ok(())
}

/// AES with keys of 128 bits comes before its neighbour with keys of 256: it is good enough, and a fifth faster.
fn is_aes_128(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

/// What makes session tickets: its keys are its own and change every few hours.
pub fn ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    chosen::Ticketer::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_keys_of_aes_come_first_of_their_kind() {
        let names: Vec<_> = provider().cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
        let kinds = ["TLS13", "TLS_ECDHE_ECDSA_WITH", "TLS_ECDHE_RSA_WITH"];
        let ciphers = ["AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256"];
        let expected: Vec<_> =
            kinds.iter().flat_map(|kind| ciphers.iter().map(move |cipher| format!("{kind}_{cipher}"))).collect();
        assert_eq!(names, expected);
    }
}
