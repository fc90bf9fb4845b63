//! REP (RFC 28): a request of any peer, then the reply to that same peer, strictly in turn.
//!
//! The frames up to and including the first empty one are the request's envelope. They are kept and put
//! in front of the reply, which so finds its way back through any number of ROUTERs.

use oxzmq_proto::{Frame, Message};

use super::{NotSent, Pattern};
use crate::error::{ErrorKind, Result};
use crate::peers::{FairQueue, PeerId, Peers};

#[derive(Default)]
pub(super) struct Rep {
    queue: FairQueue,
    /// The request being answered: who asked, and its envelope.
    request: Option<(PeerId, Message)>,
}

/// Takes the envelope off a request; `None` when there is no delimiter with a body behind it.
fn open(request: &mut Message) -> Option<Message> {
    let delimiter = request.frames().iter().position(|frame| frame.is_empty())?;
    if delimiter + 1 == request.len() {
        return None;
    }
    let body = request.split_off(delimiter + 1);
    let mut envelope = std::mem::replace(request, body);
    envelope.set_properties(None);
    Some(envelope)
}

impl Pattern for Rep {
    fn attached(&mut self, _: &mut Peers, _: PeerId) {}

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        self.queue.activate(peers, id); // removes the peer once it is read empty
    }

    fn readable(&mut self, peers: &mut Peers, id: PeerId) {
        self.queue.activate(peers, id);
    }

    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent> {
        let Some((peer, mut reply)) = self.request.take() else {
            return Err(NotSent::Refused(ErrorKind::InvalidState));
        };
        if message.is_empty() {
            reply.push_back(Frame::new());
        }
        reply.extend(std::mem::take(message));
        // A requester that left or does not read loses its reply; a server must not wait for it.
        peers.push_or_drop(peer, &mut reply);
        peers.news = true; // the next request can be received
        Ok(())
    }

    fn begin(&mut self, _: &mut Peers, _: &Frame) -> Result<(), NotSent> {
        if self.request.is_some() { Ok(()) } else { Err(NotSent::Refused(ErrorKind::InvalidState)) }
    }

    fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool> {
        if self.request.is_some() {
            return Err(ErrorKind::InvalidState.into());
        }
        while let Some(id) = self.queue.recv(peers, message) {
            if let Some(envelope) = open(message) {
                self.request = Some((id, envelope));
                peers.news = true; // a reply can be sent
                return Ok(true);
            }
            peers.drops.malformed += 1;
        }
        Ok(false)
    }

    fn can_send(&mut self, _: &mut Peers) -> bool {
        self.request.is_some()
    }

    fn can_recv(&mut self, peers: &mut Peers) -> bool {
        self.request.is_none() && self.queue.readable(peers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_ends_with_the_first_empty_frame() {
        let mut message = Message::from(["x", "y", "", "body", ""]);
        assert_eq!(open(&mut message), Some(Message::from(["x", "y", ""])));
        assert_eq!(message, Message::from(["body", ""]));
    }

    #[test]
    fn a_request_without_delimiter_or_body_is_refused() {
        assert!(open(&mut Message::from(["a", "b"])).is_none());
        assert!(open(&mut Message::from("")).is_none());
        assert!(open(&mut Message::new()).is_none());
    }
}
