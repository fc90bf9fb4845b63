//! libzmq's C interface, as its public header `zmq.h` and its manual pages give it.
//!
//! What keeps it sound:
//!
//! * The types of the functions and the 64-byte message are those of the header, which every such library promises to keep.
//! * The functions live as long as the process: a library that has been loaded is never unloaded.
//! * A socket is used by one thread: it is not `Sync`, and not `Send` either.
//! * A context outlives its sockets, which hold it; contexts are never terminated, because the process ends first.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_short, c_void};
use std::mem::ManuallyDrop;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use oxzmq_bench::curve;

type Pointer = *mut c_void;

/// `zmq_msg_t`.
#[repr(C, align(8))]
struct Msg([u8; 64]);

/// Declares the functions once, for [`Functions`], and for linking and loading.
macro_rules! functions {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {
        /// The functions of one library.
        #[derive(Clone)]
        pub(crate) struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        #[cfg(feature = "libzmq")]
        mod linked {
            use super::*;
            unsafe extern "C" {
                $(pub(super) fn $name($(_: $argument),*) -> $result;)*
            }
        }

        impl Functions {
            /// The library that this program is linked with.
            pub(crate) fn linked() -> Result<Self> {
                #[cfg(feature = "libzmq")]
                return Ok(Functions { $($name: linked::$name,)* });
                #[cfg(not(feature = "libzmq"))]
                bail!("built without libzmq: name a shared library in OXZMQ_BENCH_LIBRARY");
            }

            /// A shared library, by a path or a name for the system's search path.
            pub(crate) fn load(name: &str) -> Result<Self> {
                // SAFETY: runs the library's initialisers; the user asked for this very library.
                let library = unsafe { libloading::Library::new(name) }.with_context(|| format!("cannot load {name}"))?;
                let library = ManuallyDrop::new(library);
                Ok(Functions {
                    // SAFETY: the field's type is that of the function in `zmq.h`; the library stays loaded.
                    $($name: *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }?,)*
                })
            }
        }
    };
}

functions! {
    zmq_errno() -> c_int;
    zmq_strerror(c_int) -> *const c_char;
    zmq_ctx_new() -> Pointer;
    zmq_ctx_set(Pointer, c_int, c_int) -> c_int;
    zmq_socket(Pointer, c_int) -> Pointer;
    zmq_close(Pointer) -> c_int;
    zmq_setsockopt(Pointer, c_int, *const c_void, usize) -> c_int;
    zmq_getsockopt(Pointer, c_int, Pointer, *mut usize) -> c_int;
    zmq_bind(Pointer, *const c_char) -> c_int;
    zmq_connect(Pointer, *const c_char) -> c_int;
    zmq_send(Pointer, *const c_void, usize, c_int) -> c_int;
    zmq_recv(Pointer, *mut c_void, usize, c_int) -> c_int;
    zmq_msg_init(*mut Msg) -> c_int;
    zmq_msg_init_data(*mut Msg, Pointer, usize, Option<unsafe extern "C" fn(Pointer, Pointer)>, Pointer) -> c_int;
    zmq_msg_send(*mut Msg, Pointer, c_int) -> c_int;
    zmq_msg_recv(*mut Msg, Pointer, c_int) -> c_int;
    zmq_msg_data(*mut Msg) -> Pointer;
    zmq_msg_size(*const Msg) -> usize;
    zmq_msg_more(*const Msg) -> c_int;
    zmq_msg_close(*mut Msg) -> c_int;
    zmq_proxy(Pointer, Pointer, Pointer) -> c_int;
    zmq_poll(*mut PollItem, c_int, c_long) -> c_int;
}

// From `zmq.h`.
const ZMQ_MAX_SOCKETS: c_int = 2;
const ZMQ_SUBSCRIBE: c_int = 6;
const ZMQ_LINGER: c_int = 17;
const ZMQ_LAST_ENDPOINT: c_int = 32;
const ZMQ_CURVE_SERVER: c_int = 47;
const ZMQ_CURVE_PUBLICKEY: c_int = 48;
const ZMQ_CURVE_SECRETKEY: c_int = 49;
const ZMQ_CURVE_SERVERKEY: c_int = 50;
const ZMQ_SNDMORE: c_int = 2;

const ZMQ_POLLIN: c_short = 1;

/// `zmq_pollitem_t`.
#[repr(C)]
pub(crate) struct PollItem {
    socket: Pointer,
    fd: c_int,
    events: c_short,
    revents: c_short,
}

