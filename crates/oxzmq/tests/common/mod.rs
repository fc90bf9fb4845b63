//! What the tests share: contexts under a watchdog, places to meet, and ways to wait until something is
//! true. Nothing here sleeps: a test waits for a message, an event or a thread, and the watchdog ends it when
//! that never comes.

#![allow(dead_code, unreachable_pub)] // every test file uses another part

use std::collections::HashMap;
use std::future::Future;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use oxzmq::{Context, ErrorKind, Event, EventKind, Message, Monitor, Socket, SocketType};

/// How long something may take that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long to listen for something that must *not* happen. Only ever makes a test weaker, never flaky.
pub const A_WHILE: Duration = Duration::from_millis(60);

/// Time after which a test counts as hung.
const HUNG: Duration = Duration::from_secs(45);

pub fn soon() -> Instant {
    Instant::now() + PATIENCE
}

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A number that no other test in this process has.
pub fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

// ---- the watchdog --------------------------------------------------------------------------------------

static RUNNING: LazyLock<Mutex<HashMap<u64, (String, Instant)>>> = LazyLock::new(|| {
    thread::spawn(|| {
        loop {
            thread::sleep(ms(500)); // the one sleep: nobody waits for it
            let running = RUNNING.lock().unwrap();
            if let Some((name, _)) = running.values().find(|(_, since)| since.elapsed() > HUNG) {
                // A hung thread cannot be ended, only its process.
                // Written past the capture of output, which would be lost with the process.
                let _ = writeln!(std::io::stderr(), "\ntest {name} has hung for {} s\n", HUNG.as_secs());
                std::process::abort();
            }
        }
    });
    Mutex::default()
});

/// Ends the process with a message when it lives too long.
pub struct Watchdog(u64);

impl Watchdog {
    pub fn start() -> Self {
        let id = unique();
        let name = thread::current().name().unwrap_or("?").to_owned();
        RUNNING.lock().unwrap().insert(id, (name, Instant::now()));
        Self(id)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        RUNNING.lock().unwrap().remove(&self.0);
    }
}

/// A context for one test, with a watchdog. Its sockets reconnect fast and do not linger, unless told.
pub struct TestContext {
    context: Context,
    _watchdog: Watchdog,
}

impl TestContext {
    pub fn new() -> Self {
        Self { _watchdog: Watchdog::start(), context: Context::new() }
    }

    pub fn socket(&self, socket_type: SocketType) -> Socket {
        let socket = self.context.socket(socket_type).unwrap();
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        socket.set_reconnect_interval(Some(ms(5))).unwrap();
        socket
    }

    /// A socket bound to a fresh loopback port, and its endpoint.
    pub fn bound(&self, socket_type: SocketType) -> (Socket, String) {
        let socket = self.socket(socket_type);
        let endpoint = socket.bind("tcp://127.0.0.1:*").unwrap();
        (socket, endpoint)
    }

    pub fn connected(&self, socket_type: SocketType, endpoint: &str) -> Socket {
        let socket = self.socket(socket_type);
        socket.connect(endpoint).unwrap();
        socket
    }

    /// Two sockets joined over `inproc://`, the first bound.
    pub fn inproc_pair(&self, bound: SocketType, connected: SocketType) -> (Socket, Socket) {
        self.pair(Transport::Inproc, bound, connected)
    }

    /// Two sockets joined, the first bound.
    pub fn pair(&self, transport: Transport, bound: SocketType, connected: SocketType) -> (Socket, Socket) {
        let (bound, connected) = (self.socket(bound), self.socket(connected));
        transport.join(&bound, &connected);
        (bound, connected)
    }
}

impl Deref for TestContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

// ---- places --------------------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Ipc,
    Ws,
    Inproc,
}

pub const TRANSPORTS: [Transport; 4] = [Transport::Tcp, Transport::Ipc, Transport::Ws, Transport::Inproc];
pub const NETWORKS: [Transport; 3] = [Transport::Tcp, Transport::Ipc, Transport::Ws];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    BindFirst,
    ConnectFirst,
}

/// An endpoint that is known, and nobody else's, before anybody binds it.
pub struct Place {
    endpoint: String,
    _keep: Keep,
}

