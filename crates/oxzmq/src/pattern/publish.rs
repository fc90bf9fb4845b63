//! PUB and XPUB (RFC 29): each message goes to every peer with a matching subscription; a peer whose
//! queue is full misses it. XPUB also receives: subscriptions as they come, and its peers' own messages.
//!
//! Subscriptions take effect at once, whether or not the application reads. What waits for it is bounded: of a
//! peer with a high-water mark of its own messages unread, nothing more is looked at until some are read; and
//! notifications are dropped once they fill [`MAX_NOTIFIED`].

use std::collections::{HashMap, HashSet, VecDeque};

use oxzmq_proto::{Frame, Kind, Message, Removed, SubscriptionIndex};

use super::subscribe::{further_subscriptions, subscription, take_subscriptions};
use super::{NotSent, Pattern, not_supported};
use crate::error::{Error, ErrorKind, Result};
use crate::peers::{Peer, PeerId, Peers};

/// Octets of notifications that wait to be received, each counted with [`NOTIFICATION`] more: room for about half
/// a million.
const MAX_NOTIFIED: usize = 64 << 20;

/// What a notification takes besides its topic.
const NOTIFICATION: usize = 128;

pub(super) struct Publisher {
    /// XPUB: what subscribers say is for the application.
    receives: bool,
    subscriptions: SubscriptionIndex<PeerId>,
    /// In manual mode what peers asked for, which the application makes subscriptions of, or not.
    requested: SubscriptionIndex<PeerId>,
    /// In manual mode the peer whose request was received last.
    current: Option<PeerId>,
    /// In the manual mode of last values nobody but this peer gets the next message.
    only: Option<PeerId>,
    incoming: Incoming,
    /// Scratch of one fan-out, kept for its capacity.
    targets: Vec<PeerId>,
}

/// Where what waits comes from.
enum From {
    /// The peer's own message.
    Own(PeerId),
    /// A notification of what the peer asked for; of one that has left it is `None`.
    Notice(Option<PeerId>),
}

/// Notifications and peers' own messages that wait to be received, in order of arrival.
#[derive(Default)]
struct Incoming {
    waiting: VecDeque<(From, Message)>,
    /// How many of its own messages wait, for each peer that has any.
    own: HashMap<PeerId, usize>,
    /// Peers that are not looked at until some of theirs are read.
    held: HashSet<PeerId>,
    notified: usize,
}

impl Incoming {
    /// A subscription in message form: a one, or a zero to cancel, and the topic. False when it was dropped.
    fn notify(&mut self, subscribe: bool, topic: &[u8], from: Option<(PeerId, &Message)>) -> bool {
        let size = topic.len() + NOTIFICATION;
        if self.notified + size > MAX_NOTIFIED {
            return false;
        }
        self.notified += size;
        let mut body = Vec::with_capacity(topic.len() + 1);
        body.push(u8::from(subscribe));
        body.extend_from_slice(topic);
        let mut message = Message::single(body);
        message.set_properties(from.and_then(|(_, told)| told.properties()).cloned());
        self.waiting.push_back((From::Notice(from.map(|(id, _)| id)), message));
        true
    }

    fn push_own(&mut self, id: PeerId, message: Message) {
        *self.own.entry(id).or_default() += 1;
        self.waiting.push_back((From::Own(id), message));
    }

    /// True when a peer has as many of its own messages unread as `hwm` allows (zero is no limit).
    fn holds(&mut self, id: PeerId, hwm: usize) -> bool {
        let held = hwm > 0 && self.own.get(&id).is_some_and(|&own| own >= hwm);
        if held {
            self.held.insert(id);
        }
        held
    }

    /// The next one.
    fn pop(&mut self) -> Option<(From, Message)> {
        let (from, message) = self.waiting.pop_front()?;
        if let From::Notice(_) = from {
            self.notified -= message.byte_len() - 1 + NOTIFICATION;
        }
        Some((from, message))
    }

    /// One of a peer's own messages was read; true when the peer is worth another look now.
    fn was_read(&mut self, id: PeerId) -> bool {
        if let Some(own) = self.own.get_mut(&id) {
            *own -= 1;
            if *own == 0 {
                self.own.remove(&id);
            }
        }
        self.held.remove(&id)
    }
}

impl Publisher {
    pub(super) fn new(receives: bool) -> Self {
        Self {
            receives,
            subscriptions: SubscriptionIndex::new(),
            requested: SubscriptionIndex::new(),
            current: None,
            only: None,
            incoming: Incoming::default(),
            targets: Vec::new(),
        }
    }

    fn handle(&mut self, peers: &mut Peers, id: PeerId, mut message: Message) {
        match message.kind() {
            Kind::Subscribe | Kind::Cancel => {
                let subscribe = message.kind() == Kind::Subscribe;
                self.change(peers, id, subscribe, message.first().map_or(&[], Frame::as_slice), &message);
            }
            Kind::Data => {
                // The form that ZMTP 2.0 and 3.0 peers use.
                let changes = take_subscriptions(&mut message);
                let began = changes.is_some();
                if let Some(changes) = changes {
                    for (subscribe, topic) in changes.frames().iter().map(subscription) {
                        self.change(peers, id, subscribe, topic, &changes);
                    }
                    if message.is_empty() {
                        return;
                    }
                }
                for (subscribe, topic) in further_subscriptions(&message, began, peers.options.only_first_subscribe) {
                    // Who receives the message sees it there.
                    self.apply(peers, id, subscribe, topic);
                }
                if self.receives {
                    self.incoming.push_own(id, message);
                } else {
                    peers.drops.unwanted += 1;
                }
            }
            _ => {}
        }
    }

