//! One socket: its pattern and peers behind one lock, and the threads and tasks that wait for it.
//!
//! # Who does the I/O
//!
//! A socket with network endpoints has a poll set of its own that holds all its connections. Normally an
//! I/O thread watches that set (nested in its own) and drives whatever is ready. A thread that has to
//! wait in a call *leads* instead: it takes the set over (a *lease*: the I/O thread stops watching),
//! waits on it, reads and decodes itself, and so is woken by the kernel and by nobody else. The lease
//! outlives the call; the I/O thread takes the set back when its thread stays away for a while.
//!
//! At most one thread leads. Others that wait at the same time sleep on a condition variable, and one of
//! them is woken to lead when the leader returns to its caller.
//!
//! # Lock order
//!
//! A session's `tx`, then its `rx`, then the socket's state, then a queue. Nothing that takes one of the
//! first two runs under the state's lock: wake-ups are collected and run after it is released.

mod calls;
pub(crate) mod lease;
mod peering;
pub(crate) mod spin;
mod wait;
mod watch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use oxzmq_proto::{Message, SocketType};
use parking_lot::{Condvar, Mutex};

use self::lease::Lease;
use self::spin::Spin;
use self::watch::Watchers;
use crate::context;
use crate::endpoints::Endpoints;
use crate::error::{Error, ErrorKind, Result};
use crate::monitor::{self, Event};
use crate::options::Options;
use crate::pattern::{self, NotSent, Pattern};
use crate::peer_info::Unsent;
use crate::peers::{PeerId, Peers, Wake, Wakes};
use crate::reactor::Reactor;
use crate::session::Session;
use crate::sys::{PollSet, WakeFd};
use crate::wakers::Wakers;

/// Token of the wake-up descriptor in a socket's poll set; no [`PeerId`] has it.
const WAKE_TOKEN: u64 = u64::MAX;

pub(crate) struct Core {
    pub(crate) id: u64,
    pub(crate) socket_type: SocketType,
    pub(crate) context: Arc<context::Inner>,
    state: Mutex<State>,
    recv_cond: Condvar,
    send_cond: Condvar,
    watch_cond: Condvar,
    net: OnceLock<Net>,
    /// Changes whenever threads that wait are to look again: what those that have not gone to sleep yet wait for.
    /// Written under the state's lock. Read without it as a hint, and again under it before a thread goes to
    /// sleep, so the lock gives all the ordering there is.
    news: AtomicU32,
    /// The leader has returned from its wait and will look at the state, or at the news, before it waits again, so it need
    /// not be woken. Written by the leader alone; read under the state's lock, which the leader takes after
    /// writing `true` and held when it wrote `false`. That lock gives all the ordering there is.
    leader_awake: AtomicBool,
    /// Time in which the application was *not* sending, in nanoseconds: what tells a flood from single
    /// messages, however long the writing takes. Both are hints; any value is correct.
    idle_clock: AtomicU64,
    last_burst: AtomicU64,
    /// The owner has promised to flush; see [`Socket::set_gathering`](crate::Socket::set_gathering). A hint: a message
    /// sent while it changes is written at once or with the next flush.
    gathers: AtomicBool,
    /// An event loop drives the connections. A hint: whoever does not know it yet waits some microseconds too long.
    driven: AtomicBool,
    /// The I/O thread is not to leave the connections alone for long. A hint; see [`Core::watch_closely`].
    watched_closely: AtomicBool,
    pub(crate) endpoints: Mutex<Endpoints>,
    monitor: Mutex<Option<monitor::Sender>>,
}

/// What a socket has once it has a network endpoint.
pub(crate) struct Net {
    pub(crate) set: PollSet,
    wake: WakeFd,
    pub(crate) reactor: Arc<Reactor>,
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Want {
    pub(crate) recv: bool,
    pub(crate) send: bool,
}

impl Want {
    pub(crate) const RECV: Self = Self { recv: true, send: false };
    pub(crate) const SEND: Self = Self { recv: false, send: true };
}

/// How long a call may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Now,
    Deadline(Instant),
    Forever,
    /// As the socket's option says, which is only looked up by a call that has to wait.
    Option,
}

