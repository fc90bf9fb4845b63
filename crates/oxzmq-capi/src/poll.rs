//! `zmq_poll` and `zmq_ppoll`.

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use libc::{c_int, c_long, c_short};
use oxzmq::{EventFd, Interest, Poller};

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

/// The same with another signal mask for as long as it waits, and no longer: the kernel does both at once, so that no
/// signal comes in between, unheard.
fn wait_with_mask(
    sources: &[(Source<'_>, c_short)],
    timeout: Option<Duration>,
    mask: *const libc::sigset_t,
) -> Result<Vec<c_short>> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut changes = Vec::new();
    let mut waited = Vec::new();
    for (source, events) in sources {
        match source {
            Source::Socket(socket) => {
                let change = EventFd::new(&socket.inner)?;
                waited.push(libc::pollfd { fd: change.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 });
                changes.push(change);
            }
            Source::Fd(fd) => {
                let events = events & (POLLIN | POLLOUT | POLLPRI);
                let bits = [(POLLIN, libc::POLLIN), (POLLOUT, libc::POLLOUT), (POLLPRI, libc::POLLPRI)];
                let events = bits.iter().filter(|(bit, _)| events & bit != 0).fold(0, |all, (_, flag)| all | flag);
                waited.push(libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 });
            }
            Source::Nothing => {}
        }
    }
    loop {
        // In this order: what comes after the question makes the descriptor readable.
        for change in &changes {
            change.events()?;
        }
        let found = wait(sources, Some(Duration::ZERO))?;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if found.iter().any(|&events| events != 0) || left.is_some_and(|left| left.is_zero()) {
            return Ok(found);
        }
        let left = left.map(|left| libc::timespec {
            tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let left = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: so many elements, a time or NULL, and the caller's mask.
        if unsafe { libc::ppoll(waited.as_mut_ptr(), waited.len() as libc::nfds_t, left, mask) } < 0 {
            return Err(Errno(guard::errno()));
        }
    }
}

/// # Safety
/// `items` is NULL or so many.
unsafe fn poll(
    items: *mut PollItem,
    count: c_int,
    wait: impl FnOnce(&[(Source<'_>, c_short)]) -> Result<Vec<c_short>>,
) -> c_int {
    guard::call(-1, || {
        let count = usize::try_from(count).map_err(|_| Errno(libc::EINVAL))?;
        if items.is_null() && count > 0 {
            return Err(Errno(libc::EFAULT));
        }
        // SAFETY: as above.
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
        let found = wait(&sources)?;
        for (item, events) in items.iter_mut().zip(&found) {
            item.revents = *events;
        }
        let ready = found.iter().filter(|&&events| events != 0).count();
        Ok(c_int::try_from(ready).unwrap_or(c_int::MAX))
    })
}

/// See `zmq_poll(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_poll(items: *mut PollItem, count: c_int, millis: c_long) -> c_int {
    // SAFETY: the caller gives so many items.
    unsafe { poll(items, count, |sources| wait(sources, timeout(millis))) }
}

/// See `zmq_ppoll(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_ppoll(
    items: *mut PollItem,
    count: c_int,
    millis: c_long,
    mask: *const libc::sigset_t,
) -> c_int {
    // SAFETY: the caller gives so many items, and a mask or NULL.
    unsafe {
        if mask.is_null() {
            return zmq_poll(items, count, millis);
        }
        poll(items, count, |sources| wait_with_mask(sources, timeout(millis), mask))
    }
}
