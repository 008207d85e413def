//! The sockets that libgit2 talks through, with a deadline for all that is said on them together.
//!
//! libgit2's own know timeouts for a single read or write only. A server that sends a byte now and then, within a handshake, a
//! header or its list of references, keeps them busy for good, and no callback is called meanwhile. So ours take their place
//! (`git2/sys/stream.h`), below TLS and SSH alike, and a thread shuts down those whose time is up: whoever waits for data on one then
//! gets an end of file.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;
use std::time::Instant;

use git2::Error;
use libc::{c_char, c_int, c_uint, c_void, size_t, ssize_t};
use libgit2_sys as raw;
use parking_lot::{Condvar, Mutex};

use super::timeouts;

thread_local! {
    /// Of what this thread is doing.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Connections of this thread, open ones too, end at `deadline`.
pub(super) fn set_deadline(deadline: Option<Instant>) {
    DEADLINE.set(deadline);
    if let Some(watched) = WATCHED.get() {
        watched.move_deadlines(deadline);
    }
}

/// Whether the time of what this thread is doing is up.
pub(super) fn is_late() -> bool {
    DEADLINE
        .get()
        .is_some_and(|deadline| Instant::now() >= deadline)
}

// === deadlines ===

static WATCHED: OnceLock<Arc<Watched>> = OnceLock::new();

/// The connections that are open: as many as there are Git workers and probes at work.
#[derive(Default)]
struct Watched {
    open: Mutex<HashMap<u64, Open>>,
    changed: Condvar,
}

struct Open {
    stream: Arc<TcpStream>,
    thread: ThreadId,
    /// `None` once it was shut down.
    deadline: Option<Instant>,
}

/// An entry, which ends with it.
struct Watch {
    watched: Arc<Watched>,
    number: u64,
}

impl Watched {
    /// With the thread, which sleeps until the next deadline and never ends.
    fn get() -> io::Result<Arc<Self>> {
        static STARTING: Mutex<()> = Mutex::new(());
        let _one = STARTING.lock();
        if let Some(watched) = WATCHED.get() {
            return Ok(watched.clone());
        }
        let watched = Arc::new(Self::default());
        let for_thread = watched.clone();
        std::thread::Builder::new()
            .name("git-deadlines".to_owned())
            .spawn(move || for_thread.watch())?;
        Ok(WATCHED.get_or_init(|| watched).clone())
    }

    fn watch(&self) {
        let mut open = self.open.lock();
        loop {
            let now = Instant::now();
            for open in open.values_mut() {
                if open.deadline.is_some_and(|deadline| deadline <= now) {
                    open.deadline = None;
                    // Gone already: just as well.
                    let _ = open.stream.shutdown(Shutdown::Both);
                }
            }
            match open.values().filter_map(|open| open.deadline).min() {
                Some(next) => drop(self.changed.wait_until(&mut open, next)),
                None => self.changed.wait(&mut open),
            }
        }
    }

    fn move_deadlines(&self, deadline: Option<Instant>) {
        let thread = std::thread::current().id();
        let mut open = self.open.lock();
        for open in open.values_mut().filter(|open| open.thread == thread) {
            open.deadline = deadline;
        }
        self.changed.notify_one();
    }

    fn add(self: Arc<Self>, stream: Arc<TcpStream>, deadline: Instant) -> Watch {
        let mut open = self.open.lock();
        let number = (0..).find(|n| !open.contains_key(n)).unwrap_or_default();
        open.insert(
            number,
            Open {
                stream,
                thread: std::thread::current().id(),
                deadline: Some(deadline),
            },
        );
        drop(open);
        self.changed.notify_one();
        Watch {
            watched: self,
            number,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watched.open.lock().remove(&self.number);
    }
}

// === the stream ===

/// `git_stream` of `git2/sys/stream.h`, version 1.
#[repr(C)]
struct GitStream {
    version: c_int,
    /// Two bits: `encrypted` and `proxy_support`.
    flags: c_uint,
    timeout: c_int,
    connect_timeout: c_int,
    connect: Option<extern "C" fn(*mut GitStream) -> c_int>,
    certificate: Option<extern "C" fn(*mut *mut c_void, *mut GitStream) -> c_int>,
    set_proxy: Option<extern "C" fn(*mut GitStream, *const c_void) -> c_int>,
    read: Option<extern "C" fn(*mut GitStream, *mut c_void, size_t) -> ssize_t>,
    write: Option<extern "C" fn(*mut GitStream, *const c_char, size_t, c_int) -> ssize_t>,
    close: Option<extern "C" fn(*mut GitStream) -> c_int>,
    free: Option<extern "C" fn(*mut GitStream)>,
}

/// `git_stream_registration` of the same file.
#[repr(C)]
struct Registration {
    version: c_int,
    init: Option<extern "C" fn(*mut *mut GitStream, *const c_char, *const c_char) -> c_int>,
    wrap: Option<extern "C" fn(*mut *mut GitStream, *mut GitStream, *const c_char) -> c_int>,
}

/// Begins as libgit2's own `git_socket_stream` (`streams/socket.h`) does: its SSH transport takes `socket` out of whatever stream it is
/// given, here too, and hands it to libssh2.
#[repr(C)]
struct Stream {
    parent: GitStream,
    _host: *mut c_char,
    _port: *mut c_char,
    socket: c_int,
    address: (String, u16),
    connection: Option<Connection>,
}

struct Connection {
    stream: Arc<TcpStream>,
    _watch: Watch,
}

const VERSION: c_int = 1;
const STANDARD: c_int = 1;

unsafe extern "C" {
    // Of libgit2's public interface; libgit2-sys has no declaration of it.
    fn git_stream_register(kind: c_int, registration: *mut Registration) -> c_int;
}

/// Gives libgit2 these sockets for its own.
///
/// # Safety
/// libgit2 must be initialised.
pub(super) unsafe fn register() -> Result<(), Error> {
    let mut registration = Registration {
        version: VERSION,
        init: Some(new_stream),
        wrap: None,
    };
    // SAFETY: the registration is copied, under a lock of libgit2's, which is there as the caller promises.
    match unsafe { git_stream_register(STANDARD, &raw mut registration) } {
        status if status < 0 => Err(Error::last_error(status)),
        _ => Ok(()),
    }
}

extern "C" fn new_stream(
    out: *mut *mut GitStream,
    host: *const c_char,
    port: *const c_char,
) -> c_int {
    // SAFETY: libgit2 gives texts that end in NUL.
    let (host, port) = unsafe { (CStr::from_ptr(host), CStr::from_ptr(port)) };
    let (Ok(host), Some(port)) = (
        host.to_str(),
        port.to_str().ok().and_then(|port| port.parse().ok()),
    ) else {
        return fail(raw::GIT_ERROR_NET, "not a host and a port");
    };
    let stream = Box::new(Stream {
        parent: GitStream {
            version: VERSION,
            flags: 0,
            timeout: 0,
            connect_timeout: 0,
            connect: Some(connect),
            certificate: None,
            set_proxy: None,
            read: Some(read),
            write: Some(write),
            close: Some(close),
            free: Some(free),
        },
        _host: std::ptr::null_mut(),
        _port: std::ptr::null_mut(),
        socket: -1,
        address: (host.to_owned(), port),
        connection: None,
    });
    // SAFETY: `out` is libgit2's; `parent` is the first field of a `repr(C)` struct, which `free` takes back.
    unsafe { *out = Box::into_raw(stream).cast() };
    0
}

/// libgit2 calls with what `new_stream` made, from one thread at a time.
unsafe fn ours<'a>(stream: *mut GitStream) -> &'a mut Stream {
    // SAFETY: as the caller promises.
    unsafe { &mut *stream.cast::<Stream>() }
}

extern "C" fn connect(stream: *mut GitStream) -> c_int {
    // SAFETY: called by libgit2.
    let stream = unsafe { ours(stream) };
    match stream.connect() {
        Ok(()) => 0,
        Err(status) => status,
    }
}

extern "C" fn read(stream: *mut GitStream, buffer: *mut c_void, length: size_t) -> ssize_t {
    if length == 0 {
        return 0;
    }
    // SAFETY: called by libgit2, with room for so many bytes, which it does not look at before they are written.
    let (stream, buffer) = unsafe {
        std::ptr::write_bytes(buffer.cast::<u8>(), 0, length);
        let buffer = std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length);
        (ours(stream), buffer)
    };
    stream.transfer("read from", |mut stream| stream.read(buffer))
}

extern "C" fn write(
    stream: *mut GitStream,
    data: *const c_char,
    length: size_t,
    _flags: c_int,
) -> ssize_t {
    if length == 0 {
        return 0;
    }
    // SAFETY: called by libgit2, with so many bytes.
    let (stream, data) = unsafe {
        (
            ours(stream),
            std::slice::from_raw_parts(data.cast::<u8>(), length),
        )
    };
    stream.transfer("write to", |mut stream| stream.write(data))
}

extern "C" fn close(stream: *mut GitStream) -> c_int {
    // SAFETY: called by libgit2.
    let stream = unsafe { ours(stream) };
    stream.socket = -1;
    stream.connection = None;
    0
}

extern "C" fn free(stream: *mut GitStream) {
    // SAFETY: libgit2 frees what `new_stream` gave it, once.
    drop(unsafe { Box::from_raw(stream.cast::<Stream>()) });
}

impl Stream {
    fn connect(&mut self) -> Result<(), c_int> {
        let host = &self.address.0;
        let addresses = self.address.to_socket_addrs().map_err(|error| {
            let message = format!("failed to resolve address for {host}: {error}");
            fail(raw::GIT_ERROR_NET, &message)
        })?;
        let failed = |error: &io::Error| {
            let message = match error.kind() {
                io::ErrorKind::TimedOut => format!("failed to connect to {host}: timed out"),
                _ => format!("failed to connect to {host}: {error}"),
            };
            fail(raw::GIT_ERROR_OS, &message)
        };
        let timeouts = timeouts::current();
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            // One without a deadline is not ours; it gets that of a whole transfer.
            let deadline = DEADLINE
                .get()
                .unwrap_or_else(|| Instant::now() + timeouts.transfer);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                last = io::Error::from(io::ErrorKind::TimedOut);
                break;
            }
            match TcpStream::connect_timeout(&address, timeouts.connect.min(left)) {
                Ok(stream) => {
                    let connection = Connection::new(stream, deadline, &timeouts);
                    let connection = connection.map_err(|error| failed(&error))?;
                    self.socket = connection.stream.as_raw_fd();
                    self.connection = Some(connection);
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(failed(&last))
    }

    fn transfer(
        &self,
        what: &str,
        mut transfer: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> ssize_t {
        let Some(connection) = &self.connection else {
            return fail(raw::GIT_ERROR_NET, "not connected") as ssize_t;
        };
        loop {
            match transfer(&connection.stream) {
                Ok(bytes) => return ssize_t::try_from(bytes).unwrap_or(ssize_t::MAX),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    fail(
                        raw::GIT_ERROR_NET,
                        &format!("could not {what} socket: timed out"),
                    );
                    // Where TLS is on top, its message has this in place of ours.
                    // SAFETY: the thread's own.
                    unsafe { *libc::__errno_location() = libc::EAGAIN };
                    return raw::GIT_TIMEOUT as ssize_t;
                }
                Err(error) => {
                    let message = format!("could not {what} socket: {error}");
                    let status = fail(raw::GIT_ERROR_OS, &message);
                    if let Some(number) = error.raw_os_error() {
                        // SAFETY: as above.
                        unsafe { *libc::__errno_location() = number };
                    }
                    return status as ssize_t;
                }
            }
        }
    }
}

impl Connection {
    fn new(
        stream: TcpStream,
        deadline: Instant,
        timeouts: &timeouts::Timeouts,
    ) -> io::Result<Self> {
        // libssh2 makes it non-blocking for itself.
        stream.set_read_timeout(Some(timeouts.silence))?;
        stream.set_write_timeout(Some(timeouts.silence))?;
        let stream = Arc::new(stream);
        Ok(Self {
            _watch: Watched::get()?.add(stream.clone(), deadline),
            stream,
        })
    }
}

fn fail(class: raw::git_error_t, message: &str) -> c_int {
    let message = CString::new(message).unwrap_or_default();
    // SAFETY: the text ends in NUL and is copied.
    unsafe {
        raw::git_error_set_str(class as c_int, message.as_ptr());
    }
    -1
}
