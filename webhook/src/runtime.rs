//! The threads of the process.

use tokio::runtime::{Builder, Runtime};

/// One thread for everything, and two more for large bodies, which bounds how many of them are
/// hashed at a time.
///
/// An admission goes from the server to the stream and back. Between two threads each of these
/// steps would wake a sleeping one, which takes longer than all that is done for the admission.
///
/// # Errors
/// When the system gives no threads.
pub fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread()
        .max_blocking_threads(2)
        .enable_all()
        .build()
}
