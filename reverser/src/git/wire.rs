//! Sends a pack of our own making through libgit2's transports.
//!
//! libgit2 pushes what its pack builder makes, and has no way to be given a pack. Its transports below that (HTTPS and SSH, with
//! credentials, certificates and proxies) are public, though, and can be wrapped (`git2/sys/transport.h`). So libgit2 is told to push
//! an empty file, which costs nothing to pack, and on its way out the request is made to say what we mean: the id of our commit
//! in the command, our pack in place of its own. All else, above all the server's answer, is left to libgit2. What is not
//! exactly the request that is expected is not sent.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, CString};

use git2::{Error, Oid};
use libc::{c_char, c_int, c_void, size_t};
use libgit2_sys as raw;

use super::pack;
use super::sockets;
use super::url::Scheme;

/// Of addresses that stand for the push that this thread is about to make.
const SCHEME: &CStr = c"gitops-reverser-push";
/// Such an address.
pub(super) const ADDRESS: &str = "gitops-reverser-push://now";

const CHUNK: usize = 64 << 10;

unsafe extern "C" {
    // Of libgit2's public interface; libgit2-sys has no declarations of them.
    fn git_smart_subtransport_http(
        out: *mut *mut raw::git_smart_subtransport,
        owner: *mut raw::git_transport,
        param: *mut c_void,
    ) -> c_int;
    fn git_smart_subtransport_ssh(
        out: *mut *mut raw::git_smart_subtransport,
        owner: *mut raw::git_transport,
        param: *mut c_void,
    ) -> c_int;
}

/// A push to be made.
pub(super) struct Push {
    /// As libgit2 takes it.
    pub(super) url: String,
    pub(super) scheme: Scheme,
    /// What libgit2 is told to push.
    pub(super) pretended: Oid,
    /// What is pushed.
    pub(super) commit: Oid,
    pub(super) pack: pack::Stream,
}

thread_local! {
    /// For the transport that libgit2 makes next on this thread.
    static NEXT: RefCell<Option<Push>> = const { RefCell::new(None) };
}

/// While it lives, [`ADDRESS`] stands for this push, once, on this thread.
pub(super) struct Armed;

impl Armed {
    pub(super) fn new(push: Push) -> Self {
        NEXT.set(Some(push));
        Self
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        NEXT.set(None);
    }
}

/// Makes [`ADDRESS`] known to libgit2.
///
/// # Safety
/// Writes libgit2's list of transports, unsynchronised: no other thread may use libgit2 meanwhile.
pub(super) unsafe fn register() -> Result<(), Error> {
    // SAFETY: libgit2 is initialised, the name ends in NUL and is copied, and there is no other thread, as the caller promises.
    let status = unsafe {
        raw::init();
        raw::git_transport_register(SCHEME.as_ptr(), Some(new_transport), std::ptr::null_mut())
    };
    // Tests may get here twice.
    if status < 0 && status != raw::GIT_EEXISTS {
        return Err(Error::last_error(status));
    }
    Ok(())
}

extern "C" fn new_transport(
    out: *mut *mut raw::git_transport,
    owner: *mut raw::git_remote,
    _: *mut c_void,
) -> c_int {
    let scheme = NEXT.with_borrow(|next| next.as_ref().map(|push| push.scheme));
    let Some(scheme) = scheme else {
        return fail("there is nothing to push");
    };
    let mut definition = raw::git_smart_subtransport_definition {
        callback: Some(new_subtransport),
        // One request after the other, or one conversation.
        rpc: matches!(scheme, Scheme::Http | Scheme::Https).into(),
        param: std::ptr::null_mut(),
    };
    // SAFETY: libgit2 gave `out` and `owner`; the definition is read before the call returns.
    unsafe { raw::git_transport_smart(out, owner, (&raw mut definition).cast()) }
}

