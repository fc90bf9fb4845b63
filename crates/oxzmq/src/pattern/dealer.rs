//! DEALER (RFC 28): sends to its peers in turn, receives from all of them, adds and removes no frame.

use oxzmq_proto::{Frame, Message};

use super::{NotSent, Pattern};
use crate::error::Result;
use crate::peers::{FairQueue, LoadBalancer, PeerId, Peers};

#[derive(Default)]
pub(super) struct Dealer {
    /// CLIENT has no PROBE_ROUTER.
    never_probes: bool,
    balancer: LoadBalancer,
    queue: FairQueue,
}

impl Dealer {
    pub(super) fn client() -> Self {
        Self { never_probes: true, ..Self::default() }
    }
}

impl Pattern for Dealer {
    fn attached(&mut self, peers: &mut Peers, id: PeerId) {
        if peers.options.probe_router && !self.never_probes {
            peers.push_over(id, Message::single(Frame::new()));
        }
        self.balancer.activate(peers, id);
    }

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        self.balancer.remove(peers, id);
        self.queue.activate(peers, id); // removes the peer once it is read empty
    }

    fn readable(&mut self, peers: &mut Peers, id: PeerId) {
        self.queue.activate(peers, id);
    }

    fn writable(&mut self, peers: &mut Peers, id: PeerId) {
        self.balancer.activate(peers, id);
    }

    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent> {
        self.balancer.send(peers, message).map(drop).ok_or(NotSent::Full)
    }

    fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool> {
        Ok(self.queue.recv(peers, message).is_some())
    }

    fn can_send(&mut self, peers: &mut Peers) -> bool {
        self.balancer.writable(peers)
    }

    fn can_recv(&mut self, peers: &mut Peers) -> bool {
        self.queue.readable(peers)
    }
}
