use super::Error;
use uuid::Uuid;

/// Length of a UUID's hyphenated form.
const TEXT_LEN: usize = 36;

/// The hyphenated form in lower case.
pub fn uuid_to_text(uuid: &[u8; 16]) -> String {
    Uuid::from_bytes(*uuid).hyphenated().to_string()
}

/// Reads the hyphenated form, in either case. Other spellings (braces, no hyphens, URN) are refused.
pub fn uuid_from_text(text: &[u8]) -> Result<[u8; 16], Error> {
    // The parser tells the spellings apart by their lengths, so the length alone excludes the others.
    if text.len() != TEXT_LEN {
        return Err(Error::InvalidUuid);
    }
    Uuid::try_parse_ascii(text).map(Uuid::into_bytes).map_err(|_| Error::InvalidUuid)
}
