//! The loan of the poll set to the threads and tasks that use the socket.
//!
//! The I/O thread looks after what it has lent (it *ticks*), and takes it back when nobody came for a while. How long that
//! is depends on what was seen: a set that was taken back and then wanted again soon is left alone twice as long the
//! next time. A thread that talks to a thousand peers in turn, each through a socket of its own, is so spared
//! to be given each set anew, and to share its connections with the I/O thread in between. Only sockets with a single
//! connection have that, and only as long as there is nothing to be seen to meanwhile: see [`Core::watch_closely`] and
//! [`Core::lock_to_send`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use oxzmq_proto::SocketType;
use parking_lot::MutexGuard;

use super::{Core, Net, State};

/// How often leased poll sets are looked after, at first. Short enough that a socket whose thread went away is not
/// left alone for long; long enough to cost nothing next to the traffic that made the lease.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// The most ticks for which nobody need come.
const MOST_PATIENCE: u32 = 64;

/// What is wanted again after so long would still have been there with the most patience.
const SOON: Duration = TICK.saturating_mul(MOST_PATIENCE);

#[derive(Default)]
pub(super) struct Lease {
    /// The I/O thread does not watch the set.
    pub(super) leased: bool,
    /// A thread has led since the I/O thread's last tick.
    pub(super) used: bool,
    /// The leader has waited for so long that the I/O thread stopped ticking; it says so when it returns.
    parked: bool,
    /// The I/O thread ticks for it.
    ticking: bool,
    /// Ticks for which nobody need come.
    patience: u32,
    /// When it was taken back because nobody came.
    expired: Option<Instant>,
    /// When somebody who sent has last looked whether the connection still is there.
    looked: Option<Instant>,
}

impl Lease {
    /// It was taken back a moment ago, too early. (And not given again since: that forgets when.)
    pub(super) fn is_missed(&mut self) -> bool {
        self.expired = self.expired.filter(|at| at.elapsed() < SOON);
        self.expired.is_some()
    }

    /// Learns from what became of the last one.
    fn begin(&mut self, most: u32) {
        let missed = self.is_missed();
        self.patience = if missed { 2 * self.patience } else { 1 }.min(most);
        self.expired = None;
        self.leased = true;
        self.parked = false;
    }
}

impl Core {
    pub(super) fn lease(self: &Arc<Self>, state: &mut State, net: &Net) {
        state.lease.used = true;
        if !state.lease.leased && net.reactor.watch(self, net, false) {
            let most = self.most_patience(state);
            state.lease.begin(most);
            self.tick(state, net);
        }
    }

    /// While messages that only come are worked on, the I/O thread is to fetch the next ones.
    fn most_patience(&self, state: &State) -> u32 {
        let patient = self.converses() && state.sessions.len() == 1 && !self.watched_closely.load(Ordering::Relaxed);
        if patient { MOST_PATIENCE } else { 1 }
    }

    /// What is sent is mostly answered.
    pub(super) fn converses(&self) -> bool {
        use SocketType::{Channel, Client, Dealer, Pair, Peer, Rep, Req, Router, Server};
        matches!(self.socket_type, Req | Rep | Dealer | Router | Pair | Client | Server | Peer | Channel)
    }

