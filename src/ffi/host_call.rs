//! Calls the host's callbacks. Nothing else in the library does; a test checks that.
//!
//! A host may end the thread inside a callback, as an interpreter does with pthread_exit when it exits. With glibc, that
//! unwinds the stack, and a forced unwind that reaches `catch_unwind`, or any other Rust frame that catches, aborts the
//! process. So on Linux with glibc, each callback is called through a frame that has no unwind tables: the unwinder takes
//! it for the end of the stack, and glibc ends the thread without touching the frames below. They are leaked, not dropped,
//! and the runtime is prepared for that. Backtraces that need unwind tables end at this frame as well; those that follow
//! frame pointers do not. Elsewhere, ending a thread unwinds nothing (musl, macOS, Windows), or this is not supported yet
//! (glibc on other processors); build.rs chooses.

use super::boolean::esrpc_bool;

/// A C function that takes only integers and pointers.
pub(crate) trait HostFunction<Arguments> {
    type Output;

    /// # Safety
    /// As for the function itself.
    unsafe fn call_with(self, arguments: Arguments) -> Self::Output;
}

/// Calls one of the host's callbacks. It may never return, so nothing may rely on the frames below being dropped.
///
/// # Safety
/// As for calling the function itself.
#[inline(always)]
pub(crate) unsafe fn call<Arguments, F: HostFunction<Arguments>>(function: F, arguments: Arguments) -> F::Output {
    // SAFETY: what the caller promised.
    unsafe { function.call_with(arguments) }
}

macro_rules! host_function {
    ($($name:ident: $type:ident),+; $($unused:ident),*; $output:ty) => {
        impl<$($type: frame::Word),+> HostFunction<($($type,)+)> for unsafe extern "C" fn($($type),+) -> $output {
            type Output = $output;

            #[inline(always)]
            unsafe fn call_with(self, ($($name,)+): ($($type,)+)) -> Self::Output {
                #[cfg(esrpc_host_call)]
                {
                    $(let $name = frame::Word::word($name);)+
                    $(let $unused = frame::UNUSED;)*
                    // SAFETY: the frame hands the function the registers in which it expects its arguments, and the
                    // caller promised that it may be called with them.
                    let result = unsafe { frame::esrpc_host_call($($name,)+ $($unused,)* self as *const ()) };
                    // SAFETY: the function returns such a value.
                    unsafe { frame::Returned::from_register(result) }
                }
                #[cfg(not(esrpc_host_call))]
                // SAFETY: what the caller promised.
                unsafe { self($($name),+) }
            }
        }
    };
}

host_function!(a: A; b, c, d, e; ());
host_function!(a: A, b: B; c, d, e; ());
host_function!(a: A, b: B, c: C; d, e; ());
host_function!(a: A, b: B, c: C, d: D; e; ());
host_function!(a: A, b: B, c: C, d: D, e: E;; ());
host_function!(a: A, b: B, c: C; d, e; esrpc_bool);

#[cfg(esrpc_host_call)]
mod frame {
    use std::mem::MaybeUninit;

    use super::esrpc_bool;

    // Without .cfi directives, the unwind tables have no entry for these instructions. The frame pointer is kept for
    // debuggers and profilers.
    #[cfg(target_arch = "x86_64")]
    std::arch::global_asm!(
        ".pushsection .text.esrpc_host_call,\"ax\",@progbits",
        ".p2align 4",
        ".globl esrpc_host_call",
        ".hidden esrpc_host_call",
        ".type esrpc_host_call,@function",
        "esrpc_host_call:",
        "push rbp",
        "mov rbp, rsp",
        "call r9",
        "pop rbp",
        "ret",
        ".size esrpc_host_call, . - esrpc_host_call",
        ".popsection",
    );

    #[cfg(target_arch = "aarch64")]
    std::arch::global_asm!(
        ".pushsection .text.esrpc_host_call,\"ax\",@progbits",
        ".p2align 4",
        ".globl esrpc_host_call",
        ".hidden esrpc_host_call",
        ".type esrpc_host_call,@function",
        "esrpc_host_call:",
        "stp x29, x30, [sp, #-16]!",
        "mov x29, sp",
        "blr x5",
        "ldp x29, x30, [sp], #16",
        "ret",
        ".size esrpc_host_call, . - esrpc_host_call",
        ".popsection",
    );

    // The words after the fourth come on the stack.
    #[cfg(target_arch = "arm")]
    std::arch::global_asm!(
        ".pushsection .text.esrpc_host_call,\"ax\",%progbits",
        ".p2align 2",
        ".globl esrpc_host_call",
        ".hidden esrpc_host_call",
        ".type esrpc_host_call,%function",
        "esrpc_host_call:",
        // Without an entry of its own, it would have that of the function before it.
        ".fnstart",
        ".cantunwind",
        "push {{r11, lr}}",
        "mov r11, sp",
        "sub sp, sp, #8",
        "ldr r12, [r11, #8]",
        "str r12, [sp]",
        "ldr r12, [r11, #12]",
        "blx r12",
        "mov sp, r11",
        "pop {{r11, pc}}",
        ".fnend",
        ".size esrpc_host_call, . - esrpc_host_call",
        ".popsection",
    );

