use super::copying::PIECE_LEN;
use super::{Error, Headers, Limits, MESSAGE_CRC_LEN, MIN_MESSAGE_LEN, PRELUDE_LEN, Prelude, checksum};

/// Copied bytes are summed in blocks of this size, so that they are still in the cache.
pub(super) const SUM_BLOCK_LEN: usize = 64 * 1024;

/// A decoded message, as a view of the bytes from which it was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub prelude: Prelude,
    pub headers: Headers<'a>,
    pub payload: &'a [u8],
    /// The CRC at the message's end.
    pub crc: u32,
}

impl<'a> Message<'a> {
    /// Decodes the first message in `bytes` without copying, and returns how many bytes it takes.
    ///
    /// An incomplete message is `Incomplete` only if its prelude, once complete, is sound.
    #[inline(always)]
    pub fn decode(bytes: &'a [u8], limits: &Limits) -> Result<(Message<'a>, usize), Error> {
        let Some(prelude) = bytes.first_chunk::<PRELUDE_LEN>() else {
            return Err(Error::Incomplete { have: bytes.len(), need: PRELUDE_LEN });
        };
        let prelude = Prelude::parse(prelude, limits)?;
        let total_len = prelude.total_len as usize;
        let incomplete = Error::Incomplete { have: bytes.len(), need: total_len };
        let Some((covered, stored)) = bytes.get(..total_len).and_then(<[u8]>::split_last_chunk) else {
            return Err(incomplete);
        };
        let Some((headers, payload)) =
            covered.get(PRELUDE_LEN..).and_then(|body| body.split_at_checked(prelude.headers_len as usize))
        else {
            return Err(incomplete);
        };

        let headers = Headers::parse(headers, limits)?;
        let stored = u32::from_be_bytes(*stored);
        let computed = checksum::of(covered);
        if stored != computed {
            return Err(Error::MessageChecksum { stored, computed });
        }
        Ok((Message { prelude, headers, payload, crc: stored }, total_len))
    }

    /// Whether `bytes` begin with a whole message whose checksum is right. Its headers may be wrong all the same.
    pub fn is_intact(bytes: &[u8]) -> bool {
        let message = Prelude::claimed_len(bytes).and_then(|len| bytes.get(..len));
        match message.and_then(<[u8]>::split_last_chunk::<MESSAGE_CRC_LEN>) {
            Some((covered, stored)) => {
                covered.len() >= PRELUDE_LEN && crc32fast::hash(covered) == u32::from_be_bytes(*stored)
            }
            None => false,
        }
    }
}

/// The longest message that the wire can name and memory can hold.
const LARGEST_LEN: usize = if usize::BITS > 32 { u32::MAX as usize } else { isize::MAX as usize };

/// The length of a message with headers and a payload of these lengths, if the limits allow it.
pub fn encoded_len(headers_len: usize, payload_len: usize, limits: &Limits) -> Result<usize, Error> {
    if headers_len > limits.max_headers_len {
        return Err(Error::HeadersTooLarge { len: headers_len, limit: limits.max_headers_len });
    }
    if payload_len > limits.max_payload_len {
        return Err(Error::PayloadTooLarge { len: payload_len, limit: limits.max_payload_len });
    }
    let limit = limits.max_message_len.min(LARGEST_LEN);
    let len = MIN_MESSAGE_LEN.saturating_add(headers_len).saturating_add(payload_len);
    if len > limit {
        return Err(Error::MessageTooLarge { len, limit });
    }
    Ok(len)
}

/// Where an encoded message goes.
pub trait Output {
    /// How many bytes are there already.
    fn filled(&self) -> usize;
    fn put(&mut self, bytes: &[u8]);
    /// What is there from `start` on.
    fn since(&self, start: usize) -> &[u8];
}

