//! The peers of one socket: for each, the two queues that lead to it and from it.
//!
//! A pattern sees peers only through this table. What is behind the queues (a network connection, a
//! socket in the same process) it neither knows nor asks.
//!
//! Everything here happens under the socket's lock. Waking the far end of a queue may take that end's
//! locks, so wake-ups are collected and run by the caller once the socket's lock is free.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use oxzmq_proto::{Frame, Kind, Message, Properties};
use smallvec::SmallVec;

use crate::core::spin;
use crate::options::Options;
use crate::peer_info::Description;
use crate::queue::{Batch, Push, Queue};
use crate::stage::Stage;

/// What is at the far end of a peer's queues: one connection, or the other socket of an inproc pair.
pub(crate) trait FarEnd: Send + Sync {
    /// The outbound queue has messages, and the far end had found it empty before.
    fn data_ready(self: Arc<Self>);
    /// The same, when so many far ends have something to do that the caller should not do it all itself.
    fn data_ready_later(self: Arc<Self>) {
        self.data_ready();
    }
    /// The inbound queue has room again, and the far end had found it full before.
    fn room_ready(self: Arc<Self>);
    /// This end wants no more messages. What the outbound queue holds may still be delivered.
    fn close(self: Arc<Self>);
    /// What it knows of itself.
    fn describe(&self) -> Description;
    /// The capacities of the two queues when this end's high-water marks are these.
    fn capacities(&self, send_hwm: usize, recv_hwm: usize) -> (usize, usize) {
        (send_hwm, recv_hwm)
    }
}

/// Names one peer of one socket. Never reused, so a late mention of a peer that left is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PeerId {
    index: u32,
    generation: u32,
}

impl PeerId {
    pub(crate) fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }
}

pub(crate) struct Peer {
    pub(crate) outbound: Arc<Queue>,
    pub(crate) inbound: Arc<Queue>,
    pub(crate) far: Arc<dyn FarEnd>,
    /// The routing id that ROUTER shows for it; empty until known.
    pub(crate) routing_id: Bytes,
    /// Attached to every message received from it.
    pub(crate) properties: Option<Arc<Properties>>,
    /// There is somebody behind the queues now (a connection may be down and come back).
    pub(crate) linked: bool,
    /// There has never been anybody behind them yet.
    pub(crate) fresh: bool,
    /// Understands subscriptions and groups: over a network every peer that is sent any does.
    pub(crate) hears_changes: bool,
    /// RADIO: messages of every group are for it.
    pub(crate) takes_every_group: bool,
    /// Gone for good: only messages already received are left.
    pub(crate) gone: bool,
    /// Not admitted by the pattern (a second PAIR peer, a duplicate routing id): its messages are never
    /// read and none are sent to it.
    pub(crate) refused: bool,
    /// Member of the fair queue.
    readable: bool,
    /// Member of the load balancer.
    writable: bool,
    /// Last fan-out that counted this peer, so that several matching subscriptions give one copy.
    stamp: u64,
    inbox: Batch,
    /// So many times in a row the inbox was filled by a few messages, and never found empty in between.
    thin: u8,
    /// The inbound queue keeps only the newest message.
    conflates: bool,
    /// Read from the inbox and not yet reported to the queue.
    read: usize,
    report_every: usize,
    /// Read messages at which there is something to do: each, where only the newest is kept.
    report_at: usize,
    /// Messages for it that were dropped because its queue was full.
    pub(crate) dropped: u64,
    stage: Stage,
}

impl Peer {
    pub(crate) fn new(outbound: Arc<Queue>, inbound: Arc<Queue>, far: Arc<dyn FarEnd>, recv_capacity: usize) -> Self {
        let conflates = inbound.conflates();
        let inbox = inbound.batch();
        Self {
            outbound,
            inbound,
            far,
            routing_id: Bytes::new(),
            properties: None,
            linked: false,
            fresh: true,
            hears_changes: true,
            takes_every_group: false,
            gone: false,
            refused: false,
            readable: false,
            writable: false,
            stamp: 0,
            inbox,
            thin: 0,
            conflates,
            read: 0,
            report_every: report_every(recv_capacity),
            report_at: if conflates { 0 } else { report_every(recv_capacity) },
            dropped: 0,
            stage: Stage::default(),
        }
    }

