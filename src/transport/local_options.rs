/// How a local endpoint listens: a Unix socket or, on Windows, a named pipe.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// Permissions of a socket file.
    pub unix_mode: u32,
    /// The socket file stays when the listener goes.
    pub keep_unix_file: bool,
    /// Who may open a named pipe, as a security descriptor in the form SDDL; nothing: the user of this process alone.
    pub pipe_security: Option<String>,
}

impl Default for LocalOptions {
    /// Only the owner may connect.
    fn default() -> LocalOptions {
        LocalOptions { unix_mode: 0o600, keep_unix_file: false, pipe_security: None }
    }
}
