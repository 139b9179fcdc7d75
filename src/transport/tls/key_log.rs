//! The secrets of sessions in a file, for tools that decrypt captured traffic.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use rustls::KeyLog;

use crate::transport::{Error, ErrorKind};

/// Appends lines in the format that Wireshark reads (NSS key log).
#[derive(Debug)]
pub struct FileKeyLog {
    file: File,
}

impl FileKeyLog {
    /// Opens or makes the file; a new one is for its owner alone.
    pub fn open(path: &Path) -> Result<FileKeyLog, Error> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| {
            let action = format!("opening the TLS key log {}", path.display());
            Error::from_io(&action, &error, ErrorKind::Io)
        })?;
        Ok(FileKeyLog { file })
    }
}

impl KeyLog for FileKeyLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = String::with_capacity(label.len() + 2 * (client_random.len() + secret.len()) + 3);
        line.push_str(label);
        line.push(' ');
        push_hex(&mut line, client_random);
        line.push(' ');
        push_hex(&mut line, secret);
        line.push('\n');
        // One write of an appending file per line: lines of several threads do not mix, and no lock is held that a fork
        // could leave locked. A line that cannot be written is missing in a debugging aid, no reason to end a connection.
        let _ = (&self.file).write_all(line.as_bytes());
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _: Result<(), fmt::Error> = write!(text, "{byte:02x}");
    }
}
