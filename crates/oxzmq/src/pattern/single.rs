//! The thread-safe types (RFCs 41, 48, 49, 51, 52) carry messages of one frame only: more cannot be sent, and what
//! a peer sends all the same is dropped whole. Otherwise SCATTER is a PUSH, GATHER a PULL, CHANNEL a PAIR and
//! CLIENT a DEALER.

use oxzmq_proto::{Frame, Message};

use super::{NotSent, Pattern};
use crate::error::{ErrorKind, Result};
use crate::peers::{PeerId, Peers};

#[derive(Default)]
pub(super) struct Single<P> {
    pattern: P,
    /// Found by `can_recv` and not yet received.
    next: Option<Message>,
}

impl<P: Pattern> Single<P> {
    pub(super) fn of(pattern: P) -> Self {
        Self { pattern, next: None }
    }

    fn fetch(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool> {
        while self.pattern.recv(peers, message)? {
            if message.len() <= 1 {
                return Ok(true);
            }
            peers.drops.malformed += 1;
        }
        Ok(false)
    }
}

impl<P: Pattern> Pattern for Single<P> {
    fn attached(&mut self, peers: &mut Peers, id: PeerId) {
        self.pattern.attached(peers, id);
    }

    fn linked(&mut self, peers: &mut Peers, id: PeerId) {
        self.pattern.linked(peers, id);
    }

    fn unlinked(&mut self, peers: &mut Peers, id: PeerId) {
        self.pattern.unlinked(peers, id);
    }

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        self.pattern.detached(peers, id);
    }

    fn readable(&mut self, peers: &mut Peers, id: PeerId) {
        self.pattern.readable(peers, id);
    }

    fn writable(&mut self, peers: &mut Peers, id: PeerId) {
        self.pattern.writable(peers, id);
    }

    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent> {
        if message.len() > 1 {
            return Err(NotSent::Refused(ErrorKind::InvalidArgument));
        }
        self.pattern.send(peers, message)
    }

    fn begin(&mut self, peers: &mut Peers, first: &Frame) -> Result<(), NotSent> {
        match self.pattern.begin(peers, first) {
            Err(NotSent::Refused(kind)) => Err(NotSent::Refused(kind)),
            Ok(()) | Err(NotSent::Full) => Err(NotSent::Refused(ErrorKind::InvalidArgument)),
        }
    }

    fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool> {
        match self.next.take() {
            Some(next) => {
                *message = next;
                Ok(true)
            }
            None => self.fetch(peers, message),
        }
    }

    fn can_send(&mut self, peers: &mut Peers) -> bool {
        self.pattern.can_send(peers)
    }

    fn senders_differ(&self) -> bool {
        self.pattern.senders_differ()
    }

    fn can_recv(&mut self, peers: &mut Peers) -> bool {
        if self.next.is_none() && self.pattern.can_recv(peers) {
            let mut message = Message::new();
            self.next = matches!(self.fetch(peers, &mut message), Ok(true)).then_some(message);
        }
        self.next.is_some()
    }
}
