//! Heartbeats (RFC 37): PINGs, and connections on which nothing is heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Lost, Session, Tx, clock, nanos};

impl Session {
    /// When the next heartbeat is due, counted from now; `None` without heartbeats.
    pub(crate) fn heartbeat_interval(&self) -> Option<Duration> {
        self.heartbeat.interval
    }

    /// The I/O thread's timer: checks for silence and sends the next PING when `ping`. Returns whether the
    /// connection is still there.
    pub(crate) fn heartbeat(self: &Arc<Self>, ping: bool) -> bool {
        let now = clock();
        let due = |deadline: &AtomicU64| (1..=now).contains(&deadline.load(Ordering::Relaxed));
        let Some(link) = self.tx.lock().link.clone() else { return false };
        if due(&self.heartbeat.deadline) || due(&self.heartbeat.ttl_deadline) {
            self.lost(&link, Lost::Silent);
            return false;
        }
        if ping {
            let blocked = {
                let mut tx = self.tx.lock();
                let Tx { encoder, out, blocked, .. } = &mut *tx;
                if let Some(encoder) = encoder
                    && !*blocked
                {
                    encoder.ping(self.heartbeat.ttl_deciseconds, &[], out);
                }
                *blocked
            };
            if !blocked {
                self.flush();
            }
            if let Some(timeout) = self.heartbeat.timeout {
                let deadline = clock().saturating_add(nanos(timeout));
                // An older PING that is still unanswered keeps its deadline.
                let _ = self.heartbeat.deadline.compare_exchange(0, deadline, Ordering::Relaxed, Ordering::Relaxed);
                if let Some(net) = self.core.existing_net() {
                    net.reactor.heartbeat_at(self, timeout);
                }
            }
        }
        true
    }
}
