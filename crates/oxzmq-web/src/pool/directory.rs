//! The workers: who they are, when they were last heard of, and who is free.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::envelope::Introduction;

/// A worker's number within this master; never given twice.
pub(super) type WorkerNo = u64;

struct Worker {
    identity: Bytes,
    name: Arc<str>,
    slots: usize,
    /// Ids of the orders it has.
    in_hand: HashSet<u64>,
    /// Turn at which it was used last.
    last_used: u64,
    last_heard: Instant,
    last_pulse: Instant,
    draining: bool,
    /// Silent for longer than is usual.
    suspect: bool,
}

impl Worker {
    fn is_free(&self) -> bool {
        !self.draining && !self.suspect && self.in_hand.len() < self.slots
    }
}

/// Everyone who is here.
#[derive(Default)]
pub(super) struct Directory {
    workers: HashMap<WorkerNo, Worker>,
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
            slots: usize::try_from(who.slots).unwrap_or(usize::MAX),
            in_hand: HashSet::new(),
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

    /// Those to send a sign of life to now.
    pub(super) fn pulses_due(&mut self, now: Instant, interval: Duration) -> Vec<Bytes> {
        let due = self.workers.values_mut().filter(|worker| now.duration_since(worker.last_pulse) >= interval);
        due.map(|worker| {
            worker.last_pulse = now;
            worker.identity.clone()
        })
        .collect()
    }
}
