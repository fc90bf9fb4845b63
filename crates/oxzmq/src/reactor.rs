//! An I/O thread: accepts, connects, shakes hands, keeps the timers, and drives every connection that no
//! application thread is driving.
//!
//! Others talk to it through an inbox. It is woken at most once for any number of commands: the flag
//! `asleep` is set under the inbox's lock before it waits, and the command that finds it set clears it
//! and wakes.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oxzmq_proto::{Established, Handshake, HandshakeConfig, Kind, Message, ProtocolError, SocketType};
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::Socket;

use crate::connector::Connector;
use crate::core::{Core, Net};
use crate::endpoint::Endpoint;
use crate::listener::{Accepted, Listener};
use crate::monitor::{Event, EventKind};
use crate::options::Options;
use crate::peers::Peer;
use crate::queue::Queue;
use crate::session::{Codec, Origin, Session};
use crate::sys::{self, Events, Interest, PollSet, WakeFd};
use crate::transport;

const WAKE_TOKEN: u64 = u64::MAX;
/// Tokens with this bit are sockets' poll sets; the rest are descriptors of the thread itself.
const CORE_BIT: u64 = 1 << 62;
const EVENTS_PER_WAIT: usize = 256;

/// How often leased poll sets are looked after. Short enough that a socket whose thread went away is not
/// left alone for long; long enough to cost nothing next to the traffic that made the lease.
const LEASE_TICK: Duration = Duration::from_millis(1);

/// How often connections whose messages gather are looked at: what a sender leaves behind waits for two of
/// these at most.
const REST_TICK: Duration = Duration::from_micros(100);

/// Pause after the system ran out of descriptors at accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A handshake takes a few hundred bytes; more is read only as it is used up.
const HANDSHAKE_READ: usize = 4096;

enum Command {
    AddCore(u64, Weak<Core>),
    Forget(u64),
    Leased(Weak<Core>),
    Flush(Arc<Session>),
    WatchRest(Weak<Session>),
    Listen(Arc<Listener>),
    Connect(Arc<Connector>),
    Cancel(Arc<Connector>),
    Unlisten(Arc<Listener>),
    Resolved(Arc<Connector>, io::Result<Vec<SocketAddr>>),
    Timer(Instant, Timer),
    Stop,
}

enum Timer {
    Retry(Weak<Connector>),
    /// An attempt to connect or a handshake takes too long.
    Expire(u64),
    /// A listener that paused goes on.
    Accept(u64),
    /// `true` to send a PING, `false` only to look for silence.
    Heartbeat(Weak<Session>, bool),
    Linger(Weak<Session>),
}

#[derive(Default)]
struct Inbox {
    commands: Vec<Command>,
    asleep: bool,
}

