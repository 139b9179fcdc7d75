//! C structs that begin with `size_t struct_size`, so that they can grow: callback tables and statistics.

use std::mem::size_of;
use std::{ptr, slice};

use super::failure::Failure;
use super::out::check_out;

/// Larger than any table will ever be: a larger size means that struct_size was never set.
const MAX_TABLE_SIZE: usize = 4096;

const WORD: usize = size_of::<usize>();

/// # Safety
/// `table` points to at least the `size_t` at its beginning.
unsafe fn read_size<T>(table: *const T, argument: &str) -> Result<usize, Failure> {
    // SAFETY: what the caller promised.
    let size = unsafe { table.cast::<usize>().read_unaligned() };
    if (WORD..=MAX_TABLE_SIZE).contains(&size) && size.is_multiple_of(WORD) {
        return Ok(size);
    }
    Err(Failure::invalid_argument(format!(
        "{argument}->struct_size is {size}, which is not the size of such a struct: set it to sizeof the struct"
    )))
}

/// Copies the caller's table over `empty`, whose slots are all unset. NULL is a table without callbacks. A table from an
/// older header is shorter; one from a newer header may be longer, if it sets nothing that this library does not know.
///
/// # Safety
/// `table` is NULL or points to as many bytes as the `size_t` at its beginning says. `T` is `repr(C)` and consists of
/// that `size_t` and slots of the size of a pointer for which all bits zero are valid and mean unset.
pub(crate) unsafe fn read_table<T: Copy>(table: *const T, empty: T, argument: &str) -> Result<T, Failure> {
    if table.is_null() {
        return Ok(empty);
    }
    // SAFETY: every table begins with its size.
    let size = unsafe { read_size(table, argument) }?;
    let known = size.min(size_of::<T>());
    // SAFETY: the caller promised `size` bytes, and `known` is no more.
    let tail = unsafe { slice::from_raw_parts(table.cast::<u8>().add(known), size - known) };
    if tail.iter().any(|&byte| byte != 0) {
        return Err(Failure::invalid_argument(format!(
            "{argument} sets a callback that this version of the library does not know"
        )));
    }
    let mut copy = empty;
    let start = (&raw mut copy).cast::<u8>();
    // SAFETY: both have `known` bytes; whole slots are copied, and any slot of the caller's is a valid one.
    unsafe { ptr::copy_nonoverlapping(table.cast::<u8>(), start, known) };
    Ok(copy)
}

/// Fills the caller's struct, as far as it goes, with what follows the size in `value`. The rest of a longer struct, from
/// a newer header, becomes 0.
///
/// # Safety
/// `out` is NULL or points to as many bytes as the `size_t` at its beginning says, which may be written. `T` is `repr(C)` and
/// begins with that `size_t`.
pub(crate) unsafe fn write_table<T: Copy>(out: *mut T, value: &T, argument: &str) -> Result<(), Failure> {
    check_out(out, argument)?;
    // SAFETY: every such struct begins with its size.
    let size = unsafe { read_size(out, argument) }?;
    let known = size.min(size_of::<T>());
    let (to, from) = (out.cast::<u8>(), ptr::from_ref(value).cast::<u8>());
    // SAFETY: both have `known` bytes, which are WORD at least, and the caller promised `size` bytes.
    unsafe {
        ptr::copy_nonoverlapping(from.add(WORD), to.add(WORD), known - WORD);
        ptr::write_bytes(to.add(known), 0, size - known);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Slot = Option<unsafe extern "C" fn()>;

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Small {
        struct_size: usize,
        first: Slot,
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Large {
        struct_size: usize,
        first: Slot,
        second: Slot,
    }

    const NO_SMALL: Small = Small { struct_size: 0, first: None };
    const NO_LARGE: Large = Large { struct_size: 0, first: None, second: None };

    unsafe extern "C" fn callback() {}

    #[test]
    fn a_shorter_table_leaves_the_rest_unset() {
        let small = Small { struct_size: size_of::<Small>(), first: Some(callback) };
        // SAFETY: the table is as large as it says.
        let read = unsafe { read_table((&raw const small).cast(), NO_LARGE, "callbacks") }.expect("a valid table");
        assert!(read.first.is_some());
        assert!(read.second.is_none());
    }

    #[test]
    fn a_longer_table_is_read_if_its_tail_is_unset() {
        let mut large = Large { struct_size: size_of::<Large>(), first: Some(callback), second: None };
        // SAFETY: the table is as large as it says.
        let read = unsafe { read_table((&raw const large).cast(), NO_SMALL, "callbacks") };
        assert!(read.expect("nothing unknown is set").first.is_some());

        large.second = Some(callback);
        // SAFETY: as above.
        assert!(unsafe { read_table((&raw const large).cast(), NO_SMALL, "callbacks") }.is_err());
    }

    #[test]
    fn null_has_no_callbacks() {
        // SAFETY: NULL is allowed.
        let read = unsafe { read_table(ptr::null(), NO_LARGE, "callbacks") }.expect("an empty table");
        assert!(read.first.is_none());
    }

    #[test]
    fn a_size_that_is_no_size_of_a_table_is_refused() {
        for struct_size in [0, 1, size_of::<usize>() - 1, size_of::<usize>() + 1, MAX_TABLE_SIZE + 8, usize::MAX] {
            let table = Small { struct_size, first: None };
            // SAFETY: a size beyond the table is refused before the table is read.
            assert!(unsafe { read_table(&raw const table, NO_SMALL, "callbacks") }.is_err(), "{struct_size}");
        }
    }
}
