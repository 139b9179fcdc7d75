//! Knowing whether this is still the same process (no fork since), and threads without signals.

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// A page that the system empties in a forked child: reading it costs no system call.
static MARK_PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());
/// How many of the processes from the first to this one have had a mark. A forked child has it from its parent.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The mark of this process, distinct from those of the processes that it was forked from.
pub fn current_process() -> u32 {
    let Some(mark) = mark_page() else {
        return std::process::id();
    };
    match mark.load(Ordering::Relaxed) {
        0 => first_mark(mark),
        generation => generation,
    }
}

/// The mark of a process in which nobody has asked for it yet.
#[cold]
fn first_mark(mark: &AtomicU32) -> u32 {
    // Not 0, which a page without a mark holds.
    let next = GENERATION.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
    mark.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed).map_or_else(|other| other, |_| next)
}

#[cfg(target_os = "linux")]
fn mark_page() -> Option<&'static AtomicU32> {
    let page = MARK_PAGE.load(Ordering::Acquire);
    if page.is_null() {
        return make_mark_page();
    }
    // SAFETY: a non-null MARK_PAGE was set by make_mark_page to a mapping that is never unmapped.
    Some(unsafe { &*page })
}

#[cfg(not(target_os = "linux"))]
fn mark_page() -> Option<&'static AtomicU32> {
    let _ = &MARK_PAGE;
    None
}

/// None if the system cannot empty pages in children (Linux before 4.14): then the process id is asked for each time.
#[cfg(target_os = "linux")]
#[cold]
fn make_mark_page() -> Option<&'static AtomicU32> {
    const PAGE: usize = 4096;
    let (protection, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping at an address of the system's choice touches no memory of ours.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the range is the mapping just made, which nothing else uses yet.
    if unsafe { libc::madvise(page, PAGE, libc::MADV_WIPEONFORK) } != 0 {
        // SAFETY: as above; the mapping is not used after this.
        unsafe { libc::munmap(page, PAGE) };
        return None;
    }
    let ours = page.cast::<AtomicU32>();
    let page = match MARK_PAGE.compare_exchange(std::ptr::null_mut(), ours, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => ours,
        Err(other) => {
            // SAFETY: another thread's page won; ours was never handed out.
            unsafe { libc::munmap(page, PAGE) };
            other
        }
    };
    // SAFETY: the page is a mapping, aligned and zeroed by the system, that is never unmapped.
    Some(unsafe { &*page })
}

/// Runs `spawn` with all asynchronous signals blocked, so that the threads it starts inherit that: signals are for the
/// host's threads. Synchronous signals are left alone, as they report a fault in the thread itself.
pub fn guest_threads<R>(spawn: impl FnOnce() -> R) -> R {
    let mut blocked = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set that the calls after it change and read; `before` is written by the
    // pthread_sigmask that succeeds before it is read back.
    let changed = unsafe {
        libc::sigfillset(blocked.as_mut_ptr());
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS] {
            libc::sigdelset(blocked.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, blocked.as_ptr(), before.as_mut_ptr()) == 0
    };
    let result = spawn();
    if changed {
        // SAFETY: `before` was filled by the successful call above.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    result
}

#[cfg(target_os = "linux")]
mod cancellation {
    use std::ffi::c_int;

    pub const PTHREAD_CANCEL_DISABLE: c_int = 1;

    unsafe extern "C" {
        pub fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    }
}

/// A host's pthread_cancel does not end this thread, which is one of our own.
#[cfg(target_os = "linux")]
pub fn never_cancelled() {
    // SAFETY: the constant is one that the function knows, and it accepts that nobody asks for the state before.
    unsafe { cancellation::pthread_setcancelstate(cancellation::PTHREAD_CANCEL_DISABLE, std::ptr::null_mut()) };
}

/// Runs `work`, which makes system calls at which a host's pthread_cancel would end the thread, without that: it takes effect
/// in the host's own code. Unwinding from in here would abort the process.
#[cfg(target_os = "linux")]
pub fn uncancelled<R>(work: impl FnOnce() -> R) -> R {
    struct Restore(std::ffi::c_int);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: the state is one that the function gave.
            unsafe { cancellation::pthread_setcancelstate(self.0, std::ptr::null_mut()) };
        }
    }
    let mut before = cancellation::PTHREAD_CANCEL_DISABLE;
    // SAFETY: the constant is one that the function knows, and `before` lives during the call.
    unsafe { cancellation::pthread_setcancelstate(cancellation::PTHREAD_CANCEL_DISABLE, &raw mut before) };
    let _restore = Restore(before);
    work()
}

#[cfg(not(target_os = "linux"))]
pub fn never_cancelled() {}

#[cfg(not(target_os = "linux"))]
pub fn uncancelled<R>(work: impl FnOnce() -> R) -> R {
    work()
}
