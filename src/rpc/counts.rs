/// What has happened on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub messages_received: u64,
    /// Accepted for sending.
    pub messages_sent: u64,
    /// Activated by a client, accepted by a server.
    pub streams_opened: u64,
    /// On servers, for whatever reason.
    pub streams_refused: u64,
    /// Of these, because of the limit of streams.
    pub streams_in_excess: u64,
    /// For streams that were over, without TERMINATE_STREAM; for deferred ones that the client has ended, with it too.
    pub late_messages: u64,
    /// Streams that the client ended before the server had sent anything on them.
    pub unanswered_ends: u64,
    /// Sends and activations for which there was no room.
    pub sends_refused: u64,
    /// PINGs that were to be answered, but came too often or while there was no room.
    pub pings_unanswered: u64,
}
