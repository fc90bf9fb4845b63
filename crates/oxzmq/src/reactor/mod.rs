//! An I/O thread: accepts, connects, shakes hands, keeps the timers, and drives every connection that no
//! application thread is driving.
//!
//! Others talk to it through an inbox. It is woken at most once for any number of commands: the flag
//! `asleep` is set under the inbox's lock before it waits, and the command that finds it set clears it
//! and wakes.

mod connecting;
mod handshaking;
mod parting;
mod pending;
mod proxying;
mod relaying;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::io::Errno;

use self::connecting::{Connecting, attempt_failed};
pub(crate) use self::handshaking::attach_session;
use self::handshaking::{From, Handshaking, handshake_failed};
pub(crate) use self::parting::Parting;
use self::pending::Pending;
use self::proxying::Proxying;
use self::relaying::Relay;
use crate::connector::Connector;
use crate::context::ThreadStart;
use crate::core::lease;
use crate::core::spin::{self, Spin};
use crate::core::{Core, Net};
use crate::datagrams::Datagrams;
use crate::listener::{Accepted, Listener};
use crate::monitor::{Event, EventKind};
use crate::security::Decision;
use crate::session::{Gathered, Session};
use crate::sys::{self, Events, Interest, PollSet, WakeFd};
use crate::transport;

const WAKE_TOKEN: u64 = u64::MAX;
/// Tokens with this bit are sockets' poll sets; the rest are descriptors of the thread itself.
const CORE_BIT: u64 = 1 << 62;
const EVENTS_PER_WAIT: usize = 256;

/// How often connections whose messages gather are looked at: what a sender leaves behind waits for two of
/// these at most.
const REST_TICK: Duration = Duration::from_micros(100);

/// Pause after the system ran out of descriptors at accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

