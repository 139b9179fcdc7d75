//! Header lists: those that the caller builds, and those of messages.

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bytes::esrpc_bytes;
use super::failure::{Failure, required};
use super::guard;
use super::handle::BoxHandle;
use super::out::{check_out, write_out};
use super::status::{ESRPC_ERROR_HEADER_NOT_FOUND, esrpc_status};
use crate::codec::{FlatHeader, HeaderList, HeaderType, Headers};

/// One header, as read from a list or passed to a decoder's on_header. Its bytes are borrowed: they are valid until
/// the list is modified or released, or until the callback returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct esrpc_header {
    /// The name, in the case in which it was sent.
    pub name: esrpc_bytes,
    /// One of the ESRPC_HEADER_TYPE_* constants.
    pub r#type: i32,
    /// Always 0.
    pub reserved: i32,
    /// The value of a boolean (0 or 1), a byte, an integer or a timestamp; otherwise 0.
    pub number: i64,
    /// The value of a byte_buf, a string, or a UUID (16 bytes); otherwise empty. A received string is not necessarily
    /// UTF-8.
    pub bytes: esrpc_bytes,
}

impl esrpc_header {
    /// The view for C. It must not outlive the bytes of `header`.
    #[inline]
    pub(crate) fn new(header: &FlatHeader<'_>) -> esrpc_header {
        esrpc_header {
            name: esrpc_bytes::from_slice(header.name),
            r#type: i32::from(header.header_type as u8),
            reserved: 0,
            number: header.number,
            bytes: header.data.map_or(esrpc_bytes::EMPTY, esrpc_bytes::from_slice),
        }
    }
}

/// The name of a type, as in JSON and in error messages.
pub(crate) fn type_name(header_type: HeaderType) -> &'static str {
    match header_type {
        HeaderType::BoolTrue => "bool_true",
        HeaderType::BoolFalse => "bool_false",
        HeaderType::Byte => "byte",
        HeaderType::Int16 => "int16",
        HeaderType::Int32 => "int32",
        HeaderType::Int64 => "int64",
        HeaderType::ByteBuf => "byte_buf",
        HeaderType::String => "string",
        HeaderType::Timestamp => "timestamp",
        HeaderType::Uuid => "uuid",
    }
}

/// A list of headers: either a builder, which esrpc_headers_new creates and its owner modifies, or, as const
/// esrpc_headers *, the list of a message, which cannot be modified and lives as long as the message. Order and
/// repeated names are kept.
pub struct esrpc_headers {
    content: Content,
    /// Where reading by index continues, used for `Lent` only: the index in the upper half, its offset in the lower
    /// half. One word, so that threads that read the same message see a consistent pair.
    cursor: AtomicU64,
    /// Where every `STRIDE`th header of `Lent` starts; made at the first jump further than that, so that reading in any
    /// order takes time in proportion to what is read.
    landmarks: OnceLock<Box<[u32]>>,
}

/// Skipping fewer headers than this needs no landmarks.
const STRIDE: usize = 32;

enum Content {
    Built(HeaderList),
    /// Lives only as long as the message that holds this list: see `esrpc_headers::lent`.
    Lent(Headers<'static>),
}

impl BoxHandle for esrpc_headers {}

impl esrpc_headers {
    fn new() -> esrpc_headers {
        esrpc_headers::built(HeaderList::new())
    }

    pub(super) fn built(list: HeaderList) -> esrpc_headers {
        esrpc_headers::with(Content::Built(list))
    }

    fn with(content: Content) -> esrpc_headers {
        esrpc_headers { content, cursor: AtomicU64::new(0), landmarks: OnceLock::new() }
    }

    /// The list of a message.
    ///
    /// # Safety
    /// What `headers` borrows outlives the result.
    pub(crate) unsafe fn lent(headers: Headers<'_>) -> esrpc_headers {
        // SAFETY: only the lifetime changes, and the caller promised that it is long enough. It does not escape: every
        // accessor shortens it to that of `self`.
        let headers = unsafe { std::mem::transmute::<Headers<'_>, Headers<'static>>(headers) };
        esrpc_headers::with(Content::Lent(headers))
    }

    /// The headers of either kind, in wire form.
    pub(crate) fn as_headers(&self) -> Headers<'_> {
        match &self.content {
            Content::Built(list) => list.as_headers(),
            Content::Lent(headers) => *headers,
        }
    }

