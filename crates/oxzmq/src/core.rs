//! One socket: its pattern and peers behind one lock, and the threads and tasks that wait for it.
//!
//! # Who does the I/O
//!
//! A socket with network endpoints has a poll set of its own that holds all its connections. Normally an
//! I/O thread watches that set (nested in its own) and drives whatever is ready. A thread that has to
//! wait in a call *leads* instead: it takes the set over (a *lease*: the I/O thread stops watching),
//! waits on it, reads and decodes itself, and so is woken by the kernel and by nobody else. The lease
//! outlives the call; the I/O thread takes the set back when its thread stays away for a tick.
//!
//! At most one thread leads. Others that wait at the same time sleep on a condition variable, and one of
//! them is woken to lead when the leader returns to its caller.
//!
//! # Lock order
//!
//! A session's `tx`, then its `rx`, then the socket's state, then a queue. Nothing that takes one of the
//! first two runs under the state's lock: wake-ups are collected and run after it is released.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oxzmq_proto::{Frame, Message, Properties, SocketType};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::context;
use crate::endpoints::Endpoints;
use crate::error::{Error, ErrorKind, Result, SendError};
use crate::monitor::{self, Event};
use crate::options::Options;
use crate::pattern::{self, NotSent, Pattern};
use crate::peers::{Peer, PeerId, Peers, Wake, Wakes};
use crate::reactor::Reactor;
use crate::session::Session;
use crate::sys::{self, Events, PollSet, WakeFd};

/// Token of the wake-up descriptor in a socket's poll set; no [`PeerId`] has it.
const WAKE_TOKEN: u64 = u64::MAX;

/// Events fetched by one wait.
const EVENTS_PER_WAIT: usize = 128;

thread_local! {
    static EVENTS: RefCell<Events> = RefCell::new(Events::with_capacity(EVENTS_PER_WAIT));
}

pub(crate) struct Core {
    pub(crate) id: u64,
    pub(crate) socket_type: SocketType,
    pub(crate) context: Arc<context::Inner>,
    state: Mutex<State>,
    recv_cond: Condvar,
    send_cond: Condvar,
    net: OnceLock<Net>,
    /// The leader has returned from its wait and will look at the state before it waits again, so it need
    /// not be woken. Written by the leader alone; read under the state's lock, which the leader takes after
    /// writing `true` and held when it wrote `false`. That lock gives all the ordering there is.
    leader_awake: AtomicBool,
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
            None => Self::Forever,
            Some(Duration::ZERO) => Self::Now,
            Some(timeout) => Instant::now().checked_add(timeout).map_or(Self::Forever, Self::Deadline),
        }
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

/// The state of the loan of the poll set to application threads.
#[derive(Default)]
struct Lease {
    /// The I/O thread does not watch the set.
    leased: bool,
    /// A thread has led since the I/O thread's last tick.
    used: bool,
    /// The leader has waited for so long that the I/O thread stopped ticking; it says so when it returns.
    parked: bool,
}

struct State {
    phase: Phase,
    peers: Peers,
    pattern: Box<dyn Pattern>,
    sessions: HashMap<u64, Arc<Session>>,
    /// Threads that wait on the condition variables.
    recv_sleepers: usize,
    send_sleepers: usize,
    /// What the thread that waits on the poll set waits for.
    leader: Option<Want>,
    lease: Lease,
    recv_wakers: Vec<Waker>,
    send_wakers: Vec<Waker>,
    /// Connections whose messages gather: flushed by the next thread that finds nothing to do.
    deferred: Vec<Arc<Session>>,
}