    /// There is somebody behind its queues whom the socket speaks with.
    pub(crate) fn is_connected(&self) -> bool {
        self.linked && !self.gone && !self.refused
    }

    /// It is the one that the application knows by this routing id. One that is not admitted may bear it, too, and many
    /// bear none.
    pub(crate) fn is_named(&self, routing_id: &[u8]) -> bool {
        !routing_id.is_empty() && self.routing_id == routing_id && !self.gone && !self.refused
    }

    /// Messages sent and not yet taken by its connection.
    pub(crate) fn queued(&self) -> usize {
        self.stage.len() + self.outbound.len()
    }

    /// Messages sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.stage.len() as u64 + self.outbound.pushed()
    }

    /// Bytes sent and not yet in its queue.
    pub(crate) fn staged_bytes(&self) -> usize {
        self.stage.bytes()
    }

    /// Messages received and not yet read.
    pub(crate) fn unread(&self) -> usize {
        self.inbox.len() + self.inbound.len()
    }

    pub(crate) fn set_recv_capacity(&mut self, capacity: usize) {
        self.report_every = report_every(capacity);
        self.report_at = if self.conflates { 0 } else { self.report_every };
    }

    /// Fetches what has come since; true when there is something to read. `room` is set when the far end
    /// waits for room and now has it.
    fn fill(&mut self, room: &mut bool) -> bool {
        if self.inbox.is_empty() {
            if self.thin >= THIN_STREAK && self.report_every > THIN {
                spin::rest();
            }
            *room |= self.inbound.take_batch(&mut self.inbox, std::mem::take(&mut self.read));
            self.thin = match self.inbox.len() {
                0 => 0,
                1..THIN if self.inbox.packs() => (self.thin + 1).min(THIN_STREAK),
                _ => self.thin,
            };
        }
        !self.inbox.is_empty()
    }
}

/// Half the high-water mark, as libzmq's low-water mark: late enough to be rare, early enough that the
/// sender is back before the reader has run dry.
fn report_every(capacity: usize) -> usize {
    if capacity == 0 { usize::MAX } else { capacity.div_ceil(2) }
}

/// A sender in this process that is as fast as the reader is caught up with again and again: each takes the queue away from
/// the other for a few messages. After so many fillings of fewer than `THIN` messages the reader therefore rests a little
/// before each.
const THIN: usize = 64;
const THIN_STREAK: u8 = 8;

/// Something to do once the socket's lock is free.
pub(crate) enum Wake {
    Data(Arc<dyn FarEnd>),
    Room(Arc<dyn FarEnd>),
    Close(Arc<dyn FarEnd>),
    Task(Waker),
}

/// To so many peers a sender writes itself. Writing to more keeps it longer than waking the I/O thread, whose
/// rounds then gather by themselves what is published meanwhile.
const FEW: usize = 4;

#[derive(Default)]
#[must_use = "wake-ups that are not run leave a peer waiting for ever"]
pub(crate) struct Wakes(SmallVec<[Wake; 2]>);