    /// Locks for who is about to send. What is written to a connection that the peer has closed is lost: one that may have
    /// been left alone for longer than a tick is looked at first, though not for each message of many.
    #[inline]
    pub(super) fn lock_to_send(&self) -> MutexGuard<'_, State> {
        let state = self.state.lock();
        if state.lease.patience > 1 && state.lease.leased && state.leader.is_none() {
            return self.look_before_sending(state);
        }
        state
    }

    fn look_before_sending<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let now = Instant::now();
        if state.lease.looked.is_some_and(|at| now.duration_since(at) < TICK) {
            return state;
        }
        state.lease.looked = Some(now);
        let Some(only) = state.only_session() else { return state };
        drop(state);
        only.read_now();
        self.state.lock()
    }

    /// There is something that the I/O thread has to see to soon when no thread is there: heartbeats that are to be
    /// answered, or output that waits for the kernel. What has happened once may happen again, so this is for good.
    pub(crate) fn watch_closely(self: &Arc<Self>) {
        // Relaxed, because what has to see it comes later by a lock: that of the inbox for the command, and for a lease that
        // begins meanwhile its first tick, which is soon.
        if !self.watched_closely.swap(true, Ordering::Relaxed)
            && let Some(net) = self.net.get()
        {
            net.reactor.hasten(self);
        }
    }

    /// The I/O thread is to look after the lease, which it may still be doing from the last one.
    fn tick(self: &Arc<Self>, state: &mut State, net: &Net) {
        if !std::mem::replace(&mut state.lease.ticking, true) {
            net.reactor.leased(self);
        }
    }

    /// The leader has waited for so long that the I/O thread stopped ticking, and is back.
    pub(super) fn unpark(self: &Arc<Self>, state: &mut State) {
        if std::mem::take(&mut state.lease.parked)
            && let Some(net) = self.net.get()
        {
            self.tick(state, net);
        }
    }

    /// Nobody is about to read what comes: from now on the I/O thread does, without waiting for its tick.
    pub(super) fn end_lease(&self, state: &mut State) {
        if state.lease.leased
            && state.leader.is_none()
            && let Some(net) = self.net.get()
        {
            state.lease.leased = !net.reactor.watch(self, net, true);
        }
    }

    /// For a thread that never waits, because there is always more to receive: it reads by itself whenever it has made
    /// room, and an I/O thread that watched the set meanwhile would be woken each time for nothing.
    pub(super) fn keep_lease(self: &Arc<Self>, state: &mut State) {
        if let Some(net) = self.net.get() {
            self.lease(state, net);
        }
    }

    /// The I/O thread's tick for a leased set: after how long the next is due. `None` when the set needs no more of them:
    /// because it was taken back, or because its leader waits undisturbed and will say when it returns.
    pub(crate) fn lease_tick(self: &Arc<Self>) -> Option<Duration> {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.lease.used) {
            // Also where a task has given it back meanwhile: the next lease is not far.
            if !state.lease.leased {
                return Some(TICK);
            }
            return Some(state.lease.patience.clamp(1, self.most_patience(&state)) * TICK);
        }
        if state.lease.leased && state.leader.is_some() {
            state.lease.parked = true;
        } else if state.lease.leased {
            self.end_lease(&mut state);
            state.lease.expired = (!state.lease.leased).then(Instant::now);
        }
        state.lease.ticking = state.lease.leased && !state.lease.parked;
        state.lease.ticking.then_some(TICK)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task;

    use super::super::Want;
    use super::*;
    use crate::{Context, Socket};

    #[test]
    fn who_comes_back_soon_is_waited_for_longer_and_longer() {
        let mut lease = Lease::default();
        lease.begin(MOST_PATIENCE);
        assert_eq!(lease.patience, 1);
        let mut patience = Vec::new();
        for _ in 0..8 {
            lease.leased = false;
            lease.expired = Some(Instant::now() + SOON); // however long this takes
            assert!(lease.is_missed());
            lease.begin(MOST_PATIENCE);
            assert!(!lease.is_missed());
            patience.push(lease.patience);
        }
        assert_eq!(patience, [2, 4, 8, 16, 32, 64, 64, 64]);
    }

    #[test]
    fn who_gave_it_back_or_stayed_away_for_long_begins_anew() {
        let mut lease = Lease { patience: 16, ..Lease::default() };
        assert!(!lease.is_missed());
        lease.begin(MOST_PATIENCE);
        assert_eq!(lease.patience, 1);
        let mut lease = Lease { patience: 16, expired: Instant::now().checked_sub(SOON), ..Lease::default() };
        assert!(!lease.is_missed());
        lease.begin(MOST_PATIENCE);
        assert_eq!(lease.patience, 1);
    }

    /// A socket with one connection, to a ROUTER at the endpoint.
    fn connected(socket_type: SocketType) -> (Socket, Socket, String) {
        let context = Context::new();
        let router = context.socket(SocketType::Router).unwrap();
        let endpoint = router.bind("tcp://127.0.0.1:*").unwrap();
        let socket = context.socket(socket_type).unwrap();
        socket.connect(&endpoint).unwrap();
        (socket, router, endpoint)
    }

    /// Has the I/O thread believe that nobody need come for this many ticks.
    fn lease_for(socket: &Socket, patience: u32) {
        let core = socket.core();
        let mut state = core.state.lock();
        core.lease(&mut state, core.net().unwrap());
        state.lease.patience = patience;
    }

    #[test]
    fn a_set_that_is_watched_closely_is_looked_after_each_tick() {
        let used = |socket: &Socket| {
            let mut state = socket.core().state.lock();
            state.lease = Lease { leased: true, used: true, ticking: true, patience: 16, ..Lease::default() };
            drop(state);
            socket.core().lease_tick()
        };
        let (dealer, _router, _) = connected(SocketType::Dealer);
        dealer.wait_for_peers(1, None).unwrap();
        assert_eq!(used(&dealer), Some(16 * TICK));
        dealer.core().watch_closely();
        assert_eq!(used(&dealer), Some(TICK));
        // While what came is worked on, the next is to be fetched.
        let (sub, ..) = connected(SocketType::Sub);
        assert_eq!(used(&sub), Some(TICK));
    }

    #[test]
    fn who_sends_after_a_while_does_not_write_to_a_connection_that_the_peer_has_closed() {
        let (dealer, router, endpoint) = connected(SocketType::Dealer);
        dealer.send("before").unwrap();
        assert_eq!(router.recv().unwrap().len(), 2);
        lease_for(&dealer, 10_000);
        // The first tick finds the lease used, and the next is seconds away.
        while dealer.core().state.lock().lease.used {
            std::thread::yield_now();
        }
        router.close();
        // The end has come by the time that the place is free.
        let context = Context::new();
        let router = context.socket(SocketType::Router).unwrap();
        while router.bind(&endpoint).is_err() {
            std::thread::yield_now();
        }
        dealer.send("after").unwrap();
        router.recv_deadline(Instant::now() + Duration::from_secs(8)).unwrap();
    }

    #[test]
    fn who_leaves_lets_a_thread_lead_that_waits_for_something_else() {
        let (dealer, _router, _) = connected(SocketType::Dealer);
        dealer.wait_for_peers(1, None).unwrap();
        lease_for(&dealer, 10_000);
        let core = dealer.core();
        core.state.lock().leader = Some(Want::RECV);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| dealer.wait_for_peers(2, Some(Duration::from_secs(20))));
            while core.state.lock().watchers.threads == 0 {
                std::thread::yield_now();
            }
            let mut state = core.state.lock();
            state.leader = None;
            core.leave(state, true);
            let deadline = Instant::now() + Duration::from_secs(8);
            while core.state.lock().leader != Some(Want::default()) && Instant::now() < deadline {
                std::thread::yield_now();
            }
            assert_eq!(core.state.lock().leader, Some(Want::default()));
            core.terminate();
            assert!(waiting.join().unwrap().is_err());
        });
    }

    #[test]
    fn who_leaves_gives_the_set_back_where_a_task_waits() {
        let (dealer, _router, _) = connected(SocketType::Dealer);
        dealer.wait_for_peers(1, None).unwrap();
        lease_for(&dealer, 10_000);
        let core = dealer.core();
        core.state.lock().leader = Some(Want::RECV);
        let mut waiting = std::pin::pin!(dealer.recv_async());
        assert!(waiting.as_mut().poll(&mut task::Context::from_waker(task::Waker::noop())).is_pending());
        let mut state = core.state.lock();
        assert!(state.lease.leased);
        state.leader = None;
        core.leave(state, true);
        assert!(!core.state.lock().lease.leased);
    }

    #[test]
    fn a_connection_whose_output_waits_is_left_to_the_poll_set() {
        let context = Context::new();
        let router = context.socket(SocketType::Router).unwrap();
        router.set_recv_hwm(1).unwrap();
        let endpoint = router.bind("tcp://127.0.0.1:*").unwrap();
        let dealer = context.socket(SocketType::Dealer).unwrap();
        dealer.set_routing_id("dealer").unwrap();
        dealer.set_linger(Some(Duration::ZERO)).unwrap();
        dealer.connect(&endpoint).unwrap();
        router.wait_for_peers(1, None).unwrap();
        dealer.wait_for_peers(1, None).unwrap();
        // More than the kernel takes for somebody who does not read.
        (0..300).for_each(|_| dealer.send(vec![0; 64 * 1024]).unwrap());
        lease_for(&dealer, 10_000);
        let session = dealer.core().state.lock().only_session().unwrap();
        // What it still takes is written in the meantime.
        let mut in_a_row = 0;
        for _ in 0..100_000 {
            router.send(["dealer", "news"]).unwrap();
            in_a_row = if session.read_now() { 0 } else { in_a_row + 1 };
            // Who asks the poll set finds it.
            assert_eq!(dealer.recv().unwrap().to_text_lossy(), "news");
            if in_a_row == 20 {
                return;
            }
        }
        panic!("it was read without the poll set");
    }
}
