//! The calls: send, receive, their polling twins, and the question what they would find.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use oxzmq_proto::{Frame, Message, SocketType};
use parking_lot::MutexGuard;

use super::wait::Looked;
use super::{Core, State, Until, Want, Work};
use crate::error::Result;
use crate::pattern::{self, NotSent, Pattern};
use crate::peers::{Peers, Wakes};
use crate::session::clock;
use crate::wakers::{TaskWait, Ticket};

/// So often in one go a task looks at connections that have something, before its executor has its turn.
const MOST_LOOKS: u32 = 8;

impl Core {
    /// Receives one message in place of `message`; one frame alone without the properties
    /// of the peer it is from if it is to be `bare`.
    pub(crate) fn recv(self: &Arc<Self>, message: &mut Message, mut until: Until, bare: bool) -> Result<()> {
        let mut state = self.state.lock();
        let mut waited = false;
        let mut polled = false;
        loop {
            match state.alive().and_then(|()| state.pattern_recv(message, bare)) {
                Ok(true) => {
                    state.spin.count();
                    let wanted = state.peers.has_wakes() || state.lease.is_missed();
                    if wanted && !matches!(until, Until::Now) && !state.has_bystanders() {
                        // This thread is about to read what comes next, as a leader does. One that only looks may wait
                        // for something else next, and what comes then is not to wait for the lease to run out.
                        self.keep_lease(&mut state);
                    }
                    self.leave(state, waited);
                    return Ok(());
                }
                Err(error) => {
                    self.leave(state, waited);
                    return Err(error);
                }
                Ok(false) => {}
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
            if state.peers.options.interruptible && self.net.get().is_none() {
                state = self.make_interruptible(state);
                continue;
            }
            state = self.wait(state, Want::RECV, left);
            if let Some(error) = state.take_interruption() {
                self.leave(state, waited);
                return Err(error);
            }
        }
    }

    /// Sends one message; after an error it is as it was.
    pub(crate) fn send(self: &Arc<Self>, message: &mut Message, until: Until) -> Result<()> {
        self.forget_origin(message);
        self.wait_to_send(until, |state| state.pattern_send(message))
    }

    /// Waits until a message of several frames that begins with this one could be sent.
    pub(crate) fn begin(self: &Arc<Self>, first: &Frame, until: Until) -> Result<()> {
        self.wait_to_send(until, |state| state.pattern.begin(&mut state.peers, first))
    }

    #[inline(always)]
    fn wait_to_send(
        self: &Arc<Self>,
        mut until: Until,
        mut attempt: impl FnMut(&mut State) -> Result<(), NotSent>,
    ) -> Result<()> {
        let mut state = self.lock_to_send();
        let mut waited = false;
        let result = loop {
            if let Err(error) = state.alive() {
                break Err(error);
            }
            match attempt(&mut state) {
                Ok(()) => break Ok(()),
                Err(NotSent::Refused(kind)) => break Err(pattern::refusal(self.socket_type, kind)),
                Err(NotSent::Full) => {
                    if let Some(work) = state.take_work() {
                        // Writing what has gathered makes room.
                        drop(state);
                        self.run_work(work);
                        state = self.state.lock();
                        continue;
                    }
                    let left = match until.left(|| state.peers.options.send_timeout) {
                        Err(error) => break Err(error),
                        Ok(left) => left,
                    };
                    waited = true;
                    if state.peers.options.interruptible && self.net.get().is_none() {
                        state = self.make_interruptible(state);
                        continue;
                    }
                    state = self.wait(state, Want::SEND, left);
                    if let Some(error) = state.take_interruption() {
                        break Err(error);
                    }
                }
            }
        };
        if waited {
            // Waiting for room is part of sending, not time in which nothing was sent.
            self.last_burst.store(clock(), Ordering::Relaxed);
        }
        self.leave(state, waited);
        result
    }

    /// Only a wait on a poll set can be ended by a signal: makes one. The lock is released meanwhile, so that the
    /// caller has to look again.
    #[cold]
    fn make_interruptible<'a>(self: &'a Arc<Self>, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        drop(state);
        let made = self.net().is_ok();
        let mut state = self.state.lock();
        // Without I/O threads there is none, and waits are not interrupted.
        state.peers.options.interruptible = made;
        state
    }

    /// What a received message tells about its peer is not for the next one; a RADIO's group is kept with it, and
    /// SERVER and PEER send to the one they got it from.
    #[inline]
    fn forget_origin(&self, message: &mut Message) {
        if self.socket_type != SocketType::Radio {
            message.set_properties(None);
        }
        if !matches!(self.socket_type, SocketType::Server | SocketType::Peer) {
            message.set_routing_id(0);
        }
    }

