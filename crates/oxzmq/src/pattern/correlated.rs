//! Requests with numbers, on types that otherwise only send and receive: what comes back with the number of a request
//! is its reply, however many are under way and in whatever order they are answered.

use std::collections::{HashMap, VecDeque};

use oxzmq_proto::{Frame, Message};

use super::{NotSent, Pattern};
use crate::error::Result;
use crate::peers::{PeerId, Peers};
use crate::random;

/// Octets of a request's number.
const NUMBER: usize = 4;

/// So many of the last numbers are known again when a reply comes late, or once more. Far more requests than are made
/// while a server thinks, and few enough of all numbers that what an application says for itself is hardly ever
/// mistaken for such a reply.
const REMEMBERED: u32 = 1 << 20;

/// The same where the number is all that tells a reply from a message: one in a million looks like one.
const REMEMBERED_PREFIXES: u32 = 1 << 12;

/// Where the number is.
#[derive(Clone, Copy)]
enum Form {
    /// In a frame of its own with an empty one behind it: an envelope, which REP sends back by itself.
    Envelope,
    /// At the beginning of the only frame there may be.
    Prefix,
}

impl Form {
    fn remembered(self) -> u32 {
        match self {
            Self::Envelope => REMEMBERED,
            Self::Prefix => REMEMBERED_PREFIXES,
        }
    }
}

pub(super) struct Correlated<P> {
    pattern: P,
    form: Form,
    /// The requests under way, and their replies once they are there.
    pending: HashMap<[u8; NUMBER], Option<Message>>,
    /// Looked at for the sake of a reply behind it; in order of arrival.
    others: VecDeque<Message>,
    last: u32,
    /// How many numbers there have been, as far as they are remembered: those up to `last`, which began anywhere.
    issued: u32,
}

/// What a message turned out to be.
enum Claim {
    /// The reply to a request under way, and put where that will find it.
    Reply,
    /// The reply to a request that nobody waits for any more, or a second one: dropped and counted.
    Stale,
    /// No reply, and left as it was.
    Other,
}

impl<P: Pattern> Correlated<P> {
    pub(super) fn by_envelope(pattern: P) -> Self {
        Self::new(pattern, Form::Envelope)
    }

    pub(super) fn by_prefix(pattern: P) -> Self {
        Self::new(pattern, Form::Prefix)
    }

    fn new(pattern: P, form: Form) -> Self {
        Self { pattern, form, pending: HashMap::new(), others: VecDeque::new(), last: random::u32(), issued: 0 }
    }

    fn next_number(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            self.issued = (self.issued + 1).min(self.form.remembered());
            if !self.pending.contains_key(&self.last.to_be_bytes()) {
                return self.last;
            }
        }
    }

    /// Some time ago, and not so long that nobody remembers, a request had this number.
    fn was_issued(&self, number: [u8; NUMBER]) -> bool {
        self.last.wrapping_sub(u32::from_be_bytes(number)) < self.issued
    }

    /// Puts a reply where its request will find it, and drops it where nobody waits for it any more: a program that only
    /// makes requests would never receive it, and what is behind it would not be found in the end.
    fn claim(&mut self, peers: &mut Peers, message: &mut Message) -> Claim {
        let [first, rest @ ..] = message.frames() else { return Claim::Other };
        let number = match self.form {
            Form::Envelope if rest.len() > 1 && rest[0].is_empty() => first.as_slice(),
            Form::Envelope => return Claim::Other,
            Form::Prefix => first.get(..NUMBER).unwrap_or_default(),
        };
        let Ok(number) = <[u8; NUMBER]>::try_from(number) else { return Claim::Other };
        let Some(place) = self.pending.get_mut(&number).filter(|place| place.is_none()) else {
            if !self.was_issued(number) {
                return Claim::Other;
            }
            message.clear();
            peers.drops.stale += 1;
            return Claim::Stale;
        };
        let mut reply = std::mem::take(message);
        match (self.form, reply.pop_front()) {
            (Form::Envelope, _) => drop(reply.pop_front()),
            (Form::Prefix, first) => reply.push_front(first.unwrap_or_default().into_bytes().slice(NUMBER..)),
        }
        *place = Some(reply);
        peers.news = true;
        Claim::Reply
    }

    /// Looks for replies among what has come: for the sake of requests under way as long as there is room here for what
    /// is no reply, otherwise until there is something to receive.
    #[cold]
    fn sort(&mut self, peers: &mut Peers) {
        let most = match peers.options.recv_hwm {
            _ if self.pending.is_empty() => 1,
            0 => usize::MAX,
            hwm => hwm as usize,
        };
        let mut message = Message::new();
        while self.others.len() < most && matches!(self.pattern.recv(peers, &mut message), Ok(true)) {
            if let Claim::Other = self.claim(peers, &mut message) {
                self.others.push_back(std::mem::take(&mut message));
            }
        }
    }
}