impl Wakes {
    /// Runs them. The socket's lock must not be held.
    pub(crate) fn run(self) {
        let few = self.0.len() <= FEW;
        for wake in self.0 {
            match wake {
                Wake::Data(far) if few => far.data_ready(),
                Wake::Data(far) => far.data_ready_later(),
                Wake::Room(far) => far.room_ready(),
                Wake::Close(far) => far.close(),
                Wake::Task(waker) => waker.wake(),
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a message could not be queued for a peer.
#[derive(Debug)]
pub(crate) enum PushError {
    Full,
    Gone,
}

pub(crate) struct Peers {
    slots: Vec<Slot>,
    free: Vec<u32>,
    stamp: u64,
    wakes: Wakes,
    pub(crate) options: Options,
    pub(crate) drops: Drops,
    /// A call has changed something besides its own message, at which those who wait at the socket are to look.
    pub(crate) news: bool,
    /// Who receives just now does not ask whom a message of one frame is from: to have it told takes its time.
    pub(crate) bare: bool,
}

/// Messages that a socket has dropped, by what was the matter; see [`SocketStats`](crate::SocketStats).
///
/// Those that a newer one has replaced under [`set_conflate`](crate::Socket::set_conflate) are not among them: to have
/// them replaced is what the option is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drops {
    /// PUB, XPUB, RADIO, ROUTER, REP: the queue of a peer was full, each peer counted. XPUB: notifications of
    /// subscriptions that nobody received.
    pub full: u64,
    /// ROUTER: there was no peer with this routing id; REP: the requester had gone.
    pub unroutable: u64,
    /// What came from a peer was no message of its kind: an envelope without delimiter (REQ, REP), frames where there
    /// is one only (CLIENT and its like), no group (DISH).
    pub malformed: u64,
    /// REQ, and DEALER and CLIENT with [`Socket::request`](crate::Socket::request): replies that nobody waits for any
    /// more, of another peer or to another request.
    pub stale: u64,
    /// Messages queued for a connection when it was lost for good or the time to linger was over, and those being
    /// written when it was lost, of which some may have gone out whole. Over inproc those that the other socket had not
    /// read when it was closed, and those for a name that nobody had bound yet when its endpoint was disconnected.
    pub lost: u64,
    /// What came and was for nobody: messages that were not subscribed to, or not any more (SUB, DISH); what is said to
    /// those that do not receive (PUB, RADIO, PUSH); what was unread of an endpoint when it was disconnected, or of a
    /// connection when STREAM closed it. Also, counted when they leave, the messages of peers that are not heard: of PAIR
    /// and CHANNEL all but the first, of ROUTER those with the routing id of another.
    pub unwanted: u64,
}

impl Drops {
    /// All together.
    pub fn total(&self) -> u64 {
        let Self { full, unroutable, malformed, stale, lost, unwanted } = *self;
        full + unroutable + malformed + stale + lost + unwanted
    }
}

struct Slot {
    generation: u32,
    peer: Option<Box<Peer>>,
}

impl Peers {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            stamp: 0,
            wakes: Wakes::default(),
            options,
            drops: Drops::default(),
            news: false,
            bare: false,
        }
    }

    pub(crate) fn insert(&mut self, peer: Peer) -> PeerId {
        let peer = Some(Box::new(peer));
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.peer = peer;
            return PeerId { index, generation: slot.generation };
        }
        let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 peers: each holds a descriptor or memory");
        self.slots.push(Slot { generation: 0, peer });
        PeerId { index, generation: 0 }
    }

    /// Forgets a peer, with what has come from it and was not read.
    pub(crate) fn remove(&mut self, id: PeerId) {
        let Some(slot) = self.slots.get_mut(id.index as usize) else { return };
        if slot.generation == id.generation
            && let Some(peer) = slot.peer.take()
        {
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(id.index);
            self.drops.unwanted += peer.unread() as u64;
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: PeerId) -> Option<&Peer> {
        let slot = self.slots.get(id.index as usize)?;
        if slot.generation == id.generation { slot.peer.as_deref() } else { None }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation { slot.peer.as_deref_mut() } else { None }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.peer.is_some()).map(|(index, slot)| PeerId {
            // insert() made sure that every index fits.
            index: index as u32,
            generation: slot.generation,
        })
    }

    /// Peers that there is somebody behind.
    pub(crate) fn linked(&self) -> Vec<PeerId> {
        self.ids().filter(|&id| self.get(id).is_some_and(|peer| peer.linked && !peer.gone)).collect()
    }