impl Until {
    fn after(timeout: Option<Duration>) -> Self {
        match timeout {
            Some(Duration::ZERO) => Self::Now,
            other => Self::within(other),
        }
    }

    /// The same, with the error of a time that is over also where there was none.
    pub(crate) fn within(timeout: Option<Duration>) -> Self {
        timeout.and_then(|timeout| Instant::now().checked_add(timeout)).map_or(Self::Forever, Self::Deadline)
    }

    /// Time left; an error when there is none.
    fn left(&mut self, option: impl FnOnce() -> Option<Duration>) -> Result<Option<Duration>> {
        if let Self::Option = self {
            *self = Self::after(option());
        }
        match *self {
            // After the lines above it is one of the others.
            Self::Option => Ok(None),
            Self::Now => Err(ErrorKind::WouldBlock.into()),
            Self::Forever => Ok(None),
            Self::Deadline(deadline) => match deadline.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => Ok(Some(left)),
                _ => Err(ErrorKind::TimedOut.into()),
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Terminated,
    Closed,
}

struct State {
    phase: Phase,
    peers: Peers,
    pattern: Box<dyn Pattern>,
    sessions: HashMap<u64, Arc<Session>>,
    /// Threads that wait on the condition variables.
    recv_sleepers: usize,
    send_sleepers: usize,
    /// Threads that look a little longer before they wait there; see [`spin`].
    spinners: usize,
    /// What the thread that waits on the poll set waits for.
    leader: Option<Want>,
    lease: Lease,
    recv_wakers: Wakers,
    send_wakers: Wakers,
    watchers: Watchers,
    spin: Spin,
    /// What was learned about reading without a look whether there is anything.
    direct: Spin,
    /// A signal has ended the wait of the thread that holds the lock now.
    interrupted: bool,
    /// Connections whose messages gather: flushed by the next thread that finds nothing to do.
    deferred: Vec<(PeerId, Arc<Session>)>,
    /// What the socket could not deliver before its time to linger was over.
    unsent: Vec<Unsent>,
}

impl State {
    fn only_session(&self) -> Option<Arc<Session>> {
        if self.sessions.len() == 1 { self.sessions.values().next().cloned() } else { None }
    }

    fn alive(&self) -> Result<()> {
        match self.phase {
            Phase::Open => Ok(()),
            Phase::Terminated => Err(ErrorKind::Terminated.into()),
            Phase::Closed => Err(ErrorKind::Closed.into()),
        }
    }
}

impl Core {
    pub(crate) fn new(context: Arc<context::Inner>, id: u64, socket_type: SocketType) -> Result<Arc<Self>> {
        let options = Options::new(socket_type);
        Ok(Arc::new(Self {
            id,
            socket_type,
            context,
            state: Mutex::new(State {
                phase: Phase::Open,
                peers: Peers::new(options),
                pattern: pattern::new(socket_type)?,
                sessions: HashMap::new(),
                recv_sleepers: 0,
                send_sleepers: 0,
                spinners: 0,
                leader: None,
                lease: Lease::default(),
                recv_wakers: Wakers::default(),
                send_wakers: Wakers::default(),
                watchers: Watchers::default(),
                spin: Spin::default(),
                direct: Spin::default(),
                interrupted: false,
                deferred: Vec::new(),
                unsent: Vec::new(),
            }),
            recv_cond: Condvar::new(),
            send_cond: Condvar::new(),
            watch_cond: Condvar::new(),
            net: OnceLock::new(),
            news: AtomicU32::new(0),
            leader_awake: AtomicBool::new(true),
            idle_clock: AtomicU64::new(0),
            last_burst: AtomicU64::new(0),
            gathers: AtomicBool::new(false),
            driven: AtomicBool::new(false),
            watched_closely: AtomicBool::new(false),
            endpoints: Mutex::new(Endpoints::default()),
            monitor: Mutex::new(None),
        }))
    }

    /// The network side, made with the first network endpoint.
    pub(crate) fn net(self: &Arc<Self>) -> Result<&Net> {
        if self.net.get().is_none() {
            let reactor = self.context.reactor(self.options(|options| options.affinity))?;
            let make = || -> std::io::Result<Net> {
                let set = PollSet::new()?;
                let wake = WakeFd::new()?;
                set.add_edge(&wake, WAKE_TOKEN)?;
                Ok(Net { set, wake, reactor })
            };
            let net = make().map_err(|error| Error::from_os(&error, "cannot watch connections"))?;
            let mut state = self.state.lock();
            if self.net.get().is_none() {
                net.reactor.add(self, &net).map_err(|error| Error::from_os(&error, "cannot watch connections"))?;
                let _ = self.net.set(net);
                // Threads that wait on the condition variables may lead from now on.
                self.signal_all(&mut state);
            }
        }
        self.net.get().ok_or_else(|| ErrorKind::Closed.into())
    }

    pub(crate) fn existing_net(&self) -> Option<&Net> {
        self.net.get()
    }

    pub(crate) fn options<T>(&self, read: impl FnOnce(&Options) -> T) -> T {
        read(&self.state.lock().peers.options)
    }

    /// Changes options; fails once the context is shut down. Whoever waits for what an option made impossible until now
    /// (a REQ that is not relaxed, a ROUTER that must not drop) is told.
    pub(crate) fn set_options(&self, write: impl FnOnce(&mut Options) -> Result<()>) -> Result<()> {
        self.update(|state| {
            state.alive()?;
            write(&mut state.peers.options)
        })
    }

    /// Applies changed high-water marks to the peers there are.
    pub(crate) fn apply_high_water_marks(&self) {
        self.update(|state| {
            let (send, recv) = (state.peers.options.send_hwm as usize, state.peers.options.recv_hwm as usize);
            for id in state.peers.ids().collect::<Vec<_>>() {
                state.peers.hand_over(id, false);
                let Some(peer) = state.peers.get_mut(id) else { continue };
                let (send, recv) = peer.far.capacities(send, recv);
                peer.set_recv_capacity(recv);
                if peer.inbound.set_capacity(recv) {
                    let far = Arc::clone(&peer.far);
                    state.peers.wake(Wake::Room(far));
                }
                let writable = state.peers.get(id).is_some_and(|peer| peer.outbound.set_capacity(send));
                if writable {
                    state.pattern.writable(&mut state.peers, id);
                }
            }
        });
    }

    pub(crate) fn check_alive(&self) -> Result<()> {
        self.state.lock().alive()
    }

    pub(crate) fn with_peers<T>(&self, read: impl FnOnce(&Peers) -> T) -> T {
        read(&self.state.lock().peers)
    }

    /// The context was shut down: every waiting and later call fails with `Terminated`.
    pub(crate) fn terminate(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Terminated;
        }
        self.signal_all(&mut state);
        let wakes = state.peers.take_wakes();
        drop(state);
        wakes.run();
        self.set_monitor(None);
    }

    /// Marks the socket closed and returns its peers' far ends, for the caller to close. False the second
    /// time.
    pub(crate) fn start_closing(self: &Arc<Self>) -> bool {
        let mut state = self.state.lock();
        if state.phase == Phase::Closed {
            return false;
        }
        state.phase = Phase::Closed;
        state.deferred.clear(); // closing flushes
        self.signal_all(&mut state);
        // Lingering is the I/O thread's work.
        if state.lease.leased
            && let Some(net) = self.net.get()
        {
            state.lease.leased = !net.reactor.watch(self, net, true);
        }
        for id in state.peers.ids().collect::<Vec<_>>() {
            if state.peers.get(id).is_some_and(|peer| peer.gone) {
                state.peers.remove(id);
            } else {
                state.peers.close(id);
            }
        }
        let wakes = state.peers.take_wakes();
        drop(state);
        wakes.run();
        true
    }

    pub(crate) fn set_monitor(&self, sender: Option<monitor::Sender>) {
        let before = std::mem::replace(&mut *self.monitor.lock(), sender);
        if let Some(before) = before {
            before.send(Event::stopped());
        }
    }

    pub(crate) fn raise(&self, event: Event) {
        // A copy, because the lock must be free by then: whoever is woken may use this very socket, or close it.
        let monitor = self.monitor.lock().clone();
        if let Some(monitor) = monitor {
            monitor.send(event);
        }
    }
}

/// What a thread does before it waits, with the socket's lock released.
struct Work {
    wakes: Wakes,
    deferred: Vec<(PeerId, Arc<Session>)>,
}

impl Work {
    fn run(self) {
        self.wakes.run();
        for (_, session) in self.deferred {
            session.flush();
        }
    }
}

impl State {
    /// What is left to do before this thread may wait; `None` when nothing is.
    fn take_work(&mut self) -> Option<Work> {
        let deferred = std::mem::take(&mut self.deferred);
        // Fetched, and not handed over: they are flushed by this very work. A wake-up would have them gather once more, in
        // turns with this, for ever.
        deferred.iter().for_each(|&(id, _)| self.peers.fetch(id));
        let work = Work { wakes: self.peers.take_wakes(), deferred };
        (!work.wakes.is_empty() || !work.deferred.is_empty()).then_some(work)
    }

