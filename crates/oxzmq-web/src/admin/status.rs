//! `/status.json`

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::json;

use crate::pool::Snapshot;
use crate::stats::Stats;

/// Times are in milliseconds.
pub(super) fn json(stats: &Stats, snapshot: &Snapshot) -> String {
    let workers: Vec<_> = snapshot
        .workers
        .iter()
        .map(|worker| {
            json!({
                "name": worker.name, "host": worker.host, "pid": worker.pid, "root": worker.root, "state": worker.state,
                "slots": worker.slots, "in_hand": worker.in_hand, "oldest_ms": millis(worker.oldest),
                "done": worker.done, "failed": worker.failed, "octets": worker.octets,
                "p50_ms": millis(worker.p50), "p99_ms": millis(worker.p99),
                "silent_ms": millis(worker.silent), "age_ms": millis(worker.age),
            })
        })
        .collect();
    // The total is theirs: a request that is counted meanwhile must not be in one and not in the other.
    let statuses: Vec<_> = stats.statuses().collect();
    let requests_total: u64 = statuses.iter().map(|(_, count)| count).sum();
    let statuses: serde_json::Map<_, _> =
        statuses.into_iter().map(|(status, count)| (status.to_string(), count.into())).collect();
    let opened = stats.opened.load(Relaxed);
    json!({
        "version": env!("CARGO_PKG_VERSION"), "pid": std::process::id(), "uptime_ms": millis(stats.started.elapsed()),
        "stopping": snapshot.stopping, "connections": opened.saturating_sub(stats.closed.load(Relaxed)),
        "connections_total": opened, "requests": snapshot.requests, "queued": snapshot.queued,
        "queued_for_ms": millis(snapshot.queued_for), "quarantined": snapshot.quarantined, "statuses": statuses,
        "requests_total": requests_total, "octets_total": stats.octets.load(Relaxed),
        "cut_total": stats.cut.load(Relaxed), "abandoned_total": stats.abandoned.load(Relaxed),
        "p50_ms": millis(stats.latency.quantile(0.5)), "p99_ms": millis(stats.latency.quantile(0.99)),
        "latency": stats.latency.cumulative(), "workers": workers,
    })
    .to_string()
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
