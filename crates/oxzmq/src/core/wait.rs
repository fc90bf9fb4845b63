//! Waiting and waking: who leads, who sleeps, whose poll set it is.

use std::cell::RefCell;
use std::io::ErrorKind::Interrupted;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::spin;
use super::{Core, Net, Phase, State, WAKE_TOKEN, Want};
use crate::session::Session;
use crate::sys::{self, Events};

/// Events fetched by one wait.
const EVENTS_PER_WAIT: usize = 128;

thread_local! {
    static EVENTS: RefCell<Events> = RefCell::new(Events::with_capacity(EVENTS_PER_WAIT));
}

/// What a task found that looked before it waits.
pub(super) enum Looked {
    /// It is worth another try.
    Found,
    /// It is to look again in a moment.
    NotYet,
    InVain,
}

impl Core {
    /// Waits once: until something changed, the time is over, or for no reason at all. The caller looks
    /// again in every case.
    pub(super) fn wait<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        want: Want,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        if let Some(net) = self.net.get()
            && state.leader.is_none()
        {
            return self.lead_once(state, net, want, timeout);
        }
        if timeout != Some(Duration::ZERO) && state.spin.is_worthwhile() {
            let (news, rest) = (self.news.load(Ordering::Relaxed), state.spin.rest());
            state.spinners += 1;
            drop(state);
            spin::wait(|| self.news.load(Ordering::Relaxed) != news, rest);
            state = self.state.lock();
            state.spinners -= 1;
            let changed = self.news.load(Ordering::Relaxed) != news;
            state.spin.tell(changed);
            if changed {
                return state;
            }
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

    /// Leads for one wait.
    pub(super) fn lead_once<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        net: &Net,
        want: Want,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        self.start_leading(&mut state, net, want);
        let looks = timeout != Some(Duration::ZERO) && state.spin.is_worthwhile();
        if let Some(session) = self.answering(&mut state) {
            let answered;
            (state, answered) = self.read_answer(state, &session);
            if answered {
                state.interrupted = false;
                return state;
            }
        }
        drop(state);
        let found = looks && self.look(net, |look| spin::look(look));
        let interrupted = !found && self.lead(net, timeout);
        let mut state = self.state.lock();
        if looks {
            state.spin.tell(found);
        }
        state.leader = None;
        state.lease.used = true;
        state.interrupted = interrupted;
        state
    }

    /// The only connection, where an answer is expected and lately was mostly there by the time that somebody asked: then
    /// one read takes the place of a wait and a read.
    fn answering(&self, state: &mut State) -> Option<Arc<Session>> {
        let only = state.only_session().filter(|_| self.converses())?;
        state.direct.is_worthwhile().then_some(only)
    }

