//! Contexts: `zmq_ctx_*`, and `zmq_socket`.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libc::{c_int, size_t};
use oxzmq::{Context, ContextOptionInfo, OptionKind, OptionValue, SocketType};
use parking_lot::Mutex;

use crate::guard::{self, Errno, Result};
use crate::handle::{self, Object, Use};
use crate::socket::{Socket, without_signals};
use crate::threads::Threads;

const IO_THREADS: c_int = 1;
const MAX_SOCKETS: c_int = 2;
const SOCKET_LIMIT: c_int = 3;
const THREAD_SCHED_POLICY: c_int = 4;
const MAX_MSGSZ: c_int = 5;
const MSG_T_SIZE: c_int = 6;
const THREAD_AFFINITY_CPU_ADD: c_int = 7;
const THREAD_AFFINITY_CPU_REMOVE: c_int = 8;
const THREAD_NAME_PREFIX: c_int = 9;
const ZERO_COPY_RECV: c_int = 10;
const IPV6: c_int = 42;
const BLOCKY: c_int = 70;

const LARGEST_SOCKET_LIMIT: c_int = 65_535;

const INVALID: Errno = Errno(libc::EINVAL);

struct Shared(Mutex<State>);

impl Object for Shared {
    const KIND: u32 = 3;
}

struct State {
    settings: Settings,
    /// Made with the first socket.
    context: Option<Context>,
    shut_down: bool,
    ending: Option<Ending>,
}

/// A thread that waits for a context's end, and then makes the descriptor readable.
struct Ending {
    over: Arc<OwnedFd>,
    thread: JoinHandle<()>,
}

pub(crate) struct Settings {
    io_threads: c_int,
    max_sockets: c_int,
    max_message_size: c_int,
    pub(crate) sched_policy: c_int,
    pub(crate) sched_priority: c_int,
    pub(crate) cpus: Vec<c_int>,
    pub(crate) name_prefix: Vec<u8>,
    zero_copy: bool,
    ipv6: bool,
    blocky: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            io_threads: 1,
            max_sockets: 1023,
            max_message_size: c_int::MAX,
            sched_policy: -1,
            sched_priority: -1,
            cpus: Vec::new(),
            name_prefix: Vec::new(),
            zero_copy: true,
            ipv6: false,
            blocky: true,
        }
    }
}

impl Settings {
    fn set(&mut self, option: c_int, value: c_int) -> Result<()> {
        let known = ContextOptionInfo::by_number(option).filter(|known| known.is_settable).ok_or(INVALID)?;
        // The one text may be an int, too, which is kept as text.
        if !matches!(known.kind, OptionKind::Text(..)) && !known.kind.admits(&value.into()) {
            return Err(INVALID);
        }
        match option {
            IO_THREADS => self.io_threads = value,
            MAX_SOCKETS => self.max_sockets = value,
            // The number that reads as SOCKET_LIMIT sets the threads' priority.
            SOCKET_LIMIT => self.sched_priority = value,
            THREAD_SCHED_POLICY => self.sched_policy = value,
            MAX_MSGSZ => self.max_message_size = value,
            THREAD_AFFINITY_CPU_ADD if self.cpus.contains(&value) => {}
            THREAD_AFFINITY_CPU_ADD => self.cpus.push(value),
            THREAD_AFFINITY_CPU_REMOVE => {
                let at = self.cpus.iter().position(|&cpu| cpu == value).ok_or(INVALID)?;
                self.cpus.remove(at);
            }
            THREAD_NAME_PREFIX => self.name_prefix = value.to_string().into_bytes(),
            ZERO_COPY_RECV => self.zero_copy = value != 0,
            IPV6 => self.ipv6 = value != 0,
            BLOCKY => self.blocky = value != 0,
            _ => return Err(INVALID),
        }
        Ok(())
    }

