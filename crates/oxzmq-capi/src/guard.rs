//! The boundary: panics end here, and errnos are set last.

use std::panic::{AssertUnwindSafe, catch_unwind};

use libc::c_int;

/// An errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) c_int);

pub(crate) type Result<T, E = Errno> = std::result::Result<T, E>;

impl From<oxzmq::Error> for Errno {
    fn from(error: oxzmq::Error) -> Self {
        Errno(error.errno())
    }
}

impl From<oxzmq::SendError> for Errno {
    fn from(error: oxzmq::SendError) -> Self {
        Errno(error.error().errno())
    }
}

pub(crate) fn set_errno(errno: c_int) {
    // SAFETY: the C library gives each thread a valid place for its errno.
    unsafe { *libc::__errno_location() = errno };
}

pub(crate) fn errno() -> c_int {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() }
}

/// Runs a function of the API: its result, or `failed` with errno set. A panic is a bug of this library; it becomes
/// EFAULT and, through the panic hook, a line on standard error.
pub(crate) fn call<T>(failed: T, body: impl FnOnce() -> Result<T>) -> T {
    let errno = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => return value,
        Ok(Err(Errno(errno))) => errno,
        Err(panic) => {
            // A payload that panics when it is dropped would do so across the boundary.
            std::mem::forget(panic);
            libc::EFAULT
        }
    };
    set_errno(errno);
    failed
}

/// The same for functions that return 0 for success and -1 for failure.
pub(crate) fn status(body: impl FnOnce() -> Result<()>) -> c_int {
    call(-1, || body().map(|()| 0))
}
