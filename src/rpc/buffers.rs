/// Where the memory of queued messages comes from.
pub trait Buffers: Send + Sync {
    /// An empty buffer with room for `len` bytes.
    fn take(&self, len: usize) -> Vec<u8>;
}

/// Memory straight from the allocator.
pub struct NewBuffers;

impl Buffers for NewBuffers {
    fn take(&self, len: usize) -> Vec<u8> {
        Vec::with_capacity(len)
    }
}
