//! Who works on what: workers, requests, and the rules between them, without sockets or a clock.
//!
//! Everything that happens is told to the [`Pool`] together with the time: a worker's message, its loss, a
//! client's request, how much a client has taken, that it has left, and the passing of time. The pool
//! answers by calling the [`Client`] it was given with the request and by messages to workers, which the
//! owner fetches with [`Pool::poll_outbox`]. The rules:
//!
//! * A request goes to a worker with a free slot, to the one with the fewest requests in hand and, among
//!   equals, to the one used least recently. Otherwise it waits in a queue of bounded length and patience.
//! * A worker that has said nothing for two intervals gets nothing new, after three it is dead.
//! * A request whose worker died, left, failed or took too long goes to another one, twice more at most. If
//!   content has already gone out it goes on where it stopped, provided that the new worker has the same
//!   version of the file; otherwise the answer is cut. Progress makes the count start anew.
//! * A path whose request lost all its workers by their death is not asked for again for a while.
//! * Content is paid for with credit: at most [`Limits::window`] octets are on their way or unread per request.

mod attempts;
mod differences;
mod directory;
mod numbers;
mod request;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::envelope::{Head, Order, ToMaster, ToWorker};
use differences::Differences;
use directory::{Directory, WorkerNo};
use numbers::ByNumber;
use request::{Request, State};
pub use snapshot::{Snapshot, WorkerView};

/// How often deadlines of requests are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Most paths held for poisonous at a time.
const QUARANTINE_MAX: usize = 256;

/// How much, how many, how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time between two signs of life; silence of three is death.
    pub interval: Duration,
    /// Most requests that wait for a free worker.
    pub queue: usize,
    /// Longest wait for a free worker.
    pub queue_wait: Duration,
    /// Longest silence of a worker about one request.
    pub patience: Duration,
    /// Workers tried for one request; the death of one that had several in hand counts less, a quarter at least.
    pub tries: u32,
    /// Octets of content on their way or unread per request.
    pub window: u32,
    /// How long a path that killed its workers is refused.
    pub quarantine: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            queue: 1024,
            queue_wait: Duration::from_secs(10),
            patience: Duration::from_secs(5),
            tries: 3,
            window: 512 * 1024,
            quarantine: Duration::from_secs(30),
        }
    }
}

/// Names a request; chosen by whoever submits it, and never twice.
pub type Ticket = u64;

/// Why a request got no answer, or not all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Too many requests wait already.
    QueueFull,
    /// No worker became free in time.
    NoWorker,
    /// The last worker tried did not answer in time, or fell silent; or one did, and no other became free in time.
    TooSlow,
    /// The last worker tried died or failed.
    Broken,
    /// The path has killed several workers of late.
    Quarantined,
    /// The file changed while it was being sent.
    Changed,
    /// The master is stopping.
    Stopping,
}

/// Who answered, or was the last to fail to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The worker's name.
    pub worker: Arc<str>,
    /// Workers tried for this request, this one included.
    pub tries: u32,
    /// How long the request has waited for workers, in all.
    pub queued: Duration,
}

/// Where the pool delivers what comes of a request.
pub trait Client {
    /// The answer and the first piece of its content. More follows if `head.length` says so.
    fn head(&mut self, head: Head, source: Source, content: Bytes);
    /// The next piece.
    fn chunk(&mut self, content: Bytes);
    /// No answer, or no more of it; nothing follows. `last` is the worker that was tried last, if any was.
    fn fail(&mut self, failure: Failure, last: Option<Source>);
}

/// News of a worker, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It said READY.
    Joined {
        /// Its name.
        worker: Arc<str>,
        /// Its process.
        pid: u32,
        /// Its machine.
        host: String,
        /// What it serves.
        root: String,
        /// Most requests in hand.
        slots: u32,
    },
    /// Two workers serve different files under one path.
    Differ {
        /// The path, fit to be shown.
        path: String,
        /// Their names.
        workers: [Arc<str>; 2],
    },
    /// It is gone.
    Left {
        /// Its name.
        worker: Arc<str>,
        /// Why.
        why: String,
        /// Requests it had in hand, which go to others.
        in_hand: usize,
    },
}