    /// Peers that a message may be queued for: somebody is behind them, or will be for the first time.
    pub(crate) fn reachable(&self) -> Vec<PeerId> {
        self.ids().filter(|&id| self.get(id).is_some_and(|peer| (peer.linked || peer.fresh) && !peer.gone)).collect()
    }

    /// How many there are that the socket speaks with now.
    pub(crate) fn connected(&self) -> usize {
        self.slots.iter().filter(|slot| slot.peer.as_ref().is_some_and(|peer| peer.is_connected())).count()
    }

    /// Peers that are not gone, reachable or not.
    pub(crate) fn live(&self) -> usize {
        self.slots.iter().filter(|slot| slot.peer.as_ref().is_some_and(|peer| !peer.gone)).count()
    }

    /// Queues a message for a peer, and leaves an empty one in its place.
    #[inline]
    pub(crate) fn push(&mut self, id: PeerId, message: &mut Message) -> Result<(), PushError> {
        let Some(peer) = self.get_mut(id) else { return Err(PushError::Gone) };
        if peer.stage.is_open() {
            if peer.stage.take_in(message) {
                if !peer.stage.is_open() {
                    self.hand_over(id, true);
                }
                return Ok(());
            }
            return self.push_behind(id, message);
        }
        if peer.gone {
            return Err(PushError::Gone);
        }
        let none = message.is_empty();
        if none {
            message.push_back(Frame::new()); // as on the wire, which knows no other
        }
        let (wake, result) = match peer.outbound.push(message) {
            Push::Queued { wake } => (wake, Ok(())),
            Push::Full { wake } => (wake, Err(PushError::Full)),
            Push::Closed => (false, Err(PushError::Gone)),
        };
        if wake {
            let far = Arc::clone(&peer.far);
            self.wakes.0.push(Wake::Data(far));
        }
        if none && result.is_err() {
            message.clear(); // whoever sends it gets it back as it was
        }
        result
    }

    #[cold]
    fn push_behind(&mut self, id: PeerId, message: &mut Message) -> Result<(), PushError> {
        self.hand_over(id, false);
        self.push(id, message)
    }

    /// A peer's queue gathers: its messages may be staged.
    pub(crate) fn open_stage(&mut self, id: PeerId) {
        if let Some(peer) = self.get_mut(id)
            && !peer.gone
        {
            peer.stage.open(&peer.outbound);
        }
    }

    /// Puts what is staged for a peer into its queue.
    #[cold]
    pub(crate) fn hand_over(&mut self, id: PeerId, stay_open: bool) {
        let Some(peer) = self.get_mut(id) else { return };
        if peer.stage.hand_over(&peer.outbound, stay_open) {
            let far = Arc::clone(&peer.far);
            self.wakes.0.push(Wake::Data(far));
        }
    }

    /// The same for the far end itself, which need not be woken.
    pub(crate) fn fetch(&mut self, id: PeerId) {
        if let Some(peer) = self.get_mut(id) {
            peer.stage.hand_over(&peer.outbound, false);
        }
    }

    /// A peer's queue is closed for good.
    pub(crate) fn drop_staged(&mut self, id: PeerId) {
        if let Some(peer) = self.get_mut(id) {
            let lost = peer.stage.clear() as u64;
            self.drops.lost += lost;
        }
    }

    /// Queues a message, or drops and counts it: for patterns that never wait.
    pub(crate) fn push_or_drop(&mut self, id: PeerId, message: &mut Message) {
        if let Err(error) = self.push(id, message) {
            self.count_drop(id, &error);
        }
    }

    pub(crate) fn count_drop(&mut self, id: PeerId, why: &PushError) {
        match why {
            PushError::Full => {
                self.drops.full += 1;
                if let Some(peer) = self.get_mut(id) {
                    peer.dropped += 1;
                }
            }
            PushError::Gone => self.drops.unroutable += 1,
        }
    }

