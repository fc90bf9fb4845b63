//! PUSH (RFC 30): messages go to the connected PULLs in turn; waits while none has room.

use oxzmq_proto::Message;

use super::{NotSent, Pattern, not_supported};
use crate::error::Result;
use crate::peers::{LoadBalancer, PeerId, Peers};

#[derive(Default)]
pub(super) struct Push {
    balancer: LoadBalancer,
}

impl Pattern for Push {
    fn attached(&mut self, peers: &mut Peers, id: PeerId) {
        self.balancer.activate(peers, id);
    }

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        self.balancer.remove(peers, id);
        peers.remove(id);
    }

    fn readable(&mut self, peers: &mut Peers, id: PeerId) {
        // A PULL has nothing to say; what it says all the same is dropped, so that it cannot pile up.
        while peers.pop(id, &mut Message::new()) {
            peers.drops.unwanted += 1;
        }
    }

    fn writable(&mut self, peers: &mut Peers, id: PeerId) {
        self.balancer.activate(peers, id);
    }

    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent> {
        self.balancer.send(peers, message).map(drop).ok_or(NotSent::Full)
    }

    fn recv(&mut self, _: &mut Peers, _: &mut Message) -> Result<bool> {
        not_supported()
    }

    fn can_send(&mut self, peers: &mut Peers) -> bool {
        self.balancer.writable(peers)
    }

    fn can_recv(&mut self, _: &mut Peers) -> bool {
        false
    }
}
