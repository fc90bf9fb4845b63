//! REQ (RFC 28): a request to the next REP or ROUTER, then its reply, strictly in turn.
//!
//! ```text
//!          send                       recv
//!  Idle ─────────► Waiting(peer) ────────────► Idle
//!                    │    ▲ send (REQ_RELAXED: the old request is given up)
//!                    └────┘
//! ```

use oxzmq_proto::{Frame, Message};

use super::{NotSent, Pattern};
use crate::error::{ErrorKind, Result};
use crate::peers::{FairQueue, LoadBalancer, PeerId, Peers};
use crate::random;

pub(super) struct Req {
    balancer: LoadBalancer,
    queue: FairQueue,
    state: State,
    /// Number of the last request; sent in front of it when that is `correlated`.
    number: u32,
    /// The reply must carry the number, because REQ_CORRELATE was on or the request was made by `request`.
    correlated: bool,
    /// The reply is for whoever has made the request, and not received.
    reserved: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// Waiting for the reply of this peer; of any peer when that one is gone.
    Waiting(Option<PeerId>),
}

impl Req {
    pub(super) fn new() -> Self {
        Self {
            balancer: LoadBalancer::default(),
            queue: FairQueue::default(),
            state: State::Idle,
            number: random::u32(),
            correlated: false,
            reserved: false,
        }
    }

    /// A request is under way, and must be answered first.
    fn is_out_of_turn(&self, peers: &Peers) -> bool {
        self.state != State::Idle && !peers.options.req_relaxed
    }

    /// Removes the envelope of a reply; false, and counted, when it is not the reply that is waited for.
    fn open(&self, peers: &mut Peers, reply: &mut Message) -> bool {
        if self.correlated && reply.pop_front().is_none_or(|id| id.as_slice() != self.number.to_ne_bytes()) {
            peers.drops.stale += 1;
            return false;
        }
        let whole = reply.len() > 1 && reply.pop_front().is_some_and(|delimiter| delimiter.is_empty());
        peers.drops.malformed += u64::from(!whole);
        whole
    }

    fn start(&mut self, peers: &mut Peers, message: &mut Message, correlated: bool) -> Result<(), NotSent> {
        // Asked first, so that a message that must wait comes back without an envelope.
        if !self.balancer.writable(peers) {
            return Err(NotSent::Full);
        }
        // A late reply to an earlier request must not be taken for the answer to this one.
        peers.drops.stale += self.queue.drain(peers);
        if message.is_empty() {
            message.push_back(Frame::new());
        }
        message.push_front(Frame::new());
        self.number = self.number.wrapping_add(1);
        self.correlated = correlated;
        self.reserved = false;
        if correlated {
            message.push_front(&self.number.to_ne_bytes());
        }
        // Room was found above and only this socket, under its lock, fills the queue. The far end may
        // have closed it in between: then the request is lost with the peer, as it would be a moment later.
        self.state = State::Waiting(self.balancer.send(peers, message));
        Ok(())
    }

    /// The reply that is waited for, in place of `message`.
    fn finish(&mut self, peers: &mut Peers, message: &mut Message) -> bool {
        let State::Waiting(from) = self.state else { return false };
        while let Some(id) = self.queue.recv(peers, message) {
            if from.is_some_and(|from| from != id) {
                peers.drops.stale += 1;
            } else if self.open(peers, message) {
                self.state = State::Idle;
                self.reserved = false;
                peers.news = true; // the next request can be sent
                return true;
            }
        }
        false
    }
}

impl Pattern for Req {
    fn attached(&mut self, peers: &mut Peers, id: PeerId) {
        if peers.options.probe_router {
            peers.push_over(id, Message::single(Frame::new()));
        }
        self.balancer.activate(peers, id);
    }

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        self.balancer.remove(peers, id);
        self.queue.activate(peers, id); // removes the peer once it is read empty
        if self.state == State::Waiting(Some(id)) {
            self.state = State::Waiting(None);
        }
    }

    fn readable(&mut self, peers: &mut Peers, id: PeerId) {
        self.queue.activate(peers, id);
    }

    fn writable(&mut self, peers: &mut Peers, id: PeerId) {
        self.balancer.activate(peers, id);
    }

    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent> {
        if self.is_out_of_turn(peers) {
            return Err(NotSent::Refused(ErrorKind::InvalidState));
        }
        self.start(peers, message, peers.options.req_correlate)
    }

    fn begin(&mut self, peers: &mut Peers, _: &Frame) -> Result<(), NotSent> {
        if self.is_out_of_turn(peers) {
            return Err(NotSent::Refused(ErrorKind::InvalidState));
        }
        if self.balancer.writable(peers) { Ok(()) } else { Err(NotSent::Full) }
    }

    fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool> {
        if self.state == State::Idle || self.reserved {
            return Err(ErrorKind::InvalidState.into());
        }
        Ok(self.finish(peers, message))
    }

    fn request(&mut self, peers: &mut Peers, message: &mut Message) -> Result<u32, NotSent> {
        if self.state != State::Idle {
            return Err(NotSent::Refused(ErrorKind::InvalidState));
        }
        self.start(peers, message, true)?;
        self.reserved = true;
        Ok(self.number)
    }

    fn take_reply(&mut self, peers: &mut Peers, number: u32) -> Option<Message> {
        let mut reply = Message::new();
        (self.reserved && self.number == number && self.finish(peers, &mut reply)).then_some(reply)
    }

    fn give_up(&mut self, number: u32) {
        if self.reserved && self.number == number {
            self.state = State::Idle;
            self.reserved = false;
        }
    }

    fn can_send(&mut self, peers: &mut Peers) -> bool {
        !self.is_out_of_turn(peers) && self.balancer.writable(peers)
    }

    fn can_recv(&mut self, peers: &mut Peers) -> bool {
        self.state != State::Idle && !self.reserved && self.queue.readable(peers)
    }
}