/// The workers and the requests. See the [module](self).
pub struct Pool<C> {
    limits: Limits,
    workers: Directory,
    requests: ByNumber<Request<C>>,
    /// Requests in state [`State::Queued`], longest wait first.
    queue: VecDeque<Ticket>,
    /// Every order that a worker has in hand, by the id that the worker knows. The ticket is absent once
    /// nobody waits for it any more: the slot stays taken until the worker is rid of it.
    attempts: ByNumber<(WorkerNo, Option<Ticket>)>,
    next_id: u64,
    quarantine: HashMap<Bytes, Instant>,
    differences: Differences,
    outbox: VecDeque<(Bytes, ToWorker)>,
    news: VecDeque<News>,
    last_tick: Option<Instant>,
    stopping: bool,
}

impl<C: Client> Pool<C> {
    /// An empty pool. `first_id` should differ between masters, so that an old one's ids mean nothing.
    pub fn new(limits: Limits, first_id: u64) -> Self {
        Self {
            limits,
            workers: Directory::default(),
            requests: ByNumber::default(),
            queue: VecDeque::new(),
            attempts: ByNumber::default(),
            next_id: first_id,
            quarantine: HashMap::new(),
            differences: Differences::default(),
            outbox: VecDeque::new(),
            news: VecDeque::new(),
            last_tick: None,
            stopping: false,
        }
    }

    // ---- what clients do -------------------------------------------------------------------------------

    /// A client wants something.
    pub fn submit(&mut self, ticket: Ticket, order: Order, mut client: C, now: Instant) {
        let refusal = if self.stopping {
            Some(Failure::Stopping)
        } else if self.quarantine.get(&order.path).is_some_and(|&until| now < until) {
            Some(Failure::Quarantined)
        } else if self.queue.len() >= self.limits.queue {
            Some(Failure::QueueFull)
        } else {
            None
        };
        if let Some(failure) = refusal {
            return client.fail(failure, None);
        }
        self.requests.insert(ticket, Request::new(order, client, now));
        self.queue.push_back(ticket);
        self.dispatch(now);
    }

    /// The client has taken so many octets of content, and can take as many more.
    pub fn consumed(&mut self, ticket: Ticket, octets: u64, now: Instant) {
        let Some(request) = self.requests.get_mut(&ticket) else { return };
        request.unread = request.unread.saturating_sub(octets);
        if let State::InHand { id, worker, .. } = request.state
            && let Some(more) = request.grant(self.limits.window, now)
        {
            self.send(worker, ToWorker::Grant(id, more));
        }
    }

    /// The client has left. Calling this for a request that is over does nothing.
    pub fn cancel(&mut self, ticket: Ticket) {
        let Some(request) = self.requests.remove(&ticket) else { return };
        match request.state {
            State::Queued { .. } => self.queue.retain(|&waiting| waiting != ticket),
            State::InHand { id, worker, .. } => self.abandon(id, worker),
        }
    }

    // ---- what workers do -------------------------------------------------------------------------------

    /// A worker's message.
    pub fn handle(&mut self, from: &Bytes, message: ToMaster, now: Instant) {
        if let ToMaster::Ready(introduction) = message {
            if let Some(no) = self.workers.find(from) {
                self.lose(no, "started anew", now);
            }
            let (worker, pid) = (introduction.name.as_str().into(), introduction.pid);
            let (host, root) = (introduction.host.clone(), introduction.root.clone());
            self.news.push_back(News::Joined { worker, pid, host, root, slots: introduction.slots });
            let no = self.workers.add(from.clone(), &introduction, now);
            self.send(no, ToWorker::Welcome(self.limits.interval));
            if self.stopping {
                self.workers.drain(no);
                self.send(no, ToWorker::Stop);
            }
            return self.dispatch(now);
        }
        let Some(no) = self.workers.find(from) else {
            // Content from the past needs no answer; a worker that thinks it is at work must start anew.
            if matches!(message, ToMaster::Pulse | ToMaster::Draining) {
                self.outbox.push_back((from.clone(), ToWorker::Bye));
            }
            return;
        };
        self.workers.heard(no, now);
        match message {
            ToMaster::Head(id, head, content) => self.head(no, id, head, content, now),
            ToMaster::Chunk(id, content) => self.chunk(no, id, content, now),
            ToMaster::End(id, reason) => self.end(no, id, &reason, now),
            ToMaster::Draining => {
                self.workers.drain(no);
                self.send(no, ToWorker::Stop);
            }
            ToMaster::Bye => self.lose(no, "said good-bye", now),
            ToMaster::Pulse | ToMaster::Ready(_) => {}
        }
        self.dispatch(now);
    }

    /// What a worker sent is not of the protocol.
    pub fn misbehaved(&mut self, from: &Bytes, what: &str, now: Instant) {
        self.outbox.push_back((from.clone(), ToWorker::Bye));
        if let Some(no) = self.workers.find(from) {
            self.lose(no, &format!("broke the protocol: {what}"), now);
        }
    }

