//! PAIR (RFC 31): exactly one peer, the first to attach. Later ones are refused while it lives: they stay
//! connected and unheard, as with libzmq.

use oxzmq_proto::Message;

use super::{NotSent, Pattern};
use crate::error::Result;
use crate::peers::{FairQueue, PeerId, Peers, PushError};

#[derive(Default)]
pub(super) struct Pair {
    peer: Option<PeerId>,
    queue: FairQueue,
}

impl Pattern for Pair {
    fn attached(&mut self, peers: &mut Peers, id: PeerId) {
        if self.peer.is_none() {
            self.peer = Some(id);
        } else if let Some(peer) = peers.get_mut(id) {
            peer.refused = true;
        }
    }

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        if self.peer == Some(id) {
            self.peer = None;
            self.queue.activate(peers, id); // removes the peer once it is read empty
        } else {
            peers.remove(id);
        }
    }

    fn readable(&mut self, peers: &mut Peers, id: PeerId) {
        self.queue.activate(peers, id);
    }

    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent> {
        let Some(id) = self.peer else { return Err(NotSent::Full) };
        peers.push(id, message).map_err(|(PushError::Full | PushError::Gone)| NotSent::Full)
    }

    fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool> {
        Ok(self.queue.recv(peers, message).is_some())
    }

    fn can_send(&mut self, peers: &mut Peers) -> bool {
        self.peer.is_some_and(|id| peers.has_room(id))
    }

    fn can_recv(&mut self, peers: &mut Peers) -> bool {
        self.queue.readable(peers)
    }
}
