use super::{Error, Limits, MIN_MESSAGE_LEN, PRELUDE_LEN};

/// The first 12 bytes of a message, checked: the lengths fit each other and the limits.
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
    /// Reads and checks a prelude: its CRC first, since no length means anything before that.
    pub fn parse(bytes: &[u8; PRELUDE_LEN], limits: &Limits) -> Result<Prelude, Error> {
        let [t0, t1, t2, t3, h0, h1, h2, h3, c0, c1, c2, c3] = *bytes;
        let stored = u32::from_be_bytes([c0, c1, c2, c3]);
        let computed = crc32fast::hash(&[t0, t1, t2, t3, h0, h1, h2, h3]);
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
        Ok(Prelude { total_len: total, headers_len: headers, crc: stored })
    }

    /// Length of the payload.
    pub fn payload_len(&self) -> usize {
        (self.total_len as usize).saturating_sub(MIN_MESSAGE_LEN + self.headers_len as usize)
    }
}
