//! RADIO (RFC 48): each message goes to every DISH that has joined its group; one whose queue is full misses it.
//!
//! On its way a message is two frames, the group and the body.

use std::collections::HashMap;

use bytes::Bytes;
use oxzmq_proto::{Frame, Kind, Message};

use super::{NotSent, Pattern, not_supported};
use crate::error::{ErrorKind, Result};
use crate::peers::{Peer, PeerId, Peers};

/// Longest name of a group in octets.
pub(super) const MAX_GROUP: usize = 255;

#[derive(Default)]
pub(super) struct Radio {
    /// Who has joined, each once. No group is without members.
    members: HashMap<Bytes, Vec<PeerId>>,
    /// Those to whom all groups go (udp).
    everywhere: Vec<PeerId>,
}

impl Radio {
    fn join(&mut self, group: Frame, id: PeerId) {
        let members = self.members.entry(group.into_bytes()).or_default();
        if !members.contains(&id) {
            members.push(id);
        }
    }

    fn leave(&mut self, group: &[u8], id: PeerId) {
        if let Some(members) = self.members.get_mut(group) {
            members.retain(|&member| member != id);
            if members.is_empty() {
                self.members.remove(group);
            }
        }
    }
}

impl Pattern for Radio {
    fn attached(&mut self, _: &mut Peers, _: PeerId) {}

    fn linked(&mut self, peers: &mut Peers, id: PeerId) {
        if peers.get(id).is_some_and(|peer| peer.takes_every_group) {
            self.everywhere.push(id);
        }
    }

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        self.readable(peers, id);
        self.everywhere.retain(|&known| known != id);
        self.members.retain(|_, members| {
            members.retain(|&member| member != id);
            !members.is_empty()
        });
        peers.remove(id);
    }

    fn readable(&mut self, peers: &mut Peers, id: PeerId) {
        // At once, in whichever thread brought them: a RADIO that only sends must still see them.
        let mut message = Message::new();
        while peers.pop(id, &mut message) {
            let kind = message.kind();
            let group = message.pop_front().unwrap_or_default();
            match kind {
                Kind::Join if group.len() <= MAX_GROUP => self.join(group, id),
                Kind::Leave => self.leave(&group, id),
                Kind::Data => peers.drops.unwanted += 1,
                _ => {}
            }
        }
    }

    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent> {
        let group = message.group();
        if message.len() > 1 || group.len() > MAX_GROUP {
            return Err(NotSent::Refused(ErrorKind::InvalidArgument));
        }
        let members = self.members.get(group).map_or(&[][..], Vec::as_slice);
        if members.is_empty() && self.everywhere.is_empty() {
            return Ok(());
        }
        let all = members.iter().chain(&self.everywhere);
        if peers.options.xpub_nodrop && !all.clone().all(|&id| peers.has_room(id)) {
            return Err(NotSent::Full);
        }
        let sent = Message::from([Frame::copy_from_slice(group), message.pop_front().unwrap_or_default()]);
        for &id in all {
            peers.push_or_drop(id, &mut sent.clone());
        }
        Ok(())
    }

    fn begin(&mut self, _: &mut Peers, _: &Frame) -> Result<(), NotSent> {
        Err(NotSent::Refused(ErrorKind::InvalidArgument))
    }

    fn subscribers(&mut self, peers: &mut Peers, group: &[u8]) -> Option<usize> {
        let members = self.members.get(group).map_or(&[][..], Vec::as_slice);
        // A connection may be down, and its peer's memberships kept.
        Some(members.iter().filter(|&&id| peers.get(id).is_some_and(Peer::is_connected)).count())
    }

    fn recv(&mut self, _: &mut Peers, _: &mut Message) -> Result<bool> {
        not_supported()
    }

    fn can_send(&mut self, _: &mut Peers) -> bool {
        true
    }

    fn senders_differ(&self) -> bool {
        true
    }

    fn can_recv(&mut self, _: &mut Peers) -> bool {
        false
    }
}
