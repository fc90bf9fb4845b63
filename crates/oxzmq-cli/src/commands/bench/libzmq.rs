//! Any library with libzmq's C interface, loaded at run time for `--against`.
//!
//! The only unsafe code of the command. What keeps it sound:
//!
//! * The types of the functions and the 64-byte message are those of the public header `zmq.h`,
//!   which every such library promises to keep. A library that breaks the promise cannot be
//!   guarded against; the user named it.
//! * The function pointers live in [`Library`], next to the handle that keeps the library loaded,
//!   and every context and socket holds an `Arc` of it.
//! * A socket is used by one thread at a time: [`Socket`] is `Send` (the interface allows to move a
//!   socket between threads with a full fence, which moving a value to a thread is) and not `Sync`.
//! * A context is ended only when its last socket has been closed, as sockets hold an `Arc` of it.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};

use super::keys;
use super::link::{End, Kit, PATIENCE, Part};

// From `zmq.h`.
const REQ: c_int = 3;
const REP: c_int = 4;
const PULL: c_int = 7;
const PUSH: c_int = 8;
const LINGER: c_int = 17;
const RCVTIMEO: c_int = 27;
const SNDTIMEO: c_int = 28;
const LAST_ENDPOINT: c_int = 32;
const CURVE_SERVER: c_int = 47;
const CURVE_PUBLICKEY: c_int = 48;
const CURVE_SECRETKEY: c_int = 49;
const CURVE_SERVERKEY: c_int = 50;
/// Also from there: large enough for any address.
const ENDPOINT_MAX: usize = 256;

/// `zmq_msg_t`.
#[repr(C, align(8))]
struct Msg([u8; 64]);

type Pointer = *mut c_void;

/// The functions needed, with the types that `zmq.h` gives them.
struct Functions {
    errno: unsafe extern "C" fn() -> c_int,
    strerror: unsafe extern "C" fn(c_int) -> *const c_char,
    version: unsafe extern "C" fn(*mut c_int, *mut c_int, *mut c_int),
    ctx_new: unsafe extern "C" fn() -> Pointer,
    ctx_term: unsafe extern "C" fn(Pointer) -> c_int,
    socket: unsafe extern "C" fn(Pointer, c_int) -> Pointer,
    close: unsafe extern "C" fn(Pointer) -> c_int,
    setsockopt: unsafe extern "C" fn(Pointer, c_int, *const c_void, usize) -> c_int,
    getsockopt: unsafe extern "C" fn(Pointer, c_int, Pointer, *mut usize) -> c_int,
    bind: unsafe extern "C" fn(Pointer, *const c_char) -> c_int,
    connect: unsafe extern "C" fn(Pointer, *const c_char) -> c_int,
    send: unsafe extern "C" fn(Pointer, *const c_void, usize, c_int) -> c_int,
    msg_init: unsafe extern "C" fn(*mut Msg) -> c_int,
    msg_recv: unsafe extern "C" fn(*mut Msg, Pointer, c_int) -> c_int,
    msg_size: unsafe extern "C" fn(*const Msg) -> usize,
    msg_close: unsafe extern "C" fn(*mut Msg) -> c_int,
}

/// A loaded library.
pub(crate) struct Library {
    functions: Functions,
    /// Keeps the functions in memory; dropped after them.
    _library: libloading::Library,
}

impl Library {
    /// Load the library `name`, a file or a name for the system's search path.
    pub(crate) fn load(name: &str) -> Result<Arc<Self>> {
        // SAFETY: loading runs the library's initialisers; the user asked for this very library.
        let library = unsafe { libloading::Library::new(name) }.with_context(|| format!("cannot load {name}"))?;

        macro_rules! function {
            ($symbol:literal) => {
                // SAFETY: the field's type is that of the function in `zmq.h`.
                *unsafe { library.get($symbol) }
                    .with_context(|| format!("{name} lacks a function of libzmq's interface"))?
            };
        }
        let functions = Functions {
            errno: function!(b"zmq_errno\0"),
            strerror: function!(b"zmq_strerror\0"),
            version: function!(b"zmq_version\0"),
            ctx_new: function!(b"zmq_ctx_new\0"),
            ctx_term: function!(b"zmq_ctx_term\0"),
            socket: function!(b"zmq_socket\0"),
            close: function!(b"zmq_close\0"),
            setsockopt: function!(b"zmq_setsockopt\0"),
            getsockopt: function!(b"zmq_getsockopt\0"),
            bind: function!(b"zmq_bind\0"),
            connect: function!(b"zmq_connect\0"),
            send: function!(b"zmq_send\0"),
            msg_init: function!(b"zmq_msg_init\0"),
            msg_recv: function!(b"zmq_msg_recv\0"),
            msg_size: function!(b"zmq_msg_size\0"),
            msg_close: function!(b"zmq_msg_close\0"),
        };
        Ok(Arc::new(Library { functions, _library: library }))
    }

