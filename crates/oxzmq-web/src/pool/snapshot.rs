//! How things stand, for people and their programs.

use std::time::{Duration, Instant};

use super::directory::Worker;
use super::request::State;
use super::{Client, Pool};

/// The pool at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Its workers, by name.
    pub workers: Vec<WorkerView>,
    /// Requests that wait for a worker.
    pub queued: usize,
    /// How long the first of them has waited.
    pub queued_for: Duration,
    /// Requests not yet answered to the end, those that wait included.
    pub requests: usize,
    /// Paths that are refused because they killed workers.
    pub quarantined: usize,
    /// No more requests are taken.
    pub stopping: bool,
}

/// A worker at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerView {
    /// Its name.
    pub name: String,
    /// Its machine.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// What it serves.
    pub root: String,
    /// `at work`, `silent` (for longer than is usual) or `draining`.
    pub state: &'static str,
    /// Most requests in hand.
    pub slots: usize,
    /// Requests in hand.
    pub in_hand: usize,
    /// How long it has had the oldest of them.
    pub oldest: Duration,
    /// Requests answered to the end.
    pub done: u64,
    /// Requests that it failed.
    pub failed: u64,
    /// Octets of content that it sent.
    pub octets: u64,
    /// Half of its answers were complete within this time.
    pub p50: Duration,
    /// 99 of 100 were.
    pub p99: Duration,
    /// How long it has said nothing.
    pub silent: Duration,
    /// How long it has been here.
    pub age: Duration,
}

impl WorkerView {
    pub(super) fn new(worker: &Worker, oldest: Option<Instant>, now: Instant) -> Self {
        let since = |time: Instant| now.saturating_duration_since(time);
        Self {
            name: worker.name.to_string(),
            host: worker.host.clone(),
            pid: worker.pid,
            root: worker.root.clone(),
            state: match (worker.draining, worker.suspect) {
                (true, _) => "draining",
                (_, true) => "silent",
                _ => "at work",
            },
            slots: worker.slots,
            in_hand: worker.in_hand.len(),
            oldest: oldest.map_or(Duration::ZERO, since),
            done: worker.latency.count(),
            failed: worker.failed,
            octets: worker.octets,
            p50: worker.latency.quantile(0.5),
            p99: worker.latency.quantile(0.99),
            silent: since(worker.last_heard),
            age: since(worker.born),
        }
    }
}

impl<C: Client> Pool<C> {
    /// How things stand.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let mut workers: Vec<_> = self
            .workers
            .each()
            .map(|(no, worker)| {
                let in_hand = self.requests.values().filter_map(|request| match request.state {
                    State::InHand { worker, .. } if worker == no => Some(request.began),
                    _ => None,
                });
                WorkerView::new(worker, in_hand.min(), now)
            })
            .collect();
        workers.sort_by(|a, b| a.name.cmp(&b.name));
        let first = self.queue.front().and_then(|ticket| self.requests.get(ticket));
        let queued_for = first.map_or(Duration::ZERO, |request| match request.state {
            State::Queued { since } => now.saturating_duration_since(since),
            State::InHand { .. } => Duration::ZERO,
        });
        Snapshot {
            workers,
            queued: self.queue.len(),
            queued_for,
            requests: self.requests.len(),
            quarantined: self.quarantine.len(),
            stopping: self.stopping,
        }
    }
}