    fn get(&self, option: c_int) -> Result<c_int> {
        Ok(match option {
            IO_THREADS => self.io_threads,
            MAX_SOCKETS => self.max_sockets,
            SOCKET_LIMIT => LARGEST_SOCKET_LIMIT,
            THREAD_SCHED_POLICY => self.sched_policy,
            MAX_MSGSZ => self.max_message_size,
            MSG_T_SIZE => 64,
            THREAD_NAME_PREFIX => {
                str::from_utf8(&self.name_prefix).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
            }
            ZERO_COPY_RECV => self.zero_copy.into(),
            IPV6 => self.ipv6.into(),
            BLOCKY => self.blocky.into(),
            _ => return Err(INVALID),
        })
    }
}

impl Shared {
    /// No sockets are made from here on. The library's context, if there is one already.
    fn end(&self) -> Option<Context> {
        let mut state = self.0.lock();
        state.shut_down = true;
        state.context.clone()
    }

    /// Waits until the context is over. A signal ends that with EINTR; the end can be waited for again.
    fn await_end(&self, context: Context) -> Result<()> {
        if context.term_within(Duration::ZERO).is_ok() {
            return Ok(());
        }
        // A wait for a descriptor is one that signals end, so the other wait is for another thread.
        let over = {
            let mut state = self.0.lock();
            if state.ending.is_none() {
                state.ending = Ending::start(context.clone());
            }
            state.ending.as_ref().map(|ending| Arc::clone(&ending.over))
        };
        let Some(over) = over else {
            context.term();
            return Ok(());
        };
        let mut waited = libc::pollfd { fd: over.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one element, as it says.
        if unsafe { libc::poll(&raw mut waited, 1, -1) } < 0 {
            return Err(Errno(guard::errno()));
        }
        let ending = self.0.lock().ending.take();
        // The library may be unloaded behind this call.
        if let Some(Err(panic)) = ending.map(|ending| ending.thread.join()) {
            std::mem::forget(panic);
        }
        Ok(())
    }
}

impl Ending {
    /// `None` where there is no descriptor or thread left for it.
    fn start(context: Context) -> Option<Self> {
        // SAFETY: a call without pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return None;
        }
        // SAFETY: just made, and nobody else's.
        let over = Arc::new(unsafe { OwnedFd::from_raw_fd(fd) });
        let told = Arc::clone(&over);
        let work = move || {
            context.term();
            drop(context);
            let one = 1u64;
            // SAFETY: eight octets, as descriptors for events take.
            unsafe { libc::write(told.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
        };
        let thread = without_signals(|| thread::Builder::new().name("zmq/term".to_owned()).spawn(work)).ok()?;
        Some(Self { over, thread })
    }
}

fn used(handle: *mut c_void) -> Result<Use<Shared>> {
    Use::of(handle).ok_or(Errno(libc::EFAULT))
}

fn new(settings: Settings) -> Result<*mut c_void> {
    let state = State { settings, context: None, shut_down: false, ending: None };
    handle::open(Shared(Mutex::new(state))).ok_or(Errno(libc::EMFILE))
}

/// See `zmq_ctx_new(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_ctx_new() -> *mut c_void {
    guard::call(std::ptr::null_mut(), || new(Settings::default()))
}

/// See `zmq_init(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_init(io_threads: c_int) -> *mut c_void {
    guard::call(std::ptr::null_mut(), || {
        let mut settings = Settings::default();
        settings.set(IO_THREADS, io_threads)?;
        new(settings)
    })
}

/// See `zmq_ctx_set(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_ctx_set(context: *mut c_void, option: c_int, value: c_int) -> c_int {
    guard::status(|| used(context)?.0.lock().settings.set(option, value))
}

/// See `zmq_ctx_get(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_ctx_get(context: *mut c_void, option: c_int) -> c_int {
    guard::call(-1, || used(context)?.0.lock().settings.get(option))
}

