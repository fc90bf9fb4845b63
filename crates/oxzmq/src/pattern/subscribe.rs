//! SUB and XSUB (RFC 29): messages of all publishers. SUB keeps its subscriptions itself and filters;
//! XSUB's are messages that the application sends, and it receives whatever the publishers send.
//!
//! Subscriptions go to a publisher when it is linked, all of them, and one by one as they change. While a
//! connection is down nothing is queued for it, so changing subscriptions costs no memory meanwhile. What an
//! application sends to a publisher that is yet to come waits for it, as with every other socket type.

use oxzmq_proto::{Frame, Kind, Message, SubscriptionSet};

use super::{NotSent, Pattern};
use crate::error::{Error, ErrorKind, Result};
use crate::peers::{FairQueue, PeerId, Peers};

pub(super) struct Subscriber {
    /// SUB: subscriptions by call, and a local filter.
    filters: bool,
    queue: FairQueue,
    subscriptions: SubscriptionSet,
    /// Found by `can_recv` and not yet received.
    next: Option<Message>,
}

impl Subscriber {
    pub(super) fn new(filters: bool) -> Self {
        Self { filters, queue: FairQueue::default(), subscriptions: SubscriptionSet::new(), next: None }
    }

    fn fetch(&mut self, peers: &mut Peers, message: &mut Message) -> bool {
        while self.queue.recv(peers, message).is_some() {
            // A publisher may send more than was asked for: ZMTP 1.0 ones send everything.
            if message.kind() == Kind::Data && wants(self.filters, &self.subscriptions, peers, message) {
                return true;
            }
            peers.drops.unwanted += 1;
        }
        false
    }

    fn change(&mut self, peers: &mut Peers, topic: Frame, add: bool) {
        let kind = if add { Kind::Subscribe } else { Kind::Cancel };
        let forward = if add {
            self.subscriptions.add(&topic);
            true // publishers count per peer: repeating is harmless, and XPUB_VERBOSE wants to see it
        } else {
            self.subscriptions.remove(&topic) || (!self.filters && peers.options.xsub_verbose_cancel)
        };
        if forward {
            for id in peers.linked() {
                peers.tell(id, kind, topic.clone());
            }
        }
        // Found under the subscriptions there were before.
        drop(self.next.take_if(|next| !wants(self.filters, &self.subscriptions, peers, next)));
    }
}

/// SUB: whether a message passes the filter.
fn wants(filters: bool, subscriptions: &SubscriptionSet, peers: &Peers, message: &Message) -> bool {
    if !filters {
        return true;
    }
    let topic = message.first().map_or(&[][..], Frame::as_slice);
    subscriptions.matches(topic) != peers.options.invert_matching
}

/// What a message of a subscriber's says besides its own text: frames of a one, or a zero to cancel, and the topic.
///
/// Those that it begins with are taken off. What follows is the application's own and stays whole, whatever it looks
/// like; but what in it looks like a subscription counts as one, too, unless ONLY_FIRST_SUBSCRIBE says otherwise.
pub(super) fn take_subscriptions(message: &mut Message) -> Option<Message> {
    let count = message.frames().iter().take_while(|frame| is_subscription(frame)).count();
    if count == 0 {
        return None;
    }
    let rest = message.split_off(count);
    Some(std::mem::replace(message, rest))
}

/// Those among the rest. `began` is whether the message began with some.
pub(super) fn further_subscriptions(
    rest: &Message,
    began: bool,
    only_first: bool,
) -> impl Iterator<Item = (bool, &[u8])> {
    let frames = if began || !only_first { rest.frames() } else { &[] };
    frames.iter().filter(|frame| is_subscription(frame)).map(subscription)
}

fn is_subscription(frame: &Frame) -> bool {
    matches!(frame.first(), Some(0 | 1))
}

/// One frame of those.
pub(super) fn subscription(frame: &Frame) -> (bool, &[u8]) {
    frame.split_first().map_or((false, &[]), |(&first, topic)| (first == 1, topic))
}

impl Pattern for Subscriber {
    fn attached(&mut self, _: &mut Peers, _: PeerId) {}

    fn linked(&mut self, peers: &mut Peers, id: PeerId) {
        let waiting = peers.take_unsent(id);
        for topic in self.subscriptions.iter() {
            peers.tell(id, Kind::Subscribe, topic.into());
        }
        for message in waiting {
            peers.push_over(id, message);
        }
    }

    fn unlinked(&mut self, peers: &mut Peers, id: PeerId) {
        peers.take_unsent(id); // meant for that connection
    }

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        self.queue.activate(peers, id); // removes the peer once it is read empty
    }

    fn readable(&mut self, peers: &mut Peers, id: PeerId) {
        self.queue.activate(peers, id);
    }

    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent> {
        if self.filters {
            return Err(NotSent::Refused(ErrorKind::NotSupported));
        }
        let changes = take_subscriptions(message);
        let began = changes.is_some();
        if let Some(changes) = changes {
            for (add, topic) in changes.frames().iter().map(subscription) {
                self.change(peers, Frame::copy_from_slice(topic), add);
            }
            if message.is_empty() {
                return Ok(());
            }
        }
        for id in peers.reachable() {
            peers.push_or_drop(id, &mut message.clone());
        }
        let only_first = peers.options.only_first_subscribe;
        for (add, topic) in further_subscriptions(message, began, only_first) {
            if only_first {
                // Publishers of the same mind do not look for it behind data.
                self.change(peers, topic.into(), add);
            } else if add {
                self.subscriptions.add(topic);
            } else if !self.subscriptions.remove(topic) && self.subscriptions.contains(topic) {
                // Subscribed more than once: publishers, who count once, have just been told otherwise.
                for id in peers.linked() {
                    peers.tell(id, Kind::Subscribe, topic.into());
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, _: &mut Peers, _: &Frame) -> Result<(), NotSent> {
        if self.filters { Err(NotSent::Refused(ErrorKind::NotSupported)) } else { Ok(()) }
    }

    fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool> {
        let Some(next) = self.next.take() else { return Ok(self.fetch(peers, message)) };
        let newer = peers.options.conflate && self.fetch(peers, message);
        if !newer {
            *message = next;
        }
        Ok(true)
    }

    fn can_send(&mut self, _: &mut Peers) -> bool {
        !self.filters
    }

    fn can_recv(&mut self, peers: &mut Peers) -> bool {
        if self.next.is_none() {
            let mut message = Message::new();
            self.next = self.fetch(peers, &mut message).then_some(message);
        }
        self.next.is_some()
    }

    fn topics(&self) -> Option<usize> {
        Some(self.subscriptions.len())
    }

    fn subscribe(&mut self, peers: &mut Peers, prefix: Frame, add: bool) -> Result<()> {
        if !self.filters {
            let why = "XSUB subscribes by sending a message: a one byte and the topic";
            return Err(Error::new(ErrorKind::InvalidArgument, why));
        }
        self.change(peers, prefix, add);
        Ok(())
    }
}