    /// Receives, or arranges for `waker` to be woken when it is worth another try.
    pub(crate) fn poll_recv(self: &Arc<Self>, waker: &Waker, wait: &mut TaskWait) -> Option<Result<Message>> {
        // Who has left its waker is polled for something else, or because somebody else was faster.
        let mut looks = if wait.registered { 0 } else { MOST_LOOKS };
        let mut state = self.state.lock();
        loop {
            let mut message = Message::new();
            match state.alive().and_then(|()| state.pattern_recv(&mut message, false)) {
                Ok(true) => {
                    state.spin.count();
                    wait.registered = false;
                    wait.looking_since = None;
                    if state.has_waiting_tasks() {
                        // They wait for the I/O thread, and this one may be long in coming back.
                        self.end_lease(&mut state);
                    } else if state.peers.has_wakes() {
                        // As for a blocking call. A task that then waits for something else gives it back.
                        self.keep_lease(&mut state);
                    }
                    self.leave(state, false);
                    return Some(Ok(message));
                }
                Err(error) => {
                    self.leave(state, false);
                    return Some(Err(error));
                }
                Ok(false) => {}
            }
            if let Some(work) = state.take_work() {
                drop(state);
                work.run();
                state = self.state.lock();
                continue;
            }
            if looks == 0 {
                self.end_lease(&mut state);
                wait.registered = true;
                let replaced = state.recv_wakers.register(wait.ticket.get_or_insert_with(Ticket::new), waker);
                drop(state);
                drop(replaced); // perhaps the last reference to a task, so not under the lock
                return None;
            }
            let looked;
            (state, looked) = self.look_for_task(state, &mut wait.looking_since);
            match looked {
                // Not a message, perhaps: a piece of one, or of another peer's handshake.
                Looked::Found if looks > 1 => looks -= 1,
                Looked::Found | Looked::NotYet => {
                    drop(state);
                    waker.wake_by_ref();
                    return None;
                }
                // Once more without looking: the lock was free for a moment.
                Looked::InVain => looks = 0,
            }
        }
    }

    /// Sends, or leaves the message as it is and arranges for `waker` to be woken when there may be room.
    pub(crate) fn poll_send(
        self: &Arc<Self>,
        message: &mut Message,
        waker: &Waker,
        ticket: &mut Option<Ticket>,
    ) -> Option<Result<()>> {
        self.forget_origin(message);
        loop {
            let mut state = self.lock_to_send();
            if let Err(error) = state.alive() {
                return Some(Err(error));
            }
            let result = match state.pattern_send(message) {
                Ok(()) => Ok(()),
                Err(NotSent::Refused(kind)) => Err(pattern::refusal(self.socket_type, kind)),
                Err(NotSent::Full) => {
                    let Some(work) = state.take_work() else {
                        self.end_lease(&mut state);
                        let replaced = state.send_wakers.register(ticket.get_or_insert_with(Ticket::new), waker);
                        drop(state);
                        drop(replaced);
                        return None;
                    };
                    drop(state);
                    self.run_work(work);
                    continue;
                }
            };
            self.leave(state, false);
            return Some(result);
        }
    }

    /// Whether a send would find room. Unlike [`Core::readiness`] it writes nothing that has gathered.
    pub(crate) fn has_room(&self) -> bool {
        self.state.lock().ready(Want::SEND).send
    }