pub(crate) struct Context {
    functions: Functions,
    pointer: Pointer,
}

// SAFETY: the interface allows every thread to use a context.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    pub(crate) fn new(functions: Functions) -> Result<Arc<Self>> {
        // SAFETY: no arguments.
        let pointer = unsafe { (functions.zmq_ctx_new)() };
        if pointer.is_null() {
            bail!("zmq_ctx_new failed");
        }
        let context = Context { functions, pointer };
        // SAFETY: a valid context. A library with a lower limit keeps its own.
        unsafe { (context.functions.zmq_ctx_set)(pointer, ZMQ_MAX_SOCKETS, 20_000) };
        Ok(Arc::new(context))
    }

    pub(crate) fn socket(self: &Arc<Self>, kind: c_int) -> Result<Socket> {
        // SAFETY: a valid context.
        let pointer = unsafe { (self.functions.zmq_socket)(self.pointer, kind) };
        if pointer.is_null() {
            return Err(self.error("zmq_socket"));
        }
        let socket = Socket { context: Arc::clone(self), pointer };
        socket.set(ZMQ_LINGER, &0_i32.to_ne_bytes())?;
        Ok(socket)
    }

    /// Waits until one of the sockets has a message; returns how many have.
    pub(crate) fn poll(&self, items: &mut [PollItem]) -> Result<c_int> {
        // SAFETY: as many items as there are, of sockets that live.
        let ready = unsafe { (self.functions.zmq_poll)(items.as_mut_ptr(), items.len() as c_int, -1) };
        self.check(ready, "zmq_poll")?;
        Ok(ready)
    }

    fn error(&self, doing: &str) -> anyhow::Error {
        let functions = &self.functions;
        // SAFETY: no arguments; `zmq_strerror` returns a static text for any number.
        let text = unsafe { CStr::from_ptr((functions.zmq_strerror)((functions.zmq_errno)())) };
        anyhow!("{doing}: {}", text.to_string_lossy())
    }

    fn check(&self, result: c_int, doing: &str) -> Result<()> {
        if result < 0 { Err(self.error(doing)) } else { Ok(()) }
    }
}

pub(crate) struct Socket {
    context: Arc<Context>,
    pointer: Pointer,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: a valid socket, closed once.
        unsafe { (self.context.functions.zmq_close)(self.pointer) };
    }
}

impl Socket {
    fn set(&self, option: c_int, value: &[u8]) -> Result<()> {
        // SAFETY: a valid socket; `value` is as long as it says.
        let result = unsafe {
            (self.context.functions.zmq_setsockopt)(self.pointer, option, value.as_ptr().cast(), value.len())
        };
        self.context.check(result, "zmq_setsockopt")
    }

    /// What [`Context::poll`] is to look at. The socket has to outlive it.
    pub(crate) fn poll_item(&self) -> PollItem {
        PollItem { socket: self.pointer, fd: 0, events: ZMQ_POLLIN, revents: 0 }
    }

    pub(crate) fn subscribe(&self, topic: &[u8]) -> Result<()> {
        self.set(ZMQ_SUBSCRIBE, topic)
    }

    pub(crate) fn encrypt(&self, server: bool) -> Result<()> {
        let set = |option, key: &str| self.set(option, CString::new(key)?.as_bytes_with_nul());
        if server {
            self.set(ZMQ_CURVE_SERVER, &1_u32.to_ne_bytes())?;
            return set(ZMQ_CURVE_SECRETKEY, curve::SERVER_SECRET);
        }
        set(ZMQ_CURVE_PUBLICKEY, curve::CLIENT_PUBLIC)?;
        set(ZMQ_CURVE_SECRETKEY, curve::CLIENT_SECRET)?;
        set(ZMQ_CURVE_SERVERKEY, curve::SERVER_PUBLIC)
    }

    pub(crate) fn bind(&self, endpoint: &str) -> Result<String> {
        let text = CString::new(endpoint)?;
        // SAFETY: a valid socket and a text that ends with NUL.
        let result = unsafe { (self.context.functions.zmq_bind)(self.pointer, text.as_ptr()) };
        self.context.check(result, "zmq_bind")?;
        let mut bound = [0_u8; 256];
        let mut size = bound.len();
        // SAFETY: a valid socket; a buffer and its size.
        let result = unsafe {
            let buffer = bound.as_mut_ptr().cast();
            (self.context.functions.zmq_getsockopt)(self.pointer, ZMQ_LAST_ENDPOINT, buffer, &raw mut size)
        };
        self.context.check(result, "zmq_getsockopt")?;
        Ok(CStr::from_bytes_until_nul(&bound)?.to_str()?.to_owned())
    }