/// See `zmq_ctx_set_ext(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_ctx_set_ext(
    context: *mut c_void,
    option: c_int,
    value: *const c_void,
    size: size_t,
) -> c_int {
    guard::status(|| {
        let context = used(context)?;
        if value.is_null() {
            return Err(INVALID);
        }
        if size == size_of::<c_int>() {
            // SAFETY: the caller gives so many octets.
            let value = unsafe { value.cast::<c_int>().read_unaligned() };
            return context.0.lock().settings.set(option, value);
        }
        let known = ContextOptionInfo::by_number(option).ok_or(INVALID)?;
        // SAFETY: the caller gives so many octets.
        let octets = unsafe { crate::message::octets(value, size)? };
        let prefix = OptionValue::from(octets);
        if !matches!(known.kind, OptionKind::Text(..)) || !known.kind.admits(&prefix) {
            return Err(INVALID);
        }
        context.0.lock().settings.name_prefix = octets.to_vec();
        Ok(())
    })
}

/// See `zmq_ctx_get_ext(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_ctx_get_ext(
    context: *mut c_void,
    option: c_int,
    value: *mut c_void,
    size: *mut size_t,
) -> c_int {
    guard::status(|| {
        let context = used(context)?;
        if value.is_null() || size.is_null() {
            return Err(INVALID);
        }
        // SAFETY: the caller gives a place for the size.
        let room = unsafe { *size };
        if room == size_of::<c_int>() {
            let number = context.0.lock().settings.get(option)?;
            // SAFETY: there is room for that.
            unsafe { value.cast::<c_int>().write_unaligned(number) };
            return Ok(());
        }
        let state = context.0.lock();
        let prefix = &state.settings.name_prefix;
        if option != THREAD_NAME_PREFIX || room < prefix.len() {
            return Err(INVALID);
        }
        // SAFETY: there is room for the text, and where one more fits for a terminating zero.
        unsafe {
            value.cast::<u8>().copy_from_nonoverlapping(prefix.as_ptr(), prefix.len());
            if room > prefix.len() {
                *value.cast::<u8>().add(prefix.len()) = 0;
            }
        }
        Ok(())
    })
}

/// See `zmq_ctx_shutdown(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_ctx_shutdown(context: *mut c_void) -> c_int {
    guard::status(|| {
        if let Some(context) = used(context)?.end() {
            context.shutdown();
        }
        Ok(())
    })
}

/// See `zmq_ctx_term(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_ctx_term(context: *mut c_void) -> c_int {
    guard::status(|| {
        if handle::close_inherited::<Shared>(context) {
            return Ok(());
        }
        let shared = used(context)?;
        if let Some(context) = shared.end() {
            shared.await_end(context)?;
        }
        if shared.close() { Ok(()) } else { Err(Errno(libc::EFAULT)) }
    })
}

/// See `zmq_term(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_term(context: *mut c_void) -> c_int {
    zmq_ctx_term(context)
}

/// See `zmq_ctx_destroy(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_ctx_destroy(context: *mut c_void) -> c_int {
    zmq_ctx_term(context)
}

/// See `zmq_socket(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_socket(context: *mut c_void, socket_type: c_int) -> *mut c_void {
    guard::call(std::ptr::null_mut(), || {
        let shared = used(context)?;
        let mut state = shared.0.lock();
        if state.shut_down {
            return Err(Errno(oxzmq::error::ETERM));
        }
        let socket_type = u8::try_from(socket_type).ok().and_then(SocketType::from_code);
        let settings = &state.settings;
        let (ipv6, blocky) = (settings.ipv6, settings.blocky);
        let builder = Context::builder()
            .io_threads(usize::try_from(settings.io_threads).unwrap_or(0))
            .max_sockets(usize::try_from(settings.max_sockets).unwrap_or(0));
        let threads = Threads::of(settings);
        let context =
            state.context.get_or_insert_with(|| builder.on_io_thread_start(move |n| threads.begin(n)).build()).clone();
        drop(state);
        let socket = context.socket(socket_type.ok_or(INVALID)?)?;
        socket.set_interruptible(true)?;
        if ipv6 {
            socket.set_ipv6(true)?;
        }
        if !blocky {
            socket.set_linger(Some(Duration::ZERO))?;
        }
        handle::open(Socket::new(socket, context)).ok_or(Errno(libc::EMFILE))
    })
}
