/// The process at the other end of a Unix socket or named pipe, as it was when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    pub pid: i32,
    /// `NOBODY` where the system has other names for users.
    pub uid: u32,
    pub gid: u32,
    /// The user's security identifier on Windows, as in "S-1-5-18"; empty elsewhere.
    pub sid: String,
}

/// The number of no user and of no group: (uid_t)-1.
#[cfg_attr(unix, expect(dead_code, reason = "only for systems without numbers of users"))]
pub const NOBODY: u32 = u32::MAX;
