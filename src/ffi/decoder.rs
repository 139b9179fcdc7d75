//! The incremental decoder, with callbacks or with whole messages.

use std::cell::{Cell, RefCell, RefMut};
use std::ffi::c_void;
use std::ptr;

use super::bytes::esrpc_bytes;
use super::connection_options::esrpc_connection_options;
use super::failure::{Failure, required, set_last_error};
use super::guard;
use super::handle::BoxHandle;
use super::headers::esrpc_header;
use super::host_call;
use super::message::esrpc_message;
use super::out::{check_out, write_out};
use super::status::{ESRPC_ERROR_CANCELLED, esrpc_status};
use super::table::read_table;
use crate::codec::{DecodeEvents, EventDecoder, FlatHeader, Limits, Message, MessageDecoder, Prelude};

/// What a decoder calls while bytes are pushed. Every slot may be NULL. The parts of a message are reported in the
/// order of the wire, before its checksum is verified: only on_complete confirms that it is intact. Set struct_size to
/// sizeof (esrpc_decoder_callbacks) and all other slots to NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esrpc_decoder_callbacks {
    /// The size of this struct.
    pub struct_size: usize,
    /// A message begins: its lengths, and the checksum over them, which has been verified.
    pub on_prelude: Option<
        unsafe extern "C" fn(
            decoder: *mut esrpc_decoder,
            total_length: u32,
            headers_length: u32,
            prelude_crc: u32,
            user_data: *mut c_void,
        ),
    >,
    /// One header of the message, valid until the callback returns.
    pub on_header:
        Option<unsafe extern "C" fn(decoder: *mut esrpc_decoder, header: *const esrpc_header, user_data: *mut c_void)>,
    /// A piece of the payload, at least one byte; data points into the bytes that were pushed.
    pub on_payload:
        Option<unsafe extern "C" fn(decoder: *mut esrpc_decoder, data: *const u8, len: usize, user_data: *mut c_void)>,
    /// The message is complete, and its checksum is correct.
    pub on_complete:
        Option<unsafe extern "C" fn(decoder: *mut esrpc_decoder, message_crc: u32, user_data: *mut c_void)>,
    /// The input is damaged. Called once and last; this push and every later one return the same status.
    pub on_error:
        Option<unsafe extern "C" fn(decoder: *mut esrpc_decoder, status: esrpc_status, user_data: *mut c_void)>,
}

const NO_CALLBACKS: esrpc_decoder_callbacks = esrpc_decoder_callbacks {
    struct_size: size_of::<esrpc_decoder_callbacks>(),
    on_prelude: None,
    on_header: None,
    on_payload: None,
    on_complete: None,
    on_error: None,
};

/// An incremental decoder: bytes are pushed in pieces of any size, and messages come out, either whole, from
/// esrpc_decoder_next_message, or in parts, through callbacks, without ever holding a payload. Release it with
/// esrpc_decoder_release.
pub struct esrpc_decoder {
    /// Borrowed during a push and thus during its callbacks, so that what they call on this decoder is refused.
    shape: RefCell<Shape>,
    started: Cell<bool>,
    /// The decoder was released inside its own callback.
    is_released: Cell<bool>,
}

impl BoxHandle for esrpc_decoder {}

enum Shape {
    Callbacks { decoder: EventDecoder, callbacks: esrpc_decoder_callbacks, user_data: *mut c_void },
    Messages { decoder: MessageDecoder, views: Views },
}

/// The messages lent since the last push. They stay where they are while more are lent.
#[derive(Default)]
struct Views {
    #[allow(clippy::vec_box, reason = "C holds pointers to the messages while the vector grows")]
    slots: Vec<Box<esrpc_message>>,
    used: usize,
}

impl Views {
    /// How many slots are kept for the next push.
    const KEPT: usize = 64;

    /// Invalidates all views.
    fn clear(&mut self) {
        self.used = 0;
        self.slots.truncate(Views::KEPT);
    }