    /// The version of libzmq that the library says it is, as "4.3.4".
    pub(crate) fn version(&self) -> String {
        let (mut major, mut minor, mut patch) = (0, 0, 0);
        // SAFETY: three valid pointers to integers.
        unsafe { (self.functions.version)(&raw mut major, &raw mut minor, &raw mut patch) };
        format!("{major}.{minor}.{patch}")
    }

    /// The calling thread's last error, as an error.
    fn error(&self, doing: &str) -> anyhow::Error {
        // SAFETY: no arguments; `strerror` returns a static text for any number.
        let text = unsafe { CStr::from_ptr((self.functions.strerror)((self.functions.errno)())) };
        anyhow::anyhow!("{doing}: {}", text.to_string_lossy())
    }

    fn check(&self, result: c_int, doing: &str) -> Result<c_int> {
        if result < 0 { Err(self.error(doing)) } else { Ok(result) }
    }
}

/// A context of the library; the pointer is valid until `drop`.
struct Context {
    library: Arc<Library>,
    pointer: NonNull<c_void>,
}

// SAFETY: the interface allows any thread to use a context, several at a time too.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: a valid context without open sockets, ended once.
        unsafe { (self.library.functions.ctx_term)(self.pointer.as_ptr()) };
    }
}

/// A socket of the library; the pointer is valid until `drop`.
pub(crate) struct Socket {
    context: Arc<Context>,
    pointer: NonNull<c_void>,
}

// SAFETY: a socket may move to another thread; see the head of this file.
unsafe impl Send for Socket {}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: a valid socket, closed once.
        unsafe { (self.library().functions.close)(self.pointer.as_ptr()) };
    }
}

impl Socket {
    fn new(context: &Arc<Context>, part: Part) -> Result<Self> {
        let kind = match part {
            Part::Push => PUSH,
            Part::Pull => PULL,
            Part::Req => REQ,
            Part::Rep => REP,
        };
        // SAFETY: a valid context.
        let pointer = unsafe { (context.library.functions.socket)(context.pointer.as_ptr(), kind) };
        let Some(pointer) = NonNull::new(pointer) else {
            return Err(context.library.error("zmq_socket"));
        };
        let socket = Socket { context: Arc::clone(context), pointer };
        socket.set(LINGER, 0)?;
        let patience = c_int::try_from(PATIENCE.as_millis())?;
        socket.set(SNDTIMEO, patience)?;
        socket.set(RCVTIMEO, patience)?;
        Ok(socket)
    }

    fn library(&self) -> &Library {
        &self.context.library
    }

    fn set(&self, option: c_int, value: c_int) -> Result<()> {
        let (address, size) = ((&raw const value).cast(), size_of::<c_int>());
        // SAFETY: a valid socket; the address of an integer and its size.
        let result = unsafe { (self.library().functions.setsockopt)(self.pointer.as_ptr(), option, address, size) };
        self.library().check(result, "zmq_setsockopt").map(drop)
    }

    fn set_key(&self, option: c_int, key: &[u8; 32]) -> Result<()> {
        // SAFETY: a valid socket; the address of the octets and their number.
        let result = unsafe {
            (self.library().functions.setsockopt)(self.pointer.as_ptr(), option, key.as_ptr().cast(), key.len())
        };
        self.library().check(result, "zmq_setsockopt for CURVE").map(drop)
    }