enum Keep {
    /// A port bound and not listened at: the system gives it to nobody else, refuses connections to it, and
    /// lets a listener with SO_REUSEADDR have it.
    Port(socket2::Socket),
    Directory(TempDir),
    Nothing,
}

impl Place {
    pub fn new(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => {
                let (socket, address) = reserve_port();
                Self { endpoint: format!("tcp://{address}"), _keep: Keep::Port(socket) }
            }
            Transport::Ws => {
                let (socket, address) = reserve_port();
                Self { endpoint: format!("ws://{address}/"), _keep: Keep::Port(socket) }
            }
            Transport::Ipc => {
                let directory = TempDir::new();
                let path = directory.0.join("s");
                Self { endpoint: format!("ipc://{}", path.display()), _keep: Keep::Directory(directory) }
            }
            Transport::Inproc => Self { endpoint: format!("inproc://place-{}", unique()), _keep: Keep::Nothing },
        }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

/// A TCP port of this test's own, at which nobody listens.
pub fn reserve_port() -> (socket2::Socket, SocketAddr) {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

pub struct TempDir(pub PathBuf);

impl TempDir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("oxzmq-test-{}-{}", std::process::id(), unique()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Transport {
    /// Something to bind: the system chooses the rest.
    pub fn wildcard(self) -> String {
        match self {
            Self::Tcp => "tcp://127.0.0.1:*".to_owned(),
            Self::Ipc => "ipc://*".to_owned(),
            Self::Ws => "ws://127.0.0.1:*".to_owned(),
            Self::Inproc => format!("inproc://wildcard-{}", unique()),
        }
    }

    /// Binds one socket, connects the other, and waits until both know it. Returns the endpoint.
    pub fn join(self, bound: &Socket, connected: &Socket) -> String {
        let monitors = (bound.monitor().unwrap(), connected.monitor().unwrap());
        let endpoint = bound.bind(&self.wildcard()).unwrap();
        connected.connect(&endpoint).unwrap();
        if self != Self::Inproc {
            await_event(&monitors.0, EventKind::HandshakeSucceeded);
            await_event(&monitors.1, EventKind::HandshakeSucceeded);
        }
        endpoint
    }

    /// As [`Transport::join`], connecting before or after there is somebody to connect to.
    pub fn join_in(self, order: Order, bound: &Socket, connected: &Socket) -> Place {
        let place = Place::new(self);
        let monitors = (bound.monitor().unwrap(), connected.monitor().unwrap());
        match order {
            Order::BindFirst => {
                bound.bind(place.endpoint()).unwrap();
                connected.connect(place.endpoint()).unwrap();
            }
            Order::ConnectFirst => {
                connected.connect(place.endpoint()).unwrap();
                if self != Self::Inproc {
                    // A first attempt has failed by now.
                    await_event(&monitors.1, EventKind::ConnectRetried);
                }
                bound.bind(place.endpoint()).unwrap();
            }
        }
        if self != Self::Inproc {
            await_event(&monitors.0, EventKind::HandshakeSucceeded);
            await_event(&monitors.1, EventKind::HandshakeSucceeded);
        }
        place
    }
}

/// Connects to a bound network endpoint and waits until both ends know.
pub fn connect_and_wait(connected: &Socket, bound: &Socket, endpoint: &str) {
    let monitors = (bound.monitor().unwrap(), connected.monitor().unwrap());
    connected.connect(endpoint).unwrap();
    await_event(&monitors.0, EventKind::HandshakeSucceeded);
    await_event(&monitors.1, EventKind::HandshakeSucceeded);
}

// ---- waiting -------------------------------------------------------------------------------------------

/// Waits for an event of this kind and returns it; others are skipped.
pub fn await_event(monitor: &Monitor, kind: EventKind) -> Event {
    let mut seen = Vec::new();
    loop {
        match monitor.recv_deadline(soon()) {
            Ok(event) if event.kind == kind => return event,
            Ok(event) => seen.push(event),
            Err(_) => panic!("no {kind:?} came; before: {seen:#?}"),
        }
    }
}

/// Waits until `condition` holds, yielding the processor. For what no event announces.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = soon();
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        thread::yield_now();
    }
}

/// Whether `condition` comes to hold within this time. For what must *not* happen.
pub fn comes_true(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if condition() {
            return true;
        }
        thread::yield_now();
    }
    false
}

