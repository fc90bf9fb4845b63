//! Sockets: what a handle stands for, and the calls that are not about messages.

use std::ffi::{CStr, c_void};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};

use libc::{c_char, c_int, size_t};
use oxzmq::{Context, ErrorKind, EventFd, SocketType};
use parking_lot::Mutex;

use crate::guard::{self, Errno, Result};
use crate::handle::{self, Object, Use};
use crate::monitor;
use crate::transfer::{Parts, Rest};

/// A socket, and what C's one part at a time needs to be kept between calls.
pub(crate) struct Socket {
    pub(crate) inner: oxzmq::Socket,
    pub(crate) context: Context,
    /// Parts sent with `ZMQ_SNDMORE`: the message is sent with the last one. `begun` says whether there are any, and is
    /// always set where [parts come in pairs](Self::takes_pairs): both flags are hints for the one thread that uses the
    /// socket; the locks keep whoever breaks that rule from harm.
    pub(crate) begun: AtomicBool,
    pub(crate) parts: Mutex<Parts>,
    /// Parts received and not yet handed out; `ZMQ_RCVMORE`.
    pub(crate) more: AtomicBool,
    pub(crate) rest: Mutex<Rest>,
    /// Made when somebody asks for `ZMQ_FD`.
    pub(crate) event_fd: OnceLock<EventFd>,
    /// `ZMQ_USE_FD`: a descriptor that listens, for the next bind; -1 for none.
    pub(crate) use_fd: AtomicI32,
    pub(crate) monitor: Mutex<Option<monitor::Running>>,
}

impl Object for Socket {
    const KIND: u32 = 4;
}

impl Socket {
    pub(crate) fn new(inner: oxzmq::Socket, context: Context) -> Self {
        Socket {
            begun: AtomicBool::new(inner.socket_type() == SocketType::Stream),
            inner,
            context,
            parts: Mutex::default(),
            more: AtomicBool::new(false),
            rest: Mutex::default(),
            event_fd: OnceLock::new(),
            use_fd: AtomicI32::new(-1),
            monitor: Mutex::new(None),
        }
    }
}

impl Socket {
    /// STREAM: parts are ids and what is for their peers, in turns, whatever `ZMQ_SNDMORE` says.
    pub(crate) fn takes_pairs(&self) -> bool {
        self.inner.socket_type() == SocketType::Stream
    }

    /// Of a type that libzmq calls thread-safe. Here every type is; but only those have no `ZMQ_FD`.
    pub(crate) fn is_thread_safe(&self) -> bool {
        use oxzmq::SocketType::{Channel, Client, Dish, Gather, Peer, Radio, Scatter, Server};
        matches!(self.inner.socket_type(), Server | Client | Radio | Dish | Gather | Scatter | Peer | Channel)
    }
}

#[inline]
pub(crate) fn used(handle: *mut c_void) -> Result<Use<Socket>> {
    Use::of(handle).ok_or(Errno(libc::ENOTSOCK))
}

/// Text that C passes.
///
/// # Safety
/// `text` is NULL or has a terminating zero.
pub(crate) unsafe fn text<'a>(text: *const c_char) -> Result<&'a str> {
    if text.is_null() {
        return Err(Errno(libc::EINVAL));
    }
    // SAFETY: as above.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| Errno(libc::EINVAL))
}

/// Threads that the library starts take no signals: those are the program's.
pub(crate) fn without_signals<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are written before they are read, and the mask is the calling thread's own.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let result = work();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        result
    }
}

/// See `zmq_close(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_close(socket: *mut c_void) -> c_int {
    guard::status(|| {
        if handle::close_inherited::<Socket>(socket) {
            return Ok(());
        }
        let socket = used(socket)?;
        if !socket.close() {
            return Err(Errno(libc::ENOTSOCK));
        }
        socket.inner.close();
        Ok(())
    })
}

impl Socket {
    /// Binds with the descriptor that `ZMQ_USE_FD` has set, which is the library's from then on.
    fn bind_used_fd(&self, endpoint: &str) -> Result<bool> {
        let number = self.use_fd.load(Relaxed);
        if number < 0 || endpoint.starts_with("inproc:") {
            return Ok(false);
        }
        // A copy first: what cannot be bound stays the program's. SAFETY: any number will do; a wrong one is an error.
        let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
        if copy < 0 {
            return Err(Errno(guard::errno()));
        }
        // SAFETY: just made, and nobody else's.
        let copy = unsafe { OwnedFd::from_raw_fd(copy) };
        self.inner.bind_listening(endpoint, copy)?;
        self.use_fd.store(-1, Relaxed);
        // SAFETY: the program gave it away.
        unsafe { libc::close(number) };
        Ok(true)
    }
}

