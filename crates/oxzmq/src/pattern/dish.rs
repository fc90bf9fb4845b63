//! DISH (RFC 48): joins groups, and receives what RADIOs publish in them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use oxzmq_proto::{Frame, Kind, Message, Properties};

use super::radio::MAX_GROUP;
use super::{NotSent, Pattern};
use crate::error::{Error, ErrorKind, Result};
use crate::peers::{FairQueue, PeerId, Peers};

#[derive(Default)]
pub(super) struct Dish {
    queue: FairQueue,
    groups: HashSet<Bytes>,
    /// What messages of a peer in a group bear, made once for all of them. Joined groups only.
    properties: HashMap<PeerId, HashMap<Bytes, Arc<Properties>>>,
    /// Found by `can_recv` and not yet received.
    next: Option<Message>,
}

impl Dish {
    fn fetch(&mut self, peers: &mut Peers, message: &mut Message) -> bool {
        while let Some(id) = self.queue.recv(peers, message) {
            if message.len() != 2 {
                peers.drops.malformed += 1;
                continue;
            }
            if let Some(group) = message.pop_front()
                && let Some(group) = self.groups.get(group.as_slice())
            {
                let make = || {
                    let peers = message.properties().map_or_else(Properties::new, |peers| (**peers).clone());
                    Arc::new(peers.with_group(group.clone()))
                };
                // Of a peer that has gone nobody would forget them again.
                let properties = if peers.get(id).is_some_and(|peer| !peer.gone) {
                    let known = self.properties.entry(id).or_default();
                    Arc::clone(known.entry(group.clone()).or_insert_with(make))
                } else {
                    make()
                };
                message.set_properties(Some(properties));
                return true;
            }
            peers.drops.unwanted += 1;
        }
        false
    }
}

impl Pattern for Dish {
    fn attached(&mut self, _: &mut Peers, _: PeerId) {}

    fn linked(&mut self, peers: &mut Peers, id: PeerId) {
        self.properties.remove(&id); // those of the connection before
        for group in &self.groups {
            peers.tell(id, Kind::Join, group.clone().into());
        }
    }

    fn unlinked(&mut self, peers: &mut Peers, id: PeerId) {
        peers.take_unsent(id); // meant for that connection
    }

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        self.properties.remove(&id);
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
        match self.next.take() {
            Some(next) => {
                *message = next;
                Ok(true)
            }
            None => Ok(self.fetch(peers, message)),
        }
    }

    fn can_send(&mut self, _: &mut Peers) -> bool {
        false
    }

    fn can_recv(&mut self, peers: &mut Peers) -> bool {
        if self.next.is_none() {
            let mut message = Message::new();
            self.next = self.fetch(peers, &mut message).then_some(message);
        }
        self.next.is_some()
    }

    fn join(&mut self, peers: &mut Peers, group: Frame, add: bool) -> Result<()> {
        let refused = |why| Err(Error::new(ErrorKind::InvalidArgument, why));
        if group.len() > MAX_GROUP {
            return refused("a group's name has at most 255 bytes");
        }
        let name = group.clone().into_bytes();
        if add && !self.groups.insert(name.clone()) {
            return refused("the group is joined already");
        }
        if !add {
            if !self.groups.remove(&name) {
                return refused("the group is not joined");
            }
            self.properties.values_mut().for_each(|known| drop(known.remove(&name)));
            // Found while the group was joined.
            drop(self.next.take_if(|next| next.group() == name));
        }
        let kind = if add { Kind::Join } else { Kind::Leave };
        for id in peers.linked() {
            peers.tell(id, kind, group.clone());
        }
        Ok(())
    }
}