    pub(crate) fn connect(&self, endpoint: &str) -> Result<()> {
        let text = CString::new(endpoint)?;
        // SAFETY: a valid socket and a text that ends with NUL.
        let result = unsafe { (self.context.functions.zmq_connect)(self.pointer, text.as_ptr()) };
        self.context.check(result, "zmq_connect")
    }

    /// By copying.
    pub(crate) fn send(&self, body: &[u8]) -> Result<()> {
        // SAFETY: a valid socket; the library copies the body.
        let result = unsafe { (self.context.functions.zmq_send)(self.pointer, body.as_ptr().cast(), body.len(), 0) };
        self.context.check(result, "zmq_send")
    }

    /// The library holds `body` until it has been written.
    pub(crate) fn send_shared(&self, body: Bytes) -> Result<()> {
        unsafe extern "C" fn free(_data: Pointer, hint: Pointer) {
            // SAFETY: `hint` is the box that was leaked below; the library calls this once.
            drop(unsafe { Box::from_raw(hint.cast::<Bytes>()) });
        }
        let (data, size) = (body.as_ptr().cast_mut().cast(), body.len());
        let hint = Box::into_raw(Box::new(body)).cast();
        let mut message = Message { functions: &self.context.functions, msg: Msg([0; 64]) };
        // SAFETY: an uninitialised message; the data stays where it is until `free` is called, and a
        // library that sends does not write to it.
        let result =
            unsafe { (self.context.functions.zmq_msg_init_data)(&raw mut message.msg, data, size, Some(free), hint) };
        self.context.check(result, "zmq_msg_init_data")?;
        self.send_message(message, false)
    }

    pub(crate) fn send_message(&self, mut message: Message<'_>, more: bool) -> Result<()> {
        let flags = if more { ZMQ_SNDMORE } else { 0 };
        // SAFETY: a valid socket and an initialised message, which is empty afterwards.
        let result = unsafe { (self.context.functions.zmq_msg_send)(&raw mut message.msg, self.pointer, flags) };
        self.context.check(result, "zmq_msg_send")
    }

    /// Copies as much of a message as there is room for. The result is how long it was.
    pub(crate) fn recv_copied(&self, room: &mut [u8]) -> Result<usize> {
        // SAFETY: a valid socket and room for so many octets.
        let size = unsafe { (self.context.functions.zmq_recv)(self.pointer, room.as_mut_ptr().cast(), room.len(), 0) };
        self.context.check(size, "zmq_recv")?;
        Ok(size as usize) // not negative
    }

    pub(crate) fn recv(&self) -> Result<Message<'_>> {
        let functions = &self.context.functions;
        let mut message = Message { functions, msg: Msg([0; 64]) };
        // SAFETY: a message that is initialised first, and a valid socket. A message may move between calls: libzmq's own
        // manual moves it with the bytes of its structure.
        let result = unsafe {
            (functions.zmq_msg_init)(&raw mut message.msg);
            (functions.zmq_msg_recv)(&raw mut message.msg, self.pointer, 0)
        };
        self.context.check(result, "zmq_msg_recv")?;
        Ok(message)
    }
}

/// An initialised message.
pub(crate) struct Message<'a> {
    functions: &'a Functions,
    msg: Msg,
}

impl Message<'_> {
    pub(crate) fn more(&self) -> bool {
        // SAFETY: an initialised message.
        unsafe { (self.functions.zmq_msg_more)(&raw const self.msg) != 0 }
    }

    pub(crate) fn body(&self) -> &[u8] {
        let msg = (&raw const self.msg).cast_mut();
        // SAFETY: an initialised message, whose data nobody writes to. The function takes a pointer to mutable, but only
        // because it returns one.
        unsafe {
            let size = (self.functions.zmq_msg_size)(msg);
            if size == 0 {
                return &[];
            }
            std::slice::from_raw_parts((self.functions.zmq_msg_data)(msg).cast(), size)
        }
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        // SAFETY: an initialised message, closed once.
        unsafe { (self.functions.zmq_msg_close)(&raw mut self.msg) };
    }
}

pub(crate) fn proxy(front: &Socket, back: &Socket) -> Result<()> {
    // SAFETY: two valid sockets that no other thread uses; no capture socket.
    let result = unsafe { (front.context.functions.zmq_proxy)(front.pointer, back.pointer, std::ptr::null_mut()) };
    front.context.check(result, "zmq_proxy")
}
