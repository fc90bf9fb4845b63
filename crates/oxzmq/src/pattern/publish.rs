//! PUB and XPUB (RFC 29): each message goes to every peer with a matching subscription; a peer whose
//! queue is full misses it. XPUB also receives: subscriptions as they come, and its peers' own messages.

use std::collections::VecDeque;

use oxzmq_proto::{Frame, Kind, Message, Removed, SubscriptionIndex};

use super::{NotSent, Pattern, not_supported};
use crate::error::Result;
use crate::peers::{PeerId, Peers};

pub(super) struct Publisher {
    /// XPUB: what subscribers say is for the application.
    receives: bool,
    subscriptions: SubscriptionIndex<PeerId>,
    /// Notifications and user messages waiting to be received.
    incoming: VecDeque<Message>,
    /// Scratch of one fan-out, kept for its capacity.
    targets: Vec<PeerId>,
}

/// A subscription in message form: a one, or a zero to cancel, and the topic.
fn notification(subscribe: bool, topic: &[u8]) -> Message {
    let mut body = Vec::with_capacity(topic.len() + 1);
    body.push(u8::from(subscribe));
    body.extend_from_slice(topic);
    Message::single(body)
}

impl Publisher {
    pub(super) fn new(receives: bool) -> Self {
        Self { receives, subscriptions: SubscriptionIndex::new(), incoming: VecDeque::new(), targets: Vec::new() }
    }

    fn handle(&mut self, peers: &Peers, id: PeerId, message: Message) {
        match message.kind() {
            Kind::Subscribe | Kind::Cancel => {
                let subscribe = message.kind() == Kind::Subscribe;
                self.change(peers, id, subscribe, message.first().map_or(&[], Frame::as_slice), &message);
            }
            Kind::Data if matches!(message.first().and_then(|f| f.first()), Some(0 | 1)) => {
                // The form that ZMTP 2.0 and 3.0 peers use. Each part that looks like a subscription is one.
                for frame in message.frames() {
                    if let Some((&first @ (0 | 1), topic)) = frame.split_first() {
                        self.change(peers, id, first == 1, topic, &message);
                    }
                }
            }
            Kind::Data if self.receives => self.incoming.push_back(message),
            _ => {}
        }
    }

    fn change(&mut self, peers: &Peers, id: PeerId, subscribe: bool, topic: &[u8], from: &Message) {
        let options = &peers.options;
        let report = if subscribe {
            self.subscriptions.add(topic, id) || options.xpub_verbose_subscribe
        } else {
            // A cancellation of what nobody subscribed is reported too.
            self.subscriptions.remove(topic, id) != Removed::Others || options.xpub_verbose_cancel
        };
        if report && self.receives {
            let mut message = notification(subscribe, topic);
            message.set_properties(from.properties().cloned());
            self.incoming.push_back(message);
        }
    }

    fn find_targets(&mut self, peers: &mut Peers, message: &Message) {
        let Self { subscriptions, targets, .. } = self;
        targets.clear();
        let topic = message.first().map_or(&[][..], Frame::as_slice);
        peers.start_fan_out();
        subscriptions.for_each_match(topic, |id| {
            if peers.mark(id) {
                targets.push(id);
            }
        });
        if peers.options.invert_matching {
            targets.clear();
            targets.extend(peers.ids().filter(|&id| !peers.is_marked(id)));
        }
    }
}

impl Pattern for Publisher {
    fn attached(&mut self, _: &mut Peers, _: PeerId) {}

    fn linked(&mut self, peers: &mut Peers, id: PeerId) {
        if let Some(welcome) = peers.options.xpub_welcome.clone() {
            peers.push_over(id, Message::single(welcome));
        }
        self.readable(peers, id);
    }

    fn detached(&mut self, peers: &mut Peers, id: PeerId) {
        self.readable(peers, id);
        let Self { subscriptions, incoming, receives, .. } = self;
        let report = *receives;
        let every = peers.options.xpub_verbose_cancel;
        subscriptions.remove_key(id, |topic, last| {
            if report && (last || every) {
                incoming.push_back(notification(false, topic));
            }
        });
        peers.remove(id);
    }

    fn readable(&mut self, peers: &mut Peers, id: PeerId) {
        // At once, in whichever thread brought them: a publisher that only sends must still see them.
        let mut message = Message::new();
        while peers.pop(id, &mut message) {
            self.handle(peers, id, std::mem::take(&mut message));
        }
    }

    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent> {
        if self.subscriptions.is_empty() && !peers.options.invert_matching {
            return Ok(());
        }
        self.find_targets(peers, message);
        if peers.options.xpub_nodrop && !self.targets.iter().all(|&id| peers.has_room(id)) {
            return Err(NotSent::Full);
        }
        if let Some((&last, others)) = self.targets.split_last() {
            for &id in others {
                peers.push_or_drop(id, &mut message.clone());
            }
            peers.push_or_drop(last, message);
        }
        Ok(())
    }

    fn recv(&mut self, _: &mut Peers, message: &mut Message) -> Result<bool> {
        if !self.receives {
            return not_supported();
        }
        let next = self.incoming.pop_front();
        Ok(next.map(|next| *message = next).is_some())
    }

    fn can_send(&mut self, _: &mut Peers) -> bool {
        true
    }

    fn senders_differ(&self) -> bool {
        true
    }

    fn can_recv(&mut self, _: &mut Peers) -> bool {
        !self.incoming.is_empty()
    }
}