impl State {
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
                leader: None,
                lease: Lease::default(),
                recv_wakers: Vec::new(),
                send_wakers: Vec::new(),
                deferred: Vec::new(),
            }),
            recv_cond: Condvar::new(),
            send_cond: Condvar::new(),
            net: OnceLock::new(),
            leader_awake: AtomicBool::new(true),
            endpoints: Mutex::new(Endpoints::default()),
            monitor: Mutex::new(None),
        }))
    }

    // ---- sending and receiving -------------------------------------------------------------------------

    pub(crate) fn recv(self: &Arc<Self>, mut until: Until) -> Result<Message> {
        let mut state = self.state.lock();
        let mut waited = false;
        let mut polled = false;
        loop {
            let got = match state.alive() {
                Ok(()) => state.pattern_recv(),
                Err(error) => Err(error),
            };
            match got {
                // Returned as it is: every detour costs a copy of the message.
                Ok(Some(message)) => {
                    self.leave(state, waited);
                    return Ok(message);
                }
                Err(error) => {
                    self.leave(state, waited);
                    return Err(error);
                }
                Ok(None) => {}
            }
            if let Some(work) = state.take_work() {
                // Making room may decode what a connection still holds.
                drop(state);
                work.run();
                state = self.state.lock();
                continue;
            }
            let left = match until.left(|| state.peers.options.recv_timeout) {
                // Nobody else reads a leased set: look once before giving up.
                Err(_) if !polled && state.lease.leased && state.leader.is_none() => Some(Duration::ZERO),
                Err(error) => {
                    self.leave(state, waited);
                    return Err(error);
                }
                Ok(left) => left,
            };
            polled = left == Some(Duration::ZERO);
            waited = true;
            state = self.wait(state, Want::RECV, left);
        }
    }

    pub(crate) fn send(self: &Arc<Self>, mut message: Message, mut until: Until) -> Result<(), SendError> {
        message.set_properties(None);
        let mut state = self.state.lock();
        let mut waited = false;
        let result = loop {
            if let Err(error) = state.alive() {
                break Err(SendError::new(error, message));
            }
            match state.pattern_send(message) {
                Ok(()) => break Ok(()),
                Err(NotSent::Refused(kind, back)) => break Err(SendError::new(kind, back)),
                Err(NotSent::Full(back)) => {
                    message = back;
                    if let Some(work) = state.take_work() {
                        // Writing what has gathered makes room.
                        drop(state);
                        work.run();
                        state = self.state.lock();
                        continue;
                    }
                    let left = match until.left(|| state.peers.options.send_timeout) {
                        Err(error) => break Err(SendError::new(error, message)),
                        Ok(left) => left,
                    };
                    waited = true;
                    state = self.wait(state, Want::SEND, left);
                }
            }
        };
        self.leave(state, waited);
        result
    }

    /// Receives, or arranges for `waker` to be woken when it is worth another try.
    pub(crate) fn poll_recv(self: &Arc<Self>, waker: &Waker) -> Option<Result<Message>> {
        loop {
            let mut state = self.state.lock();
            if let Err(error) = state.alive() {
                return Some(Err(error));
            }
            let got = state.pattern_recv().transpose();
            if got.is_none() {
                let Some(work) = state.take_work() else {
                    push_waker(&mut state.recv_wakers, waker);
                    return None;
                };
                drop(state);
                work.run();
                continue;
            }
            self.leave(state, false);
            return got;
        }
    }

    /// Sends, or gives the message back and arranges for `waker` to be woken when there may be room.
    pub(crate) fn poll_send(
        self: &Arc<Self>,
        mut message: Message,
        waker: &Waker,
    ) -> Result<Result<(), SendError>, Message> {
        message.set_properties(None);
        loop {
            let mut state = self.state.lock();
            if let Err(error) = state.alive() {
                return Ok(Err(SendError::new(error, message)));
            }
            let result = match state.pattern_send(message) {
                Ok(()) => Ok(()),
                Err(NotSent::Refused(kind, back)) => Err(SendError::new(kind, back)),
                Err(NotSent::Full(back)) => {
                    let Some(work) = state.take_work() else {
                        push_waker(&mut state.send_wakers, waker);
                        return Err(back);
                    };
                    drop(state);
                    work.run();
                    message = back;
                    continue;
                }
            };
            self.leave(state, false);
            return Ok(result);
        }
    }

    /// What a call would find now. Registers `waker`, if given, for what does not hold.
    pub(crate) fn readiness(self: &Arc<Self>, want: Want, waker: Option<&Waker>) -> Result<Want> {
        let mut state = self.state.lock();
        loop {
            state.alive()?;
            let ready = state.ready(want);
            if let Some(work) = state.take_work() {
                drop(state);
                work.run();
                state = self.state.lock();
                continue;
            }
            if let Some(waker) = waker {
                if want.recv && !ready.recv {
                    push_waker(&mut state.recv_wakers, waker);
                }
                if want.send && !ready.send {
                    push_waker(&mut state.send_wakers, waker);
                }
            }
            return Ok(ready);
        }
    }

    pub(crate) fn subscribe(&self, prefix: Frame, add: bool) -> Result<()> {
        let mut state = self.state.lock();
        state.alive()?;
        let State { pattern, peers, .. } = &mut *state;
        let result = pattern.subscribe(peers, prefix, add);
        let wakes = state.peers.take_wakes();
        drop(state);
        wakes.run();
        result
    }

    /// Ends a call: lets the next waiting thread go on where this one leaves off, and runs the wake-ups.
    #[inline]
    fn leave(self: &Arc<Self>, mut state: MutexGuard<'_, State>, waited: bool) {
        if waited && state.lease.parked && state.leader.is_none() {
            state.lease.parked = false;
            if let Some(net) = self.net.get() {
                net.reactor.leased(self);
            }
        }
        if state.recv_sleepers + state.send_sleepers > 0 {
            self.hand_on(&mut state, waited);
        }
        if state.peers.has_wakes() {
            let wakes = state.peers.take_wakes();
            drop(state);
            wakes.run();
        }
    }

    /// Other threads sleep: wake one that can go on, or one that can lead now that nobody does.
    fn hand_on(&self, state: &mut State, waited: bool) {
        let lead = waited && state.leader.is_none() && self.net.get().is_some();
        if state.recv_sleepers > 0 && (lead || state.ready(Want::RECV).recv) {
            self.recv_cond.notify_one();
        } else if state.send_sleepers > 0 && (lead || state.ready(Want::SEND).send) {
            self.send_cond.notify_one();
        }
    }

    // ---- waiting ---------------------------------------------------------------------------------------

    /// Waits once: until something changed, the time is over, or for no reason at all. The caller looks
    /// again in every case.
    fn wait<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        want: Want,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        if let Some(net) = self.net.get()
            && state.leader.is_none()
        {
            self.start_leading(&mut state, net, want);
            drop(state);
            self.lead(net, timeout);
            let mut state = self.state.lock();
            state.leader = None;
            state.lease.used = true;
            return state;
        }
        let cond = if want.recv {
            state.recv_sleepers += 1;
            &self.recv_cond
        } else {
            state.send_sleepers += 1;
            &self.send_cond
        };
        match timeout {
            Some(timeout) => drop(cond.wait_for(&mut state, timeout)),
            None => cond.wait(&mut state),
        }
        if want.recv {
            state.recv_sleepers -= 1;
        } else {
            state.send_sleepers -= 1;
        }
        state
    }

    /// Makes the calling thread the leader. The I/O thread stops watching the set, under the same lock
    /// under which it takes the set back, so that exactly one of the two watches it at any time; what became
    /// ready in between is still ready afterwards, because the nested set is level-triggered.
    fn start_leading(self: &Arc<Self>, state: &mut State, net: &Net, want: Want) {
        state.leader = Some(want);
        state.lease.used = true;
        // Ordered by the state's lock, see the field.
        self.leader_awake.store(false, Ordering::Relaxed);
        if !state.lease.leased && net.reactor.watch(self, net, false) {
            state.lease.leased = true;
            state.lease.parked = false;
            net.reactor.leased(self);
        }
    }

    fn lead(self: &Arc<Self>, net: &Net, timeout: Option<Duration>) {
        let mut events = EVENTS.take();
        events.reserve(EVENTS_PER_WAIT);
        // A failure here can only be a bad descriptor, which the set owns; the loop around looks again.
        let _ = net.set.wait(&mut events, timeout);
        // Ordered by the state's lock, see the field.
        self.leader_awake.store(true, Ordering::Relaxed);
        self.drive(&events);
        EVENTS.set(events);
    }

    fn drive(self: &Arc<Self>, events: &Events) -> bool {
        let mut woken = false;
        for event in events {
            let ready = sys::ready(event);
            if ready.token == WAKE_TOKEN {
                woken = true;
                continue;
            }
            let session = self.state.lock().sessions.get(&ready.token).cloned();
            if let Some(session) = session {
                session.ready(ready.read, ready.write);
            }
        }
        woken
    }

    /// Drives what is ready, without waiting: the I/O thread's turn.
    pub(crate) fn drive_ready(self: &Arc<Self>) {
        let Some(net) = self.net.get() else { return };
        let mut events = EVENTS.take();
        events.reserve(EVENTS_PER_WAIT);
        let _ = net.set.wait(&mut events, Some(Duration::ZERO));
        if self.drive(&events) {
            // The wake-up was meant for a thread that was just starting to lead. The set is no longer watched
            // by then, so this repeats at most once.
            let state = self.state.lock();
            if state.leader.is_some() && !self.leader_awake.load(Ordering::Relaxed) {
                net.wake.wake();
            }
        }
        EVENTS.set(events);
    }

    /// The I/O thread's tick for a leased set. Returns false when the set needs no more ticks: because it
    /// was taken back, or because its leader waits undisturbed and will say when it returns.
    pub(crate) fn lease_tick(self: &Arc<Self>) -> bool {
        let mut state = self.state.lock();
        let Some(net) = self.net.get() else { return false };
        if !state.lease.leased {
            return false;
        }
        if std::mem::take(&mut state.lease.used) {
            return true;
        }
        if state.leader.is_some() {
            state.lease.parked = true;
            return false;
        }
        state.lease.leased = !net.reactor.watch(self, net, true);
        state.lease.leased
    }

    // ---- waking ----------------------------------------------------------------------------------------

    /// A receive may find something: wakes one thread that waits for it, and the tasks.
    fn signal_recv(&self, state: &mut State) {
        state.wake_tasks(Want::RECV);
        if state.recv_sleepers > 0 {
            self.recv_cond.notify_one();
        } else if state.leader.is_some_and(|want| want.recv) {
            self.wake_leader(state);
        }
    }

    fn signal_send(&self, state: &mut State) {
        state.wake_tasks(Want::SEND);
        if state.send_sleepers > 0 {
            self.send_cond.notify_one();
        } else if state.leader.is_some_and(|want| want.send) {
            self.wake_leader(state);
        }
    }

    fn wake_leader(&self, _locked: &State) {
        if !self.leader_awake.load(Ordering::Relaxed)
            && let Some(net) = self.net.get()
        {
            net.wake.wake();
        }
    }

    fn signal_all(&self, state: &mut State) {
        state.wake_tasks(Want { recv: true, send: true });
        self.recv_cond.notify_all();
        self.send_cond.notify_all();
        self.wake_leader(state);
    }

    // ---- what sessions report --------------------------------------------------------------------------

    /// The peer's inbound queue has messages. The caller holds none of its session's locks.
    pub(crate) fn peer_readable(&self, id: PeerId) {
        self.update(|state| state.pattern.readable(&mut state.peers, id));
    }

    /// The peer's outbound queue has room again. The caller holds none of its session's locks.
    pub(crate) fn peer_writable(&self, id: PeerId) {
        self.update(|state| state.pattern.writable(&mut state.peers, id));
    }

    /// A connection's messages gather: a thread of this socket that is about to wait writes them first.
    pub(crate) fn deferred(&self, session: Arc<Session>) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open && !state.deferred.iter().any(|known| Arc::ptr_eq(known, &session)) {
            state.deferred.push(session);
        }
    }

    /// Changes the state, signals what has become possible, and runs the wake-ups.
    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state);
        if state.is_awaited(Want::RECV) && state.ready(Want::RECV).recv {
            self.signal_recv(&mut state);
        }
        if state.is_awaited(Want::SEND) && state.ready(Want::SEND).send {
            self.signal_send(&mut state);
        }
        let wakes = state.peers.take_wakes();
        drop(state);
        if !wakes.is_empty() {
            wakes.run();
        }
        result
    }

    /// Adds a peer; `None` when the socket is closed.
    pub(crate) fn attach(&self, peer: Peer, session: Option<Arc<Session>>) -> Option<PeerId> {
        self.update(|state| {
            if state.phase == Phase::Closed {
                return None;
            }
            let id = state.peers.insert(peer);
            if let Some(session) = session {
                session.set_peer(id);
                state.sessions.insert(id.token(), session);
            }
            state.pattern.attached(&mut state.peers, id);
            Some(id)
        })
    }

    /// Somebody is behind a peer's queues: tells the pattern who.
    pub(crate) fn link(&self, id: PeerId, routing_id: &Bytes, properties: Option<Arc<Properties>>) {
        self.update(|state| {
            let Some(peer) = state.peers.get_mut(id) else { return };
            peer.linked = true;
            peer.properties = properties;
            // A routing id that the connection was given, or kept from its first handshake, stays.
            if peer.routing_id.is_empty() {
                peer.routing_id = routing_id.clone();
            }
            state.pattern.linked(&mut state.peers, id);
        });
    }

    /// The connection behind a peer is down and may come back.
    pub(crate) fn unlink(&self, id: PeerId) {
        if let Some(peer) = self.state.lock().peers.get_mut(id) {
            peer.linked = false;
        }
    }

    /// A peer is gone for good; what it sent can still be read.
    pub(crate) fn detach(&self, id: PeerId) {
        self.update(|state| {
            let Some(peer) = state.peers.get_mut(id) else { return };
            if std::mem::replace(&mut peer.gone, true) {
                return;
            }
            peer.linked = false;
            peer.outbound.close();
            state.pattern.detached(&mut state.peers, id);
        });
    }

    /// A session has ended: its connection is reported no more.
    pub(crate) fn remove_session(&self, id: PeerId) {
        let session = self.state.lock().sessions.remove(&id.token());
        drop(session); // perhaps the last reference, so not under the lock
    }

    pub(crate) fn sessions_accepted_by(&self, listener: u64) -> Vec<Arc<Session>> {
        let state = self.state.lock();
        state.sessions.values().filter(|session| session.is_accepted_by(listener)).cloned().collect()
    }

    pub(crate) fn has_peer(&self, id: PeerId) -> bool {
        let state = self.state.lock();
        state.phase != Phase::Closed && state.peers.get(id).is_some_and(|peer| !peer.gone)
    }

    pub(crate) fn set_recv_capacity(&self, id: PeerId, capacity: usize) {
        if let Some(peer) = self.state.lock().peers.get_mut(id) {
            peer.set_recv_capacity(capacity);
        }
    }

    /// Tells a peer's far end that this end wants no more of it.
    pub(crate) fn close_peer(&self, id: PeerId) {
        self.update(|state| state.peers.close(id));
    }

    /// Removes a peer together with what it sent (a disconnect asked for by the application).
    pub(crate) fn discard(&self, id: PeerId) {
        self.detach(id);
        self.state.lock().peers.remove(id);
    }

    // ---- the rest of a socket's life -------------------------------------------------------------------

    /// The network side, made with the first network endpoint.
    pub(crate) fn net(self: &Arc<Self>) -> Result<&Net> {
        if self.net.get().is_none() {
            let reactor = self.context.reactor()?;
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

    /// Changes options; fails once the context is shut down.
    pub(crate) fn set_options(&self, write: impl FnOnce(&mut Options) -> Result<()>) -> Result<()> {
        let mut state = self.state.lock();
        state.alive()?;
        write(&mut state.peers.options)
    }

    /// Applies changed high-water marks to the peers there are.
    pub(crate) fn apply_high_water_marks(&self) {
        self.update(|state| {
            let (send, recv) = (state.peers.options.send_hwm as usize, state.peers.options.recv_hwm as usize);
            for id in state.peers.ids().collect::<Vec<_>>() {
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
        self.raise(Event::stopped());
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
            state.peers.close(id);
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
        if let Some(monitor) = &*self.monitor.lock() {
            monitor.send(event);
        }
    }

    /// Becomes the leader on behalf of a poller, which waits on the set itself; `None` when the socket has
    /// no set or somebody else leads.
    pub(crate) fn lead_for_poller(self: &Arc<Self>, want: Want) -> Option<&Net> {
        let mut state = self.state.lock();
        let net = self.net.get()?;
        if state.leader.is_some() || state.phase != Phase::Open {
            return None;
        }
        self.start_leading(&mut state, net, want);
        Some(net)
    }

    /// Ends [`Core::lead_for_poller`], driving what is ready first when the poller saw the set ready.
    pub(crate) fn end_lead_for_poller(self: &Arc<Self>, net: &Net, ready: bool) {
        self.leader_awake.store(true, Ordering::Relaxed);
        if ready {
            self.lead(net, Some(Duration::ZERO));
        }
        let mut state = self.state.lock();
        state.leader = None;
        self.leave(state, true);
    }
}

/// What a thread does before it waits, with the socket's lock released.
struct Work {
    wakes: Wakes,
    deferred: Vec<Arc<Session>>,
}

impl Work {
    fn run(self) {
        self.wakes.run();
        for session in self.deferred {
            session.flush();
        }
    }
}

impl State {
    /// What is left to do before this thread may wait; `None` when nothing is.
    fn take_work(&mut self) -> Option<Work> {
        let work = Work { wakes: self.peers.take_wakes(), deferred: std::mem::take(&mut self.deferred) };
        (!work.wakes.is_empty() || !work.deferred.is_empty()).then_some(work)
    }

    #[inline]
    fn pattern_recv(&mut self) -> Result<Option<Message>> {
        self.pattern.recv(&mut self.peers)
    }

    #[inline]
    fn pattern_send(&mut self, message: Message) -> Result<(), NotSent> {
        self.pattern.send(&mut self.peers, message)
    }

    fn ready(&mut self, want: Want) -> Want {
        Want {
            recv: want.recv && self.pattern.can_recv(&mut self.peers),
            send: want.send && self.pattern.can_send(&mut self.peers),
        }
    }

    /// Somebody waits for this, so it is worth finding out whether it holds.
    fn is_awaited(&self, want: Want) -> bool {
        let leader = self.leader.unwrap_or_default();
        (want.recv && (self.recv_sleepers > 0 || leader.recv || !self.recv_wakers.is_empty()))
            || (want.send && (self.send_sleepers > 0 || leader.send || !self.send_wakers.is_empty()))
    }

    fn wake_tasks(&mut self, want: Want) {
        let Self { recv_wakers, send_wakers, peers, .. } = self;
        if want.recv {
            recv_wakers.drain(..).for_each(|waker| peers.wake(Wake::Task(waker)));
        }
        if want.send {
            send_wakers.drain(..).for_each(|waker| peers.wake(Wake::Task(waker)));
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

/// Keeps one entry for each task, however often it asks.
fn push_waker(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|known| known.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}
