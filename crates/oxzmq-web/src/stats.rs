//! What is counted. Everything here may be counted from any thread, without locks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Buckets per doubling of time; four make an estimate no more than a fifth too high.
const STEPS: usize = 4;
/// Doublings counted, from a microsecond on: more than an hour.
const DOUBLINGS: usize = 33;
const BUCKETS: usize = STEPS * DOUBLINGS;

/// How long things took.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], count: AtomicU64::new(0), micros: AtomicU64::new(0) }
    }
}

impl Histogram {
    pub(crate) fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        // The position of the highest bit, and the two bits after it.
        let doubling = micros.ilog2() as usize;
        let step = (micros << 2 >> doubling) as usize & 3;
        self.buckets[(doubling * STEPS + step).min(BUCKETS - 1)].fetch_add(1, Relaxed);
        self.count.fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    pub(crate) fn sum(&self) -> Duration {
        Duration::from_micros(self.micros.load(Relaxed))
    }

    /// The time that this share of all stayed below, rounded up to the end of its bucket; zero without any.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let rank = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Relaxed);
            if seen >= rank && seen > 0 {
                return Duration::from_micros(end(index));
            }
        }
        Duration::ZERO
    }

    /// For each doubling: its end in seconds, and how many took less.
    pub(crate) fn cumulative(&self) -> Vec<(f64, u64)> {
        let mut seen = 0;
        let doublings = self.buckets.chunks(STEPS).enumerate();
        doublings
            .map(|(doubling, buckets)| {
                seen += buckets.iter().map(|bucket| bucket.load(Relaxed)).sum::<u64>();
                ((1_u64 << (doubling + 1)) as f64 / 1e6, seen)
            })
            .collect()
    }
}

/// First microsecond beyond the bucket.
fn end(index: usize) -> u64 {
    let (doubling, step) = (index / STEPS, (index % STEPS) as u64);
    ((1_u64 << doubling) * (5 + step)).div_ceil(4)
}

/// What a master counts.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) started: Instant,
    /// Answers by status, from 100 on; those that nobody waited for are at 0.
    statuses: [AtomicU64; 500],
    pub(crate) abandoned: AtomicU64,
    /// Octets of bodies handed to connections.
    pub(crate) octets: AtomicU64,
    /// Answers that broke off.
    pub(crate) cut: AtomicU64,
    pub(crate) latency: Histogram,
    /// Connections accepted, and those that have ended.
    pub(crate) opened: AtomicU64,
    pub(crate) closed: AtomicU64,
}

impl Default for Stats {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            started: Instant::now(),
            statuses: [const { AtomicU64::new(0) }; 500],
            abandoned: zero(),
            octets: zero(),
            cut: zero(),
            latency: Histogram::default(),
            opened: zero(),
            closed: zero(),
        }
    }
}

impl Stats {
    pub(crate) fn request(&self, status: u16, octets: u64, whole: bool, took: Duration) {
        match usize::from(status).checked_sub(100).and_then(|index| self.statuses.get(index)) {
            Some(counter) => counter.fetch_add(1, Relaxed),
            None => self.abandoned.fetch_add(1, Relaxed),
        };
        if !whole {
            self.cut.fetch_add(1, Relaxed);
        }
        self.octets.fetch_add(octets, Relaxed);
        self.latency.add(took);
    }

    /// Statuses that occurred, and how often.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = self.statuses.iter().map(|counter| counter.load(Relaxed));
        (100..).zip(counts).filter(|&(_, count)| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_a_little_high_and_never_low() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        for micros in 1..=10_000 {
            histogram.add(Duration::from_micros(micros));
        }
        for (share, exact) in [(0.5, 5000.0), (0.99, 9900.0), (1.0, 10_000.0)] {
            let estimate = histogram.quantile(share).as_micros() as f64;
            assert!(estimate >= exact && estimate <= exact * 1.26, "{share}: {estimate}");
        }
        histogram.add(Duration::MAX);
        assert_eq!(histogram.cumulative().last().unwrap().1, histogram.count());
    }

    #[test]
    fn statuses_are_told_apart() {
        let stats = Stats::default();
        for status in [200, 200, 404, 0, 999] {
            stats.request(status, 1, true, Duration::ZERO);
        }
        assert_eq!(stats.statuses().collect::<Vec<_>>(), [(200, 2), (404, 1)]);
        assert_eq!((stats.abandoned.load(Relaxed), stats.octets.load(Relaxed)), (2, 5));
    }
}