extern "C" fn new_subtransport(
    out: *mut *mut raw::git_smart_subtransport,
    owner: *mut raw::git_transport,
    _: *mut c_void,
) -> c_int {
    let Some(push) = NEXT.take() else {
        return fail("there is nothing to push");
    };
    let Ok(url) = CString::new(push.url.as_str()) else {
        return fail("a URL with a NUL");
    };
    let mut inner = std::ptr::null_mut();
    // SAFETY: `owner` is the smart transport under construction, as both demand; they take no parameter.
    let status = unsafe {
        match push.scheme {
            Scheme::Ssh => git_smart_subtransport_ssh(&raw mut inner, owner, std::ptr::null_mut()),
            _ => git_smart_subtransport_http(&raw mut inner, owner, std::ptr::null_mut()),
        }
    };
    if status < 0 {
        return status;
    }
    let subtransport = Box::new(Subtransport {
        parent: raw::git_smart_subtransport {
            action: Some(action),
            close: Some(close),
            free: Some(free),
        },
        inner,
        url,
        push,
        stream: std::ptr::null_mut(),
    });
    // SAFETY: `out` is libgit2's; `parent` is the first field of a `repr(C)` struct, which `free` takes back.
    unsafe { *out = Box::into_raw(subtransport).cast() };
    0
}

/// libgit2's own, with the address and the stream that it gives changed.
#[repr(C)]
struct Subtransport {
    parent: raw::git_smart_subtransport,
    inner: *mut raw::git_smart_subtransport,
    url: CString,
    push: Push,
    /// The one that is open, or null.
    stream: *mut Stream,
}

/// libgit2's own, with the request for a push changed.
#[repr(C)]
struct Stream {
    parent: raw::git_smart_subtransport_stream,
    inner: *mut raw::git_smart_subtransport_stream,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Everything goes through as it is.
    Open,
    /// The request comes next.
    Request,
    /// It was sent, with all that belongs to it; what libgit2 would add is of no use.
    Sent,
}

extern "C" fn action(
    out: *mut *mut raw::git_smart_subtransport_stream,
    this: *mut raw::git_smart_subtransport,
    _url: *const c_char,
    service: raw::git_smart_service_t,
) -> c_int {
    // SAFETY: libgit2 calls with what `new_subtransport` made, from one thread at a time.
    let this = unsafe { &mut *this.cast::<Subtransport>() };
    let mut inner = std::ptr::null_mut();
    // SAFETY: `inner` lives until `free`; its functions are set.
    let status = unsafe {
        match (*this.inner).action {
            Some(action) => action(&raw mut inner, this.inner, this.url.as_ptr(), service),
            None => return fail("a transport without actions"),
        }
    };
    if status < 0 {
        return status;
    }
    // SAFETY: the stream is ours and open, or null.
    let same = unsafe { this.stream.as_ref() }.is_some_and(|open| std::ptr::eq(open.inner, inner));
    if !same {
        this.stream = Box::into_raw(Box::new(Stream {
            parent: raw::git_smart_subtransport_stream {
                subtransport: (&raw mut *this).cast(),
                read: Some(read),
                write: Some(write),
                free: Some(free_stream),
            },
            inner,
            state: State::Open,
        }));
    }
    // SAFETY: just made, or open; `out` is libgit2's.
    unsafe {
        if service == raw::GIT_SERVICE_RECEIVEPACK && (*this.stream).state == State::Open {
            (*this.stream).state = State::Request;
        }
        *out = this.stream.cast();
    }
    0
}

extern "C" fn close(this: *mut raw::git_smart_subtransport) -> c_int {
    // SAFETY: as in `action`.
    unsafe {
        let inner = (*this.cast::<Subtransport>()).inner;
        (*inner).close.map_or(0, |close| close(inner))
    }
}

extern "C" fn free(this: *mut raw::git_smart_subtransport) {
    // SAFETY: libgit2 frees what `new_subtransport` gave it, once, and streams before.
    unsafe {
        let this = Box::from_raw(this.cast::<Subtransport>());
        if let Some(free) = (*this.inner).free {
            free(this.inner);
        }
    }
}

extern "C" fn free_stream(stream: *mut raw::git_smart_subtransport_stream) {
    // SAFETY: libgit2 frees what `action` gave it, once, before the subtransport.
    unsafe {
        let stream = Box::from_raw(stream.cast::<Stream>());
        let owner = stream.parent.subtransport.cast::<Subtransport>();
        (*owner).stream = std::ptr::null_mut();
        if let Some(free) = (*stream.inner).free {
            free(stream.inner);
        }
    }
}

extern "C" fn read(
    stream: *mut raw::git_smart_subtransport_stream,
    buffer: *mut c_char,
    size: size_t,
    read: *mut size_t,
) -> c_int {
    // SAFETY: the stream is one that `action` gave; all else goes to libgit2's own as it came.
    unsafe {
        let stream = &mut *stream.cast::<Stream>();
        if stream.state == State::Sent {
            stream.state = State::Open;
        }
        match (*stream.inner).read {
            Some(inner) => inner(stream.inner, buffer, size, read),
            None => fail("a stream that can't be read"),
        }
    }
}