enum Command {
    AddCore(u64, Weak<Core>),
    Forget(u64),
    Leased(Weak<Core>),
    Hasten(Weak<Core>),
    Flush(Arc<Session>),
    WatchRest(Weak<Session>),
    Part(Parting),
    Listen(Arc<Listener>),
    Datagrams(Arc<Datagrams>),
    Connect(Arc<Connector>),
    Cancel(Arc<Connector>),
    Unlisten(Arc<Listener>),
    Resolved(Arc<Connector>, io::Result<Vec<SocketAddr>>),
    Timer(Instant, Timer),
    /// What was decided about the peer of the handshake with this number.
    Decided(u64, Decision),
    ZapAnswered(u64),
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
    pub(crate) fn start(index: usize, max_handshakes: usize, begin: Option<ThreadStart>) -> io::Result<Arc<Self>> {
        let set = PollSet::new()?;
        let wake = WakeFd::new()?;
        set.add_edge(&wake, WAKE_TOKEN)?;
        let reactor = Arc::new(Self { set, wake, inbox: Mutex::default(), thread: Mutex::new(None) });
        let worker = Worker::new(Arc::clone(&reactor), max_handshakes);
        let thread = thread::Builder::new().name(format!("oxzmq/io/{index}")).spawn(move || {
            if let Some(ThreadStart(begin)) = begin {
                begin(index);
            }
            worker.run();
        })?;
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

    /// A leased set is to be looked after sooner than it was said.
    pub(crate) fn hasten(&self, core: &Arc<Core>) {
        self.post(Command::Hasten(Arc::downgrade(core)));
    }

    pub(crate) fn flush(&self, session: Arc<Session>) {
        self.post(Command::Flush(session));
    }

    /// Looks after a connection whose messages gather in the sender's hands.
    pub(crate) fn watch_rest(&self, session: &Arc<Session>) {
        self.post(Command::WatchRest(Arc::downgrade(session)));
    }

    /// Closes a connection that has sent everything once its peer has seen the end.
    pub(crate) fn part(&self, parting: Parting) {
        self.post(Command::Part(parting));
    }

    pub(crate) fn listen(&self, listener: Arc<Listener>) {
        self.post(Command::Listen(listener));
    }

    pub(crate) fn watch_datagrams(&self, datagrams: &Arc<Datagrams>) {
        self.post(Command::Datagrams(Arc::clone(datagrams)));
    }

    /// Changes what a descriptor of the thread's own is watched for. Any thread may.
    pub(crate) fn watch_fd(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.set.modify(fd, token, interest)
    }

    pub(crate) fn forget_datagrams(&self, datagrams: &Arc<Datagrams>) {
        // By then it is closed.
        self.post(Command::Datagrams(Arc::clone(datagrams)));
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

    /// Somebody has decided about the peer of a handshake.
    pub(crate) fn decided(&self, handshake: u64, decision: Decision) {
        self.post(Command::Decided(handshake, decision));
    }

    /// A handshake's ZAP handler may have answered.
    pub(crate) fn zap_answered(&self, handshake: u64) {
        self.post(Command::ZapAnswered(handshake));
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
    Datagrams(Arc<Datagrams>),
    Connecting(Connecting),
    Proxying(Box<Proxying>),
    Handshaking(Box<Handshaking>),
    Parting(Parting),
    Relay(Box<Relay>),
    /// The session's side of the relay with this number.
    RelayInside(u64),
}

/// The thread's own state.
struct Worker {
    reactor: Arc<Reactor>,
    cores: HashMap<u64, Weak<Core>>,
    sources: HashMap<u64, Source>,
    next_token: u64,
    pending: Pending,
    timers: BTreeMap<(Instant, u64), Timer>,
    timer_sequence: u64,
    /// Leased poll sets, and when each is to be looked after.
    leases: Vec<(Weak<Core>, Instant)>,
    next_tick: Instant,
    /// Connections whose messages gather, and when each was last seen flushed.
    gathering: Vec<(Weak<Session>, Gathered)>,
    next_rest: Instant,
    spin: Spin,
}

impl Worker {
    fn new(reactor: Arc<Reactor>, max_handshakes: usize) -> Self {
        Self {
            reactor,
            cores: HashMap::new(),
            sources: HashMap::new(),
            next_token: 0,
            pending: Pending::new(max_handshakes),
            timers: BTreeMap::new(),
            timer_sequence: 0,
            leases: Vec::new(),
            next_tick: Instant::now(),
            gathering: Vec::new(),
            next_rest: Instant::now(),
            spin: Spin::default(),
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
            let looks = timeout != Some(Duration::ZERO) && self.spin.is_worthwhile();
            let found = looks && spin::look(|| self.reactor.set.look(&mut events));
            if looks {
                self.spin.tell(found);
            }
            if !found
                && let Err(error) = self.reactor.set.wait(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
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
                    let due = Instant::now() + lease::TICK;
                    if self.leases.is_empty() || due < self.next_tick {
                        self.next_tick = due;
                    }
                    self.leases.push((core, due));
                }
                Command::Hasten(core) => {
                    if let Some((_, due)) = self.leases.iter_mut().find(|(known, _)| known.ptr_eq(&core)) {
                        *due = (*due).min(Instant::now() + lease::TICK);
                        self.next_tick = self.next_tick.min(*due);
                    }
                }
                Command::Flush(session) => session.flush(),
                Command::WatchRest(session) => {
                    if self.gathering.is_empty() {
                        self.next_rest = Instant::now() + REST_TICK;
                    }
                    self.gathering.push((session, Gathered::default()));
                }
                Command::Listen(listener) => self.listen(listener),
                Command::Datagrams(datagrams) => self.datagrams(datagrams),
                Command::Connect(connector) => self.connect(connector),
                Command::Cancel(connector) => self.sources.retain(|_, source| match source {
                    Source::Connecting(attempt) => !Arc::ptr_eq(&attempt.connector, &connector),
                    Source::Proxying(attempt) => !Arc::ptr_eq(&attempt.connector, &connector),
                    Source::Handshaking(attempt) => {
                        !matches!(&attempt.from, From::Connector(own) if Arc::ptr_eq(own, &connector))
                    }
                    Source::Listener(_) | Source::Datagrams(_) | Source::Parting(_) => true,
                    Source::Relay(_) | Source::RelayInside(_) => true,
                }),
                Command::Unlisten(listener) => self.sources.retain(|_, source| match source {
                    Source::Listener(own) => !Arc::ptr_eq(own, &listener),
                    Source::Handshaking(attempt) => {
                        !matches!(&attempt.from, From::Listener(own) if Arc::ptr_eq(own, &listener))
                    }
                    Source::Datagrams(_) | Source::Connecting(_) | Source::Proxying(_) | Source::Parting(_) => true,
                    Source::Relay(_) | Source::RelayInside(_) => true,
                }),
                Command::Part(parting) => self.part(parting),
                Command::Resolved(connector, addresses) => self.resolved(connector, addresses),
                Command::Timer(at, timer) => self.add_timer(at, timer),
                Command::Decided(token, decision) => self.peer_decided(token, decision),
                Command::ZapAnswered(token) => self.zap_answered(token),
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
            self.tick(now);
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

    /// Looks after the leases that are due: all of a tick together, however many there are.
    fn tick(&mut self, now: Instant) {
        let mut next = None;
        self.leases.retain_mut(|(core, due)| {
            if *due <= now {
                let Some(wait) = core.upgrade().and_then(|core| core.lease_tick()) else { return false };
                *due = now + wait;
            }
            next = Some(next.map_or(*due, |next: Instant| next.min(*due)));
            true
        });
        self.next_tick = next.unwrap_or(now).max(now + lease::TICK);
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
                Some(Source::Proxying(attempt)) => attempt_failed(&attempt.connector, &Errno::TIMEDOUT.into(), None),
                Some(Source::Handshaking(attempt)) => handshake_failed(&attempt, &Errno::AGAIN.into()),
                Some(listener @ (Source::Listener(_) | Source::Datagrams(_))) => {
                    drop(self.sources.insert(token, listener))
                }
                Some(Source::Relay(relay)) => drop(self.sources.remove(&relay.inside_token())),
                Some(Source::Parting(_) | Source::RelayInside(_)) | None => {}
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
            Some(Source::Datagrams(datagrams)) => {
                datagrams.ready();
                // One that is closed is forgotten by a command of its own.
                self.sources.insert(token, Source::Datagrams(datagrams));
            }
            Some(Source::Connecting(attempt)) => self.connect_ended(attempt),
            Some(Source::Proxying(attempt)) => self.proxy_ready(token, *attempt),
            Some(Source::Handshaking(attempt)) => self.handshake_ready(token, attempt),
            Some(Source::Parting(parting)) => self.parting_ready(token, parting),
            Some(Source::Relay(relay)) => self.relay_ready(token, relay),
            Some(Source::RelayInside(outside)) => self.relay_inside_ready(token, outside),
            None => {}
        }
    }

    /// Begins to watch an endpoint of datagrams, or ends it.
    fn datagrams(&mut self, datagrams: Arc<Datagrams>) {
        let watched = datagrams.with_fd(|fd| {
            let token = self.add_source(fd, Interest::READ)?;
            datagrams.watched_as(fd, token).map(|()| token)
        });
        match watched {
            Some(Ok(token)) => drop(self.sources.insert(token, Source::Datagrams(datagrams))),
            Some(Err(error)) => tracing::error!(endpoint = datagrams.name, %error, "cannot watch for datagrams"),
            // Closed, and so out of the set as well.
            None => self
                .sources
                .retain(|_, source| !matches!(source, Source::Datagrams(own) if Arc::ptr_eq(own, &datagrams))),
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
            if !listener.options.accept_filter.admits(&socket) {
                let why = "the accept filter does not name the peer";
                listener.core.raise(Event::new(EventKind::AcceptFailed, &listener.name).peer(&peer).reason(why));
                continue;
            }
            listener.core.raise(Event::new(EventKind::Accepted, &listener.name).descriptor(&socket).peer(&peer));
            self.start_handshake(From::Listener(Arc::clone(&listener)), socket);
        }
        // A closed listener's descriptor is gone from the set.
        if listener.with_fd(|_| ()).is_some() {
            self.sources.insert(token, Source::Listener(listener));
        }
    }
}