    /// The keys of the side that listens, or of the other.
    fn encrypt(&self, listens: bool) -> Result<()> {
        let (server, client) = (keys::server(), keys::client());
        if listens {
            self.set(CURVE_SERVER, 1)?;
            return self.set_key(CURVE_SECRETKEY, server.secret().as_bytes());
        }
        self.set_key(CURVE_SERVERKEY, server.public().as_bytes())?;
        self.set_key(CURVE_PUBLICKEY, client.public().as_bytes())?;
        self.set_key(CURVE_SECRETKEY, client.secret().as_bytes())
    }

    fn bind(&self, endpoint: &str) -> Result<String> {
        let text = CString::new(endpoint)?;
        // SAFETY: a valid socket and a text that ends with NUL.
        let result = unsafe { (self.library().functions.bind)(self.pointer.as_ptr(), text.as_ptr()) };
        self.library().check(result, "zmq_bind")?;

        let mut bound = [0_u8; ENDPOINT_MAX];
        let mut size = bound.len();
        // SAFETY: a valid socket, a buffer and its size.
        let result = unsafe {
            (self.library().functions.getsockopt)(
                self.pointer.as_ptr(),
                LAST_ENDPOINT,
                bound.as_mut_ptr().cast(),
                &raw mut size,
            )
        };
        self.library().check(result, "zmq_getsockopt")?;
        Ok(CStr::from_bytes_until_nul(&bound)?.to_str()?.to_owned())
    }

    fn connect(&self, endpoint: &str) -> Result<()> {
        let text = CString::new(endpoint)?;
        // SAFETY: a valid socket and a text that ends with NUL.
        let result = unsafe { (self.library().functions.connect)(self.pointer.as_ptr(), text.as_ptr()) };
        self.library().check(result, "zmq_connect").map(drop)
    }
}

impl End for Socket {
    async fn send(&mut self, payload: &[u8]) -> Result<()> {
        let (data, size) = (payload.as_ptr().cast(), payload.len());
        // SAFETY: a valid socket; the library copies `size` octets from `data`.
        let result = unsafe { (self.library().functions.send)(self.pointer.as_ptr(), data, size, 0) };
        self.library().check(result, "zmq_send").map(drop)
    }

    /// By `zmq_msg_recv`, which hands a large body over without copying it.
    async fn recv(&mut self) -> Result<usize> {
        let functions = &self.library().functions;
        let mut message = Msg([0; 64]);
        // SAFETY: `message` has the size and alignment of a `zmq_msg_t`, is initialised first,
        // stays where it is, and is closed last; the socket is valid.
        let (result, size) = unsafe {
            (functions.msg_init)(&raw mut message);
            let result = (functions.msg_recv)(&raw mut message, self.pointer.as_ptr(), 0);
            let size = (functions.msg_size)(&raw const message);
            if result >= 0 {
                (functions.msg_close)(&raw mut message);
            }
            (result, size)
        };
        self.library().check(result, "zmq_msg_recv")?;
        Ok(size)
    }
}

/// The candidate: one context, from which both ends of an inproc pair come.
pub(crate) struct Libzmq {
    context: Arc<Context>,
    curve: bool,
}

impl Libzmq {
    pub(crate) fn new(library: &Arc<Library>, curve: bool) -> Result<Self> {
        // SAFETY: no arguments.
        let pointer = unsafe { (library.functions.ctx_new)() };
        let Some(pointer) = NonNull::new(pointer) else {
            bail!("zmq_ctx_new: {}", library.error("no context"));
        };
        Ok(Libzmq { context: Arc::new(Context { library: Arc::clone(library), pointer }), curve })
    }
}

impl Kit for Libzmq {
    type Listener = Socket;
    type End = Socket;

    fn listen(&self, endpoint: &str, part: Part) -> Result<(Socket, String)> {
        let socket = Socket::new(&self.context, part)?;
        if self.curve {
            socket.encrypt(true)?;
        }
        let bound = socket.bind(endpoint)?;
        ensure!(!bound.is_empty(), "the library does not say where it is bound");
        Ok((socket, bound))
    }

    fn accept(&self, listener: Socket) -> Result<Socket> {
        Ok(listener)
    }

    fn connect(&self, endpoint: &str, part: Part) -> Result<Socket> {
        let socket = Socket::new(&self.context, part)?;
        if self.curve {
            socket.encrypt(false)?;
        }
        socket.connect(endpoint)?;
        Ok(socket)
    }
}
