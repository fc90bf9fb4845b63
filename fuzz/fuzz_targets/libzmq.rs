//! As much of the system's libzmq as the differential target needs, loaded at run time.
//!
//! Sound because the types are those of the public header `zmq.h`, buffers are passed with their own sizes, and context and
//! sockets stay in the thread that made them and are never closed: the process ends with them.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

const DONTWAIT: c_int = 1;
const RCVMORE: c_int = 13;
const RCVTIMEO: c_int = 27;
const LAST_ENDPOINT: c_int = 32;

type Pointer = *mut c_void;

/// The functions, and the one context.
pub struct Libzmq {
    context: Pointer,
    socket: unsafe extern "C" fn(Pointer, c_int) -> Pointer,
    setsockopt: unsafe extern "C" fn(Pointer, c_int, *const c_void, usize) -> c_int,
    getsockopt: unsafe extern "C" fn(Pointer, c_int, Pointer, *mut usize) -> c_int,
    bind: unsafe extern "C" fn(Pointer, *const c_char) -> c_int,
    connect: unsafe extern "C" fn(Pointer, *const c_char) -> c_int,
    recv: unsafe extern "C" fn(Pointer, Pointer, usize, c_int) -> c_int,
    monitor: unsafe extern "C" fn(Pointer, *const c_char, c_int) -> c_int,
}

impl Libzmq {
    pub fn load() -> Self {
        // SAFETY: libzmq's initialisers do nothing that matters; the symbols have the types of `zmq.h`, and the library is
        // never unloaded.
        unsafe {
            let library = Box::leak(Box::new(libloading::Library::new("libzmq.so.5").expect("Debian's libzmq5")));
            macro_rules! symbol {
                ($name:literal) => {
                    *library.get($name).expect("a function of libzmq")
                };
            }
            let context_new: unsafe extern "C" fn() -> Pointer = symbol!(b"zmq_ctx_new");
            Libzmq {
                context: context_new(),
                socket: symbol!(b"zmq_socket"),
                setsockopt: symbol!(b"zmq_setsockopt"),
                getsockopt: symbol!(b"zmq_getsockopt"),
                bind: symbol!(b"zmq_bind"),
                connect: symbol!(b"zmq_connect"),
                recv: symbol!(b"zmq_recv"),
                monitor: symbol!(b"zmq_socket_monitor"),
            }
        }
    }

    pub fn socket(&self, kind: c_int) -> Pointer {
        // SAFETY: the context is alive.
        let socket = unsafe { (self.socket)(self.context, kind) };
        assert!(!socket.is_null());
        socket
    }

    pub fn set_int(&self, socket: Pointer, option: c_int, value: c_int) {
        // SAFETY: the value is an int, and its size is said.
        let done = unsafe { (self.setsockopt)(socket, option, ptr::from_ref(&value).cast(), size_of::<c_int>()) };
        assert_eq!(done, 0, "option {option}");
    }

    pub fn set_timeout(&self, socket: Pointer, milliseconds: c_int) {
        self.set_int(socket, RCVTIMEO, milliseconds);
    }

    pub fn set_long(&self, socket: Pointer, option: c_int, value: i64) {
        // SAFETY: as in `set_int`.
        let done = unsafe { (self.setsockopt)(socket, option, ptr::from_ref(&value).cast(), size_of::<i64>()) };
        assert_eq!(done, 0, "option {option}");
    }

    /// Binds; returns the port.
    pub fn bind(&self, socket: Pointer) -> u16 {
        let mut text = [0u8; 256];
        let mut size = text.len();
        // SAFETY: the address ends in a zero, and the buffer is as long as is said.
        let done = unsafe {
            (self.bind)(socket, c"tcp://127.0.0.1:*".as_ptr())
                | (self.getsockopt)(socket, LAST_ENDPOINT, text.as_mut_ptr().cast(), &raw mut size)
        };
        assert_eq!(done, 0);
        let text = str::from_utf8(&text[..size - 1]).unwrap();
        text.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// A socket that gets the other's events.
    pub fn monitor(&self, socket: Pointer, events: c_int) -> Pointer {
        const PAIR: c_int = 0;
        let place = CString::new("inproc://events").unwrap();
        let events_of = self.socket(PAIR);
        // SAFETY: addresses end in a zero.
        let done =
            unsafe { (self.monitor)(socket, place.as_ptr(), events) | (self.connect)(events_of, place.as_ptr()) };
        assert_eq!(done, 0);
        events_of
    }

    /// A message; `None` when there is none, or none in time.
    pub fn recv(&self, socket: Pointer, wait: bool) -> Option<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        let mut buffer = vec![0; 1 << 17];
        loop {
            let flags = if wait { 0 } else { DONTWAIT };
            // SAFETY: the buffer is as long as is said.
            let size = unsafe { (self.recv)(socket, buffer.as_mut_ptr().cast(), buffer.len(), flags) };
            let size = usize::try_from(size).ok()?;
            frames.push(buffer[..size].to_vec());
            let mut more: c_int = 0;
            let mut room = size_of::<c_int>();
            // SAFETY: as above.
            unsafe { (self.getsockopt)(socket, RCVMORE, ptr::from_mut(&mut more).cast(), &raw mut room) };
            if more == 0 {
                return Some(frames);
            }
        }
    }
}
