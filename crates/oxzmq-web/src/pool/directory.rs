//! The workers: who they are, when they were last heard of, and who is free.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::numbers::{ByNumber, Numbers};
use crate::envelope::Introduction;
use crate::stats::Histogram;

/// A worker's number within this master; never given twice.
pub(super) type WorkerNo = u64;

pub(super) struct Worker {
    identity: Bytes,
    pub(super) name: Arc<str>,
    pub(super) host: String,
    pub(super) root: String,
    pub(super) pid: u32,
    pub(super) slots: usize,
    pub(super) born: Instant,
    /// How long its complete answers took.
    pub(super) latency: Histogram,
    pub(super) failed: u64,
    pub(super) octets: u64,
    /// Ids of the orders it has.
    pub(super) in_hand: Numbers,
    /// Turn at which it was used last.
    last_used: u64,
    pub(super) last_heard: Instant,
    last_pulse: Instant,
    pub(super) draining: bool,
    /// Silent for longer than is usual.
    pub(super) suspect: bool,
}

impl Worker {
    fn is_free(&self) -> bool {
        !self.draining && !self.suspect && self.in_hand.len() < self.slots
    }
}

/// Time between two signs of life to a worker: a little less than an interval, so that the worker's answers come before
/// it has to wake up by itself.
fn pulse_pause(interval: Duration) -> Duration {
    interval * 7 / 8
}

/// Everyone who is here.
#[derive(Default)]
pub(super) struct Directory {
    workers: ByNumber<Worker>,
    by_identity: HashMap<Bytes, WorkerNo>,
    /// Exactly the workers that are free, the one to use next first: by requests in hand, then by turn of
    /// last use.
    free: BTreeSet<(usize, u64, WorkerNo)>,
    next_no: WorkerNo,
    turn: u64,
}

impl Directory {
    pub(super) fn add(&mut self, identity: Bytes, who: &Introduction, now: Instant) -> WorkerNo {
        let no = self.next_no;
        self.next_no += 1;
        let worker = Worker {
            identity: identity.clone(),
            name: who.name.as_str().into(),
            host: who.host.clone(),
            root: who.root.clone(),
            pid: who.pid,
            born: now,
            latency: Histogram::default(),
            failed: 0,
            octets: 0,
            slots: usize::try_from(who.slots).unwrap_or(usize::MAX),
            in_hand: Numbers::default(),
            last_used: 0,
            last_heard: now,
            last_pulse: now,
            draining: false,
            suspect: false,
        };
        self.by_identity.insert(identity, no);
        self.workers.insert(no, worker);
        self.change(no, |_| {});
        no
    }

    /// Forgets a worker: its name, and the ids of what it had in hand.
    pub(super) fn remove(&mut self, no: WorkerNo) -> Option<(Arc<str>, Vec<u64>)> {
        let worker = self.workers.remove(&no)?;
        self.free.remove(&(worker.in_hand.len(), worker.last_used, no));
        self.by_identity.remove(&worker.identity);
        Some((worker.name, worker.in_hand.into_iter().collect()))
    }

    /// Every change of what decides about freedom goes through here.
    fn change(&mut self, no: WorkerNo, change: impl FnOnce(&mut Worker)) {
        let Some(worker) = self.workers.get_mut(&no) else { return };
        self.free.remove(&(worker.in_hand.len(), worker.last_used, no));
        change(worker);
        if worker.is_free() {
            self.free.insert((worker.in_hand.len(), worker.last_used, no));
        }
    }

    pub(super) fn find(&self, identity: &Bytes) -> Option<WorkerNo> {
        self.by_identity.get(identity).copied()
    }

    pub(super) fn identity(&self, no: WorkerNo) -> Option<&Bytes> {
        self.workers.get(&no).map(|worker| &worker.identity)
    }

