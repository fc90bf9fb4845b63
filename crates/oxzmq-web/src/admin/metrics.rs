//! `/metrics`, in the text format of Prometheus.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use crate::pool::{Snapshot, WorkerView};
use crate::stats::Stats;

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Ends of the doublings that are told, as powers of two of a microsecond: 64 us to 34 s.
const DOUBLINGS: std::ops::Range<usize> = 5..25;

pub(super) fn text(stats: &Stats, snapshot: &Snapshot) -> String {
    let mut out = Out(String::with_capacity(4096));
    out.family("oxzmq_requests_total", "counter", "Requests answered, by status.");
    for (status, count) in stats.statuses() {
        out.line(&format!("oxzmq_requests_total{{status=\"{status}\"}}"), count as f64);
    }
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed) as f64;
    out.one(
        "oxzmq_abandoned_total",
        "counter",
        "Requests whose client left before the answer.",
        count(&stats.abandoned),
    );
    out.one("oxzmq_cut_total", "counter", "Answers that were not sent to the end.", count(&stats.cut));
    out.one("oxzmq_sent_bytes_total", "counter", "Octets of bodies handed to clients.", count(&stats.octets));
    out.one("oxzmq_connections_total", "counter", "Connections accepted.", count(&stats.opened));
    out.one("oxzmq_connections", "gauge", "Connections open.", count(&stats.opened) - count(&stats.closed));
    out.one("oxzmq_requests_in_progress", "gauge", "Requests not yet answered to the end.", snapshot.requests as f64);
    out.one("oxzmq_queue_length", "gauge", "Requests that wait for a worker.", snapshot.queued as f64);
    out.one("oxzmq_queue_wait_seconds", "gauge", "Wait of the first in the queue.", snapshot.queued_for.as_secs_f64());
    out.one("oxzmq_quarantined_paths", "gauge", "Paths refused for killing workers.", snapshot.quarantined as f64);
    out.one("oxzmq_uptime_seconds", "gauge", "Since the master was started.", stats.started.elapsed().as_secs_f64());

    let name = "oxzmq_request_duration_seconds";
    out.family(name, "histogram", "From a request's head to the end of its answer.");
    for (end, below) in stats.latency.cumulative().into_iter().skip(DOUBLINGS.start).take(DOUBLINGS.len()) {
        out.line(&format!("{name}_bucket{{le=\"{end}\"}}"), below as f64);
    }
    out.line(&format!("{name}_bucket{{le=\"+Inf\"}}"), stats.latency.count() as f64);
    out.line(&format!("{name}_sum"), stats.latency.sum().as_secs_f64());
    out.line(&format!("{name}_count"), stats.latency.count() as f64);

    out.one("oxzmq_workers", "gauge", "Workers that are here.", snapshot.workers.len() as f64);
    type Ask = fn(&WorkerView) -> f64;
    let families: [(&str, &str, &str, Ask); 7] = [
        ("oxzmq_worker_slots", "gauge", "Most requests a worker takes.", |worker| worker.slots as f64),
        ("oxzmq_worker_in_hand", "gauge", "Requests a worker has.", |worker| worker.in_hand as f64),
        ("oxzmq_worker_done_total", "counter", "Requests a worker answered.", |worker| worker.done as f64),
        ("oxzmq_worker_failed_total", "counter", "Requests a worker failed.", |worker| worker.failed as f64),
        ("oxzmq_worker_sent_bytes_total", "counter", "Octets a worker sent.", |worker| worker.octets as f64),
        ("oxzmq_worker_p99_seconds", "gauge", "99 of 100 answers took less.", |worker| worker.p99.as_secs_f64()),
        ("oxzmq_worker_silent_seconds", "gauge", "Since a worker was heard.", |worker| worker.silent.as_secs_f64()),
    ];
    for (name, kind, help, ask) in families {
        out.family(name, kind, help);
        for worker in &snapshot.workers {
            let labels =
                format!("worker=\"{}\",host=\"{}\",pid=\"{}\"", escape(&worker.name), escape(&worker.host), worker.pid);
            out.line(&format!("{name}{{{labels}}}"), ask(worker));
        }
    }
    out.0
}

struct Out(String);

impl Out {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}"); // a string takes everything
    }

    fn line(&mut self, series: &str, value: f64) {
        let _ = writeln!(self.0, "{series} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.line(name, value);
    }
}

/// A label's value. Names come from workers.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
