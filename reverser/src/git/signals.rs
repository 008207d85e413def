//! Signals, kept away from a thread that waits for a server.

use std::marker::PhantomData;

/// Signals that stay: they tell of what this very thread did.
const OWN: [libc::c_int; 6] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
    libc::SIGTRAP,
];

/// While it lives, signals are handled by the process's other threads.
///
/// libgit2's sockets have timeouts, with which the kernel restarts no interrupted call, `SA_RESTART` or not (signal(7)); nor
/// does libgit2. A SIGTERM or SIGCHLD would cut a push off with "Interrupted system call".
pub(super) struct Blocked {
    before: libc::sigset_t,
    /// A mask belongs to one thread: not to be sent to another.
    _thread: PhantomData<*const ()>,
}

impl Blocked {
    #[allow(unsafe_code)]
    pub(super) fn new() -> Self {
        // SAFETY: sigfillset, sigdelset and pthread_sigmask only write the sets they are given, which are ours and large
        // enough; zeroes are a valid sigset_t. The numbers are valid, so none of them fails.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            for signal in OWN {
                libc::sigdelset(&raw mut all, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before);
            Self {
                before,
                _thread: PhantomData,
            }
        }
    }
}

impl Drop for Blocked {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: restores the mask that `new` read on this same thread; the type is not Send.
        unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.before,
                std::ptr::null_mut(),
            );
        }
    }
}
