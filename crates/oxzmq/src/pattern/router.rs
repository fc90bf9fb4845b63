//! ROUTER (RFC 28): every message is preceded by the routing id of the peer it comes from or goes to.
//!
//! A peer's routing id is, in this order: the one that CONNECT_ROUTING_ID gave the connection, the one
//! the peer announced, or five bytes made here (a zero and a counter). Ids are handles of this socket:
//! two sockets may know the same peer by different ones.

use std::collections::HashMap;

use bytes::Bytes;
use oxzmq_proto::{Frame, Message};

use super::{NotSent, Pattern};
use crate::error::{ErrorKind, Result};
use crate::peers::{FairQueue, PeerId, Peers, PushError};
use crate::random;

/// Makes routing ids for peers that announce none.
pub(super) struct IdMaker(u32);

impl IdMaker {
    pub(super) fn new() -> Self {
        Self(random::u32())
    }

    pub(super) fn next(&mut self) -> Bytes {
        self.0 = self.0.wrapping_add(1);
        let [a, b, c, d] = self.0.to_be_bytes();
        Bytes::copy_from_slice(&[0, a, b, c, d])
    }
}

pub(super) struct Router {
    queue: FairQueue,
    routes: HashMap<Bytes, PeerId>,
    ids: IdMaker,
}

impl Router {
    pub(super) fn new() -> Self {
        Self { queue: FairQueue::default(), routes: HashMap::new(), ids: IdMaker::new() }
    }

    fn add_route(&mut self, peers: &mut Peers, id: PeerId, routing_id: Bytes) {
        if let Some(peer) = peers.get_mut(id) {
            peer.routing_id = routing_id.clone();
            self.routes.insert(routing_id, id);
        }
    }

    /// Gives a peer that announced no id, or one that is taken, its place.
    fn identify(&mut self, peers: &mut Peers, id: PeerId) {
        let Some(announced) = peers.get(id).map(|peer| peer.routing_id.clone()) else { return };
        if announced.is_empty() {
            let made = self.ids.next();
            return self.add_route(peers, id, made);
        }
        match self.routes.get(&announced).copied() {
            Some(holder) if holder == id => {}
            // The newcomer stays connected and unheard for as long as it lives.
            Some(_) if !peers.options.router_handover => {
                if let Some(peer) = peers.get_mut(id) {
                    peer.refused = true;
                }
            }
            Some(holder) => {
                let made = self.ids.next();
                self.add_route(peers, holder, made);
                self.add_route(peers, id, announced);
                peers.close(holder);
            }
            None => self.add_route(peers, id, announced),
        }
    }
}

impl Pattern for Router {
    fn attached(&mut self, peers: &mut Peers, id: PeerId) {
        if peers.options.probe_router {
            peers.push_over(id, Message::single(Frame::new()));
        }
        // An id given by CONNECT_ROUTING_ID is usable before the connection exists.
        if peers.get(id).is_some_and(|peer| !peer.routing_id.is_empty()) {
            self.identify(peers, id);
        }
    }

    fn linked(&mut self, peers: &mut Peers, id: PeerId) {
        self.identify(peers, id);
    }

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        let Some(peer) = peers.get(id) else { return };
        let refused = peer.refused;
        if self.routes.get(&peer.routing_id) == Some(&id) {
            self.routes.remove(&peer.routing_id);
        }
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
        let mandatory = peers.options.router_mandatory;
        if message.len() < 2 {
            return Ok(()); // a routing id alone addresses nothing, known or not
        }
        let Some(routing_id) = message.pop_front() else { return Ok(()) };
        let Some(&id) = self.routes.get(routing_id.as_slice()) else {
            if mandatory {
                message.push_front(routing_id);
                return Err(NotSent::Refused(ErrorKind::HostUnreachable));
            }
            peers.drops.unroutable += 1;
            return Ok(());
        };
        match peers.push(id, message) {
            Ok(()) => Ok(()),
            Err(PushError::Full) if mandatory => {
                message.push_front(routing_id);
                Err(NotSent::Full)
            }
            Err(PushError::Gone) if mandatory => {
                message.push_front(routing_id);
                Err(NotSent::Refused(ErrorKind::HostUnreachable))
            }
            Err(error) => {
                peers.count_drop(id, &error);
                Ok(())
            }
        }
    }

    fn begin(&mut self, peers: &mut Peers, routing_id: &Frame) -> Result<(), NotSent> {
        if !peers.options.router_mandatory {
            return Ok(());
        }
        match self.routes.get(routing_id.as_slice()) {
            None => Err(NotSent::Refused(ErrorKind::HostUnreachable)),
            Some(&id) if peers.has_room(id) => Ok(()),
            Some(_) => Err(NotSent::Full),
        }
    }

    fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool> {
        let Some(id) = self.queue.recv(peers, message) else { return Ok(false) };
        let routing_id = peers.get(id).map(|peer| Frame::from(peer.routing_id.clone()));
        message.push_front(routing_id.unwrap_or_default());
        Ok(true)
    }

    fn can_send(&mut self, peers: &mut Peers) -> bool {
        !peers.options.router_mandatory || self.routes.values().any(|&id| peers.has_room(id))
    }

    fn senders_differ(&self) -> bool {
        true
    }

    fn can_recv(&mut self, peers: &mut Peers) -> bool {
        self.queue.readable(peers)
    }
}