/// The next message; fails the test when none comes.
#[track_caller]
pub fn recv(socket: &Socket) -> Message {
    socket.recv_deadline(soon()).expect("a message")
}

/// The next message's frames as text.
#[track_caller]
pub fn recv_text(socket: &Socket) -> Vec<String> {
    text(&recv(socket))
}

pub fn text(message: &Message) -> Vec<String> {
    message.frames().iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect()
}

/// Sends; fails the test when that does not succeed in time.
#[track_caller]
pub fn send(socket: &Socket, message: impl Into<Message>) {
    socket.send_deadline(message, soon()).expect("sent");
}

/// Asserts that no message comes for a while.
#[track_caller]
pub fn assert_silent(socket: &Socket) {
    match socket.recv_deadline(Instant::now() + A_WHILE) {
        Ok(message) => panic!("unexpected message {message:?}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
    }
}

/// Every type there is.
pub fn socket_types() -> impl Iterator<Item = SocketType> {
    (0..=u8::MAX).map_while(SocketType::from_code)
}

/// Asserts that there is nothing to receive and a send would wait, or the like.
#[track_caller]
pub fn assert_kind<T: std::fmt::Debug, E: Into<oxzmq::Error>>(result: Result<T, E>, kind: ErrorKind) {
    match result {
        Ok(value) => panic!("expected {kind:?}, got {value:?}"),
        Err(error) => assert_eq!(error.into().kind(), kind),
    }
}

/// Sends numbered messages until the socket would block, and says how many it took.
pub fn fill(socket: &Socket) -> usize {
    fill_with(socket, |n| n.to_string().into())
}

pub fn fill_with(socket: &Socket, message: impl Fn(usize) -> Message) -> usize {
    for n in 0.. {
        match socket.try_send(message(n)) {
            Ok(()) => assert!(n < 2_000_000, "the socket takes messages without end"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return n;
            }
        }
    }
    unreachable!()
}

/// Whether a poller finds something to receive.
pub fn is_readable(socket: &Socket) -> bool {
    let mut poller = oxzmq::Poller::new();
    poller.add(socket, oxzmq::Interest::READABLE, 0);
    !poller.wait(Some(Duration::ZERO)).unwrap().is_empty()
}

/// Receives all there is now.
pub fn drain(socket: &Socket) -> Vec<Message> {
    std::iter::from_fn(|| socket.try_recv().ok()).collect()
}

/// Publishes probes until one arrives: from then on the subscriber gets everything. Leaves nothing behind.
pub fn await_subscription(publisher: &Socket, subscriber: &Socket) {
    let topic = format!("probe-{}-", unique());
    subscriber.subscribe(&topic).unwrap();
    let deadline = soon();
    for n in 0.. {
        assert!(Instant::now() < deadline, "the subscription never arrived");
        publisher.send(format!("{topic}{n}")).unwrap();
        let Ok(mut probe) = subscriber.recv_deadline(Instant::now() + ms(5)) else { continue };
        // Those sent behind it come, too.
        while probe.to_text_lossy() != format!("{topic}{n}") {
            probe = recv(subscriber);
        }
        break;
    }
    subscriber.unsubscribe(&topic).unwrap();
}

// ---- async without a runtime, and with one -------------------------------------------------------------

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future in this thread, parked while it waits.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = TaskContext::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        thread::park();
    }
}

/// Polls once with a waker that counts.
pub fn poll_once<F: Future>(future: std::pin::Pin<&mut F>, wakes: &Arc<CountWakes>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(wakes));
    future.poll(&mut TaskContext::from_waker(&waker))
}

#[derive(Default)]
pub struct CountWakes(AtomicU64);

impl CountWakes {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

// ---- a small generator for tests that do things at random ------------------------------------------------

/// Xorshift. Seeded, so that a failure can be repeated.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The address behind a `tcp://` or `ws://` endpoint.
pub fn address(endpoint: &str) -> SocketAddr {
    let (_, address) = endpoint.split_once("://").unwrap();
    address.split('/').next().unwrap().parse().unwrap()
}

/// A plain TCP client of an endpoint.
pub fn raw_client(endpoint: &str) -> TcpStream {
    let stream = TcpStream::connect(address(endpoint)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
