//! One client's request on its way through the pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::envelope::{Coding, Codings, Order, Version};

use super::directory::WorkerNo;

/// Where a request is.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// In the queue.
    Queued { since: Instant },
    /// With a worker. `since` is the last time it did something about it, or was given reason to.
    InHand { id: u64, worker: WorkerNo, since: Instant },
}

/// What the client was promised when the head went out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    pub(super) version: Version,
    pub(super) coding: Option<Coding>,
    /// Where in the file the next octet for the client is; never beyond `end`.
    pub(super) next: u64,
    pub(super) end: u64,
}

/// The weight of a try that failed for no other reason than the request itself.
pub(super) const FAILED_ALONE: u32 = 12;

pub(super) struct Request<C> {
    pub(super) order: Order,
    pub(super) client: C,
    pub(super) state: State,
    /// How long it has been in the queue, before it was handed to a worker.
    pub(super) queued: Duration,
    /// When it was handed to its worker.
    pub(super) began: Instant,
    /// Workers tried since the last progress.
    pub(super) tries: u32,
    /// What these tries weigh against it, in parts of [`FAILED_ALONE`].
    pub(super) guilt: u32,
    /// The name of the worker that has it, or had it last.
    pub(super) worker: Option<Arc<str>>,
    /// A worker has let the time for an answer pass since the last progress.
    pub(super) kept_waiting: bool,
    /// The worker that failed it last, avoided when there is another.
    pub(super) avoid: Option<WorkerNo>,
    pub(super) promise: Option<Promise>,
    /// Octets that the client has not taken yet.
    pub(super) unread: u64,
    /// Octets that the worker may still send. `unread + credit` never exceeds the window.
    pub(super) credit: u64,
}

impl<C> Request<C> {
    pub(super) fn new(order: Order, client: C, now: Instant) -> Self {
        let state = State::Queued { since: now };
        Self {
            order,
            client,
            state,
            queued: Duration::ZERO,
            began: now,
            tries: 0,
            guilt: 0,
            worker: None,
            kept_waiting: false,
            avoid: None,
            promise: None,
            unread: 0,
            credit: 0,
        }
    }

    /// Hands it to a worker: what to order, and with how much credit.
    pub(super) fn assign(&mut self, id: u64, worker: WorkerNo, window: u32, now: Instant) -> (Order, u32) {
        if let State::Queued { since } = self.state {
            self.queued += now.saturating_duration_since(since);
        }
        self.state = State::InHand { id, worker, since: now };
        self.began = now;
        self.tries += 1;
        let credit = u64::from(window).saturating_sub(self.unread);
        self.credit = credit;
        let mut order = self.order.clone();
        if let Some(promise) = self.promise {
            order.offset = promise.next;
            order.length = Some(promise.end - promise.next);
            order.version = Some(promise.version);
            order.accepts = promise.coding.map_or(Codings::NONE, |coding| Codings::NONE.with(coding));
        }
        (order, u32::try_from(credit).unwrap_or(u32::MAX))
    }

    /// Content has come: what failed before counts no more.
    pub(super) fn goes_on(&mut self) {
        self.tries = 0;
        self.guilt = 0;
        self.kept_waiting = false;
    }

    /// How much credit to give the worker, when it is worth a message.
    pub(super) fn grant(&mut self, window: u32, now: Instant) -> Option<u32> {
        let promise = self.promise?;
        let to_come = (promise.end - promise.next).saturating_sub(self.credit);
        let room = u64::from(window).saturating_sub(self.unread + self.credit);
        if to_come == 0 || room < to_come.min(u64::from(window) / 4) {
            return None;
        }
        if let State::InHand { since, .. } = &mut self.state
            && self.credit == 0
        {
            *since = now; // it had nothing to do until now
        }
        self.credit += room;
        u32::try_from(room).ok()
    }

    /// The worker has to do something: answer, or send what it has credit for.
    pub(super) fn is_owed(&self) -> bool {
        self.promise.is_none_or(|_| self.credit > 0)
    }

    /// The worker did something.
    pub(super) fn progress(&mut self, now: Instant) {
        if let State::InHand { since, .. } = &mut self.state {
            *since = now;
        }
    }
}
