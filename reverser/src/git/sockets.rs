//! The sockets that libgit2 talks through, with a deadline, and a bound in bytes, for all that is said on them together.
//!
//! libgit2's own know timeouts for a single read or write only. A server that sends a byte now and then, within a handshake, a
//! header or its list of references, keeps them busy for good, and no callback is called meanwhile. So ours take their place
//! (`git2/sys/stream.h`), below TLS and SSH alike, and a thread shuts down those whose time is up, or on which too much came: whoever
//! waits for data on one then gets an end of file.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use git2::Error;
use libc::{c_char, c_int, c_uint, c_void, size_t, ssize_t};
use libgit2_sys as raw;
use parking_lot::{Condvar, Mutex};

use super::limits::{self, Limits};

thread_local! {
    /// Of what this thread is doing.
    static ALLOWANCE: Cell<Option<Allowance>> = const { Cell::new(None) };
    /// Whether a connection of it received more than that.
    static OVERRUN: Arc<AtomicBool> = Arc::default();
}

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub(super) deadline: Instant,
    /// Bytes since it was opened, those of TLS or SSH included. It may be a tenth of a second until more are noticed.
    pub(super) received: u64,
}

/// Connections of this thread, open ones too, end at this deadline or size.
pub(super) fn allow(allowance: Allowance) {
    ALLOWANCE.set(Some(allowance));
    if let Some(watched) = WATCHED.get() {
        watched.allow(allowance);
    }
}

/// What this thread was doing is done.
pub(super) fn done() {
    ALLOWANCE.set(None);
    OVERRUN.with(|overrun| overrun.store(false, Ordering::Relaxed));
}

/// Whether what this thread is doing has to end: its time is up, or too much came.
pub(super) fn is_over() -> bool {
    let allowance = ALLOWANCE.get();
    allowance.is_some_and(|allowance| Instant::now() >= allowance.deadline) || is_overrun()
}

/// Looks now how much has come on connections of this thread. What is over before anybody looks is told like this.
pub(super) fn look() {
    if let Some(watched) = WATCHED.get() {
        let thread = std::thread::current().id();
        let mut open = watched.open.lock();
        for open in open.values_mut().filter(|open| open.thread == thread) {
            open.look(Instant::now());
        }
    }
}

/// Whether a connection of what this thread is doing was ended since more came than was allowed.
pub(super) fn is_overrun() -> bool {
    OVERRUN.with(|overrun| overrun.load(Ordering::Relaxed))
}

// === limits ===

/// How often it is looked how much has come.
const LOOK: Duration = Duration::from_millis(100);

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
    allowance: Option<Allowance>,
    overrun: Arc<AtomicBool>,
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
                open.look(now);
            }
            if open.values().any(|open| open.allowance.is_some()) {
                self.changed.wait_for(&mut open, LOOK);
            } else {
                self.changed.wait(&mut open);
            }
        }
    }

    fn allow(&self, allowance: Allowance) {
        let thread = std::thread::current().id();
        let mut open = self.open.lock();
        for open in open.values_mut().filter(|open| open.thread == thread) {
            open.allowance = Some(allowance);
        }
        self.changed.notify_one();
    }

    fn add(self: Arc<Self>, stream: Arc<TcpStream>, allowance: Allowance) -> Watch {
        let mut open = self.open.lock();
        let number = (0..).find(|n| !open.contains_key(n)).unwrap_or_default();
        open.insert(
            number,
            Open {
                stream,
                thread: std::thread::current().id(),
                allowance: Some(allowance),
                overrun: OVERRUN.with(Arc::clone),
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

impl Open {
    fn look(&mut self, now: Instant) {
        let Some(allowance) = self.allowance else {
            return;
        };
        let too_much = received(&self.stream) > allowance.received;
        if too_much {
            self.overrun.store(true, Ordering::Relaxed);
        }
        if too_much || allowance.deadline <= now {
            self.allowance = None;
            // Gone already: just as well.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }
}

/// `tcpi_bytes_received` of `linux/tcp.h`, which the C library's own `struct tcp_info` is too old for; 0 where the kernel is, too
/// (before 4.1).
fn received(stream: &TcpStream) -> u64 {
    const AT: usize = 128;
    const ROOM: libc::socklen_t = 256;
    let mut info = [0_u8; ROOM as usize];
    let mut length = ROOM;
    // SAFETY: the kernel writes at most `length` bytes, and says how many it wrote.
    let status = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    match info[AT..].first_chunk() {
        Some(bytes) if status == 0 && length as usize >= AT + bytes.len() => {
            u64::from_ne_bytes(*bytes)
        }
        _ => 0,
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
        let limits = limits::current();
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            // One without any is not ours; it gets those of a whole transfer.
            let allowance = ALLOWANCE.get().unwrap_or_else(|| Allowance {
                deadline: Instant::now() + limits.transfer,
                received: limits.received,
            });
            let left = allowance.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                last = io::Error::from(io::ErrorKind::TimedOut);
                break;
            }
            match TcpStream::connect_timeout(&address, limits.connect.min(left)) {
                Ok(stream) => {
                    let connection = Connection::new(stream, allowance, &limits);
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
    fn new(stream: TcpStream, allowance: Allowance, limits: &Limits) -> io::Result<Self> {
        // libssh2 makes it non-blocking for itself.
        stream.set_read_timeout(Some(limits.silence))?;
        stream.set_write_timeout(Some(limits.silence))?;
        let stream = Arc::new(stream);
        Ok(Self {
            _watch: Watched::get()?.add(stream.clone(), allowance),
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