    /// A worker cannot be reached any more.
    pub fn unreachable(&mut self, worker: &Bytes, why: &str, now: Instant) {
        if let Some(no) = self.workers.find(worker) {
            self.lose(no, why, now);
        }
    }

    /// Sends every worker a sign of life, so that those which cannot be reached are found at once.
    pub fn probe(&mut self) {
        self.outbox.extend(self.workers.identities().map(|identity| (identity.clone(), ToWorker::Pulse)));
    }

    // ---- time ------------------------------------------------------------------------------------------

    /// Time has passed: call this at the [time for it](Pool::next_tick).
    pub fn tick(&mut self, now: Instant) {
        let pause = self.last_tick.replace(now).map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        if pause >= self.limits.interval * 2 {
            self.overslept(pause, now);
        }
        for (identity, no) in self.workers.silent(now, self.limits.interval * 3) {
            // If it only slept, this wakes it to a new start.
            self.outbox.push_back((identity, ToWorker::Bye));
            self.lose_by(no, "gave no sign of life", Failure::TooSlow, now);
        }
        self.workers.suspect(now, self.limits.interval * 2);
        let due = self.workers.pulses_due(now, self.limits.interval);
        self.outbox.extend(due.into_iter().map(|identity| (identity, ToWorker::Pulse)));

        let mut late = Vec::new();
        for (&ticket, request) in &self.requests {
            let late_since = match request.state {
                State::Queued { since } => Some(since + self.limits.queue_wait),
                State::InHand { since, .. } => request.is_owed().then(|| since + self.limits.patience),
            };
            if late_since.is_some_and(|time| now >= time) {
                late.push(ticket);
            }
        }
        for ticket in late {
            self.too_late(ticket, now);
        }
        self.quarantine.retain(|_, until| now < *until);
        self.dispatch(now);
    }

    /// When to call [`Pool::tick`] next, provided that nothing happens before: several times within an interval as long
    /// as there are requests, at the next sign of life otherwise; never without workers.
    pub fn next_tick(&self, now: Instant) -> Option<Instant> {
        if !self.requests.is_empty() {
            return Some(now + TICK);
        }
        self.workers.next_concern(self.limits.interval).into_iter().chain(self.quarantine.values().copied()).min()
    }

    /// The master itself stood still for so long, as in a machine that was put to sleep: what workers have said
    /// meanwhile is unread, and nobody is to blame for silence.
    fn overslept(&mut self, pause: Duration, now: Instant) {
        self.workers.heard_all(now);
        for request in self.requests.values_mut() {
            let (State::Queued { since } | State::InHand { since, .. }) = &mut request.state;
            *since = (*since + pause).min(now);
        }
    }

    fn too_late(&mut self, ticket: Ticket, now: Instant) {
        let Some(request) = self.requests.get(&ticket) else { return };
        match request.state {
            State::Queued { .. } => {
                self.queue.retain(|&waiting| waiting != ticket);
                let failure = if request.kept_waiting { Failure::TooSlow } else { Failure::NoWorker };
                self.fail(ticket, failure);
            }
            State::InHand { id, worker, .. } => {
                self.abandon(id, worker);
                self.retry(ticket, Failure::TooSlow, now);
            }
        }
    }

    // ---- the end ---------------------------------------------------------------------------------------

    /// Takes no more requests. Workers are told to stop once the last one is answered.
    pub fn stop(&mut self) {
        self.stopping = true;
        if self.requests.is_empty() {
            self.stop_workers();
        }
    }

    /// Tells the workers to stop, whatever is left to do.
    pub fn stop_workers(&mut self) {
        self.stopping = true;
        for (identity, no) in self.workers.all() {
            if self.workers.drain(no) {
                self.outbox.push_back((identity, ToWorker::Stop));
            }
        }
    }

    // ---- what the owner fetches ------------------------------------------------------------------------

    /// The next message to send, and the routing id of the worker it goes to.
    pub fn poll_outbox(&mut self) -> Option<(Bytes, ToWorker)> {
        self.outbox.pop_front()
    }

    /// The next news.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Workers now.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Requests not yet answered to the end.
    pub fn requests(&self) -> usize {
        self.requests.len()
    }

    fn send(&mut self, no: WorkerNo, message: ToWorker) {
        if let Some(identity) = self.workers.identity(no) {
            self.outbox.push_back((identity.clone(), message));
        }
    }
}
