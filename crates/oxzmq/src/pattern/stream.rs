//! STREAM: plain TCP (or UNIX) byte streams. `[routing id][bytes]` both ways; an empty second frame tells
//! of a connection made or lost and, when sent, closes it.

use std::collections::HashMap;

use bytes::Bytes;
use oxzmq_proto::{Frame, Message};

use super::router::IdMaker;
use super::{NotSent, Pattern};
use crate::error::{ErrorKind, Result};
use crate::peers::{FairQueue, PeerId, Peers, PushError};

pub(super) struct Stream {
    queue: FairQueue,
    routes: HashMap<Bytes, PeerId>,
    ids: IdMaker,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self { queue: FairQueue::default(), routes: HashMap::new(), ids: IdMaker::new() }
    }

    /// Forgets a peer at once: what it sent and was not read goes with it.
    fn forget(&mut self, peers: &mut Peers, id: PeerId) {
        if let Some(peer) = peers.get_mut(id) {
            peer.refused = true;
            let routing_id = std::mem::take(&mut peer.routing_id);
            self.routes.remove(&routing_id);
        }
    }
}

impl Pattern for Stream {
    fn attached(&mut self, peers: &mut Peers, id: PeerId) {
        let Some(peer) = peers.get_mut(id) else { return };
        if peer.routing_id.is_empty() {
            peer.routing_id = self.ids.next();
        }
        self.routes.insert(peer.routing_id.clone(), id);
    }

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        let Some(peer) = peers.get(id) else { return };
        let refused = peer.refused;
        self.routes.remove(&peer.routing_id);
        if refused {
            peers.remove(id);
        } else {
            self.queue.activate(peers, id); // removes the peer once it is read empty
        }
    }

    fn readable(&mut self, peers: &mut Peers, id: PeerId) {
        self.queue.activate(peers, id);
    }

    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent> {
        if message.len() > 2 {
            return Err(NotSent::Refused(ErrorKind::InvalidArgument));
        }
        let Some(routing_id) = message.pop_front() else {
            return Err(NotSent::Refused(ErrorKind::InvalidArgument));
        };
        let Some(&id) = self.routes.get(routing_id.as_slice()) else {
            message.push_front(routing_id);
            return Err(NotSent::Refused(ErrorKind::HostUnreachable));
        };
        let Some(data) = message.pop_front() else { return Ok(()) };
        let closes = data.is_empty();
        let mut data = Message::single(data);
        let refused = match peers.push(id, &mut data) {
            Ok(()) => {
                if closes {
                    self.forget(peers, id);
                }
                return Ok(());
            }
            Err(PushError::Full) => NotSent::Full,
            Err(PushError::Gone) => NotSent::Refused(ErrorKind::HostUnreachable),
        };
        data.push_front(routing_id);
        *message = data;
        Err(refused)
    }

    fn begin(&mut self, peers: &mut Peers, routing_id: &Frame) -> Result<(), NotSent> {
        match self.routes.get(routing_id.as_slice()) {
            None => Err(NotSent::Refused(ErrorKind::HostUnreachable)),
            Some(&id) if peers.has_room(id) => Ok(()),
            Some(_) => Err(NotSent::Full),
        }
    }

    fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool> {
        while let Some(id) = self.queue.recv(peers, message) {
            let Some(peer) = peers.get(id) else { continue };
            if peer.refused {
                peers.drops.unwanted += 1;
                continue;
            }
            message.push_front(Frame::from(peer.routing_id.clone()));
            return Ok(true);
        }
        Ok(false)
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