    /// What a call would find now. Registers `waker`, if given, for what does not hold.
    pub(crate) fn readiness(self: &Arc<Self>, want: Want, waker: Option<(&Waker, &Ticket)>) -> Result<Want> {
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
            if let Some((waker, ticket)) = waker {
                if ready != want {
                    self.end_lease(&mut state);
                }
                let recv = (want.recv && !ready.recv).then(|| state.recv_wakers.register(ticket, waker));
                let send = (want.send && !ready.send).then(|| state.send_wakers.register(ticket, waker));
                drop(state);
                drop((recv, send));
            }
            return Ok(ready);
        }
    }

    /// Takes back what was registered under a ticket.
    pub(crate) fn forget_waker(&self, ticket: &Ticket) {
        let mut state = self.state.lock();
        let State { recv_wakers, send_wakers, watchers, .. } = &mut *state;
        let wakers = (recv_wakers.forget(ticket), send_wakers.forget(ticket), watchers.wakers.forget(ticket));
        drop(state);
        drop(wakers); // perhaps the last reference to a task, so not under the lock
    }

    pub(crate) fn subscribe(&self, prefix: Frame, add: bool) -> Result<()> {
        self.tell_pattern(|pattern, peers| pattern.subscribe(peers, prefix, add))
    }

    /// Nobody waits for the reply to this request any more.
    pub(crate) fn give_up(&self, number: u32) {
        self.update(|state| state.pattern.give_up(number));
    }

    pub(crate) fn topics_count(&self) -> Option<usize> {
        self.state.lock().pattern.topics()
    }

    pub(crate) fn join(&self, group: Frame, add: bool) -> Result<()> {
        self.tell_pattern(|pattern, peers| pattern.join(peers, group, add))
    }

    fn tell_pattern(&self, tell: impl FnOnce(&mut dyn Pattern, &mut Peers) -> Result<()>) -> Result<()> {
        self.update(|state| {
            state.alive()?;
            tell(&mut *state.pattern, &mut state.peers)
        })
    }

    /// Ends a call: lets the next waiting thread go on where this one leaves off, and runs the wake-ups.
    #[inline]
    pub(super) fn leave(self: &Arc<Self>, state: MutexGuard<'_, State>, waited: bool) {
        let quiet = !waited && state.recv_sleepers == 0 && state.send_sleepers == 0 && state.leader.is_none();
        if !quiet || state.peers.news || state.peers.has_wakes() {
            self.leave_with_news(state, waited);
        }
    }

    fn leave_with_news(self: &Arc<Self>, mut state: MutexGuard<'_, State>, waited: bool) {
        if waited && state.leader.is_none() {
            self.unpark(&mut state);
        }
        if state.recv_sleepers + state.send_sleepers > 0 || state.leader.is_some() {
            self.hand_on(&mut state, waited);
        }
        if state.lease.leased && state.leader.is_none() && state.recv_sleepers + state.send_sleepers == 0 {
            // Nobody is there who reads, and this thread may be long in coming back.
            if state.has_waiting_tasks() {
                self.end_lease(&mut state);
            } else if state.watchers.threads > 0 {
                self.watch_cond.notify_one();
            }
        }
        if state.peers.news {
            // Threads have been handed on to above. This may bring more news, so it comes first.
            state.wake_ready_tasks();
            state.peers.news = false;
            self.tell_watchers(&mut state);
        }
        if state.peers.has_wakes() {
            let wakes = state.peers.take_wakes();
            drop(state);
            self.run_burst(wakes);
        }
    }

    /// Does what is left to do before a sender may wait: part of sending, as is the waiting.
    fn run_work(&self, work: Work) {
        work.run();
        self.last_burst.store(clock(), Ordering::Relaxed);
    }

    /// Writes what has gathered.
    pub(crate) fn flush(&self) {
        while let Some(work) = {
            let mut state = self.state.lock();
            state.take_work()
        } {
            self.run_work(work);
        }
    }

    pub(crate) fn set_gathering(&self, on: bool) {
        self.gathers.store(on, Ordering::Relaxed);
    }

    pub(crate) fn gathers(&self) -> bool {
        self.gathers.load(Ordering::Relaxed)
    }

    /// Runs the wake-ups of a call, and keeps the clock of the time between such calls.
    fn run_burst(&self, wakes: Wakes) {
        let idle = clock().saturating_sub(self.last_burst.load(Ordering::Relaxed));
        self.idle_clock.fetch_add(idle, Ordering::Relaxed);
        wakes.run();
        self.last_burst.store(clock(), Ordering::Relaxed);
    }

    /// How long the application has not been sending, all in all.
    pub(crate) fn idle_nanos(&self) -> u64 {
        self.idle_clock.load(Ordering::Relaxed)
    }

    /// Other threads wait: wakes those that can go on, or one that can lead now that nobody does. One wake-up
    /// stands for any number of messages, so whoever takes one has to see to the rest.
    pub(super) fn hand_on(&self, state: &mut State, waited: bool) {
        let leader = state.leader.unwrap_or_default();
        let mut lead = waited && state.leader.is_none() && self.net.get().is_some();
        if (state.recv_sleepers > 0 || leader.recv) && (lead || state.ready(Want::RECV).recv) {
            lead = false;
            self.wake_receiver(state);
        }
        if (state.send_sleepers > 0 || leader.send) && (lead || state.ready(Want::SEND).send) {
            self.wake_sender(state);
        }
    }
}
