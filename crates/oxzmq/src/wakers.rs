//! The tasks that wait at a socket.
//!
//! Each future (stream, sink, poller) that waits holds a [`Ticket`] and takes its entry back when it is
//! dropped or done: a socket on which nothing happens would otherwise collect the wakers of all that ever
//! gave up waiting. Wakers alone do not tell who registered them, because the futures of one task share one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Instant;

/// Names one waiting future, in the whole process.
#[derive(Debug)]
pub(crate) struct Ticket(u64);

impl Ticket {
    pub(crate) fn new() -> Self {
        // Only uniqueness counts.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a future that waits keeps between two polls.
#[derive(Debug, Default)]
pub(crate) struct TaskWait {
    /// Names its entry among the wakers; `None` until it has left one.
    pub(crate) ticket: Option<Ticket>,
    /// It has found nothing and left its waker.
    pub(crate) registered: bool,
    /// It looks for what it waits for, since then, and has left no waker yet.
    pub(crate) looking_since: Option<Instant>,
}

#[derive(Default)]
pub(crate) struct Wakers(Vec<(u64, Waker)>);

impl Wakers {
    /// Keeps the latest waker of each ticket, and returns the one that it replaces, for the caller to drop once no
    /// lock is held.
    #[must_use = "dropping it may run what the application likes"]
    pub(crate) fn register(&mut self, ticket: &Ticket, waker: &Waker) -> Option<Waker> {
        match self.0.iter_mut().find(|(known, _)| *known == ticket.0) {
            Some((_, known)) if known.will_wake(waker) => None,
            Some((_, known)) => Some(std::mem::replace(known, waker.clone())),
            None => {
                self.0.push((ticket.0, waker.clone()));
                None
            }
        }
    }

    /// Takes an entry back; the caller drops the waker once no lock is held.
    pub(crate) fn forget(&mut self, ticket: &Ticket) -> Option<Waker> {
        let at = self.0.iter().position(|(known, _)| *known == ticket.0)?;
        Some(self.0.swap_remove(at).1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, to be woken: whoever is not served registers again.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Waker> + '_ {
        self.0.drain(..).map(|(_, waker)| waker)
    }
}
