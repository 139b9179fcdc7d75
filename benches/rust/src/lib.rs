//! The checksum of the codec's floor, for C.

/// CRC32 as crc32fast computes it, which the library uses too.
///
/// # Safety
/// `data` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn floor_crc32(data: *const u8, len: usize) -> u32 {
    // SAFETY: the caller's promise.
    crc32fast::hash(unsafe { std::slice::from_raw_parts(data, len) })
}
