//! Booleans that C passes.

/// A `bool` of C as an argument. C can pass a byte that is neither 0 nor 1, which Rust's `bool` may never be; here any byte
/// other than 0 is true. The header says bool.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct esrpc_bool(u8);

impl esrpc_bool {
    pub(crate) fn is_true(self) -> bool {
        self.0 != 0
    }
}

impl From<bool> for esrpc_bool {
    fn from(value: bool) -> esrpc_bool {
        esrpc_bool(value.into())
    }
}