    /// The leader reads from its only connection. True when it need not wait any more, and leads no longer.
    fn read_answer<'a>(
        self: &'a Arc<Self>,
        state: MutexGuard<'a, State>,
        session: &Arc<Session>,
    ) -> (MutexGuard<'a, State>, bool) {
        // Both ordered by the state's lock, see the fields.
        self.leader_awake.store(true, Ordering::Relaxed);
        let news = self.news.load(Ordering::Relaxed);
        drop(state);
        let answered = session.read_now();
        let mut state = self.state.lock();
        state.direct.tell(answered);
        // Who had something to tell meanwhile relied on another look.
        let over = answered || self.news.load(Ordering::Relaxed) != news;
        if over {
            state.leader = None;
        } else {
            self.leader_awake.store(false, Ordering::Relaxed);
        }
        (state, over)
    }

    /// Makes the calling thread the leader. The I/O thread stops watching the set, under the same lock
    /// under which it takes the set back, so that exactly one of the two watches it at any time; what became
    /// ready in between is still ready afterwards, because the nested set is level-triggered.
    pub(super) fn start_leading(self: &Arc<Self>, state: &mut State, net: &Net, want: Want) {
        state.leader = Some(want);
        // Ordered by the state's lock, see the field.
        self.leader_awake.store(false, Ordering::Relaxed);
        self.lease(state, net);
    }

    /// A task has found nothing: looks whether anything is ready, and drives it. What threads do in one go before they sleep
    /// a task does in several, and lets its executor run others in between; `since` is when it began.
    pub(super) fn look_for_task<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        since: &mut Option<Instant>,
    ) -> (MutexGuard<'a, State>, Looked) {
        let Some(net) = self.net.get().filter(|_| state.leader.is_none()) else { return (state, Looked::InVain) };
        if since.is_none() && !state.spin.is_worthwhile() {
            self.end_lease(&mut state);
            return (state, Looked::InVain);
        }
        let began = *since.get_or_insert_with(Instant::now);
        self.start_leading(&mut state, net, Want::RECV);
        drop(state);
        let found = self.look(net, |look| look());
        let mut state = self.state.lock();
        state.leader = None;
        // Driving may take longer than two ticks, and a thread that was parked may have left meanwhile.
        self.unpark(&mut state);
        if state.recv_sleepers + state.send_sleepers > 0 {
            self.hand_on(&mut state, true);
        }
        if !found && began.elapsed() < spin::LOOK_AT_NETWORK {
            return (state, Looked::NotYet);
        }
        *since = None;
        state.spin.tell(found);
        if !found {
            self.end_lease(&mut state);
        }
        (state, if found { Looked::Found } else { Looked::InVain })
    }

    /// Looks whether something is ready, as often as `again` does, and drives it.
    fn look(self: &Arc<Self>, net: &Net, again: impl FnOnce(&mut dyn FnMut() -> bool) -> bool) -> bool {
        let mut events = EVENTS.take();
        events.clear();
        events.reserve(EVENTS_PER_WAIT);
        let found = again(&mut || net.set.look(&mut events));
        if found {
            // Ordered by the state's lock, see the field.
            self.leader_awake.store(true, Ordering::Relaxed);
            self.drive(&events);
        }
        EVENTS.set(events);
        found
    }

    /// True when a signal has ended the wait.
    fn lead(self: &Arc<Self>, net: &Net, timeout: Option<Duration>) -> bool {
        let mut events = EVENTS.take();
        events.clear();
        events.reserve(EVENTS_PER_WAIT);
        // A failure here can only be a bad descriptor, which the set owns; the loop around looks again.
        let interrupted = matches!(net.set.wait(&mut events, timeout), Err(error) if error.kind() == Interrupted);
        // Ordered by the state's lock, see the field.
        self.leader_awake.store(true, Ordering::Relaxed);
        self.drive(&events);
        EVENTS.set(events);
        interrupted
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
        events.clear();
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

    /// A receive may find something: wakes one thread that waits for it, and the tasks.
    pub(super) fn signal_recv(&self, state: &mut State) {
        self.tell_spinners(state);
        state.wake_tasks(Want::RECV);
        self.wake_receiver(state);
    }

    pub(super) fn signal_send(&self, state: &mut State) {
        self.tell_spinners(state);
        state.wake_tasks(Want::SEND);
        self.wake_sender(state);
    }

    fn tell_spinners(&self, _locked: &State) {
        // Ordered by the state's lock, see the field.
        self.news.fetch_add(1, Ordering::Relaxed);
    }

    /// Wakes one thread that waits to receive; when it leaves it wakes the next, if there is more.
    pub(super) fn wake_receiver(&self, state: &State) {
        if state.recv_sleepers > 0 {
            self.recv_cond.notify_one();
        } else if state.leader.is_some_and(|want| want.recv) {
            self.wake_leader(state);
        }
    }

    /// Wakes one thread that waits to send, or all of them where each may wait for another peer.
    pub(super) fn wake_sender(&self, state: &State) {
        let all = state.pattern.senders_differ();
        if state.send_sleepers > 0 {
            if all {
                self.send_cond.notify_all();
            } else {
                self.send_cond.notify_one();
            }
        }
        if (all || state.send_sleepers == 0) && state.leader.is_some_and(|want| want.send) {
            self.wake_leader(state);
        }
    }

    pub(super) fn wake_leader(&self, locked: &State) {
        if self.leader_awake.load(Ordering::Relaxed) {
            // It looks at the news before it sleeps, or at the state.
            self.tell_spinners(locked);
        } else if let Some(net) = self.net.get() {
            net.wake.wake();
        }
    }

    pub(super) fn signal_all(&self, state: &mut State) {
        self.tell_spinners(state);
        state.wake_tasks(Want { recv: true, send: true });
        state.wake_watching_tasks();
        self.recv_cond.notify_all();
        self.send_cond.notify_all();
        self.watch_cond.notify_all();
        self.wake_leader(state);
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

    pub(crate) fn set_driven(&self, driven: bool) {
        self.driven.store(driven, Ordering::Relaxed);
    }

    pub(crate) fn is_driven(&self) -> bool {
        self.driven.load(Ordering::Relaxed)
    }

    /// Drives what is ready, without waiting: the turn of a [`Driver`](crate::Driver), which leads as a poller does. False
    /// when nothing was.
    pub(crate) fn drive_now(self: &Arc<Self>, net: &Net) -> bool {
        let mut events = EVENTS.take();
        events.clear();
        events.reserve(EVENTS_PER_WAIT);
        let found = net.set.look(&mut events);
        self.drive(&events);
        EVENTS.set(events);
        found
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
