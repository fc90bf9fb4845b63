//! A context: the I/O threads that its sockets share, the inproc names, and the end of it all.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use oxzmq_proto::SocketType;
use parking_lot::{Condvar, Mutex};

use crate::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::inproc::Registry;
use crate::reactor::Reactor;
use crate::security::{AuthRequest, Authenticator};
use crate::socket::Socket;

/// Sockets in a context unless [`ContextBuilder::max_sockets`] says otherwise.
pub const DEFAULT_MAX_SOCKETS: usize = 65_535;

/// Accepted connections that may be in their handshakes at the same time, for each I/O thread, unless
/// [`ContextBuilder::max_handshakes`] says otherwise.
pub const DEFAULT_MAX_HANDSHAKES: usize = 4096;

/// Most I/O threads of a context.
pub const MAX_IO_THREADS: usize = 1024;

/// Most sockets or endpoints that an error names.
const MOST_NAMED: usize = 8;

/// Where sockets live: they share its I/O threads and its `inproc://` names. Cloning gives another handle
/// to the same context.
///
/// Threads start with the first network endpoint. Dropping the last handle waits until closed sockets that
/// still linger have delivered what they had queued (see [`Socket::set_linger`]); sockets still open then
/// are not waited for, so keep the context until they are closed.
///
/// ```
/// use oxzmq::{Context, SocketType};
///
/// # fn main() -> oxzmq::Result<()> {
/// let context = Context::new();
/// let replier = context.socket(SocketType::Rep)?;
/// let endpoint = replier.bind("tcp://127.0.0.1:*")?;
///
/// let requester = context.socket(SocketType::Req)?;
/// requester.connect(&endpoint)?;
/// requester.send("Hello")?;
/// assert_eq!(replier.recv()?.to_text_lossy(), "Hello");
/// replier.send("World")?;
/// assert_eq!(requester.recv()?.to_text_lossy(), "World");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Context(Arc<Handle>);

struct Handle(Arc<Inner>);

/// Settings of a new [`Context`].
#[derive(Clone, Debug)]
pub struct ContextBuilder {
    io_threads: usize,
    max_sockets: usize,
    max_handshakes: usize,
    thread_start: Option<ThreadStart>,
}

/// What an I/O thread does before all else.
#[derive(Clone)]
pub(crate) struct ThreadStart(pub(crate) Arc<dyn Fn(usize) + Send + Sync>);

impl fmt::Debug for ThreadStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThreadStart")
    }
}

impl ContextBuilder {
    /// Number of I/O threads; default 1, which serves some gigabytes a second. A socket's connections all
    /// belong to one thread. With 0 only `inproc://` works; more than [`MAX_IO_THREADS`] are that many.
    pub fn io_threads(mut self, io_threads: usize) -> Self {
        self.io_threads = io_threads.min(MAX_IO_THREADS);
        self
    }

    /// Most sockets open at the same time; default [`DEFAULT_MAX_SOCKETS`].
    pub fn max_sockets(mut self, max_sockets: usize) -> Self {
        self.max_sockets = max_sockets;
        self
    }

    /// Most accepted connections in their handshakes at the same time, for each I/O thread; default
    /// [`DEFAULT_MAX_HANDSHAKES`], at least 1. When one more comes, that which has been at it for longest is closed: those
    /// that say nothing keep nobody out.
    pub fn max_handshakes(mut self, max_handshakes: usize) -> Self {
        self.max_handshakes = max_handshakes.max(1);
        self
    }

    /// Has each I/O thread call this first, with its number: to give it a name, a priority or processors of its own, by the
    /// system's means. It must not panic.
    pub fn on_io_thread_start(mut self, begin: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.thread_start = Some(ThreadStart(Arc::new(begin)));
        self
    }

    /// Makes the context.
    pub fn build(self) -> Context {
        crate::sys::settle_allocator();
        let inner = Inner {
            settings: self,
            state: Mutex::default(),
            changed: Condvar::new(),
            inproc: Mutex::default(),
            authenticator: Mutex::default(),
        };
        Context(Arc::new(Handle(Arc::new(inner))))
    }
}

pub(crate) struct Inner {
    settings: ContextBuilder,
    state: Mutex<State>,
    changed: Condvar,
    pub(crate) inproc: Mutex<Registry>,
    authenticator: Mutex<Option<Authenticator>>,
}