    fn defer(&mut self, id: PeerId, session: Arc<Session>) {
        if !self.deferred.iter().any(|&(known, _)| known == id) {
            self.deferred.push((id, session));
        }
    }

    /// The error of a wait that a signal has ended, for sockets that want to know.
    #[inline]
    fn take_interruption(&mut self) -> Option<Error> {
        let interrupted = std::mem::take(&mut self.interrupted) && self.peers.options.interruptible;
        interrupted.then(|| ErrorKind::Interrupted.into())
    }

    #[inline]
    fn pattern_recv(&mut self, message: &mut Message, bare: bool) -> Result<bool> {
        self.peers.bare = bare;
        let received = self.pattern.recv(&mut self.peers, message);
        self.peers.bare = false;
        received
    }

    #[inline]
    fn pattern_send(&mut self, message: &mut Message) -> Result<(), NotSent> {
        if message.len() > self.peers.options.max_frames as usize {
            return Err(NotSent::Refused(ErrorKind::TooManyFrames));
        }
        self.pattern.send(&mut self.peers, message)
    }

    fn ready(&mut self, want: Want) -> Want {
        Want {
            recv: want.recv && self.pattern.can_recv(&mut self.peers),
            send: want.send && self.pattern.can_send(&mut self.peers),
        }
    }

