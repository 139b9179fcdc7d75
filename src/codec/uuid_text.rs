use super::Error;
use uuid::Uuid;

/// Length of a UUID's hyphenated form.
const TEXT_LEN: usize = 36;

/// A UUID in its hyphenated form, in lower case.
pub fn uuid_to_text(uuid: &[u8; 16]) -> String {
    Uuid::from_bytes(*uuid).hyphenated().to_string()
}

/// Reads the hyphenated form, in upper or lower case. Other spellings (braces, no hyphens, URN) are refused.
pub fn uuid_from_text(text: &[u8]) -> Result<[u8; 16], Error> {
    // The parser distinguishes the spellings by their lengths, so the length alone excludes the others.
    if text.len() != TEXT_LEN {
        return Err(Error::InvalidUuid);
    }
    Uuid::try_parse_ascii(text).map(Uuid::into_bytes).map_err(|_| Error::InvalidUuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: [u8; 16] =
        [0xb7, 0x9b, 0xc9, 0x14, 0xde, 0x21, 0x4e, 0x13, 0xb8, 0xb2, 0xbc, 0x47, 0xe8, 0x5b, 0x7f, 0xb];

    #[test]
    fn text_is_hyphenated_and_lower_case() {
        assert_eq!(uuid_to_text(&UUID), "b79bc914-de21-4e13-b8b2-bc47e85b7f0b");
    }

    #[test]
    fn either_case_is_read() {
        assert_eq!(uuid_from_text(b"b79bc914-de21-4e13-b8b2-bc47e85b7f0b"), Ok(UUID));
        assert_eq!(uuid_from_text(b"B79BC914-DE21-4E13-B8B2-BC47E85B7F0B"), Ok(UUID));
    }

    #[test]
    fn other_spellings_are_refused() {
        let others: [&[u8]; 7] = [
            b"",
            b"b79bc914de214e13b8b2bc47e85b7f0b",
            b"{b79bc914-de21-4e13-b8b2-bc47e85b7f0b}",
            b"urn:uuid:b79bc914-de21-4e13-b8b2-bc47e85b7f0b",
            b"b79bc914-de21-4e13-b8b2-bc47e85b7f0g",
            b"b79bc914-de21-4e13-b8b2bc47-e85b7f0b",
            b"b79bc914-de21-4e13-b8b2-bc47e85b7f\xff\xfe",
        ];
        for text in others {
            assert_eq!(uuid_from_text(text), Err(Error::InvalidUuid), "{}", text.escape_ascii());
        }
    }
}