    /// The builder, unless this is the list of a message.
    pub(crate) fn builder(&self) -> Option<&HeaderList> {
        match &self.content {
            Content::Built(list) => Some(list),
            Content::Lent(_) => None,
        }
    }

    /// The builder to send from, if there are headers.
    pub(crate) fn for_sending(headers: Option<&esrpc_headers>) -> Result<Option<&HeaderList>, Failure> {
        let Some(headers) = headers else { return Ok(None) };
        headers.builder().map(Some).ok_or_else(|| {
            Failure::invalid_argument(
                "headers is the list of a message; copy it with esrpc_headers_add_from to send it",
            )
        })
    }

    fn len(&self) -> usize {
        match &self.content {
            Content::Built(list) => list.len(),
            Content::Lent(headers) => headers.len(),
        }
    }

    #[inline]
    fn get(&self, index: usize) -> Option<FlatHeader<'_>> {
        let cursor = self.cursor.load(Ordering::Relaxed);
        match &self.content {
            Content::Lent(headers) if cursor >> 32 == index as u64 => {
                self.read_at(headers, index, cursor as u32 as usize)
            }
            _ => self.get_elsewhere(index),
        }
    }

    /// The header of a message at an index and its offset. Notes where the next one begins, so that a loop over all
    /// indices reads each header once.
    #[inline]
    fn read_at<'a>(&self, headers: &Headers<'a>, index: usize, offset: usize) -> Option<FlatHeader<'a>> {
        let (header, next) = headers.read_at(offset)?;
        self.note_next(index + 1, next);
        Some(header)
    }

    /// The header at an index that does not follow the last one, or of a builder.
    #[cold]
    #[inline(never)]
    fn get_elsewhere(&self, index: usize) -> Option<FlatHeader<'_>> {
        match &self.content {
            Content::Built(list) => list.get(index),
            Content::Lent(headers) => self.read_at(headers, index, self.offset_of(index)?),
        }
    }

    /// The offset of the header at an index, if there is one.
    #[inline]
    fn offset_of(&self, index: usize) -> Option<usize> {
        let headers = match &self.content {
            Content::Built(list) => return list.offset_of(index),
            Content::Lent(headers) if index < headers.len() => headers,
            Content::Lent(_) => return None,
        };
        let cursor = self.cursor.load(Ordering::Relaxed);
        match index.checked_sub((cursor >> 32) as usize) {
            Some(ahead) if ahead < STRIDE => headers.offset_behind(cursor as u32 as usize, ahead),
            _ if index < STRIDE => headers.offset_behind(0, index),
            _ => {
                let landmark = *self.landmarks(headers).get(index / STRIDE)?;
                headers.offset_behind(landmark as usize, index % STRIDE)
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn landmarks(&self, headers: &Headers<'_>) -> &[u32] {
        self.landmarks.get_or_init(|| {
            let next = |at: &usize| headers.offset_behind(*at, STRIDE);
            let starts = std::iter::successors(Some(0), next).take(headers.len().div_ceil(STRIDE));
            // Each fits: a message's lengths are 32-bit numbers.
            starts.map(|at| at as u32).collect()
        })
    }

    /// Passes at most `capacity` headers to `take`, beginning at an index; returns how many.
    fn get_range<'a>(&'a self, first: usize, capacity: usize, mut take: impl FnMut(usize, &FlatHeader<'a>)) -> usize {
        let headers = self.as_headers();
        let Some(mut at) = self.offset_of(first) else { return 0 };
        let mut count = 0;
        while count < capacity
            && let Some((header, next)) = headers.read_at(at)
        {
            take(count, &header);
            count += 1;
            at = next;
        }
        self.note_next(first + count, at);
        count
    }

    /// Notes the offset of the header at an index, for a reader that continues there.
    #[inline]
    fn note_next(&self, index: usize, offset: usize) {
        // Both fit: a message's lengths are 32-bit numbers.
        self.cursor.store(((index as u64) << 32) | offset as u64, Ordering::Relaxed);
    }

    /// The last header of that name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<FlatHeader<'_>> {
        match &self.content {
            Content::Built(list) => list.as_headers().find(name),
            Content::Lent(headers) => headers.find(name),
        }
    }

    /// The headers that a call was given, which may be none.
    pub(crate) fn optional(headers: Option<&esrpc_headers>) -> Headers<'_> {
        headers.map_or(Headers::EMPTY, esrpc_headers::as_headers)
    }

    /// The builder behind `headers`, for changing it.
    ///
    /// # Safety
    /// NULL, or a live list; if it is a builder, nobody else uses it during `'a`.
    pub(super) unsafe fn builder_mut<'a>(headers: *mut esrpc_headers) -> Result<&'a mut HeaderList, Failure> {
        // Checked before it is borrowed mutably: a message's list is shared, even if C has cast its const away.
        // SAFETY: what the caller promised.
        let is_builder = unsafe { esrpc_headers::borrow(headers, "headers") }?.builder().is_some();
        if is_builder {
            // SAFETY: not NULL; a builder has one user.
            if let Content::Built(list) = unsafe { &mut (*headers).content } {
                return Ok(list);
            }
        }
        Err(Failure::invalid_state("the headers of a message cannot be changed"))
    }
}