/// The handle of an I/O thread.
pub(crate) struct Reactor {
    set: PollSet,
    wake: WakeFd,
    inbox: Mutex<Inbox>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Reactor {
    pub(crate) fn start(index: usize) -> io::Result<Arc<Self>> {
        let set = PollSet::new()?;
        let wake = WakeFd::new()?;
        set.add_edge(&wake, WAKE_TOKEN)?;
        let reactor = Arc::new(Self { set, wake, inbox: Mutex::default(), thread: Mutex::new(None) });
        let worker = Worker::new(Arc::clone(&reactor));
        let thread = thread::Builder::new().name(format!("oxzmq/io/{index}")).spawn(move || worker.run())?;
        *reactor.thread.lock() = Some(thread);
        Ok(reactor)
    }

    fn post(&self, command: Command) {
        let mut inbox = self.inbox.lock();
        inbox.commands.push(command);
        let wake = std::mem::take(&mut inbox.asleep);
        drop(inbox);
        if wake {
            self.wake.wake();
        }
    }

    /// Adds a socket's poll set, watched by the I/O thread.
    pub(crate) fn add(&self, core: &Arc<Core>, net: &Net) -> io::Result<()> {
        self.post(Command::AddCore(core.id, Arc::downgrade(core)));
        self.set.add(&net.set, core.id | CORE_BIT, Interest::READ)
    }

    /// Has the I/O thread watch a socket's poll set, or leave it alone. False when that is not possible and
    /// nothing has changed.
    pub(crate) fn watch(&self, core: &Core, net: &Net, on: bool) -> bool {
        let interest = if on { Interest::READ } else { Interest::NONE };
        self.set.modify(&net.set, core.id | CORE_BIT, interest).is_ok()
    }

    pub(crate) fn forget(&self, core_id: u64) {
        self.post(Command::Forget(core_id));
    }

    /// A socket's poll set was leased: look after it until it comes back.
    pub(crate) fn leased(&self, core: &Arc<Core>) {
        self.post(Command::Leased(Arc::downgrade(core)));
    }

    pub(crate) fn flush(&self, session: Arc<Session>) {
        self.post(Command::Flush(session));
    }

    /// Looks after a connection whose messages gather in the sender's hands.
    pub(crate) fn watch_rest(&self, session: &Arc<Session>) {
        self.post(Command::WatchRest(Arc::downgrade(session)));
    }

    pub(crate) fn listen(&self, listener: Arc<Listener>) {
        self.post(Command::Listen(listener));
    }

    pub(crate) fn connect(&self, connector: Arc<Connector>) {
        self.post(Command::Connect(connector));
    }

    pub(crate) fn cancel(&self, connector: &Arc<Connector>) {
        self.post(Command::Cancel(Arc::clone(connector)));
    }

    /// Forgets a closed listener and the connections that were still shaking hands with it.
    pub(crate) fn unlisten(&self, listener: Arc<Listener>) {
        self.post(Command::Unlisten(listener));
    }

    fn timer(&self, after: Duration, timer: Timer) {
        // A time beyond what the clock can say is never.
        if let Some(at) = Instant::now().checked_add(after) {
            self.post(Command::Timer(at, timer));
        }
    }

    pub(crate) fn retry_after(&self, connector: &Arc<Connector>, wait: Duration) {
        self.timer(wait, Timer::Retry(Arc::downgrade(connector)));
    }

    pub(crate) fn heartbeat_at(&self, session: &Arc<Session>, after: Duration) {
        self.timer(after, Timer::Heartbeat(Arc::downgrade(session), false));
    }

    pub(crate) fn linger_until(&self, session: &Arc<Session>, after: Duration) {
        self.timer(after, Timer::Linger(Arc::downgrade(session)));
    }

    /// Ends the thread after the commands posted so far.
    pub(crate) fn stop(&self) {
        self.post(Command::Stop);
    }

    /// Waits for the thread's end. Does nothing on the thread itself.
    pub(crate) fn join(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// A descriptor that the thread itself watches.
enum Source {
    Listener(Arc<Listener>),
    Connecting(Connecting),
    Handshaking(Box<Handshaking>),
}

/// A connection attempt under way.
struct Connecting {
    connector: Arc<Connector>,
    fd: OwnedFd,
    /// Further addresses of the same host name.
    others: Vec<SocketAddr>,
}

enum From {
    Listener(Arc<Listener>),
    Connector(Arc<Connector>),
}

impl From {
    fn core(&self) -> &Arc<Core> {
        match self {
            Self::Listener(listener) => &listener.core,
            Self::Connector(connector) => &connector.core,
        }
    }

    fn options(&self) -> &Options {
        match self {
            Self::Listener(listener) => &listener.options,
            Self::Connector(connector) => &connector.options,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Listener(listener) => &listener.name,
            Self::Connector(connector) => &connector.name,
        }
    }

    /// The application has closed the endpoint meanwhile.
    fn is_closed(&self) -> bool {
        match self {
            Self::Listener(listener) => listener.with_fd(|_| ()).is_none(),
            Self::Connector(connector) => connector.is_stopped(),
        }
    }
}

struct Handshaking {
    from: From,
    fd: OwnedFd,
    handshake: Handshake,
    interest: Interest,
    address: Bytes,
    peer: String,
}

enum HandshakeEnd {
    Wait,
    Done(Vec<u8>),
    Failed(io::Error),
    Refused(ProtocolError),
}

/// The thread's own state.
struct Worker {
    reactor: Arc<Reactor>,
    cores: HashMap<u64, Weak<Core>>,
    sources: HashMap<u64, Source>,
    next_token: u64,
    timers: BTreeMap<(Instant, u64), Timer>,
    timer_sequence: u64,
    leases: Vec<Weak<Core>>,
    next_tick: Instant,
    /// Connections whose messages gather, and when each was last seen flushed.
    gathering: Vec<(Weak<Session>, u64)>,
    next_rest: Instant,
}

impl Worker {
    fn new(reactor: Arc<Reactor>) -> Self {
        Self {
            reactor,
            cores: HashMap::new(),
            sources: HashMap::new(),
            next_token: 0,
            timers: BTreeMap::new(),
            timer_sequence: 0,
            leases: Vec::new(),
            next_tick: Instant::now(),
            gathering: Vec::new(),
            next_rest: Instant::now(),
        }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_WAIT);
        loop {
            if !self.handle_commands() {
                return;
            }
            let timeout = self.run_timers();
            let timeout = {
                let mut inbox = self.reactor.inbox.lock();
                inbox.asleep = inbox.commands.is_empty();
                if inbox.asleep { timeout } else { Some(Duration::ZERO) }
            };
            if let Err(error) = self.reactor.set.wait(&mut events, timeout) {
                tracing::error!(%error, "an I/O thread cannot wait for its descriptors");
            }
            self.reactor.inbox.lock().asleep = false;
            for event in &events {
                let ready = sys::ready(event);
                if ready.token == WAKE_TOKEN {
                    continue;
                }
                if ready.token & CORE_BIT != 0 {
                    if let Some(core) = self.cores.get(&(ready.token & !CORE_BIT)).and_then(Weak::upgrade) {
                        core.drive_ready();
                    }
                } else {
                    self.source_ready(ready.token);
                }
            }
        }
    }

    /// False when the thread is to end.
    fn handle_commands(&mut self) -> bool {
        let commands = std::mem::take(&mut self.reactor.inbox.lock().commands);
        for command in commands {
            match command {
                Command::AddCore(id, core) => drop(self.cores.insert(id, core)),
                Command::Forget(id) => drop(self.cores.remove(&id)),
                Command::Leased(core) => {
                    if self.leases.is_empty() {
                        self.next_tick = Instant::now() + LEASE_TICK;
                    }
                    if !self.leases.iter().any(|known| known.ptr_eq(&core)) {
                        self.leases.push(core);
                    }
                }
                Command::Flush(session) => session.flush(),
                Command::WatchRest(session) => {
                    if self.gathering.is_empty() {
                        self.next_rest = Instant::now() + REST_TICK;
                    }
                    self.gathering.push((session, 0));
                }
                Command::Listen(listener) => self.listen(listener),
                Command::Connect(connector) => self.connect(connector),
                Command::Cancel(connector) => self.sources.retain(|_, source| match source {
                    Source::Connecting(attempt) => !Arc::ptr_eq(&attempt.connector, &connector),
                    Source::Handshaking(attempt) => {
                        !matches!(&attempt.from, From::Connector(own) if Arc::ptr_eq(own, &connector))
                    }
                    Source::Listener(_) => true,
                }),
                Command::Unlisten(listener) => self.sources.retain(|_, source| match source {
                    Source::Listener(own) => !Arc::ptr_eq(own, &listener),
                    Source::Handshaking(attempt) => {
                        !matches!(&attempt.from, From::Listener(own) if Arc::ptr_eq(own, &listener))
                    }
                    Source::Connecting(_) => true,
                }),
                Command::Resolved(connector, addresses) => self.resolved(connector, addresses),
                Command::Timer(at, timer) => self.add_timer(at, timer),
                Command::Stop => return false,
            }
        }
        true
    }

    // ---- timers ----------------------------------------------------------------------------------------

    fn add_timer(&mut self, at: Instant, timer: Timer) {
        self.timer_sequence += 1;
        self.timers.insert((at, self.timer_sequence), timer);
    }

    fn expire_after(&mut self, token: u64, after: Option<Duration>) {
        if let Some(at) = after.and_then(|after| Instant::now().checked_add(after)) {
            self.add_timer(at, Timer::Expire(token));
        }
    }

    /// Runs what is due and returns how long until the next is.
    fn run_timers(&mut self) -> Option<Duration> {
        if self.timers.is_empty() && self.leases.is_empty() && self.gathering.is_empty() {
            return None;
        }
        let now = Instant::now();
        while let Some(entry) = self.timers.first_entry()
            && entry.key().0 <= now
        {
            let timer = entry.remove();
            self.run_timer(timer);
        }
        if !self.leases.is_empty() && now >= self.next_tick {
            self.next_tick = now + LEASE_TICK;
            self.leases.retain(|core| core.upgrade().is_some_and(|core| core.lease_tick()));
        }
        if !self.gathering.is_empty() && now >= self.next_rest {
            self.next_rest = now + REST_TICK;
            self.gathering.retain_mut(|(session, seen)| {
                let next = session.upgrade().and_then(|session| session.deferred_tick(*seen));
                next.map(|flushed| *seen = flushed).is_some()
            });
        }
        let timer = self.timers.first_key_value().map(|((at, _), _)| *at);
        let tick = (!self.leases.is_empty()).then_some(self.next_tick);
        let rest = (!self.gathering.is_empty()).then_some(self.next_rest);
        let next = timer.into_iter().chain(tick).chain(rest).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn run_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Retry(connector) => {
                if let Some(connector) = connector.upgrade() {
                    self.connect(connector);
                }
            }
            Timer::Expire(token) => match self.sources.remove(&token) {
                Some(Source::Connecting(attempt)) => self.connect_failed(attempt, &Errno::TIMEDOUT.into()),
                Some(Source::Handshaking(attempt)) => handshake_failed(&attempt, &Errno::AGAIN.into()),
                Some(listener @ Source::Listener(_)) => drop(self.sources.insert(token, listener)),
                None => {}
            },
            Timer::Accept(token) => {
                if let Some(Source::Listener(listener)) = self.sources.get(&token) {
                    listener.with_fd(|fd| self.reactor.set.modify(fd, token, Interest::READ));
                }
            }
            Timer::Heartbeat(session, ping) => {
                if let Some(session) = session.upgrade()
                    && session.heartbeat(ping)
                    && ping
                    && let Some(at) = session.heartbeat_interval().and_then(|ivl| Instant::now().checked_add(ivl))
                {
                    self.add_timer(at, Timer::Heartbeat(Arc::downgrade(&session), true));
                }
            }
            Timer::Linger(session) => {
                if let Some(session) = session.upgrade() {
                    session.finish();
                }
            }
        }
    }

    // ---- descriptors -----------------------------------------------------------------------------------

    fn add_source(&mut self, fd: impl AsFd, interest: Interest) -> io::Result<u64> {
        self.next_token += 1;
        self.reactor.set.add(fd, self.next_token, interest)?;
        Ok(self.next_token)
    }

    fn source_ready(&mut self, token: u64) {
        match self.sources.remove(&token) {
            Some(Source::Listener(listener)) => self.accept(token, listener),
            Some(Source::Connecting(attempt)) => self.connect_ended(attempt),
            Some(Source::Handshaking(attempt)) => self.handshake_ready(token, attempt),
            None => {}
        }
    }

    fn listen(&mut self, listener: Arc<Listener>) {
        self.next_token += 1;
        let token = self.next_token;
        match listener.with_fd(|fd| self.reactor.set.add(fd, token, Interest::READ)) {
            Some(Ok(())) => drop(self.sources.insert(token, Source::Listener(listener))),
            Some(Err(error)) => {
                tracing::error!(endpoint = listener.name, %error, "cannot watch a bound endpoint; closing it");
                listener.close();
            }
            None => {}
        }
    }

    fn accept(&mut self, token: u64, listener: Arc<Listener>) {
        let accepted = match listener.accept() {
            Accepted::All(accepted) => accepted,
            Accepted::Exhausted(accepted) => {
                listener.with_fd(|fd| self.reactor.set.modify(fd, token, Interest::NONE));
                self.add_timer(Instant::now() + ACCEPT_PAUSE, Timer::Accept(token));
                accepted
            }
        };
        for socket in accepted {
            let (_, peer) = transport::describe_peer(&socket);
            listener.core.raise(Event::new(EventKind::Accepted, &listener.name).peer(&peer));
            self.start_handshake(From::Listener(Arc::clone(&listener)), socket);
        }
        // A closed listener's descriptor is gone from the set.
        if listener.with_fd(|_| ()).is_some() {
            self.sources.insert(token, Source::Listener(listener));
        }
    }

    // ---- connecting ------------------------------------------------------------------------------------

    fn connect(&mut self, connector: Arc<Connector>) {
        if connector.is_stopped() {
            return;
        }
        match &connector.endpoint {
            Endpoint::Ipc(ipc) => {
                let made = transport::connect_ipc(ipc);
                match made {
                    Ok(fd) => self.connected(connector, fd),
                    Err(error) => attempt_failed(&connector, &error),
                }
            }
            Endpoint::Tcp(tcp) => match tcp.target.host.literal(tcp.target.port, connector.options.ipv6) {
                Some(address) => self.connect_to(connector, vec![address]),
                None => self.resolve(connector),
            },
            Endpoint::Inproc(_) => {}
        }
    }

    /// Looks the name up in a thread of its own: a slow resolver holds up this connection and no other.
    fn resolve(&self, connector: Arc<Connector>) {
        let reactor = Arc::clone(&self.reactor);
        let lookup = Arc::clone(&connector);
        let spawned = thread::Builder::new().name("oxzmq/resolve".to_owned()).spawn(move || {
            if let Endpoint::Tcp(tcp) = &lookup.endpoint
                && let crate::endpoint::Host::Name(name) = &tcp.target.host
            {
                let found = transport::resolve(name, tcp.target.port, lookup.options.ipv6);
                reactor.post(Command::Resolved(lookup, found));
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(endpoint = connector.name, %error, "cannot start a thread to look up a name; trying again");
            connector.retry();
        }
    }

    fn resolved(&mut self, connector: Arc<Connector>, addresses: io::Result<Vec<SocketAddr>>) {
        match addresses {
            Ok(mut addresses) => {
                addresses.reverse(); // taken from the back
                self.connect_to(connector, addresses);
            }
            Err(error) => {
                tracing::debug!(endpoint = connector.name, %error, "cannot resolve the name; trying again");
                connector.retry();
            }
        }
    }

    /// Tries the last of `addresses`, then the others.
    fn connect_to(&mut self, connector: Arc<Connector>, mut addresses: Vec<SocketAddr>) {
        let mut failure = io::Error::from(Errno::ADDRNOTAVAIL);
        while let Some(address) = addresses.pop() {
            if connector.is_stopped() {
                return;
            }
            let Endpoint::Tcp(tcp) = &connector.endpoint else { return };
            let source = tcp.source.clone();
            let started = transport::connect_tcp(address, source.as_ref(), &connector.options)
                .and_then(|fd| self.add_source(&fd, Interest::WRITE).map(|token| (fd, token)));
            match started {
                Ok((fd, token)) => {
                    connector.core.raise(
                        Event::new(EventKind::ConnectDelayed, &connector.name)
                            .value(Errno::INPROGRESS.raw_os_error().unsigned_abs()),
                    );
                    self.expire_after(token, connector.options.connect_timeout.filter(|t| !t.is_zero()));
                    self.sources.insert(token, Source::Connecting(Connecting { connector, fd, others: addresses }));
                    return;
                }
                Err(error) => failure = error,
            }
        }
        attempt_failed(&connector, &failure);
    }

    fn connect_ended(&mut self, attempt: Connecting) {
        let _ = self.reactor.set.remove(&attempt.fd);
        match transport::connect_result(&attempt.fd) {
            Ok(()) => self.connected(attempt.connector, attempt.fd),
            Err(error) => self.connect_failed(attempt, &error),
        }
    }

    fn connect_failed(&mut self, attempt: Connecting, error: &io::Error) {
        drop(attempt.fd);
        if attempt.others.is_empty() {
            attempt_failed(&attempt.connector, error);
        } else {
            self.connect_to(attempt.connector, attempt.others);
        }
    }

    fn connected(&mut self, connector: Arc<Connector>, fd: OwnedFd) {
        if connector.is_stopped() {
            return;
        }
        connector.core.raise(Event::new(EventKind::Connected, &connector.name));
        self.start_handshake(From::Connector(connector), Socket::from(fd));
    }

    // ---- handshakes ------------------------------------------------------------------------------------

    fn start_handshake(&mut self, from: From, socket: Socket) {
        let (address, peer) = transport::describe_peer(&socket);
        let fd = OwnedFd::from(socket);
        let core = from.core();
        if core.socket_type == SocketType::Stream {
            return self.establish_raw(&from, fd, address);
        }
        let options = from.options();
        let mut config = HandshakeConfig::new(core.socket_type);
        config.routing_id = options.routing_id.clone();
        config.metadata = options.metadata.clone();
        config.accept_legacy = options.accept_legacy;
        config.limits = options.limits();
        let limit = options.handshake_interval.filter(|interval| !interval.is_zero());
        match self.add_source(&fd, Interest::READ) {
            Ok(token) => {
                self.expire_after(token, limit);
                let handshake = Handshake::new(config);
                let attempt = Handshaking { from, fd, handshake, interest: Interest::READ, address, peer };
                self.handshake_ready(token, Box::new(attempt));
            }
            Err(error) => {
                let from = &from;
                from.core().raise(Event::new(EventKind::HandshakeFailed, from.name()).error(&error).peer(&peer));
                retry(from);
            }
        }
    }

    fn handshake_ready(&mut self, token: u64, mut attempt: Box<Handshaking>) {
        if attempt.from.is_closed() {
            return;
        }
        match attempt.step() {
            HandshakeEnd::Wait => {
                let write = !attempt.handshake.output().is_empty();
                let interest = Interest { read: true, write };
                if interest != attempt.interest {
                    let _ = self.reactor.set.modify(&attempt.fd, token, interest);
                    attempt.interest = interest;
                }
                self.sources.insert(token, Source::Handshaking(attempt));
            }
            HandshakeEnd::Done(leftover) => {
                let _ = self.reactor.set.remove(&attempt.fd);
                self.establish(*attempt, leftover);
            }
            HandshakeEnd::Failed(error) => handshake_failed(&attempt, &error),
            HandshakeEnd::Refused(error) => handshake_refused(&attempt, &error),
        }
    }

    fn establish(&mut self, attempt: Handshaking, leftover: Vec<u8>) {
        let Handshaking { from, fd, handshake, address, peer, .. } = attempt;
        let Established { encoder, mut decoder, peer_routing_id, properties, subscribes_to_all, .. } =
            handshake.finish();
        let core = Arc::clone(from.core());
        if core.socket_type == SocketType::Req {
            decoder.validate_replies();
        }
        let event = Event::new(EventKind::HandshakeSucceeded, from.name()).peer(&peer);
        let Some(session) = session_for(&from) else { return };
        let Some(id) = session.peer() else { return };
        let properties = Arc::new(transport::with_peer_address(&properties, address));
        core.link(id, &peer_routing_id, Some(properties));
        if subscribes_to_all && session.queues().1.push_over(Message::subscription(Kind::Subscribe, &b""[..])) {
            core.peer_readable(id);
        }
        core.raise(event);
        session.install(fd, Codec::Zmtp(Box::new(encoder), Box::new(decoder)), leftover);
        if let Some(at) = session.heartbeat_interval().and_then(|interval| Instant::now().checked_add(interval)) {
            self.add_timer(at, Timer::Heartbeat(Arc::downgrade(&session), true));
        }
    }

    fn establish_raw(&mut self, from: &From, fd: OwnedFd, address: Bytes) {
        let Some(session) = session_for(from) else { return };
        let Some(id) = session.peer() else { return };
        let properties = transport::with_peer_address(&oxzmq_proto::Properties::new(), address);
        from.core().link(id, &Bytes::new(), Some(Arc::new(properties)));
        session.install(fd, Codec::Raw, Vec::new());
    }
}

impl Handshaking {
    /// Writes and reads as much as goes.
    fn step(&mut self) -> HandshakeEnd {
        let mut buffer = [0; HANDSHAKE_READ];
        loop {
            if let Err(error) = self.write() {
                return HandshakeEnd::Failed(error);
            }
            if self.handshake.is_complete() {
                return if self.handshake.output().is_empty() {
                    HandshakeEnd::Done(Vec::new())
                } else {
                    HandshakeEnd::Wait
                };
            }
            let got = match rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => return HandshakeEnd::Failed(Errno::PIPE.into()),
                Ok((got, _)) => got,
                Err(Errno::AGAIN) => return HandshakeEnd::Wait,
                Err(Errno::INTR) => continue,
                Err(error) => return HandshakeEnd::Failed(error.into()),
            };
            match self.handshake.handle_input(&buffer[..got]) {
                Ok(used) if self.handshake.is_complete() => {
                    if let Err(error) = self.write() {
                        return HandshakeEnd::Failed(error);
                    }
                    // Our last command always fits an empty kernel buffer; a peer that made it not so by reading
                    // nothing is not worth waiting for.
                    if !self.handshake.output().is_empty() {
                        return HandshakeEnd::Failed(Errno::AGAIN.into());
                    }
                    return HandshakeEnd::Done(buffer[used..got].to_vec());
                }
                Ok(_) => {}
                Err(error) => {
                    // What the handshake still wanted to say (our READY, say) tells the peer why.
                    let _ = self.write();
                    return HandshakeEnd::Refused(error);
                }
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.handshake.output().is_empty() {
            match rustix::net::send(&self.fd, self.handshake.output(), SendFlags::NOSIGNAL) {
                Ok(written) => self.handshake.advance_output(written),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The session that a new connection belongs to; a new one unless its endpoint keeps one.
fn session_for(from: &From) -> Option<Arc<Session>> {
    match from {
        From::Connector(connector) => {
            connector.succeeded();
            if connector.keeps_peer() {
                return connector.session().filter(|session| !session.is_finished());
            }
            let session = new_session(from, Origin::Connector { connector: Arc::clone(connector), keep: false })?;
            connector.set_session(&session);
            Some(session)
        }
        From::Listener(listener) => {
            let origin = Origin::Accepted { listener: listener.id, endpoint: listener.name.clone() };
            new_session(from, origin)
        }
    }
}

fn new_session(from: &From, origin: Origin) -> Option<Arc<Session>> {
    attach_session(from.core(), from.options(), origin, Bytes::new())
}

/// Makes a session with its queues and peer and adds it to its socket; `None` when the socket is closed.
pub(crate) fn attach_session(
    core: &Arc<Core>,
    options: &Options,
    origin: Origin,
    routing_id: Bytes,
) -> Option<Arc<Session>> {
    // The high-water marks in force now: unlike the other options they are not copied by the endpoint.
    let (send_hwm, recv_hwm) = core.options(|now| (now.send_hwm as usize, now.recv_hwm as usize));
    let conflate = options.conflates(core.socket_type);
    let outbound = Arc::new(Queue::new(send_hwm, conflate));
    let inbound = Arc::new(Queue::new(recv_hwm, conflate));
    let queues = (Arc::clone(&outbound), Arc::clone(&inbound));
    let session = Session::new(Arc::clone(core), origin, options, queues);
    let far: Arc<dyn crate::peers::FarEnd> = Arc::clone(&session) as _;
    let mut peer = Peer::new(outbound, inbound, far, recv_hwm);
    peer.routing_id = routing_id;
    core.attach(peer, Some(Arc::clone(&session)))?;
    Some(session)
}

fn retry(from: &From) {
    if let From::Connector(connector) = from {
        connector.retry();
    }
}

fn attempt_failed(connector: &Arc<Connector>, error: &io::Error) {
    connector.core.raise(Event::new(EventKind::Closed, &connector.name).reason(error));
    connector.retry();
}

fn handshake_failed(attempt: &Handshaking, error: &io::Error) {
    let name = attempt.from.name();
    let core = attempt.from.core();
    core.raise(Event::new(EventKind::HandshakeFailed, name).error(error).peer(&attempt.peer));
    core.raise(Event::new(EventKind::Disconnected, name).peer(&attempt.peer));
    retry(&attempt.from);
}

fn handshake_refused(attempt: &Handshaking, error: &ProtocolError) {
    let name = attempt.from.name();
    let core = attempt.from.core();
    tracing::debug!(endpoint = name, peer = attempt.peer, %error, "handshake refused");
    let event = match error.auth_status() {
        Some(status) => Event::new(EventKind::HandshakeFailedAuth, name).value(status.into()),
        None => Event::new(EventKind::HandshakeFailedProtocol, name).value(error.event_code().unwrap_or(0)),
    };
    core.raise(event.reason(error).peer(&attempt.peer));
    core.raise(Event::new(EventKind::Disconnected, name).peer(&attempt.peer));
    if let From::Connector(connector) = &attempt.from {
        if !error.is_fatal_for_connecter() {
            return connector.retry();
        }
        connector.give_up();
        // Nothing will ever be delivered there: the peer's place goes to others.
        if let Some(session) = connector.session() {
            session.finish();
        }
    }
}
