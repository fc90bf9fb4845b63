//! SERVER (RFC 41) and PEER (RFC 51): messages bear the number of the peer that they come from or go to.
//!
//! The numbers are handles of this socket, never 0, made when a peer attaches: a client that connects again gets
//! another one.

use std::collections::HashMap;

use bytes::Bytes;
use oxzmq_proto::Message;

use super::{NotSent, Pattern};
use crate::error::{ErrorKind, Result};
use crate::peers::{FairQueue, PeerId, Peers, PushError};
use crate::random;

pub(super) struct Server {
    queue: FairQueue,
    routes: HashMap<u32, PeerId>,
    last: u32,
}

/// The number under which the socket knows a peer, kept as its routing id.
pub(crate) fn number_of(peers: &Peers, id: PeerId) -> u32 {
    peers.get(id).and_then(|peer| peer.routing_id[..].try_into().ok()).map_or(0, u32::from_be_bytes)
}

impl Server {
    pub(super) fn new() -> Self {
        Self { queue: FairQueue::default(), routes: HashMap::new(), last: random::u32() }
    }

    fn next_number(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && !self.routes.contains_key(&self.last) {
                return self.last;
            }
        }
    }
}

impl Pattern for Server {
    fn attached(&mut self, peers: &mut Peers, id: PeerId) {
        let number = self.next_number();
        if let Some(peer) = peers.get_mut(id) {
            peer.routing_id = Bytes::copy_from_slice(&number.to_be_bytes());
            self.routes.insert(number, id);
        }
    }

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        self.routes.remove(&number_of(peers, id));
        self.queue.activate(peers, id); // removes the peer once it is read empty
    }

    fn readable(&mut self, peers: &mut Peers, id: PeerId) {
        self.queue.activate(peers, id);
    }

    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent> {
        let number = message.routing_id();
        let Some(&id) = self.routes.get(&number) else {
            return Err(NotSent::Refused(ErrorKind::HostUnreachable));
        };
        // It means nothing on the other side.
        message.set_routing_id(0);
        let result = peers.push(id, message);
        if result.is_err() {
            message.set_routing_id(number);
        }
        result.map_err(|error| match error {
            PushError::Full => NotSent::Full,
            PushError::Gone => NotSent::Refused(ErrorKind::HostUnreachable),
        })
    }

    fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool> {
        let Some(id) = self.queue.recv(peers, message) else { return Ok(false) };
        message.set_routing_id(number_of(peers, id));
        Ok(true)
    }

    fn can_send(&mut self, _: &mut Peers) -> bool {
        true
    }

    fn senders_differ(&self) -> bool {
        true
    }

    fn can_recv(&mut self, peers: &mut Peers) -> bool {
        self.queue.readable(peers)
    }
}