/// Whether `part` lies inside `whole` and so becomes invalid when `whole` changes.
pub(super) fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    !part.is_empty() && whole.as_ptr_range().contains(&part.as_ptr())
}

#[cold]
#[inline(never)]
pub(super) fn not_found(name: &[u8]) -> Failure {
    let name = String::from_utf8_lossy(name);
    Failure::new(ESRPC_ERROR_HEADER_NOT_FOUND, format!("there is no header \"{name}\""))
}

#[cold]
#[inline(never)]
fn no_header_at(index: usize, count: usize) -> Failure {
    Failure::new(ESRPC_ERROR_HEADER_NOT_FOUND, format!("there is no header {index} among {count}"))
}

/// Creates an empty header list, to be filled with esrpc_headers_add_*.
///
/// @return A new list, to be released with esrpc_headers_release. NULL only inside a log callback.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_headers_new() -> *mut esrpc_headers {
    guard::value(ptr::null_mut(), || esrpc_headers::new().give())
}

/// Frees a header list made by esrpc_headers_new. Messages already sent with it are not affected. Does nothing to the
/// list of a message.
///
/// @param headers Not to be used afterwards; NULL: nothing happens.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_release(headers: *mut esrpc_headers) {
    guard::value((), || {
        // SAFETY: NULL, or a live list.
        let list = unsafe { headers.as_ref() };
        if list.is_some_and(|list| list.builder().is_some()) {
            // SAFETY: a builder was made by `give`, and the caller gives it up.
            unsafe { esrpc_headers::release(headers) }
        }
    })
}

/// Returns the number of headers in a list.
///
/// @param headers Borrowed; NULL: returns 0.
/// @return The number; repeated names count each time.
///
/// Thread: owner; any for the list of a message. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_headers_count(headers: Option<&esrpc_headers>) -> usize {
    guard::value(0, || headers.map_or(0, esrpc_headers::len))
}

/// Reads a header by its index. Reading all of them takes time proportional to their number, in any order.
///
/// @param headers Borrowed.
/// @param index From 0 to one less than esrpc_headers_count.
/// @param out_header Receives the header; its bytes are valid until the list is modified or released.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NOT_FOUND if there is none at this index; ESRPC_ERROR_INVALID_ARGUMENT if
/// headers or out_header is NULL.
///
/// Thread: owner; any for the list of a message. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_get(
    headers: Option<&esrpc_headers>,
    index: usize,
    out_header: *mut esrpc_header,
) -> esrpc_status {
    guard::call(|| {
        let list = required(headers, "headers")?;
        check_out(out_header, "out_header")?;
        let header = list.get(index).ok_or_else(|| no_header_at(index, list.len()))?;
        // SAFETY: the caller's variable.
        unsafe { write_out(out_header, esrpc_header::new(&header), "out_header") }
    })
}

/// Reads several headers at once, in order: for bindings in which each call is expensive, and to read all headers of
/// a message.
///
/// @param headers Borrowed.
/// @param first The index of the first header to read, from 0.
/// @param out_headers An array of at least capacity headers, filled from its beginning; may be NULL if capacity is 0.
/// Their bytes are valid until the list is modified or released.
/// @param capacity The most headers to read.
/// @param out_count Receives how many were read: fewer than capacity at the end of the list, 0 past it.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if headers or out_count is NULL, or out_headers is NULL with a
/// capacity other than 0.
///
/// Thread: owner; any for the list of a message. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_get_range(
    headers: Option<&esrpc_headers>,
    first: usize,
    out_headers: *mut esrpc_header,
    capacity: usize,
    out_count: *mut usize,
) -> esrpc_status {
    guard::call(|| {
        let list = required(headers, "headers")?;
        check_out(out_count, "out_count")?;
        if capacity != 0 {
            check_out(out_headers, "out_headers")?;
        }
        let count = list.get_range(first, capacity, |at, header| {
            // SAFETY: the caller's array has `capacity` places, and there are no more calls than that.
            unsafe { out_headers.add(at).write(esrpc_header::new(header)) };
        });
        // SAFETY: the caller's variable.
        unsafe { write_out(out_count, count, "out_count") }
    })
}