impl Output for Vec<u8> {
    fn filled(&self) -> usize {
        self.len()
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn since(&self, start: usize) -> &[u8] {
        self.get(start..).unwrap_or_default()
    }
}

/// A borrowed buffer; bytes that do not fit are dropped.
pub struct Filling<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Filling<'a> {
    pub fn new(buffer: &'a mut [u8]) -> Filling<'a> {
        Filling { buffer, len: 0 }
    }
}

impl Output for Filling<'_> {
    fn filled(&self) -> usize {
        self.len
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.buffer.get_mut(self.len..self.len + bytes.len()) {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    fn since(&self, start: usize) -> &[u8] {
        self.buffer.get(start..self.len).unwrap_or_default()
    }
}

/// Appends a prelude.
#[inline]
pub(super) fn put_prelude(total_len: usize, headers_len: usize, out: &mut impl Output) {
    let [t0, t1, t2, t3] = (total_len as u32).to_be_bytes();
    let [h0, h1, h2, h3] = (headers_len as u32).to_be_bytes();
    let [c0, c1, c2, c3] = checksum::of_lengths([t0, t1, t2, t3, h0, h1, h2, h3]).to_be_bytes();
    out.put(&[t0, t1, t2, t3, h0, h1, h2, h3, c0, c1, c2, c3]);
}

/// Appends one message; its headers section is the concatenation of `header_parts`.
///
/// The lengths were checked with [`encoded_len`].
pub fn encode_into(header_parts: &[&[u8]], payload: &[u8], out: &mut Vec<u8>) {
    let headers_len: usize = header_parts.iter().map(|part| part.len()).sum();
    let total_len = MIN_MESSAGE_LEN + headers_len + payload.len();
    out.reserve(total_len);
    encode_to(total_len, header_parts, payload, out);
}

/// As [`encode_into`], into any output that has room. `total_len` is what [`encoded_len`] returned.
pub fn encode_to(total_len: usize, header_parts: &[&[u8]], payload: &[u8], out: &mut impl Output) {
    encode_with(total_len, payload, out, |out| header_parts.iter().for_each(|part| out.put(part)));
}

/// As [`encode_to`]; `put_headers` puts the headers section into the output. Parts of a length that the compiler knows are
/// copied without a call then.
#[inline]
pub fn encode_with<O: Output>(total_len: usize, payload: &[u8], out: &mut O, put_headers: impl FnOnce(&mut O)) {
    let start = out.filled();
    put_prelude(total_len, total_len - MIN_MESSAGE_LEN - payload.len(), out);
    put_headers(out);
    // A message of ordinary size is summed in one go, once all of it is in place.
    let crc = if payload.len() <= PIECE_LEN {
        out.put(payload);
        checksum::of(out.since(start))
    } else {
        put_large_payload(payload, out, start)
    };
    out.put(&crc.to_be_bytes());
}

/// Puts a payload in pieces into the output; returns the sum of what is there from `start` on.
#[inline(never)]
fn put_large_payload(payload: &[u8], out: &mut impl Output, start: usize) -> u32 {
    let mut hasher = checksum::hasher();
    let mut summed = start;
    for piece in payload.chunks(PIECE_LEN) {
        if out.filled() - summed >= SUM_BLOCK_LEN {
            hasher.update(out.since(summed));
            summed = out.filled();
        }
        out.put(piece);
    }
    hasher.update(out.since(summed));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_up_to_the_limits_can_be_encoded() {
        let limits = Limits { max_message_len: 100, max_payload_len: 80, max_headers_len: 50, ..Limits::DEFAULT };
        assert_eq!(encoded_len(0, 0, &limits), Ok(16));
        assert_eq!(encoded_len(50, 34, &limits), Ok(100));
        assert_eq!(encoded_len(51, 0, &limits), Err(Error::HeadersTooLarge { len: 51, limit: 50 }));
        assert_eq!(encoded_len(50, 35, &limits), Err(Error::MessageTooLarge { len: 101, limit: 100 }));
        assert_eq!(encoded_len(0, 80, &limits), Ok(96));
        assert_eq!(encoded_len(0, 81, &limits), Err(Error::PayloadTooLarge { len: 81, limit: 80 }));
        assert!(encoded_len(50, usize::MAX, &limits).is_err());
    }

    #[test]
    fn a_length_that_the_wire_cannot_say_or_memory_cannot_hold_is_too_large_whatever_the_limit() {
        let limits = Limits { max_message_len: usize::MAX, max_payload_len: usize::MAX, ..Limits::DEFAULT };
        assert_eq!(encoded_len(0, LARGEST_LEN - 16, &limits), Ok(LARGEST_LEN));
        assert!(encoded_len(0, LARGEST_LEN - 15, &limits).is_err());
        assert!(encoded_len(0, usize::MAX, &limits).is_err());
    }

    #[test]
    fn payloads_around_the_sum_block_decode_again() {
        for len in [0, 1, SUM_BLOCK_LEN - 1, SUM_BLOCK_LEN, SUM_BLOCK_LEN + 1, 3 * SUM_BLOCK_LEN + 5] {
            let payload: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let mut bytes = b"before".to_vec();
            encode_into(&[b"\x01a\x00", b"", b"\x01b\x02\x07"], &payload, &mut bytes);
            let (message, used) = Message::decode(&bytes[6..], &Limits::DEFAULT).expect("a message");
            assert_eq!(used, bytes.len() - 6);
            assert_eq!(message.headers.len(), 2);
            assert!(message.payload == payload, "payload of {len} bytes");
            assert!(Message::is_intact(&bytes[6..]));
        }
    }

    #[test]
    fn a_checksum_needs_a_whole_message() {
        let mut bytes = Vec::new();
        encode_into(&[], b"payload", &mut bytes);
        assert!(Message::is_intact(&bytes));
        assert!(Message::is_intact(&[&bytes[..], b"behind"].concat()));
        assert!(!Message::is_intact(&bytes[..bytes.len() - 1]));
        assert!(!Message::is_intact(&[]));
        assert!(!Message::is_intact(&[0; 4]));
        assert!(!Message::is_intact(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        bytes[13] ^= 1;
        assert!(!Message::is_intact(&bytes));
    }
}