    /// # Safety
    /// What `message` borrows lives until the next `clear`.
    unsafe fn lend(&mut self, message: &Message<'_>) -> *const esrpc_message {
        // SAFETY: what the caller promised; a slot that is not in use is not read.
        let view = unsafe { esrpc_message::lent(message) };
        match self.slots.get_mut(self.used) {
            Some(slot) => **slot = view,
            None => self.slots.push(Box::new(view)),
        }
        self.used += 1;
        self.slots.get(self.used - 1).map_or(ptr::null(), |slot| &raw const **slot)
    }
}

impl esrpc_decoder {
    /// The decoder's state, unless one of its callbacks is running.
    fn shape(&self) -> Result<RefMut<'_, Shape>, Failure> {
        self.shape.try_borrow_mut().map_err(|_| Failure::invalid_state("the decoder is inside one of its callbacks"))
    }
}

/// Calls the callbacks for what the codec finds.
struct Dispatch<'a> {
    handle: *mut esrpc_decoder,
    is_released: &'a Cell<bool>,
    callbacks: esrpc_decoder_callbacks,
    user_data: *mut c_void,
}

impl Dispatch<'_> {
    /// The callback in `slot`, unless the caller has released the decoder: its user data may be gone too.
    fn wanted<F>(&self, slot: Option<F>) -> Option<F> {
        slot.filter(|_| !self.is_released.get())
    }
}

impl DecodeEvents for Dispatch<'_> {
    fn on_prelude(&mut self, prelude: &Prelude) {
        if let Some(callback) = self.wanted(self.callbacks.on_prelude) {
            let Prelude { total_len, headers_len, crc } = *prelude;
            // SAFETY: the caller's callback, for its own user data, with a live decoder.
            unsafe { host_call::call(callback, (self.handle, total_len, headers_len, crc, self.user_data)) }
        }
    }

    fn on_header(&mut self, header: &FlatHeader<'_>) {
        if let Some(callback) = self.wanted(self.callbacks.on_header) {
            let header = esrpc_header::new(header);
            // SAFETY: as above; the header lives during the callback.
            unsafe { host_call::call(callback, (self.handle, &raw const header, self.user_data)) }
        }
    }

    fn on_payload(&mut self, segment: &[u8]) {
        if let Some(callback) = self.wanted(self.callbacks.on_payload) {
            // SAFETY: as above; the segment lives during the callback.
            unsafe { host_call::call(callback, (self.handle, segment.as_ptr(), segment.len(), self.user_data)) }
        }
    }

    fn on_complete(&mut self, message_crc: u32) {
        if let Some(callback) = self.wanted(self.callbacks.on_complete) {
            // SAFETY: as above.
            unsafe { host_call::call(callback, (self.handle, message_crc, self.user_data)) }
        }
    }
}

impl Dispatch<'_> {
    fn on_error(&self, failure: &Failure) {
        if let Some(callback) = self.wanted(self.callbacks.on_error) {
            set_last_error(failure);
            // SAFETY: as above.
            unsafe { host_call::call(callback, (self.handle, failure.status, self.user_data)) }
        }
    }
}

/// Frees the decoder at the end of a push in which it was released.
struct ReleaseAfterPush(*mut esrpc_decoder);

impl Drop for ReleaseAfterPush {
    fn drop(&mut self) {
        // SAFETY: the decoder is live: a release during a push only sets a flag.
        if unsafe { &(*self.0).is_released }.get() {
            // SAFETY: made by `give`, given up by the caller, and the push no longer borrows it.
            unsafe { esrpc_decoder::release(self.0) }
        }
    }
}