impl<P: Pattern> Pattern for Correlated<P> {
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
        if !self.pending.is_empty() {
            self.sort(peers);
        }
    }

    fn writable(&mut self, peers: &mut Peers, id: PeerId) {
        self.pattern.writable(peers, id);
    }

    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent> {
        self.pattern.send(peers, message)
    }

    fn begin(&mut self, peers: &mut Peers, first: &Frame) -> Result<(), NotSent> {
        self.pattern.begin(peers, first)
    }

    fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool> {
        if let Some(next) = self.others.pop_front() {
            *message = next;
            // There is room again to look for replies behind it.
            peers.news |= !self.pending.is_empty();
            return Ok(true);
        }
        while self.pattern.recv(peers, message)? {
            if self.issued == 0 || matches!(self.claim(peers, message), Claim::Other) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn can_send(&mut self, peers: &mut Peers) -> bool {
        self.pattern.can_send(peers)
    }

    fn senders_differ(&self) -> bool {
        self.pattern.senders_differ()
    }

    fn can_recv(&mut self, peers: &mut Peers) -> bool {
        if self.issued == 0 {
            return self.pattern.can_recv(peers);
        }
        if self.others.is_empty() {
            self.sort(peers);
        }
        !self.others.is_empty()
    }

    fn request(&mut self, peers: &mut Peers, message: &mut Message) -> Result<u32, NotSent> {
        if !self.pattern.can_send(peers) {
            return Err(NotSent::Full);
        }
        let number = self.next_number();
        let octets = number.to_be_bytes();
        match self.form {
            Form::Envelope => {
                if message.is_empty() {
                    message.push_back(Frame::new());
                }
                message.push_front(Frame::new());
                message.push_front(&octets);
            }
            Form::Prefix => {
                let body = message.pop_front().unwrap_or_default();
                message.push_front([&octets[..], &body].concat());
            }
        }
        self.pattern.send(peers, message)?;
        self.pending.insert(octets, None);
        Ok(number)
    }

    fn take_reply(&mut self, peers: &mut Peers, number: u32) -> Option<Message> {
        let number = number.to_be_bytes();
        if matches!(self.pending.get(&number), Some(None)) {
            // What came before the request was made is in front of it still.
            self.sort(peers);
        }
        let reply = self.pending.get_mut(&number)?.take()?;
        self.pending.remove(&number);
        Some(reply)
    }

    fn give_up(&mut self, number: u32) {
        self.pending.remove(&number.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::dealer::Dealer;
    use super::*;

    #[test]
    fn the_last_numbers_are_remembered_also_behind_the_greatest() {
        let mut numbers = Correlated::by_envelope(Dealer::default());
        numbers.last = u32::MAX - 2;
        assert!(!numbers.was_issued(numbers.last.to_be_bytes()));
        for _ in 0..5 {
            numbers.next_number();
        }
        for issued in [u32::MAX - 1, u32::MAX, 0, 1, 2] {
            assert!(numbers.was_issued(issued.to_be_bytes()), "{issued}");
        }
        for other in [u32::MAX - 2, 3] {
            assert!(!numbers.was_issued(other.to_be_bytes()), "{other}");
        }
        for _ in 0..REMEMBERED {
            numbers.next_number();
        }
        assert!(!numbers.was_issued([0, 0, 0, 2]) && numbers.was_issued([0, 0, 0, 3]));
    }
}
