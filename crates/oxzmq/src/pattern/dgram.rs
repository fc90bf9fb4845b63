//! DGRAM: datagrams as they are. A message is two frames, whom it comes from or goes to, and the datagram.

use oxzmq_proto::Message;

use super::pair::Pair;
use super::{NotSent, Pattern};
use crate::error::{ErrorKind, Result};
use crate::peers::{PeerId, Peers};

/// Most octets that a datagram of UDP over IPv4 holds.
const LARGEST: usize = 65_507;

#[derive(Default)]
pub(super) struct Dgram(Pair);

impl Pattern for Dgram {
    fn attached(&mut self, peers: &mut Peers, id: PeerId) {
        self.0.attached(peers, id);
    }

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        self.0.detached(peers, id);
    }

    fn readable(&mut self, peers: &mut Peers, id: PeerId) {
        self.0.readable(peers, id);
    }

    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent> {
        let [_, body] = message.frames() else { return Err(NotSent::Refused(ErrorKind::InvalidArgument)) };
        if body.len() > LARGEST {
            return Err(NotSent::Refused(ErrorKind::TooLarge));
        }
        self.0.send(peers, message)
    }

    fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool> {
        self.0.recv(peers, message)
    }

    fn can_send(&mut self, peers: &mut Peers) -> bool {
        self.0.can_send(peers)
    }

    fn can_recv(&mut self, peers: &mut Peers) -> bool {
        self.0.can_recv(peers)
    }
}