extern "C" fn write(
    stream: *mut raw::git_smart_subtransport_stream,
    buffer: *const c_char,
    length: size_t,
) -> c_int {
    // SAFETY: the stream is one that `action` gave, and its subtransport lives longer; libgit2 gives so many bytes to be read.
    let (stream, owner, bytes) = unsafe {
        let stream = &mut *stream.cast::<Stream>();
        let owner = &mut *stream.parent.subtransport.cast::<Subtransport>();
        let bytes = match length {
            0 => &[],
            _ => std::slice::from_raw_parts(buffer.cast::<u8>(), length),
        };
        (stream, owner, bytes)
    };
    match stream.state {
        State::Sent => 0,
        // The end of a conversation in which nothing was pushed.
        State::Request if bytes == b"0000" => stream.forward(bytes),
        State::Request => {
            stream.state = State::Sent;
            match stream.send(bytes, &mut owner.push) {
                Ok(()) => 0,
                Err(status) => status,
            }
        }
        State::Open => stream.forward(bytes),
    }
}

impl Stream {
    fn forward(&mut self, bytes: &[u8]) -> c_int {
        // SAFETY: libgit2's own stream, open as long as this one; it reads the bytes before it returns.
        unsafe {
            match (*self.inner).write {
                Some(write) => write(self.inner, bytes.as_ptr().cast(), bytes.len()),
                None => fail("a stream that can't be written"),
            }
        }
    }

    /// The command, then the pack.
    fn send(&mut self, request: &[u8], push: &mut Push) -> Result<(), c_int> {
        let command = command(request, push.pretended, push.commit)
            .ok_or_else(|| fail("libgit2 wrote another request than expected"))?;
        let done = |status: c_int| if status < 0 { Err(status) } else { Ok(()) };
        done(self.forward(&command))?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = push.pack.next(&mut buffer).map_err(|error| {
                // As if an object could not be read, which it can't.
                set_error(raw::GIT_ERROR_ODB, &error.to_string());
                -1
            })?;
            if read == 0 {
                return Ok(());
            }
            if sockets::is_over() {
                return Err(fail("sending the pack timed out"));
            }
            done(self.forward(&buffer[..read]))?;
        }
    }
}

/// `LLLL<old> <new> <reference>NUL<capabilities>LF0000`, with the id that is meant in place of the one that is pretended
/// (gitprotocol-pack(5), "Reference Update Request"). `None` for any other request.
fn command(request: &[u8], pretended: Oid, meant: Oid) -> Option<Vec<u8>> {
    let (pretended, meant) = (pretended.to_string(), meant.to_string());
    let new = 4 + pretended.len() + 1;
    let range = new..new + pretended.len();
    let one =
        request.ends_with(b"0000") && request.iter().filter(|byte| **byte == b'\n').count() == 1;
    if !one
        || request.get(range.clone())? != pretended.as_bytes()
        || request.get(range.end)? != &b' '
    {
        return None;
    }
    let mut command = request.to_vec();
    command[range].copy_from_slice(meant.as_bytes());
    Some(command)
}

fn fail(message: &str) -> c_int {
    set_error(raw::GIT_ERROR_NET, message);
    -1
}

fn set_error(class: raw::git_error_t, message: &str) {
    let message = CString::new(message).unwrap_or_default();
    // SAFETY: the text ends in NUL and is copied.
    unsafe {
        raw::git_error_set_str(class as c_int, message.as_ptr());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_expected_command_is_changed() {
        let id = |digit: &str| Oid::from_str(&digit.repeat(40)).unwrap();
        let (old, pretended, meant) = (id("a"), id("b"), id("c"));
        let request = |new: Oid, end: &str| {
            format!("0093{old} {new} refs/heads/main\0 report-status side-band-64k\n{end}")
                .into_bytes()
        };
        assert_eq!(
            command(&request(pretended, "0000"), pretended, meant),
            Some(request(meant, "0000"))
        );
        assert_eq!(command(&request(old, "0000"), pretended, meant), None);
        assert_eq!(command(&request(pretended, ""), pretended, meant), None);
        let two = [request(pretended, ""), request(pretended, "0000")].concat();
        assert_eq!(command(&two, pretended, meant), None);
        assert_eq!(command(b"0000", pretended, meant), None);
    }
}
