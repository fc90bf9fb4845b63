//! PULL (RFC 30): messages of all connected PUSHes, one from each in turn.

use oxzmq_proto::{Frame, Message};

use super::{NotSent, Pattern};
use crate::error::{ErrorKind, Result};
use crate::peers::{FairQueue, PeerId, Peers};

#[derive(Default)]
pub(super) struct Pull {
    queue: FairQueue,
}

impl Pattern for Pull {
    fn attached(&mut self, _: &mut Peers, _: PeerId) {}

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        self.queue.activate(peers, id); // removes the peer once it is read empty
    }

    fn readable(&mut self, peers: &mut Peers, id: PeerId) {
        self.queue.activate(peers, id);
    }

    fn send(&mut self, _: &mut Peers, _: &mut Message) -> Result<(), NotSent> {
        Err(NotSent::Refused(ErrorKind::NotSupported))
    }

    fn begin(&mut self, _: &mut Peers, _: &Frame) -> Result<(), NotSent> {
        Err(NotSent::Refused(ErrorKind::NotSupported))
    }

    fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool> {
        Ok(self.queue.recv(peers, message).is_some())
    }

    fn can_send(&mut self, _: &mut Peers) -> bool {
        false
    }

    fn can_recv(&mut self, peers: &mut Peers) -> bool {
        self.queue.readable(peers)
    }
}
