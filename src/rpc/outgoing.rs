use crate::codec::{self, HeaderList, Limits, Output};
use crate::rpc::protocol::{OPERATION_HEADER, PROTOCOL_HEADERS_LEN, protocol_headers};
use crate::rpc::{Buffers, Error, MessageType, NewBuffers, is_protocol_header};

/// Larger payloads are encoded before the connection's lock is taken, into a segment of their own.
const LARGE_PAYLOAD: usize = 8 * 1024;
const STRING_TYPE: u8 = 7;
const OPERATION_PREFIX_LEN: usize = 13;

/// A message, as the caller gives it.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    pub message_type: i32,
    pub flags: i32,
    pub headers: Option<&'a HeaderList>,
    /// Only in the first message of a stream.
    pub operation: Option<&'a [u8]>,
    pub payload: &'a [u8],
}

/// A message that has passed all checks that do not need the connection. A large one is already encoded.
pub struct Prepared<'a> {
    pub message_type: MessageType,
    outgoing: &'a Outgoing<'a>,
    /// On the wire.
    len: usize,
    encoded: Option<codec::Unsealed>,
}

impl<'a> Outgoing<'a> {
    /// A message without headers and payload.
    pub fn empty(message_type: MessageType, flags: i32) -> Outgoing<'static> {
        Outgoing { message_type: message_type as i32, flags, headers: None, operation: None, payload: &[] }
    }

    /// Checks type, reserved headers and size limits. `on_stream` says where the message is to go.
    pub fn prepare(&'a self, on_stream: bool, limits: &Limits) -> Result<Prepared<'a>, Error> {
        self.prepare_in(on_stream, limits, &NewBuffers)
    }

    /// The same, with the memory of a large message from `buffers`.
    #[inline]
    pub fn prepare_in(
        &'a self,
        on_stream: bool,
        limits: &Limits,
        buffers: &dyn Buffers,
    ) -> Result<Prepared<'a>, Error> {
        let (message_type, len) = self.check(on_stream, limits)?;
        let encoded = if self.payload.len() > LARGE_PAYLOAD { Some(self.encode_large(len, buffers)) } else { None };
        Ok(Prepared { message_type, outgoing: self, len, encoded })
    }

    /// Not inlined, so that `Prepared` is built in place and not copied.
    #[inline(never)]
    fn check(&self, on_stream: bool, limits: &Limits) -> Result<(MessageType, usize), Error> {
        let number = self.message_type;
        let message_type = MessageType::from_number(number)
            .ok_or_else(|| Error::WrongMessageType(format!("{number} is not a message type (0 to 7)")))?;
        if message_type.belongs_on_stream() != on_stream {
            let place = if on_stream { "on a stream" } else { "as a protocol message (stream-id 0)" };
            return Err(Error::WrongMessageType(format!("{message_type} cannot be sent {place}")));
        }
        Ok((message_type, self.check_headers(limits)?))
    }

    #[inline(never)]
    fn encode_large(&self, len: usize, buffers: &dyn Buffers) -> codec::Unsealed {
        codec::Unsealed::encode(len, self.payload, buffers.take(len), |out| self.put_headers(0, out))
    }

    /// Returns the length of the message.
    fn check_headers(&self, limits: &Limits) -> Result<usize, Error> {
        let mut headers_len = PROTOCOL_HEADERS_LEN;
        let mut count = 3;
        if let Some(operation) = self.operation {
            if operation.len() > codec::MAX_SENT_VALUE_LEN {
                let (len, limit) = (operation.len(), codec::MAX_SENT_VALUE_LEN);
                return Err(codec::Error::HeaderValueTooLong { len, limit }.into());
            }
            headers_len += OPERATION_PREFIX_LEN + operation.len();
            count += 1;
        }
        if let Some(headers) = self.headers {
            let reserved = headers.as_headers().iter().find(|header| {
                is_protocol_header(header.name)
                    || (self.operation.is_some() && header.name.eq_ignore_ascii_case(OPERATION_HEADER))
            });
            if let Some(header) = reserved {
                return Err(Error::ReservedHeader(String::from_utf8_lossy(header.name).into_owned()));
            }
            headers_len += headers.as_bytes().len();
            count += headers.len();
        }
        if count > limits.max_headers {
            return Err(codec::Error::TooManyHeaders { limit: limits.max_headers }.into());
        }
        Ok(codec::encoded_len(headers_len, self.payload.len(), limits)?)
    }

    /// Header order on the wire: the caller's, the three of the protocol, `operation` (as the existing peers send them).
    #[inline(always)]
    fn put_headers(&self, stream_id: i32, out: &mut Vec<u8>) {
        if let Some(headers) = self.headers {
            out.put(headers.as_bytes());
        }
        out.put(&protocol_headers([self.message_type, self.flags, stream_id]));
        if let Some(operation) = self.operation {
            out.put(&operation_prefix(operation.len()));
            out.put(operation);
        }
    }
}

impl Prepared<'_> {
    pub fn flags(&self) -> i32 {
        self.outgoing.flags
    }

    pub(super) fn operation_len(&self) -> usize {
        self.outgoing.operation.map_or(0, <[u8]>::len)
    }

    /// Length of the message on the wire.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The whole message, if it is a large one, which is encoded already; only once.
    #[inline]
    pub(super) fn take_encoded(&mut self, stream_id: i32) -> Option<Vec<u8>> {
        if self.encoded.is_none() { None } else { self.seal(stream_id) }
    }

    #[inline(never)]
    fn seal(&mut self, stream_id: i32) -> Option<Vec<u8>> {
        let own_len = self.outgoing.headers.map_or(0, |headers| headers.as_bytes().len());
        // The id's value ends the three protocol headers.
        let id_at = codec::PRELUDE_LEN + own_len + PROTOCOL_HEADERS_LEN - 4;
        self.encoded.take().map(|unsealed| unsealed.seal(id_at, &stream_id.to_be_bytes()))
    }

    /// Appends a message that is not encoded yet to `out`, which has room for it.
    #[inline]
    pub(super) fn encode(&self, stream_id: i32, out: &mut Vec<u8>) {
        codec::encode_with(self.len, self.outgoing.payload, out, |out| self.outgoing.put_headers(stream_id, out));
    }
}

fn operation_prefix(len: usize) -> [u8; OPERATION_PREFIX_LEN] {
    let mut out = [0; OPERATION_PREFIX_LEN];
    out[0] = OPERATION_HEADER.len() as u8;
    out[1..10].copy_from_slice(OPERATION_HEADER);
    out[10] = STRING_TYPE;
    out[11..].copy_from_slice(&(len as u16).to_be_bytes());
    out
}