/// # Safety
/// `handle` is NULL or a live decoder of this thread.
unsafe fn push(handle: *mut esrpc_decoder, data: &[u8]) -> Result<(), Failure> {
    // SAFETY: what the caller promised.
    let decoder = unsafe { esrpc_decoder::borrow(handle, "decoder") }?;
    let taken = decoder.shape()?;
    // Dropped in reverse order: the borrow ends before the decoder may be freed.
    let _release = ReleaseAfterPush(handle);
    let mut shape = taken;
    decoder.started.set(true);
    let pushed = match &mut *shape {
        Shape::Messages { decoder, views } => {
            views.clear();
            Ok(decoder.push(data)?)
        }
        Shape::Callbacks { decoder: events, callbacks, user_data } => {
            let is_released = &decoder.is_released;
            let mut dispatch = Dispatch { handle, is_released, callbacks: *callbacks, user_data: *user_data };
            let had_failed = events.error().is_some();
            events.push(data, &mut dispatch).map_err(|error| {
                let failure = Failure::from(error);
                if !had_failed {
                    dispatch.on_error(&failure);
                }
                failure
            })
        }
    };
    if decoder.is_released.get() {
        return Err(Failure::new(ESRPC_ERROR_CANCELLED, "a callback released the decoder, which no longer exists"));
    }
    pushed
}

/// Creates a decoder. It accepts payloads of up to 24 MiB, plus up to 1024 headers of 24 MiB in total, unless
/// esrpc_decoder_set_limits says otherwise.
///
/// @param callbacks Copied. NULL makes a decoder that gathers whole messages for esrpc_decoder_next_message; a table,
/// even an empty one, makes one that calls back and never holds a payload.
/// @param user_data Passed to every callback.
/// @param out_decoder Receives the decoder, to be released with esrpc_decoder_release.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if out_decoder is NULL, or callbacks has a wrong struct_size or
/// sets a callback that this version of the library does not know.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_decoder_new(
    callbacks: *const esrpc_decoder_callbacks,
    user_data: *mut c_void,
    out_decoder: *mut *mut esrpc_decoder,
) -> esrpc_status {
    guard::call(|| {
        check_out(out_decoder, "out_decoder")?;
        let shape = if callbacks.is_null() {
            Shape::Messages { decoder: MessageDecoder::new(Limits::default()), views: Views::default() }
        } else {
            // SAFETY: the caller's table is as large as it says; unset slots are NULL.
            let callbacks = unsafe { read_table(callbacks, NO_CALLBACKS, "callbacks") }?;
            Shape::Callbacks { decoder: EventDecoder::new(Limits::default()), callbacks, user_data }
        };
        let shape = RefCell::new(shape);
        let decoder = esrpc_decoder { shape, started: Cell::new(false), is_released: Cell::new(false) };
        // SAFETY: the caller's variable.
        unsafe { write_out(out_decoder, decoder.give(), "out_decoder") }
    })
}

/// Sets the limits of a decoder before its first push: the sizes of messages, headers and values in options. They
/// then apply as on a connection: payload and headers together may have 24 MiB unless
/// esrpc_connection_options_set_max_message_size says otherwise.
///
/// @param decoder Modified.
/// @param options Copied.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_STATE after the first push, and inside a callback of this decoder;
/// ESRPC_ERROR_INVALID_ARGUMENT if decoder or options is NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_decoder_set_limits(
    decoder: *mut esrpc_decoder,
    options: Option<&esrpc_connection_options>,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL, or a live decoder of this thread.
        let decoder = unsafe { esrpc_decoder::borrow(decoder, "decoder") }?;
        let options = required(options, "options")?;
        let mut shape = decoder.shape()?;
        if decoder.started.get() {
            return Err(Failure::invalid_state("the limits of a decoder can only be set before its first push"));
        }
        match &mut *shape {
            Shape::Callbacks { decoder, .. } => *decoder = EventDecoder::new(options.settings.limits.messages),
            Shape::Messages { decoder, .. } => *decoder = MessageDecoder::new(options.settings.limits.messages),
        }
        Ok(())
    })
}