    /// Queues a message regardless of the high-water mark: for subscriptions and notices, which a peer
    /// must not miss.
    pub(crate) fn push_over(&mut self, id: PeerId, message: Message) {
        self.hand_over(id, false);
        if let Some(peer) = self.get_mut(id)
            && !peer.gone
            && peer.outbound.push_over(message)
        {
            let far = Arc::clone(&peer.far);
            self.wakes.0.push(Wake::Data(far));
        }
    }

    /// Tells a peer of a change of subscription or group, if that is of any interest to it.
    pub(crate) fn tell(&mut self, id: PeerId, kind: Kind, topic: Frame) {
        if self.get(id).is_some_and(|peer| peer.hears_changes) {
            self.push_over(id, Message::subscription(kind, topic));
        }
    }

    /// Takes back what is queued for a peer.
    pub(crate) fn take_unsent(&mut self, id: PeerId) -> VecDeque<Message> {
        self.hand_over(id, false);
        self.get(id).map_or_else(VecDeque::new, |peer| peer.outbound.clear())
    }

    /// True when [`Peers::push`] would succeed.
    pub(crate) fn has_room(&self, id: PeerId) -> bool {
        self.get(id).is_some_and(|peer| !peer.gone && (peer.stage.is_open() || peer.outbound.has_room()))
    }

    /// Takes the next message of a peer into `message`; false when there is none. A peer that is gone and has
    /// nothing left is removed.
    #[inline]
    pub(crate) fn pop(&mut self, id: PeerId, message: &mut Message) -> bool {
        let bare = self.bare;
        let Some(peer) = self.get_mut(id) else { return false };
        if !peer.inbox.pop(message) {
            return self.refill(id) && self.pop(id, message);
        }
        if !(bare && message.len() == 1)
            && let Some(properties) = &peer.properties
        {
            message.set_properties(Some(Arc::clone(properties)));
        }
        peer.read += 1;
        if peer.read >= peer.report_at {
            self.after_pop(id, message);
        }
        true
    }

    /// What is only now and then, or for few sockets, to be done after a message was taken.
    #[cold]
    fn after_pop(&mut self, id: PeerId, message: &mut Message) {
        let Some(peer) = self.get_mut(id) else { return };
        if peer.conflates
            && let Some(newer) = peer.inbound.take_newer()
        {
            *message = newer;
            if let Some(properties) = &peer.properties {
                message.set_properties(Some(Arc::clone(properties)));
            }
        }
        if peer.read >= peer.report_every {
            self.report(id);
        }
    }

    /// Fetches what has come for an empty inbox. False when nothing has: then a peer that is gone is removed.
    fn refill(&mut self, id: PeerId) -> bool {
        if self.has_input(id) {
            return true;
        }
        if self.get(id).is_some_and(|peer| peer.gone) {
            self.remove(id);
        }
        false
    }

    /// Tells the far end how many messages have been read.
    fn report(&mut self, id: PeerId) {
        let Some(peer) = self.get_mut(id) else { return };
        if peer.inbound.report(std::mem::take(&mut peer.read)) {
            let far = Arc::clone(&peer.far);
            self.wakes.0.push(Wake::Room(far));
        }
    }

    /// True when [`Peers::pop`] has something to give.
    pub(crate) fn has_input(&mut self, id: PeerId) -> bool {
        let Some(peer) = self.get_mut(id) else { return false };
        let mut room = false;
        let input = peer.fill(&mut room);
        if room {
            let far = Arc::clone(&peer.far);
            self.wakes.0.push(Wake::Room(far));
        }
        input
    }

    /// Tells the far end that this end wants no more.
    pub(crate) fn close(&mut self, id: PeerId) {
        if let Some(peer) = self.get(id) {
            self.wakes.0.push(Wake::Close(Arc::clone(&peer.far)));
        }
    }

    pub(crate) fn wake(&mut self, wake: Wake) {
        self.wakes.0.push(wake);
    }

    #[inline]
    pub(crate) fn has_wakes(&self) -> bool {
        !self.wakes.is_empty()
    }

    pub(crate) fn take_wakes(&mut self) -> Wakes {
        std::mem::take(&mut self.wakes)
    }

