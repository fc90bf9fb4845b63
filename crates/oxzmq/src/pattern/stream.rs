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

    fn send(&mut self, peers: &mut Peers, mut message: Message) -> Result<(), NotSent> {
        let Some(routing_id) = message.pop_front() else {
            return Err(NotSent::Refused(ErrorKind::InvalidArgument, message));
        };
        let Some(&id) = self.routes.get(routing_id.as_slice()) else {
            message.push_front(routing_id);
            return Err(NotSent::Refused(ErrorKind::HostUnreachable, message));
        };
        let Some(data) = message.pop_front() else { return Ok(()) };
        let closes = data.is_empty();
        match peers.push(id, Message::single(data)) {
            Ok(()) if closes => self.forget(peers, id),
            Ok(()) => {}
            Err(PushError::Full(back)) => return Err(NotSent::Full(restore(routing_id, back))),
            Err(PushError::Gone(back)) => {
                return Err(NotSent::Refused(ErrorKind::HostUnreachable, restore(routing_id, back)));
            }
        }
        Ok(())
    }

    fn recv(&mut self, peers: &mut Peers) -> Result<Option<Message>> {
        while let Some((id, mut message)) = self.queue.recv(peers) {
            let Some(peer) = peers.get(id) else { continue };
            if peer.refused {
                continue;
            }
            message.push_front(Frame::from(peer.routing_id.clone()));
            return Ok(Some(message));
        }
        Ok(None)
    }

    fn can_send(&mut self, _: &mut Peers) -> bool {
        true
    }

    fn can_recv(&mut self, peers: &mut Peers) -> bool {
        self.queue.readable(peers)
    }
}

fn restore(routing_id: Frame, mut message: Message) -> Message {
    message.push_front(routing_id);
    message
}