    // All words come on the stack.
    #[cfg(target_arch = "x86")]
    std::arch::global_asm!(
        ".pushsection .text.esrpc_host_call,\"ax\",@progbits",
        ".p2align 4",
        ".globl esrpc_host_call",
        ".hidden esrpc_host_call",
        ".type esrpc_host_call,@function",
        "esrpc_host_call:",
        "push ebp",
        "mov ebp, esp",
        // Beside what is pushed, this keeps the stack aligned to 16 bytes.
        "sub esp, 4",
        "push dword ptr [ebp + 24]",
        "push dword ptr [ebp + 20]",
        "push dword ptr [ebp + 16]",
        "push dword ptr [ebp + 12]",
        "push dword ptr [ebp + 8]",
        "call dword ptr [ebp + 28]",
        "leave",
        "ret",
        ".size esrpc_host_call, . - esrpc_host_call",
        ".popsection",
    );

    /// The contents of a register, which may be uninitialised.
    pub type Register = MaybeUninit<usize>;

    /// For a register that the function does not read.
    pub const UNUSED: Register = MaybeUninit::uninit();

    unsafe extern "C" {
        /// Calls `function` with the five arguments before it.
        pub fn esrpc_host_call(
            a: Register,
            b: Register,
            c: Register,
            d: Register,
            e: Register,
            function: *const (),
        ) -> Register;
    }

    /// What a function returns: nothing, or a type that comes in one register.
    pub trait Returned {
        /// # Safety
        /// The register is that of a function that returns such a value.
        unsafe fn from_register(register: Register) -> Self;
    }

    impl Returned for () {
        unsafe fn from_register(_: Register) {}
    }

    impl Returned for esrpc_bool {
        /// The value is the lowest byte of the register.
        unsafe fn from_register(register: Register) -> esrpc_bool {
            // SAFETY: what the caller promised.
            esrpc_bool::from(unsafe { register.assume_init() as u8 != 0 })
        }
    }

    /// A type that is passed in one register.
    pub trait Word {
        fn word(self) -> Register;
    }

    impl Word for usize {
        fn word(self) -> Register {
            MaybeUninit::new(self)
        }
    }

    impl Word for u32 {
        fn word(self) -> Register {
            MaybeUninit::new(self as usize)
        }
    }

    impl Word for i32 {
        fn word(self) -> Register {
            MaybeUninit::new(self as usize)
        }
    }

    impl<T> Word for *const T {
        fn word(self) -> Register {
            MaybeUninit::new(self as usize)
        }
    }

    impl<T> Word for *mut T {
        fn word(self) -> Register {
            MaybeUninit::new(self as usize)
        }
    }
}

#[cfg(not(esrpc_host_call))]
mod frame {
    /// Any type will do, since the function is called directly.
    pub trait Word {}

    impl<T> Word for T {}
}

#[cfg(test)]
mod tests {
    use std::ffi::c_void;

    use super::call;

    type Seen = (u32, i32, *const u8, usize, u64);

    unsafe extern "C" fn one(user_data: *mut c_void) {
        // SAFETY: the test hands its own variable over.
        unsafe { (*user_data.cast::<Seen>()).4 += 1 }
    }

    unsafe extern "C" fn five(a: u32, b: i32, c: *const u8, d: usize, user_data: *mut c_void) {
        // SAFETY: as above.
        unsafe { *user_data.cast::<Seen>() = (a, b, c, d, stack_misalignment()) }
    }

    /// A value that the compiler may put on the stack only where it is aligned to 16 bytes.
    fn stack_misalignment() -> u64 {
        #[repr(align(16))]
        struct Aligned([u8; 16]);
        let aligned = Aligned([1; 16]);
        let address = std::hint::black_box(&aligned).0.as_ptr() as u64;
        address % 16
    }

    #[test]
    fn arguments_arrive_and_the_stack_is_aligned() {
        let byte = 7;
        let mut seen: Seen = (0, 0, std::ptr::null(), 0, 9);
        let user_data = (&raw mut seen).cast::<c_void>();
        let five: unsafe extern "C" fn(u32, i32, *const u8, usize, *mut c_void) = five;
        let one: unsafe extern "C" fn(*mut c_void) = one;
        // SAFETY: the functions take these arguments, and user_data outlives the calls.
        unsafe { call(five, (u32::MAX, i32::MIN, &raw const byte, usize::MAX - 1, user_data)) };
        assert_eq!(seen, (u32::MAX, i32::MIN, &raw const byte, usize::MAX - 1, 0));
        // SAFETY: as above.
        unsafe { call(one, (user_data,)) };
        assert_eq!(seen.4, 1);
    }
}
