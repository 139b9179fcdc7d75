//! What the library asks of its process: is it still the same one (no fork since), and no signals on our threads.

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The process that made an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessMark(u32);

impl ProcessMark {
    pub fn current() -> ProcessMark {
        ProcessMark(current_process())
    }

    /// Whether the caller is the process that made the mark, not a forked child of it.
    pub fn is_current(self) -> bool {
        self.0 == current_process()
    }
}

/// A page that the system empties in a forked child: reading it costs no system call.
static MARK_PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

fn current_process() -> u32 {
    let Some(mark) = mark_page() else {
        return std::process::id();
    };
    match mark.load(Ordering::Relaxed) {
        0 => {
            let id = std::process::id();
            mark.store(id, Ordering::Relaxed);
            id
        }
        id => id,
    }
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
/// host's threads. The synchronous ones stay, they tell of a fault in the very thread.
#[cfg(unix)]
pub fn with_signals_blocked<R>(spawn: impl FnOnce() -> R) -> R {
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

#[cfg(not(unix))]
pub fn with_signals_blocked<R>(spawn: impl FnOnce() -> R) -> R {
    spawn()
}