#[derive(Default)]
struct State {
    terminated: bool,
    reactors: Vec<Arc<Reactor>>,
    next_reactor: usize,
    /// Sockets that are open.
    sockets: HashMap<u64, Weak<Core>>,
    next_socket: u64,
    /// The endpoints of closed sockets (or those removed) that still have messages to deliver, under numbers of their own.
    lingering: HashMap<u64, String>,
    next_lingering: u64,
}

impl State {
    fn is_over(&self) -> bool {
        self.sockets.is_empty() && self.lingering.is_empty()
    }
}

/// What the end of a context waits for, for people.
fn waited_for(sockets: &[Arc<Core>], mut lingering: Vec<String>) -> String {
    let open = sockets.iter().map(|core| match &core.endpoints.lock().last {
        last if last.is_empty() => core.socket_type.to_string(),
        last => format!("{} ({last})", core.socket_type),
    });
    lingering.sort_unstable();
    lingering.dedup();
    let mut parts = Vec::new();
    for (what, names) in [("open sockets", open.collect()), ("messages queued for", lingering)] {
        if !names.is_empty() {
            let more = if names.len() > MOST_NAMED { ", and others" } else { "" };
            parts.push(format!("{what}: {}{more}", names[..names.len().min(MOST_NAMED)].join(", ")));
        }
    }
    format!("the context has not ended in time; {}", parts.join("; "))
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

impl Context {
    /// A context with one I/O thread.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A context with other settings.
    pub fn builder() -> ContextBuilder {
        ContextBuilder {
            io_threads: 1,
            max_sockets: DEFAULT_MAX_SOCKETS,
            max_handshakes: DEFAULT_MAX_HANDSHAKES,
            thread_start: None,
        }
    }

    /// Makes a socket.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`] after [`Context::shutdown`], [`ErrorKind::TooManySockets`] at the limit,
    /// [`ErrorKind::InvalidArgument`] for a type that this version lacks.
    pub fn socket(&self, socket_type: SocketType) -> Result<Socket> {
        let inner = &self.0.0;
        let id = {
            let mut state = inner.state.lock();
            if state.terminated {
                return Err(ErrorKind::Terminated.into());
            }
            if state.sockets.len() >= inner.settings.max_sockets {
                let why = format!("the context's limit of {} open sockets is reached", inner.settings.max_sockets);
                return Err(Error::new(ErrorKind::TooManySockets, why));
            }
            state.next_socket += 1;
            let id = state.next_socket;
            state.sockets.insert(id, Weak::new()); // counts from now on, for whoever makes one at the same time
            id
        };
        let core = Core::new(Arc::clone(inner), id, socket_type).inspect_err(|_| inner.socket_closed(id))?;
        let mut state = inner.state.lock();
        state.sockets.insert(id, Arc::downgrade(&core));
        let terminated = state.terminated;
        drop(state);
        if terminated {
            core.terminate();
        }
        Ok(Socket::new(core))
    }

    /// Lets `authenticator` decide about every peer that a socket of this context asks about: those of PLAIN and CURVE
    /// servers, and of NULL where a [domain](crate::Socket::set_zap_domain) is set. It takes the place of an earlier
    /// one, and comes before a ZAP handler bound to `inproc://zeromq.zap.01`, which is asked where there is none.
    ///
    /// It is called on the I/O thread, so it must not wait for anything: to take its time it hands the request to
    /// another thread or task. If it panics, the peer is refused.
    ///
    /// ```
    /// use oxzmq::{Context, Credentials};
    ///
    /// let context = Context::new();
    /// context.set_authenticator(|request| match request.credentials() {
    ///     Credentials::Curve(key) if key.to_string().starts_with("Yne@") => request.accept("the one we know"),
    ///     _ => request.refuse(),
    /// });
    /// ```
    pub fn set_authenticator(&self, authenticator: impl Fn(AuthRequest) + Send + Sync + 'static) {
        *self.0.0.authenticator.lock() = Some(Arc::new(authenticator));
    }

    /// Makes every waiting and later call on the context's sockets fail with [`ErrorKind::Terminated`], so
    /// that the threads that use them can close them. Does not wait. May be called more than once.
    pub fn shutdown(&self) {
        let sockets: Vec<_> = {
            let mut state = self.0.0.state.lock();
            state.terminated = true;
            state.sockets.values().filter_map(Weak::upgrade).collect()
        };
        for socket in sockets {
            socket.terminate();
        }
    }

    /// Shuts the context down and waits until every socket is closed and what closed sockets had queued is
    /// delivered or their linger time is over (`zmq_ctx_term(3)`).
    pub fn term(&self) {
        self.shutdown();
        let _ = self.end(None);
    }

    /// As [`Context::term`], for up to `timeout`. When that is not enough, the error says what is waited for: the sockets
    /// that are still open, and the endpoints for which messages are still queued. It may be called again.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`].
    pub fn term_within(&self, timeout: Duration) -> Result<()> {
        self.shutdown();
        self.end(Instant::now().checked_add(timeout))
    }

    fn end(&self, deadline: Option<Instant>) -> Result<()> {
        let inner = &self.0.0;
        let mut state = inner.state.lock();
        while !state.is_over() {
            match deadline {
                None => inner.changed.wait(&mut state),
                Some(deadline) => {
                    if inner.changed.wait_until(&mut state, deadline).timed_out() && !state.is_over() {
                        let sockets: Vec<_> = state.sockets.values().filter_map(Weak::upgrade).collect();
                        let lingering: Vec<_> = state.lingering.values().cloned().collect();
                        drop(state);
                        return Err(Error::new(ErrorKind::TimedOut, waited_for(&sockets, lingering)));
                    }
                }
            }
        }
        drop(state);
        inner.stop();
        Ok(())
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.0.0.state.lock();
        f.debug_struct("Context")
            .field("sockets", &state.sockets.len())
            .field("terminated", &state.terminated)
            .finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        while !state.lingering.is_empty() {
            self.0.changed.wait(&mut state);
        }
        let unused = state.sockets.is_empty();
        drop(state);
        if unused {
            self.0.stop();
        }
    }
}

impl Inner {
    /// The I/O thread for a socket's connections: one of those in the bit mask, if that has any bit.
    pub(crate) fn reactor(&self, affinity: u64) -> Result<Arc<Reactor>> {
        let mut state = self.state.lock();
        let threads = self.settings.io_threads;
        let allowed = |&index: &usize| affinity == 0 || (index < 64 && affinity >> index & 1 == 1);
        if threads == 0 {
            let why = "the context has no I/O threads: only inproc endpoints work";
            return Err(Error::new(ErrorKind::NoIoThread, why));
        }
        let next = state.next_reactor;
        let Some(index) = (next..next + threads).map(|index| index % threads).find(allowed) else {
            let why = format!("the affinity {affinity:#x} names none of the context's {threads} I/O threads");
            return Err(Error::new(ErrorKind::NoIoThread, why));
        };
        while state.reactors.len() <= index {
            let reactor =
                Reactor::start(state.reactors.len(), self.settings.max_handshakes, self.settings.thread_start.clone())
                    .map_err(|error| Error::from_os(&error, "cannot start an I/O thread"))?;
            state.reactors.push(reactor);
        }
        state.next_reactor = (index + 1) % threads;
        Ok(Arc::clone(&state.reactors[index]))
    }

    pub(crate) fn authenticator(&self) -> Option<Authenticator> {
        self.authenticator.lock().clone()
    }

    /// A socket of the library's own: it counts for no limit, and nobody waits for its end.
    pub(crate) fn internal_socket(self: &Arc<Self>, socket_type: SocketType) -> Result<Socket> {
        let id = {
            let mut state = self.state.lock();
            state.next_socket += 1;
            state.next_socket
        };
        Core::new(Arc::clone(self), id, socket_type).map(Socket::new)
    }

    pub(crate) fn socket_closed(&self, id: u64) {
        self.state.lock().sockets.remove(&id);
        self.changed.notify_all();
    }

    /// Something lingers for as long as the result lives.
    pub(crate) fn linger(self: &Arc<Self>, endpoint: &str) -> Lingering {
        let mut state = self.state.lock();
        state.next_lingering += 1;
        let number = state.next_lingering;
        state.lingering.insert(number, endpoint.to_owned());
        Lingering(Arc::clone(self), number)
    }

    fn stop(&self) {
        let reactors = std::mem::take(&mut self.state.lock().reactors);
        for reactor in reactors {
            reactor.stop();
            reactor.join();
        }
    }
}

/// What [`Context::term`] waits for.
pub(crate) struct Lingering(Arc<Inner>, u64);

impl Drop for Lingering {
    fn drop(&mut self) {
        self.0.state.lock().lingering.remove(&self.1);
        self.0.changed.notify_all();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Sockets that outlived every context handle: nobody is left to wait for the threads.
        for reactor in std::mem::take(&mut self.state.get_mut().reactors) {
            reactor.stop();
        }
    }
}