type Call = fn(&Socket, &str) -> Result<()>;

/// # Safety
/// `endpoint` is NULL or has a terminating zero.
unsafe fn with_endpoint(socket: *mut c_void, endpoint: *const c_char, call: Call) -> c_int {
    guard::status(|| {
        let socket = used(socket)?;
        // A socket of a context that was shut down says so first.
        socket.inner.readiness()?;
        // SAFETY: as above.
        let endpoint = unsafe { text(endpoint)? };
        without_signals(|| call(&socket, endpoint))
    })
}

/// See `zmq_bind(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_bind(socket: *mut c_void, endpoint: *const c_char) -> c_int {
    // SAFETY: the caller gives a string with a terminating zero.
    unsafe {
        with_endpoint(socket, endpoint, |socket, endpoint| {
            if !socket.bind_used_fd(endpoint)? {
                socket.inner.bind(endpoint)?;
            }
            Ok(())
        })
    }
}

/// See `zmq_connect(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_connect(socket: *mut c_void, endpoint: *const c_char) -> c_int {
    // SAFETY: the caller gives a string with a terminating zero.
    unsafe { with_endpoint(socket, endpoint, |socket, endpoint| Ok(socket.inner.connect(endpoint)?)) }
}

/// The C API says ENOENT of an address that cannot be one, too: it is not bound.
fn gone(endpoint: &str, result: oxzmq::Result<()>) -> Result<()> {
    match result {
        Err(error)
            if error.kind() == ErrorKind::InvalidEndpoint
                && endpoint.split_once("://").is_some_and(|(_, address)| !address.is_empty()) =>
        {
            Err(Errno(libc::ENOENT))
        }
        result => Ok(result?),
    }
}

/// See `zmq_unbind(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_unbind(socket: *mut c_void, endpoint: *const c_char) -> c_int {
    // SAFETY: the caller gives a string with a terminating zero.
    unsafe { with_endpoint(socket, endpoint, |socket, endpoint| gone(endpoint, socket.inner.unbind(endpoint))) }
}

/// See `zmq_disconnect(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_disconnect(socket: *mut c_void, endpoint: *const c_char) -> c_int {
    // SAFETY: the caller gives a string with a terminating zero.
    unsafe { with_endpoint(socket, endpoint, |socket, endpoint| gone(endpoint, socket.inner.disconnect(endpoint))) }
}

/// See `zmq_connect_peer(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_connect_peer(socket: *mut c_void, endpoint: *const c_char) -> u32 {
    guard::call(0, || {
        let socket = used(socket)?;
        // SAFETY: the caller gives a string with a terminating zero.
        let endpoint = unsafe { text(endpoint)? };
        if socket.inner.socket_type() == oxzmq::SocketType::Peer && socket.inner.immediate() {
            return Err(Errno(libc::EFAULT));
        }
        Ok(without_signals(|| socket.inner.connect_peer(endpoint))?)
    })
}

/// See `zmq_disconnect_peer(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_disconnect_peer(socket: *mut c_void, routing_id: u32) -> c_int {
    guard::status(|| Ok(used(socket)?.inner.disconnect_peer(routing_id)?))
}

/// # Safety
/// `group` is NULL or has a terminating zero.
unsafe fn change_group(socket: *mut c_void, group: *const c_char, call: Call) -> c_int {
    guard::status(|| {
        let socket = used(socket)?;
        // SAFETY: as above.
        call(&socket, unsafe { text(group)? })
    })
}

/// See `zmq_join(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_join(socket: *mut c_void, group: *const c_char) -> c_int {
    // SAFETY: the caller gives a string with a terminating zero.
    unsafe { change_group(socket, group, |socket, group| Ok(socket.inner.join(group)?)) }
}

/// See `zmq_leave(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_leave(socket: *mut c_void, group: *const c_char) -> c_int {
    // SAFETY: the caller gives a string with a terminating zero.
    unsafe { change_group(socket, group, |socket, group| Ok(socket.inner.leave(group)?)) }
}

/// See `zmq_socket_get_peer_state(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_socket_get_peer_state(
    socket: *mut c_void,
    routing_id: *const c_void,
    size: size_t,
) -> c_int {
    guard::call(-1, || {
        let socket = used(socket)?;
        // SAFETY: the caller gives so many octets.
        let routing_id = unsafe { crate::message::octets(routing_id, size)? };
        let room = socket.inner.has_room_for(routing_id)?;
        Ok(if room { crate::poll::POLLOUT.into() } else { 0 })
    })
}
