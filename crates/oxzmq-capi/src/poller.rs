//! `zmq_poller_*`: a set of sockets and descriptors that is waited for again and again.

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use libc::{c_int, c_long, c_short};
use oxzmq::EventFd;
use parking_lot::Mutex;

use crate::guard::{self, Errno, Result};
use crate::handle::{self, Object, Use};
use crate::poll::{POLLERR, POLLIN, POLLOUT, POLLPRI, Source, timeout, wait};
use crate::socket::{Socket, used};

const INVALID: Errno = Errno(libc::EINVAL);

/// `zmq_poller_event_t`.
#[repr(C)]
pub struct PollerEvent {
    socket: *mut c_void,
    fd: c_int,
    user_data: *mut c_void,
    events: c_short,
}

const NO_EVENT: PollerEvent =
    PollerEvent { socket: std::ptr::null_mut(), fd: -1, user_data: std::ptr::null_mut(), events: 0 };

struct Poller(Mutex<State>);

#[derive(Default)]
struct State {
    items: Vec<Item>,
    /// Of the first socket of a type that libzmq calls thread-safe; all such sockets tell of their changes here.
    event_fd: Option<EventFd>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    Socket(*mut c_void),
    Fd(c_int),
}

struct Item {
    member: Member,
    user_data: *mut c_void,
    events: c_short,
}

// SAFETY: the pointers are handed back, and looked up as handles; they are not followed.
unsafe impl Send for Item {}

impl Object for Poller {
    const KIND: u32 = 5;
}

fn poller(handle: *mut c_void) -> Result<Use<Poller>> {
    Use::of(handle).ok_or(Errno(libc::EFAULT))
}

fn descriptor(fd: c_int) -> Result<Member> {
    if fd == -1 { Err(Errno(libc::EBADF)) } else { Ok(Member::Fd(fd)) }
}

fn socket(handle: *mut c_void) -> Result<Member> {
    used(handle).map(|_| Member::Socket(handle))
}

fn check(events: c_short) -> Result<()> {
    if events & !(POLLIN | POLLOUT | POLLERR | POLLPRI) == 0 { Ok(()) } else { Err(INVALID) }
}

impl Poller {
    fn add(&self, member: Member, user_data: *mut c_void, events: c_short) -> Result<()> {
        check(events)?;
        let mut state = self.0.lock();
        if state.items.iter().any(|item| item.member == member) {
            return Err(INVALID);
        }
        if let Member::Socket(handle) = member
            && state.event_fd.is_none()
        {
            let socket = used(handle)?;
            if socket.is_thread_safe() {
                state.event_fd = Some(EventFd::new(&socket.inner)?);
            }
        }
        state.items.push(Item { member, user_data, events });
        Ok(())
    }

    fn modify(&self, member: Member, events: c_short) -> Result<()> {
        check(events)?;
        let mut state = self.0.lock();
        let item = state.items.iter_mut().find(|item| item.member == member).ok_or(INVALID)?;
        item.events = events;
        Ok(())
    }

    fn remove(&self, member: Member) -> Result<()> {
        let mut state = self.0.lock();
        let at = state.items.iter().position(|item| item.member == member).ok_or(INVALID)?;
        state.items.remove(at);
        Ok(())
    }

    /// Fills in as many events as there is room for, and returns their number.
    fn wait(&self, room: &mut [PollerEvent], timeout: Option<Duration>) -> Result<usize> {
        room.fill_with(|| NO_EVENT);
        // Not under the lock while it waits: others may change the set, from the next wait on.
        let items: Vec<(Member, *mut c_void, c_short)> = {
            let state = self.0.lock();
            state.items.iter().map(|item| (item.member, item.user_data, item.events)).collect()
        };
        if timeout.is_none() && items.iter().all(|(_, _, events)| *events == 0) {
            return Err(Errno(libc::EFAULT)); // that would be for ever
        }
        let sockets: Vec<Option<Use<Socket>>> = items
            .iter()
            .map(|(member, ..)| if let Member::Socket(handle) = member { used(*handle).ok() } else { None })
            .collect();
        let sources: Vec<_> = items
            .iter()
            .zip(&sockets)
            .map(|((member, _, events), socket)| {
                let source = match (member, socket) {
                    (Member::Socket(_), Some(socket)) => Source::Socket(socket),
                    (Member::Fd(fd), _) if *fd >= 0 => {
                        // SAFETY: the caller keeps it open. A number that is no descriptor is reported by the system.
                        Source::Fd(unsafe { BorrowedFd::borrow_raw(*fd) })
                    }
                    _ => Source::Nothing,
                };
                (source, *events)
            })
            .collect();
        let found = wait(&sources, timeout)?;
        let ready = items.iter().zip(found).filter(|(_, found)| *found != 0);
        let mut count = 0;
        for (((member, user_data, _), events), place) in ready.zip(room) {
            *place = match *member {
                Member::Socket(socket) => PollerEvent { socket, fd: -1, user_data: *user_data, events },
                Member::Fd(fd) => PollerEvent { socket: std::ptr::null_mut(), fd, user_data: *user_data, events },
            };
            count += 1;
        }
        if count == 0 { Err(Errno(libc::EAGAIN)) } else { Ok(count) }
    }
}

