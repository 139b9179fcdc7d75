use super::{Error, Limits, MIN_MESSAGE_LEN, PRELUDE_LEN, checksum};

/// The first 12 bytes of a message, checked: the lengths are consistent and within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prelude {
    /// Length of the whole message, both CRCs included.
    pub total_len: u32,
    /// Length of the headers section.
    pub headers_len: u32,
    /// CRC-32 of the two lengths.
    pub crc: u32,
}

impl Prelude {
    /// Reads and checks a prelude: first its CRC, because the lengths mean nothing if that is wrong.
    #[inline]
    pub fn parse(bytes: &[u8; PRELUDE_LEN], limits: &Limits) -> Result<Prelude, Error> {
        let [t0, t1, t2, t3, h0, h1, h2, h3, c0, c1, c2, c3] = *bytes;
        let stored = u32::from_be_bytes([c0, c1, c2, c3]);
        let computed = checksum::of_lengths([t0, t1, t2, t3, h0, h1, h2, h3]);
        if stored != computed {
            return Err(Error::PreludeChecksum { stored, computed });
        }

        let total = u32::from_be_bytes([t0, t1, t2, t3]);
        let headers = u32::from_be_bytes([h0, h1, h2, h3]);
        let Some(room) = total.checked_sub(MIN_MESSAGE_LEN as u32) else {
            return Err(Error::MessageLength { total });
        };
        if headers > room {
            return Err(Error::HeadersLength { headers, total });
        }
        if total as usize > limits.max_message_len {
            return Err(Error::MessageTooLarge { len: total as usize, limit: limits.max_message_len });
        }
        if headers as usize > limits.max_headers_len {
            return Err(Error::HeadersTooLarge { len: headers as usize, limit: limits.max_headers_len });
        }
        let payload = (room - headers) as usize;
        if payload > limits.max_payload_len {
            return Err(Error::PayloadTooLarge { len: payload, limit: limits.max_payload_len });
        }
        Ok(Prelude { total_len: total, headers_len: headers, crc: stored })
    }

    /// The length that the message at the start of `bytes` claims to have; `None` while its prelude is cut. Nothing is checked.
    pub fn claimed_len(bytes: &[u8]) -> Option<usize> {
        let prelude = bytes.first_chunk::<PRELUDE_LEN>()?;
        prelude.first_chunk().map(|total_len| u32::from_be_bytes(*total_len) as usize)
    }

    /// How many bytes of the message at the start of `bytes`, or of its prelude, are missing; 0 if the message is complete or
    /// wrong.
    pub fn missing_len(bytes: &[u8]) -> usize {
        Prelude::claimed_len(bytes).unwrap_or(PRELUDE_LEN).saturating_sub(bytes.len())
    }

    /// Length of the payload.
    pub fn payload_len(&self) -> usize {
        (self.total_len as usize).saturating_sub(MIN_MESSAGE_LEN + self.headers_len as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits = Limits { max_message_len: 100, max_payload_len: 80, max_headers_len: 50, ..Limits::DEFAULT };

    fn parse(total: u32, headers: u32) -> Result<Prelude, Error> {
        let mut bytes = [0; PRELUDE_LEN];
        bytes[..4].copy_from_slice(&total.to_be_bytes());
        bytes[4..8].copy_from_slice(&headers.to_be_bytes());
        let crc = crc32fast::hash(&bytes[..8]);
        bytes[8..].copy_from_slice(&crc.to_be_bytes());
        Prelude::parse(&bytes, &SMALL)
    }

    #[test]
    fn an_empty_message_is_the_shortest() {
        assert_eq!(parse(16, 0).map(|prelude| prelude.payload_len()), Ok(0));
        assert_eq!(parse(15, 0), Err(Error::MessageLength { total: 15 }));
        assert_eq!(parse(0, 0), Err(Error::MessageLength { total: 0 }));
    }

    #[test]
    fn headers_may_fill_the_message_but_not_more() {
        assert_eq!(parse(30, 13).map(|prelude| prelude.payload_len()), Ok(1));
        assert_eq!(parse(30, 14).map(|prelude| prelude.payload_len()), Ok(0));
        assert_eq!(parse(30, 15), Err(Error::HeadersLength { headers: 15, total: 30 }));
        assert_eq!(parse(30, u32::MAX), Err(Error::HeadersLength { headers: u32::MAX, total: 30 }));
    }

    #[test]
    fn a_cut_message_says_how_much_is_missing_once_its_prelude_is_there() {
        let mut bytes = vec![0, 0, 0, 20];
        for (len, claimed, missing) in
            [(0, None, 12), (4, None, 8), (11, None, 1), (12, Some(20), 8), (25, Some(20), 0)]
        {
            bytes.resize(len, 0);
            if len >= 4 {
                bytes[3] = 20;
            }
            assert_eq!((Prelude::claimed_len(&bytes), Prelude::missing_len(&bytes)), (claimed, missing), "{len}");
        }
    }

    #[test]
    fn lengths_are_held_to_the_limits() {
        assert!(parse(100, 50).is_ok());
        assert_eq!(parse(101, 50), Err(Error::MessageTooLarge { len: 101, limit: 100 }));
        assert!(parse(96, 0).is_ok());
        assert_eq!(parse(97, 0), Err(Error::PayloadTooLarge { len: 81, limit: 80 }));
        assert_eq!(parse(100, 51), Err(Error::HeadersTooLarge { len: 51, limit: 50 }));
    }

    #[test]
    fn the_checksum_is_checked_before_the_lengths() {
        let bytes = [0; PRELUDE_LEN];
        let computed = crc32fast::hash(&bytes[..8]);
        assert_eq!(Prelude::parse(&bytes, &SMALL), Err(Error::PreludeChecksum { stored: 0, computed }));
    }
}