    pub(super) fn name(&self, no: WorkerNo) -> Arc<str> {
        self.workers.get(&no).map_or_else(|| "?".into(), |worker| Arc::clone(&worker.name))
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (WorkerNo, &Worker)> {
        self.workers.iter().map(|(&no, worker)| (no, worker))
    }

    /// It sent so much content.
    pub(super) fn sent(&mut self, no: WorkerNo, octets: u64) {
        if let Some(worker) = self.workers.get_mut(&no) {
            worker.octets += octets;
        }
    }

    /// It answered a request to the end.
    pub(super) fn did(&self, no: WorkerNo, took: Duration) {
        if let Some(worker) = self.workers.get(&no) {
            worker.latency.add(took);
        }
    }

    /// It failed a request.
    pub(super) fn failed(&mut self, no: WorkerNo) {
        if let Some(worker) = self.workers.get_mut(&no) {
            worker.failed += 1;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    pub(super) fn identities(&self) -> impl Iterator<Item = &Bytes> {
        self.workers.values().map(|worker| &worker.identity)
    }

    pub(super) fn all(&self) -> Vec<(Bytes, WorkerNo)> {
        self.workers.iter().map(|(&no, worker)| (worker.identity.clone(), no)).collect()
    }

    /// The worker to use next, rather not `avoid`.
    pub(super) fn next_free(&self, avoid: Option<WorkerNo>) -> Option<WorkerNo> {
        let mut free = self.free.iter().map(|&(_, _, no)| no);
        let first = free.next()?;
        if avoid == Some(first) { free.next().or(Some(first)) } else { Some(first) }
    }

    pub(super) fn take_slot(&mut self, no: WorkerNo, id: u64) {
        self.turn += 1;
        let turn = self.turn;
        self.change(no, |worker| {
            worker.in_hand.insert(id);
            worker.last_used = turn;
        });
    }

    pub(super) fn free_slot(&mut self, no: WorkerNo, id: u64) {
        self.change(no, |worker| {
            worker.in_hand.remove(&id);
        });
    }

    /// Gives it nothing more. False when that was so before.
    pub(super) fn drain(&mut self, no: WorkerNo) -> bool {
        let before = self.workers.get(&no).is_none_or(|worker| worker.draining);
        self.change(no, |worker| worker.draining = true);
        !before
    }

    pub(super) fn heard(&mut self, no: WorkerNo, now: Instant) {
        let Some(worker) = self.workers.get_mut(&no) else { return };
        worker.last_heard = now;
        if worker.suspect {
            self.change(no, |worker| worker.suspect = false);
        }
    }

    /// All are held to have been heard just now.
    pub(super) fn heard_all(&mut self, now: Instant) {
        let all: Vec<WorkerNo> = self.workers.keys().copied().collect();
        all.into_iter().for_each(|no| self.heard(no, now));
    }

    /// Those not heard of for so long.
    pub(super) fn silent(&self, now: Instant, limit: Duration) -> Vec<(Bytes, WorkerNo)> {
        let silent = self.workers.iter().filter(|(_, worker)| now.duration_since(worker.last_heard) >= limit);
        silent.map(|(&no, worker)| (worker.identity.clone(), no)).collect()
    }

    /// Gives nothing to those not heard of for so long, until they are.
    pub(super) fn suspect(&mut self, now: Instant, limit: Duration) {
        for (_, no) in self.silent(now, limit) {
            self.change(no, |worker| worker.suspect = true);
        }
    }

    /// When the next sign of life is due, or somebody has been silent for too long, whichever comes first.
    pub(super) fn next_concern(&self, interval: Duration) -> Option<Instant> {
        let concern = |worker: &Worker| {
            let patience = if worker.suspect { interval * 3 } else { interval * 2 };
            (worker.last_pulse + pulse_pause(interval)).min(worker.last_heard + patience)
        };
        self.workers.values().map(concern).min()
    }

    /// Those to send a sign of life to now. Once one is due so are all that would be soon, which keeps those of many
    /// workers together: the process wakes once for all.
    pub(super) fn pulses_due(&mut self, now: Instant, interval: Duration) -> Vec<Bytes> {
        let is_due = |worker: &Worker, pause| now.duration_since(worker.last_pulse) >= pause;
        if !self.workers.values().any(|worker| is_due(worker, pulse_pause(interval))) {
            return Vec::new();
        }
        let due = self.workers.values_mut().filter(|worker| is_due(worker, interval * 5 / 8));
        due.map(|worker| {
            worker.last_pulse = now;
            worker.identity.clone()
        })
        .collect()
    }
}