/// See `zmq_poller(3)`, as all functions here.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_poller_new() -> *mut c_void {
    guard::call(std::ptr::null_mut(), || handle::open(Poller(Mutex::default())).ok_or(Errno(libc::ENOMEM)))
}

/// Ends the set; the pointer becomes NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_poller_destroy(place: *mut *mut c_void) -> c_int {
    guard::status(|| {
        if place.is_null() {
            return Err(Errno(libc::EFAULT));
        }
        // SAFETY: the caller gives a place with a handle.
        let poller = poller(unsafe { *place })?;
        if !poller.close() {
            return Err(Errno(libc::EFAULT));
        }
        // SAFETY: as above.
        unsafe { *place = std::ptr::null_mut() };
        Ok(())
    })
}

/// How many members it has.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_poller_size(set: *mut c_void) -> c_int {
    guard::call(-1, || Ok(c_int::try_from(poller(set)?.0.lock().items.len()).unwrap_or(c_int::MAX)))
}

/// Adds a socket.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_poller_add(set: *mut c_void, member: *mut c_void, user: *mut c_void, events: c_short) -> c_int {
    guard::status(|| poller(set)?.add(socket(member)?, user, events))
}

/// Changes what a socket is waited for.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_poller_modify(set: *mut c_void, member: *mut c_void, events: c_short) -> c_int {
    guard::status(|| poller(set)?.modify(socket(member)?, events))
}

/// Takes a socket out.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_poller_remove(set: *mut c_void, member: *mut c_void) -> c_int {
    guard::status(|| poller(set)?.remove(socket(member)?))
}

/// Adds a descriptor.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_poller_add_fd(set: *mut c_void, fd: c_int, user: *mut c_void, events: c_short) -> c_int {
    guard::status(|| poller(set)?.add(descriptor(fd)?, user, events))
}

/// Changes what a descriptor is waited for.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_poller_modify_fd(set: *mut c_void, fd: c_int, events: c_short) -> c_int {
    guard::status(|| poller(set)?.modify(descriptor(fd)?, events))
}

/// Takes a descriptor out.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_poller_remove_fd(set: *mut c_void, fd: c_int) -> c_int {
    guard::status(|| poller(set)?.remove(descriptor(fd)?))
}

/// Waits for one event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_poller_wait(set: *mut c_void, event: *mut PollerEvent, millis: c_long) -> c_int {
    guard::status(|| {
        let poller = poller(set)?;
        if event.is_null() {
            return Err(Errno(libc::EFAULT));
        }
        // SAFETY: the caller gives room for one event, which is written before it is read.
        unsafe { event.write(NO_EVENT) };
        // SAFETY: as above.
        poller.wait(std::slice::from_mut(unsafe { &mut *event }), timeout(millis)).map(drop)
    })
}

/// Waits for up to `count` events, and returns how many there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_poller_wait_all(
    set: *mut c_void,
    events: *mut PollerEvent,
    count: c_int,
    millis: c_long,
) -> c_int {
    guard::call(-1, || {
        let poller = poller(set)?;
        if events.is_null() {
            return Err(Errno(libc::EFAULT));
        }
        let count = usize::try_from(count).map_err(|_| INVALID)?;
        // SAFETY: the caller gives room for so many events.
        (0..count).for_each(|index| unsafe { events.add(index).write(NO_EVENT) });
        // SAFETY: as above.
        let room = unsafe { std::slice::from_raw_parts_mut(events, count) };
        let found = poller.wait(room, timeout(millis))?;
        Ok(c_int::try_from(found).unwrap_or(c_int::MAX))
    })
}

/// A descriptor that tells of changes of the members that libzmq calls thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_poller_fd(set: *mut c_void, fd: *mut c_int) -> c_int {
    guard::status(|| {
        let poller = poller(set)?;
        if fd.is_null() {
            return Err(Errno(libc::EFAULT));
        }
        let state = poller.0.lock();
        let event_fd = state.event_fd.as_ref().ok_or(INVALID)?;
        // Looked at again each time it is asked for.
        event_fd.events()?;
        event_fd.notify();
        // SAFETY: the caller gives a place for it.
        unsafe { *fd = event_fd.as_fd().as_raw_fd() };
        Ok(())
    })
}
