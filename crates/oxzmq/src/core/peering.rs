//! What sessions and inproc partners report to the socket: peers that come, go, and have something to say.

use std::sync::Arc;

use bytes::Bytes;
use oxzmq_proto::{Message, Properties};

use super::{Core, Phase, State, Until, Want};
use crate::peer_info::Unsent;
use crate::peers::{Drops, Peer, PeerId};
use crate::session::Session;

impl Core {
    /// The peer's inbound queue has messages. The caller holds none of its session's locks.
    pub(crate) fn peer_readable(&self, id: PeerId) {
        self.update(|state| state.pattern.readable(&mut state.peers, id));
    }

    /// The peer's outbound queue has room again. The caller holds none of its session's locks.
    pub(crate) fn peer_writable(&self, id: PeerId) {
        self.update(|state| state.pattern.writable(&mut state.peers, id));
    }

    /// A connection's messages gather, and may be staged for it: a thread of this socket that is about to wait writes
    /// them first.
    pub(crate) fn deferred(&self, id: PeerId, session: Arc<Session>) {
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return;
        }
        state.peers.open_stage(id);
        state.defer(id, session);
    }

    /// The same without staging: the socket's owner is to flush.
    pub(crate) fn defer(&self, id: PeerId, session: Arc<Session>) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open {
            state.defer(id, session);
        }
    }

    /// Bytes sent to a peer and not yet in its queue.
    pub(crate) fn staged_bytes(&self, id: PeerId) -> usize {
        self.state.lock().peers.get(id).map_or(0, Peer::staged_bytes)
    }

    /// Puts what was sent to a peer into its queue, for the caller to write.
    pub(crate) fn fetch(&self, id: PeerId) {
        self.state.lock().peers.fetch(id);
    }

    /// Changes the state, signals what has become possible, and runs the wake-ups.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state);
        if state.is_awaited(Want::RECV) && state.ready(Want::RECV).recv {
            self.signal_recv(&mut state);
        }
        if state.is_awaited(Want::SEND) && state.ready(Want::SEND).send {
            self.signal_send(&mut state);
        }
        self.tell_watchers(&mut state);
        let wakes = state.peers.take_wakes();
        drop(state);
        if !wakes.is_empty() {
            wakes.run();
        }
        result
    }

    /// Adds a peer; `None` when the socket is closed.
    pub(crate) fn attach(&self, peer: Peer, session: Option<Arc<Session>>) -> Option<PeerId> {
        self.update(|state| {
            if state.phase == Phase::Closed {
                return None;
            }
            let id = state.peers.insert(peer);
            if let Some(session) = session {
                session.set_peer(id);
                state.sessions.insert(id.token(), session);
            }
            state.pattern.attached(&mut state.peers, id);
            Some(id)
        })
    }

    /// Somebody is behind a peer's queues: tells the pattern who. `hello` goes into the queue before
    /// all else, where the queue is all there is (inproc).
    pub(crate) fn link(
        &self,
        id: PeerId,
        routing_id: &Bytes,
        properties: Option<Arc<Properties>>,
        hello: Option<Message>,
    ) {
        self.update(|state| {
            let Some(peer) = state.peers.get_mut(id) else { return };
            peer.linked = true;
            peer.fresh = false;
            peer.properties = properties;
            // A routing id that the connection was given, or kept from its first handshake, stays.
            if peer.routing_id.is_empty() {
                peer.routing_id = routing_id.clone();
            }
            if let Some(hello) = hello {
                let waiting = state.peers.take_unsent(id);
                for message in std::iter::once(hello).chain(waiting) {
                    state.peers.push_over(id, message);
                }
            }
            state.pattern.linked(&mut state.peers, id);
        });
    }

    /// The connection behind a peer is down and may come back.
    pub(crate) fn unlink(&self, id: PeerId) {
        self.update(|state| {
            let Some(peer) = state.peers.get_mut(id) else { return };
            peer.linked = false;
            state.pattern.unlinked(&mut state.peers, id);
        });
    }

    /// A peer is gone for good; what it sent can still be read.
    pub(crate) fn detach(&self, id: PeerId) {
        self.update(|state| {
            let Some(peer) = state.peers.get_mut(id) else { return };
            if std::mem::replace(&mut peer.gone, true) {
                return;
            }
            peer.linked = false;
            peer.outbound.close();
            state.peers.drop_staged(id);
            state.pattern.detached(&mut state.peers, id);
            // With something left to read it stays until that is read. A socket that never reads, or is closed,
            // would keep it for ever, its session with it, and through that itself.
            if state.phase == Phase::Closed || !state.peers.has_input(id) {
                state.peers.remove(id);
            }
            if state.pattern.senders_differ() && state.is_awaited(Want::SEND) {
                // Whoever waits for room in this very peer's queue has to hear that there will be none.
                self.signal_send(state);
            }
        });
    }

    /// Delivers messages as if a peer had sent them.
    pub(crate) fn deliver(&self, id: PeerId, messages: &[Message]) {
        self.update(|state| {
            let Some(peer) = state.peers.get(id).filter(|peer| !peer.gone) else { return };
            for message in messages {
                peer.inbound.push_over(message.clone());
            }
            state.pattern.readable(&mut state.peers, id);
        });
    }

    /// What was queued for a peer has not reached its connection.
    pub(crate) fn count_lost(&self, messages: u64) {
        if messages > 0 {
            self.count_drops(|drops| drops.lost += messages);
        }
    }

    /// Messages of a peer that a closed socket leaves unread.
    pub(crate) fn never_read(&self, id: PeerId) -> u64 {
        let state = self.state.lock();
        if state.phase != Phase::Closed {
            return 0;
        }
        state.peers.get(id).map_or(0, |peer| peer.unread() as u64)
    }

    pub(crate) fn count_drops(&self, count: impl FnOnce(&mut Drops)) {
        count(&mut self.state.lock().peers.drops);
    }

    /// A peer's time to linger was too short.
    pub(crate) fn report_unsent(&self, id: PeerId, endpoint: &str, messages: u64) {
        tracing::info!(endpoint, messages, "not delivered in the time to linger");
        let mut state = self.state.lock();
        let routing_id = state.peers.get(id).map_or_else(Bytes::new, |peer| peer.routing_id.clone());
        // Before the socket is closed it would grow with each endpoint that is disconnected.
        if state.phase == Phase::Closed {
            state.unsent.push(Unsent { endpoint: endpoint.to_owned(), routing_id, messages });
        }
    }

    /// What could not be delivered, once that is certain. The socket is closed already.
    pub(crate) fn wait_for_the_end(self: &Arc<Self>) -> Vec<Unsent> {
        // Without the socket's end among its ends, and without a deadline, it does not fail.
        let _ = self.watch(false, Until::Forever, |_, peers| (peers.live() == 0).then_some(()));
        std::mem::take(&mut self.state.lock().unsent)
    }

    /// A session has ended: its connection is reported no more.
    pub(crate) fn remove_session(&self, id: PeerId) {
        let mut state = self.state.lock();
        let session = state.sessions.remove(&id.token());
        if state.sessions.len() == 1 {
            // The only one is looked for often, and among the places of all that there were.
            state.sessions.shrink_to_fit();
        }
        drop(state);
        drop(session); // perhaps the last reference, so not under the lock
    }

    pub(crate) fn sessions_accepted_by(&self, listener: u64) -> Vec<Arc<Session>> {
        let state = self.state.lock();
        state.sessions.values().filter(|session| session.is_accepted_by(listener)).cloned().collect()
    }

    pub(crate) fn has_peer(&self, id: PeerId) -> bool {
        let state = self.state.lock();
        state.phase != Phase::Closed && state.peers.get(id).is_some_and(|peer| !peer.gone)
    }

    /// What is known of a peer's far end once there is one.
    pub(crate) fn set_far_end(&self, id: PeerId, recv_capacity: usize, hears_changes: bool) {
        if let Some(peer) = self.state.lock().peers.get_mut(id) {
            peer.set_recv_capacity(recv_capacity);
            peer.hears_changes = hears_changes;
        }
    }

    /// Tells a peer's far end that this end wants no more of it.
    pub(crate) fn close_peer(&self, id: PeerId) {
        self.update(|state| state.peers.close(id));
    }

    /// Removes a peer together with what it sent (a disconnect asked for by the application).
    pub(crate) fn discard(&self, id: PeerId) {
        self.detach(id);
        self.state.lock().peers.remove(id);
    }
}