    /// Somebody waits who does not lead, and will not be given the lead.
    fn has_bystanders(&self) -> bool {
        self.has_waiting_tasks() || self.watchers.threads > 0
    }

    fn has_waiting_tasks(&self) -> bool {
        !self.recv_wakers.is_empty() || !self.send_wakers.is_empty() || !self.watchers.wakers.is_empty()
    }

    /// Somebody waits for this, so it is worth finding out whether it holds.
    fn is_awaited(&self, want: Want) -> bool {
        let leader = self.leader.unwrap_or_default();
        self.spinners > 0
            || (want.recv && (self.recv_sleepers > 0 || leader.recv || !self.recv_wakers.is_empty()))
            || (want.send && (self.send_sleepers > 0 || leader.send || !self.send_wakers.is_empty()))
    }

    fn look<T>(&mut self, look: &mut impl FnMut(&mut dyn Pattern, &mut Peers) -> Option<T>) -> Option<T> {
        look(&mut *self.pattern, &mut self.peers)
    }

    fn wake_watching_tasks(&mut self) {
        let Self { watchers, peers, .. } = self;
        watchers.wakers.drain().for_each(|waker| peers.wake(Wake::Task(waker)));
    }

    /// Wakes the tasks that wait for what holds now.
    fn wake_ready_tasks(&mut self) {
        let awaited = Want { recv: !self.recv_wakers.is_empty(), send: !self.send_wakers.is_empty() };
        let ready = self.ready(awaited);
        self.wake_tasks(ready);
    }

    fn wake_tasks(&mut self, want: Want) {
        let Self { recv_wakers, send_wakers, peers, .. } = self;
        if want.recv {
            recv_wakers.drain().for_each(|waker| peers.wake(Wake::Task(waker)));
        }
        if want.send {
            send_wakers.drain().for_each(|waker| peers.wake(Wake::Task(waker)));
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(net) = self.net.get() {
            net.reactor.forget(self.id);
        }
    }
}