/// Passes the next bytes of its input to a decoder.
///
/// Callbacks are called on this thread before the call returns. Inside them the only call allowed on the decoder is
/// its release, after which no further callback is called. Without callbacks, messages are taken with
/// esrpc_decoder_next_message, and those lent before are no longer valid. The result does not depend on how the input
/// is split into pushes. An error is reported at the earliest byte that makes it certain; it is final, and every
/// later push returns it. Messages completed before it can still be taken.
///
/// @param decoder Modified.
/// @param data Borrowed; may be empty.
/// @return ESRPC_OK; ESRPC_ERROR_PRELUDE_CHECKSUM, ESRPC_ERROR_MESSAGE_CHECKSUM, ESRPC_ERROR_MESSAGE_LENGTH,
/// ESRPC_ERROR_HEADERS_LENGTH, ESRPC_ERROR_HEADER_OVERRUN, ESRPC_ERROR_UNKNOWN_HEADER_TYPE,
/// ESRPC_ERROR_MESSAGE_TOO_LARGE, ESRPC_ERROR_TOO_MANY_HEADERS, ESRPC_ERROR_HEADERS_TOO_LARGE or
/// ESRPC_ERROR_HEADER_VALUE_TOO_LONG for damaged input; ESRPC_ERROR_CANCELLED if a callback released the decoder,
/// which no longer exists then; ESRPC_ERROR_INVALID_STATE inside a callback of this decoder;
/// ESRPC_ERROR_INVALID_ARGUMENT if decoder is NULL, or data is NULL with a length other than 0.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_decoder_push(decoder: *mut esrpc_decoder, data: esrpc_bytes) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, both, and of this thread; the data does not change during the call.
        unsafe { push(decoder, data.as_slice("data")?) }
    })
}

/// Takes the next whole message from a decoder created without callbacks.
///
/// @param decoder Modified.
/// @param out_message Receives a message that is valid until the next push or the release of the decoder, and must not
/// be released; NULL if more bytes are needed.
/// @return ESRPC_OK; once the intact messages are taken, the error that esrpc_decoder_push returned;
/// ESRPC_ERROR_INVALID_STATE if the decoder was made with callbacks; ESRPC_ERROR_INVALID_ARGUMENT if decoder or
/// out_message is NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_decoder_next_message(
    decoder: *mut esrpc_decoder,
    out_message: *mut *const esrpc_message,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL, or a live decoder of this thread.
        let decoder = unsafe { esrpc_decoder::borrow(decoder, "decoder") }?;
        check_out(out_message, "out_message")?;
        let mut shape = decoder.shape()?;
        let Shape::Messages { decoder, views } = &mut *shape else {
            return Err(Failure::invalid_state("a decoder created with callbacks holds no messages"));
        };
        let message = match decoder.next_message()? {
            // SAFETY: the data of one push stays put until the next push, which clears the views first.
            Some(message) => unsafe { views.lend(&message) },
            None => ptr::null(),
        };
        // SAFETY: the caller's variable.
        unsafe { write_out(out_message, message, "out_message") }
    })
}

/// Signals the end of the input to a decoder, and checks that it ended between two messages.
///
/// @param decoder Borrowed.
/// @return ESRPC_OK if it did; ESRPC_ERROR_INCOMPLETE if it ended inside a message; the error that esrpc_decoder_push
/// returned before; ESRPC_ERROR_INVALID_STATE inside a callback of this decoder; ESRPC_ERROR_INVALID_ARGUMENT if
/// decoder is NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_decoder_finish(decoder: *mut esrpc_decoder) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL, or a live decoder of this thread.
        let decoder = unsafe { esrpc_decoder::borrow(decoder, "decoder") }?;
        match &*decoder.shape()? {
            Shape::Callbacks { decoder, .. } => decoder.finish()?,
            Shape::Messages { decoder, .. } => decoder.finish()?,
        }
        Ok(())
    })
}

/// Frees a decoder and the messages that it lent. Inside one of its callbacks, no further callback is called, and the
/// decoder is freed when the push returns.
///
/// @param decoder Not to be used afterwards; NULL: nothing happens.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_decoder_release(decoder: *mut esrpc_decoder) {
    guard::value((), || {
        // SAFETY: NULL, or a live decoder of this thread.
        let Some(borrowed) = (unsafe { decoder.as_ref() }) else { return };
        if borrowed.shape.try_borrow_mut().is_err() {
            borrowed.is_released.set(true);
        } else {
            // SAFETY: made by `give`, not in use, and the caller gives it up.
            unsafe { esrpc_decoder::release(decoder) }
        }
    })
}
