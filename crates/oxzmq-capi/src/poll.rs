//! `zmq_poll` and `zmq_ppoll`.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use libc::{c_int, c_long, c_short};
use oxzmq::{Interest, Poller};

use crate::guard::{self, Errno, Result};
use crate::handle::Use;
use crate::socket::{Socket, used};

pub(crate) const POLLIN: c_short = 1;
pub(crate) const POLLOUT: c_short = 2;
pub(crate) const POLLERR: c_short = 4;
pub(crate) const POLLPRI: c_short = 8;

/// `zmq_pollitem_t`.
#[repr(C)]
pub struct PollItem {
    socket: *mut c_void,
    fd: c_int,
    events: c_short,
    revents: c_short,
}

pub(crate) enum Source<'a> {
    Socket(&'a Socket),
    Fd(BorrowedFd<'a>),
    /// Never ready.
    Nothing,
}

/// A timeout in milliseconds; negative is for ever.
pub(crate) fn timeout(millis: c_long) -> Option<Duration> {
    u64::try_from(millis).ok().map(Duration::from_millis)
}

pub(crate) fn interest(events: c_short) -> Interest {
    Interest { readable: events & POLLIN != 0, writable: events & POLLOUT != 0, urgent: events & POLLPRI != 0 }
}

/// Waits until one of the sources is ready for what it is asked for; the answer has an entry for each.
pub(crate) fn wait(sources: &[(Source<'_>, c_short)], timeout: Option<Duration>) -> Result<Vec<c_short>> {
    let mut poller = Poller::new();
    poller.set_interruptible(true);
    let mut found = vec![0; sources.len()];
    for (key, (source, events)) in sources.iter().enumerate() {
        match source {
            Source::Socket(socket) => {
                let sendable = if socket.must_read_on() { 0 } else { POLLOUT };
                poller.add(&socket.inner, interest(events & (POLLIN | sendable)), key);
                // In the middle of a message there is more to receive, or to send.
                if socket.more.load(Relaxed) {
                    found[key] |= events & POLLIN;
                }
                if socket.begun.load(Relaxed) {
                    found[key] |= events & POLLOUT;
                }
            }
            Source::Fd(fd) => poller.add_fd(*fd, interest(*events), key),
            Source::Nothing => {}
        }
    }
    let timeout = if found.iter().any(|&events| events != 0) { Some(Duration::ZERO) } else { timeout };
    for event in poller.wait(timeout)? {
        let mut events = 0;
        for (is, bit) in
            [(event.readable, POLLIN), (event.writable, POLLOUT), (event.error, POLLERR), (event.urgent, POLLPRI)]
        {
            if is {
                events |= bit;
            }
        }
        found[event.key] |= events;
    }
    Ok(found)
}

/// See `zmq_poll(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_poll(items: *mut PollItem, count: c_int, millis: c_long) -> c_int {
    guard::call(-1, || {
        let count = usize::try_from(count).map_err(|_| Errno(libc::EINVAL))?;
        if items.is_null() && count > 0 {
            return Err(Errno(libc::EFAULT));
        }
        // SAFETY: the caller gives so many items.
        let items = if count == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(items, count) } };
        let sockets = items
            .iter()
            .map(|item| if item.socket.is_null() { Ok(None) } else { used(item.socket).map(Some) })
            .collect::<Result<Vec<Option<Use<Socket>>>>>()?;
        let sources: Vec<_> = items
            .iter()
            .zip(&sockets)
            .map(|(item, socket)| {
                let source = match socket {
                    Some(socket) => Source::Socket(socket),
                    None if item.fd < 0 => Source::Nothing,
                    // SAFETY: the caller keeps it open. A number that is no descriptor is reported by the system.
                    None => Source::Fd(unsafe { BorrowedFd::borrow_raw(item.fd) }),
                };
                (source, item.events)
            })
            .collect();
        let found = wait(&sources, timeout(millis))?;
        for (item, events) in items.iter_mut().zip(&found) {
            item.revents = *events;
        }
        let ready = found.iter().filter(|&&events| events != 0).count();
        Ok(c_int::try_from(ready).unwrap_or(c_int::MAX))
    })
}

/// See `zmq_ppoll(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_ppoll(
    items: *mut PollItem,
    count: c_int,
    millis: c_long,
    mask: *const libc::sigset_t,
) -> c_int {
    if mask.is_null() {
        // SAFETY: the caller gives so many items.
        return unsafe { zmq_poll(items, count, millis) };
    }
    // SAFETY: the caller gives a mask and so many items; the thread's mask is restored.
    unsafe {
        let mut before = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_SETMASK, mask, &raw mut before);
        let result = zmq_poll(items, count, millis);
        let errno = guard::errno();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        guard::set_errno(errno);
        result
    }
}