/// Reads the header with a given name: the last one if the name is repeated.
///
/// @param headers Borrowed.
/// @param name Borrowed; the case of ASCII letters does not matter.
/// @param out_header Receives the header; its bytes are valid until the list is modified or released.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NOT_FOUND if there is none with this name; ESRPC_ERROR_INVALID_ARGUMENT if
/// headers or out_header is NULL, or name is NULL with a length other than 0.
///
/// Thread: owner; any for the list of a message. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_find(
    headers: Option<&esrpc_headers>,
    name: esrpc_bytes,
    out_header: *mut esrpc_header,
) -> esrpc_status {
    guard::call(|| {
        let list = required(headers, "headers")?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let name = unsafe { name.as_slice("name") }?;
        check_out(out_header, "out_header")?;
        let header = list.find(name).ok_or_else(|| not_found(name))?;
        // SAFETY: the caller's variable.
        unsafe { write_out(out_header, esrpc_header::new(&header), "out_header") }
    })
}

/// Removes all headers with a given name from a list.
///
/// @param headers Modified.
/// @param name Borrowed; the case of ASCII letters does not matter.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NOT_FOUND if there was none; ESRPC_ERROR_INVALID_STATE for the list of a
/// message; ESRPC_ERROR_INVALID_ARGUMENT if headers is NULL, or name is NULL with a length other than 0.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_remove(headers: *mut esrpc_headers, name: esrpc_bytes) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, both; a builder has one user.
        let (list, name) = unsafe { (esrpc_headers::builder_mut(headers)?, name.as_slice("name")?) };
        // The name may lie in this very list, whose bytes the removal moves.
        let name = name.to_vec();
        if list.remove(&name) == 0 { Err(not_found(&name)) } else { Ok(()) }
    })
}

/// Removes one header from a list; those after it move up.
///
/// @param headers Modified.
/// @param index From 0 to one less than esrpc_headers_count.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NOT_FOUND if there is none at this index; ESRPC_ERROR_INVALID_STATE for the
/// list of a message; ESRPC_ERROR_INVALID_ARGUMENT if headers is NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_remove_at(headers: *mut esrpc_headers, index: usize) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live; a builder has one user.
        let list = unsafe { esrpc_headers::builder_mut(headers) }?;
        if list.remove_at(index) {
            return Ok(());
        }
        Err(no_header_at(index, list.len()))
    })
}

/// Removes all headers from a list, which can be filled again.
///
/// @param headers Modified.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_STATE for the list of a message; ESRPC_ERROR_INVALID_ARGUMENT if headers is
/// NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_clear(headers: *mut esrpc_headers) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live; a builder has one user.
        unsafe { esrpc_headers::builder_mut(headers) }?.clear();
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{HeaderValue, Limits};

    #[test]
    fn headers_are_read_by_index_in_any_order() {
        let mut list = HeaderList::new();
        for index in 0..200 {
            let name = format!("name {index}");
            // Headers of three lengths.
            let value = [HeaderValue::Int32(index), HeaderValue::Bool(true), HeaderValue::String(name.as_bytes())];
            list.add(name.as_bytes(), value[index as usize % 3]).expect("a header");
        }
        let bytes = list.as_bytes().to_vec();
        let headers = Headers::parse(&bytes, &Limits::DEFAULT).expect("headers");
        // SAFETY: the bytes outlive the list.
        let lent = unsafe { esrpc_headers::lent(headers) };
        let built = esrpc_headers::with(Content::Built(list));
        let steps = (0..500).map(|step| step * step % 203);
        for index in (0..202).chain((0..202).rev()).chain(steps).chain([1 << (usize::BITS / 2), usize::MAX]) {
            let expected = headers.iter().nth(index);
            for list in [&lent, &built] {
                assert_eq!(list.get(index).and_then(|header| header.header()), expected, "header {index}");
            }
        }
    }
}
