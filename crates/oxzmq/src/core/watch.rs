//! Waiting for something other than a message: for peers to come, to subscribe, or to go.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use parking_lot::MutexGuard;

use super::{Core, Phase, State, Until, Want};
use crate::error::Result;
use crate::pattern::Pattern;
use crate::peers::Peers;
use crate::wakers::{Ticket, Wakers};

/// Who waits for changes.
#[derive(Default)]
pub(super) struct Watchers {
    pub(super) threads: usize,
    pub(super) wakers: Wakers,
}

impl Core {
    /// Waits until `look` finds something. It looks at once, and again after every change of the socket's peers and
    /// of what they ask for, with the socket's lock held. `alive` says whether the end of the socket ends the wait.
    /// (What a closed socket still has to deliver is the I/O thread's work alone.)
    pub(crate) fn watch<T>(
        self: &Arc<Self>,
        alive: bool,
        mut until: Until,
        mut look: impl FnMut(&mut dyn Pattern, &mut Peers) -> Option<T>,
    ) -> Result<T> {
        let mut state = self.lock_to_send(); // a request, perhaps
        let mut waited = false;
        state.watchers.threads += 1;
        let result = loop {
            if alive && let Err(error) = state.alive() {
                break Err(error);
            }
            if let Some(found) = state.look(&mut look) {
                break Ok(found);
            }
            if let Some(work) = state.take_work() {
                drop(state);
                work.run();
                state = self.state.lock();
                continue;
            }
            let left = match until.left(|| None) {
                Err(error) => break Err(error),
                Ok(left) => left,
            };
            waited = true;
            state = self.wait_for_change(state, left);
        };
        state.watchers.threads -= 1;
        self.leave(state, waited);
        result
    }

    /// The same for a task: looks, and if there is nothing to be found arranges for `waker` to be woken.
    pub(crate) fn poll_watch<T>(
        self: &Arc<Self>,
        waker: &Waker,
        ticket: &mut Option<Ticket>,
        mut look: impl FnMut(&mut dyn Pattern, &mut Peers) -> Option<T>,
    ) -> Option<Result<T>> {
        loop {
            let mut replaced = None;
            let mut state = self.lock_to_send();
            if let Err(error) = state.alive() {
                return Some(Err(error));
            }
            let found = state.look(&mut look);
            if found.is_none() {
                if let Some(work) = state.take_work() {
                    drop(state);
                    work.run();
                    continue;
                }
                self.end_lease(&mut state);
                replaced = state.watchers.wakers.register(ticket.get_or_insert_with(Ticket::new), waker);
            }
            self.leave(state, false);
            drop(replaced); // perhaps the last reference to a task, so not under the lock
            return found.map(Ok);
        }
    }

    /// What happens meanwhile on the socket's connections is this thread's work if nobody else leads.
    fn wait_for_change<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        if let Some(net) = self.net.get()
            && state.leader.is_none()
            && state.phase != Phase::Closed
        {
            return self.lead_once(state, net, Want::default(), timeout);
        }
        match timeout {
            Some(timeout) => drop(self.watch_cond.wait_for(&mut state, timeout)),
            None => self.watch_cond.wait(&mut state),
        }
        state
    }

    /// Something has changed: whoever watches looks again.
    #[inline]
    pub(super) fn tell_watchers(&self, state: &mut State) {
        if state.watchers.threads > 0 {
            self.watch_cond.notify_all();
            if state.leader == Some(Want::default()) {
                self.wake_leader(state);
            }
        }
        if !state.watchers.wakers.is_empty() {
            state.wake_watching_tasks();
        }
    }
}