    /// Starts a fan-out; [`Peers::mark`] then tells each peer's first mention from repeats.
    pub(crate) fn start_fan_out(&mut self) {
        self.stamp += 1;
    }

    /// True for the first mention of a peer since [`Peers::start_fan_out`].
    pub(crate) fn mark(&mut self, id: PeerId) -> bool {
        let stamp = self.stamp;
        self.get_mut(id).is_some_and(|peer| std::mem::replace(&mut peer.stamp, stamp) != stamp)
    }

    pub(crate) fn is_marked(&self, id: PeerId) -> bool {
        self.get(id).is_some_and(|peer| peer.stamp == self.stamp)
    }
}

/// Reads peers that have messages in turn, one message each.
#[derive(Default)]
pub(crate) struct FairQueue {
    active: VecDeque<PeerId>,
}

impl FairQueue {
    /// A peer has messages: it joins at the end.
    pub(crate) fn activate(&mut self, peers: &mut Peers, id: PeerId) {
        if let Some(peer) = peers.get_mut(id)
            && !peer.readable
            && !peer.refused
        {
            peer.readable = true;
            self.active.push_back(id);
        }
    }

    #[inline]
    pub(crate) fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Option<PeerId> {
        while let Some(&id) = self.active.front() {
            if peers.pop(id, message) {
                if self.active.len() > 1 {
                    self.active.rotate_left(1);
                }
                return Some(id);
            }
            self.deactivate_front(peers);
        }
        None
    }

    /// True when [`FairQueue::recv`] has something to give.
    pub(crate) fn readable(&mut self, peers: &mut Peers) -> bool {
        while let Some(&id) = self.active.front() {
            if peers.has_input(id) {
                return true;
            }
            self.deactivate_front(peers);
        }
        false
    }

    fn deactivate_front(&mut self, peers: &mut Peers) {
        if let Some(id) = self.active.pop_front()
            && let Some(peer) = peers.get_mut(id)
        {
            peer.readable = false;
            if peer.gone {
                peers.remove(id);
            }
        }
    }

    /// Drops every message received so far, and says how many there were.
    pub(crate) fn drain(&mut self, peers: &mut Peers) -> u64 {
        let mut count = 0;
        while self.recv(peers, &mut Message::new()).is_some() {
            count += 1;
        }
        count
    }
}

/// Gives messages to peers that have room, in turn.
#[derive(Default)]
pub(crate) struct LoadBalancer {
    active: VecDeque<PeerId>,
}

impl LoadBalancer {
    /// A peer has room: it joins at the end.
    pub(crate) fn activate(&mut self, peers: &mut Peers, id: PeerId) {
        if let Some(peer) = peers.get_mut(id)
            && !peer.writable
            && !peer.gone
        {
            peer.writable = true;
            self.active.push_back(id);
        }
    }

    pub(crate) fn remove(&mut self, peers: &mut Peers, id: PeerId) {
        if let Some(peer) = peers.get_mut(id)
            && std::mem::take(&mut peer.writable)
        {
            self.active.retain(|&active| active != id);
        }
    }

    /// Sends to the next peer with room; `None`, and the message is as it was, when there is none.
    #[inline]
    pub(crate) fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Option<PeerId> {
        while let Some(&id) = self.active.front() {
            if peers.push(id, message).is_ok() {
                if self.active.len() > 1 {
                    self.active.rotate_left(1);
                }
                return Some(id);
            }
            self.deactivate_front(peers);
        }
        None
    }

    /// True when [`LoadBalancer::send`] would find a peer with room.
    pub(crate) fn writable(&mut self, peers: &mut Peers) -> bool {
        while let Some(&id) = self.active.front() {
            if peers.has_room(id) {
                return true;
            }
            self.deactivate_front(peers);
        }
        false
    }

    fn deactivate_front(&mut self, peers: &mut Peers) {
        if let Some(id) = self.active.pop_front()
            && let Some(peer) = peers.get_mut(id)
        {
            peer.writable = false;
        }
    }
}