    /// True when it is to be told of.
    fn apply(&mut self, peers: &Peers, id: PeerId, subscribe: bool, topic: &[u8]) -> bool {
        let options = &peers.options;
        let manual = options.xpub_manual;
        let subscriptions = if manual { &mut self.requested } else { &mut self.subscriptions };
        if subscribe {
            subscriptions.add(topic, id) || manual || options.xpub_verbose_subscribe
        } else {
            // A cancellation of what nobody subscribed is reported too.
            subscriptions.remove(topic, id) != Removed::Others || manual || options.xpub_verbose_cancel
        }
    }

    fn change(&mut self, peers: &mut Peers, id: PeerId, subscribe: bool, topic: &[u8], from: &Message) {
        let report = self.apply(peers, id, subscribe, topic);
        if report && self.receives && !self.incoming.notify(subscribe, topic, Some((id, from))) {
            peers.drops.full += 1;
        }
    }

    /// At once, in whichever thread brought them: a publisher that only sends must still see subscriptions.
    fn take_all(&mut self, peers: &mut Peers, id: PeerId, hwm: usize) {
        let mut message = Message::new();
        while !self.incoming.holds(id, hwm) && peers.pop(id, &mut message) {
            self.handle(peers, id, std::mem::take(&mut message));
        }
    }

    fn find_targets(&mut self, peers: &mut Peers, topic: &[u8]) {
        let Self { subscriptions, targets, .. } = self;
        targets.clear();
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

    /// Whom a message is for; an error when one of them has no room and none may miss it.
    fn find_receivers(&mut self, peers: &mut Peers, topic: &[u8]) -> Result<(), NotSent> {
        self.find_targets(peers, topic);
        if let Some(only) = self.only.filter(|_| peers.options.xpub_manual_last_value) {
            self.targets.retain(|&id| id == only);
        }
        if peers.options.xpub_nodrop && !self.targets.iter().all(|&id| peers.has_room(id)) {
            return Err(NotSent::Full);
        }
        Ok(())
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
        // Of one that is held the rest is in its queue, which is bounded.
        if self.incoming.held.remove(&id) {
            self.take_all(peers, id, 0);
        }
        let Self { subscriptions, requested, incoming, receives, .. } = self;
        let every = peers.options.xpub_verbose_cancel;
        let manual = peers.options.xpub_manual;
        let mut report = |topic: &[u8]| {
            if *receives && !incoming.notify(false, topic, None) {
                peers.drops.full += 1;
            }
        };
        subscriptions.remove_key(id, |topic, last| {
            if !manual && (last || every) {
                report(topic);
            }
        });
        requested.remove_key(id, |topic, _| {
            if manual {
                report(topic);
            }
        });
        // What it asked for may still be received: then it is nobody's any more.
        for (from, _) in &mut incoming.waiting {
            if matches!(from, From::Notice(Some(known)) if *known == id) {
                *from = From::Notice(None);
            }
        }
        self.current = self.current.filter(|&current| current != id);
        self.only = self.only.filter(|&only| only != id);
        peers.remove(id);
    }

    fn readable(&mut self, peers: &mut Peers, id: PeerId) {
        self.take_all(peers, id, peers.options.recv_hwm as usize);
    }

    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent> {
        if self.subscriptions.is_empty() && !peers.options.invert_matching {
            self.only = None;
            return Ok(());
        }
        self.find_receivers(peers, message.first().map_or(&[], Frame::as_slice))?;
        self.only = None;
        if let Some((&last, others)) = self.targets.split_last() {
            for &id in others {
                peers.push_or_drop(id, &mut message.clone());
            }
            peers.push_or_drop(last, message);
        }
        Ok(())
    }

    fn begin(&mut self, peers: &mut Peers, first: &Frame) -> Result<(), NotSent> {
        if peers.options.xpub_nodrop { self.find_receivers(peers, first) } else { Ok(()) }
    }

    fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool> {
        if !self.receives {
            return not_supported();
        }
        let Some((from, next)) = self.incoming.pop() else { return Ok(false) };
        *message = next;
        match from {
            From::Notice(peer) => {
                self.current = peer;
                self.only = peer.filter(|_| peers.options.xpub_manual_last_value);
            }
            From::Own(id) if self.incoming.was_read(id) => self.readable(peers, id),
            From::Own(_) => {}
        }
        Ok(true)
    }

    fn subscribe(&mut self, peers: &mut Peers, prefix: Frame, add: bool) -> Result<()> {
        if !peers.options.xpub_manual {
            let why = "PUB and XPUB subscribe their peers by call in manual mode only";
            return Err(Error::new(ErrorKind::InvalidArgument, why));
        }
        if let Some(current) = self.current {
            if add {
                self.subscriptions.add(&prefix, current);
            } else {
                self.subscriptions.remove(&prefix, current);
            }
        }
        Ok(())
    }

    fn subscribers(&mut self, peers: &mut Peers, topic: &[u8]) -> Option<usize> {
        self.find_targets(peers, topic);
        // A connection may be down, and its peer's subscriptions kept.
        Some(self.targets.iter().filter(|&&id| peers.get(id).is_some_and(Peer::is_connected)).count())
    }

    fn topics(&self) -> Option<usize> {
        Some(self.subscriptions.topic_count())
    }

    fn can_send(&mut self, _: &mut Peers) -> bool {
        true
    }

    fn senders_differ(&self) -> bool {
        true
    }

    fn can_recv(&mut self, _: &mut Peers) -> bool {
        !self.incoming.waiting.is_empty()
    }
}
