//! A bounded queue of whole messages between one socket and one peer, in one direction.
//!
//! Each end takes the lock once per *call*; the consumer takes everything there is in one swap. Two
//! flags make wake-ups rare and never lost, because both are read and written under the lock:
//!
//! * `consumer_asleep` is set by a consumer that found nothing. The push that finds it set clears it
//!   and must wake the consumer; all other pushes need not.
//! * `producer_blocked` is set by a push that found the queue full. The consumer that makes room clears
//!   it and must wake the producer.
//!
//! A consumer may also let messages *gather*: it is then woken by the push that makes enough of them, or
//! that finds the queue full.
//!
//! The high-water mark counts what waits here *and* what the consumer has taken but not yet reported
//! as read, so taking a whole batch does not let twice as much in.

use std::collections::VecDeque;

use oxzmq_proto::{Frame, Message, Packed};

use crate::sync::Mutex;

pub(crate) struct Queue {
    inner: Mutex<Inner>,
}

struct Inner {
    items: VecDeque<Message>,
    /// Small messages behind all `items`, in queues that pack them.
    packed: Option<Box<Packed>>,
    /// Taken by the consumer and not yet reported as read.
    unread: usize,
    /// High-water mark in messages; 0 is unlimited.
    capacity: usize,
    /// Keep only the newest message (the CONFLATE option).
    conflate: bool,
    consumer_asleep: bool,
    /// The consumer lets messages gather: it wants to be woken when this many bytes are queued, or when the
    /// queue is full.
    wake_at: usize,
    /// Bytes queued, with a little for each message.
    bytes: usize,
    /// Messages pushed so far.
    pushed: u64,
    producer_blocked: bool,
    closed: bool,
}

/// What a message counts for besides its own bytes when messages gather.
pub(crate) const PER_MESSAGE: usize = 16;

/// Progress in the middle of a batch is reported in this part of the high-water mark.
const PROGRESS: usize = 8;

/// Value of `wake_at` when the consumer does not let messages gather.
const NEVER: usize = usize::MAX;

/// What a consumer has taken.
#[derive(Default)]
pub(crate) struct Batch {
    messages: VecDeque<Message>,
    /// What comes after `messages`, from queues that pack.
    packed: Option<Box<Packed>>,
}

impl Batch {
    /// Takes the first one, in place of `message`; false when there is none.
    #[inline]
    pub(crate) fn pop(&mut self, message: &mut Message) -> bool {
        match (self.messages.pop_front(), &mut self.packed) {
            (Some(next), _) => message.replace_by(next),
            (None, Some(packed)) => return packed.pop(message),
            (None, None) => return false,
        }
        true
    }

    /// Whether it is of a queue that packs.
    pub(crate) fn packs(&self) -> bool {
        self.packed.is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len() + self.packed.as_ref().map_or(0, |packed| packed.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn len(&self) -> usize {
        self.items.len() + self.packed.as_ref().map_or(0, |packed| packed.len())
    }

    /// What is packed becomes messages again, so that others can go behind them.
    fn unpack(&mut self) {
        let Some(packed) = &mut self.packed else { return };
        let mut message = Message::new();
        while packed.pop(&mut message) {
            self.items.push_back(std::mem::take(&mut message));
        }
    }

    fn push_back(&mut self, message: &mut Message) {
        if let Some(packed) = &mut self.packed {
            if packed.push(message) {
                return;
            }
            self.unpack();
        }
        if self.items.capacity() == 0 {
            // Requests and replies come one at a time: room for more would be most of an idle connection's memory.
            self.items.reserve_exact(1);
        }
        self.items.push_back(std::mem::take(message));
    }

    fn take(&mut self, into: &mut VecDeque<Message>, read: usize) {
        debug_assert!(into.is_empty());
        self.unread -= read;
        std::mem::swap(&mut self.items, into);
        self.unread += into.len();
        self.consumer_asleep = into.is_empty();
        self.bytes = 0;
        self.wake_at = NEVER;
    }

    fn room(&self) -> usize {
        if self.capacity == 0 || self.conflate {
            usize::MAX
        } else {
            self.capacity.saturating_sub(self.len() + self.unread)
        }
    }

    fn credit(&self) -> usize {
        if self.wake_at == NEVER || self.conflate || self.closed {
            return 0;
        }
        let enough = self.wake_at.saturating_sub(self.bytes).div_ceil(PER_MESSAGE + Frame::INLINE_MAX);
        self.room().min(enough)
    }

    fn wake_consumer(&mut self) -> bool {
        let enough = self.bytes >= self.wake_at;
        if enough {
            self.wake_at = NEVER;
        }
        std::mem::take(&mut self.consumer_asleep) || enough
    }

    fn wake_producer(&mut self) -> bool {
        self.producer_blocked && self.room() > 0 && std::mem::take(&mut self.producer_blocked)
    }
}

/// Conflated queues hold one part: the last one written replaces all before it.
fn keep_last_part(message: &mut Message) {
    while message.len() > 1 {
        message.pop_front();
    }
}

/// What became of a pushed message. Where it was not queued, it is as it was.
#[derive(Debug)]
pub(crate) enum Push {
    /// It is queued; `wake` asks the caller to wake the consumer.
    Queued { wake: bool },
    /// The high-water mark is reached; the consumer will wake the producer when there is room. `wake` asks
    /// the caller to wake the consumer.
    Full { wake: bool },
    /// The other end is gone.
    Closed,
}

/// How urgent it is to take what is queued.
#[derive(Debug)]
pub(crate) struct Pressure {
    /// Enough has gathered, or the producer waits for room.
    pub(crate) now: bool,
    /// Messages pushed so far.
    pub(crate) pushed: u64,
}

/// How many messages may be [staged](crate::stage) for a queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credit {
    For(usize),
    /// None: the consumer is to be woken.
    Over,
}

/// What a push of several achieved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PushBatch {
    pub(crate) wake: bool,
    /// Some are left: the consumer will wake the producer when there is room.
    pub(crate) full: bool,
}

impl Queue {
    pub(crate) fn new(capacity: usize, conflate: bool) -> Self {
        Self {
            inner: Mutex::new(Inner {
                items: VecDeque::new(),
                packed: None,
                unread: 0,
                capacity,
                conflate,
                consumer_asleep: true,
                wake_at: NEVER,
                bytes: 0,
                pushed: 0,
                producer_blocked: false,
                closed: false,
            }),
        }
    }

    /// The same, and small messages are packed: for two sockets in one process, which otherwise fetch a cache line for
    /// each from the other's processor.
    pub(crate) fn packing(capacity: usize, conflate: bool) -> Self {
        let queue = Self::new(capacity, conflate);
        if !conflate {
            queue.inner.lock().packed = Some(Box::default());
        }
        queue
    }

    /// For a consumer of this queue.
    pub(crate) fn batch(&self) -> Batch {
        let packs = self.inner.lock().packed.is_some();
        Batch { messages: VecDeque::new(), packed: packs.then(Box::default) }
    }

    /// Queues a message, and leaves an empty one in its place.
    #[inline]
    pub(crate) fn push(&self, message: &mut Message) -> Push {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Push::Closed;
        }
        if inner.conflate {
            inner.items.clear();
            inner.bytes = 0;
            keep_last_part(message);
        } else if inner.room() == 0 {
            let wake = !std::mem::replace(&mut inner.producer_blocked, true);
            inner.wake_at = NEVER;
            return Push::Full { wake };
        }
        inner.bytes += message.byte_len() + PER_MESSAGE;
        inner.pushed += 1;
        inner.push_back(message);
        Push::Queued { wake: inner.wake_consumer() }
    }

    /// Pushes without regard to the high-water mark: for what the socket owes a peer whatever its queue
    /// looks like (greeting messages, end-of-stream notices).
    pub(crate) fn push_over(&self, mut message: Message) -> bool {
        let mut inner = self.inner.lock();
        if inner.closed {
            return false;
        }
        inner.bytes += message.byte_len() + PER_MESSAGE;
        inner.pushed += 1;
        inner.push_back(&mut message);
        inner.wake_consumer()
    }

    /// Moves messages from the front of `batch` until it is empty or the queue is full.
    pub(crate) fn push_batch(&self, batch: &mut VecDeque<Message>) -> PushBatch {
        let mut inner = self.inner.lock();
        if inner.closed {
            batch.clear();
            return PushBatch { wake: false, full: false };
        }
        inner.unpack();
        let room = inner.room();
        let before = batch.len();
        if inner.conflate {
            if let Some(mut last) = batch.pop_back() {
                keep_last_part(&mut last);
                inner.items.clear();
                inner.items.push_back(last);
            }
            batch.clear();
        } else if inner.items.is_empty() && batch.len() <= room {
            std::mem::swap(&mut inner.items, batch);
        } else {
            let n = room.min(batch.len());
            inner.items.extend(batch.drain(..n));
        }
        let full = !batch.is_empty();
        inner.pushed += (before - batch.len()) as u64;
        inner.producer_blocked |= full;
        let wake = inner.len() > 0 && inner.wake_consumer();
        PushBatch { wake, full }
    }

    /// So many small messages may be staged: while they gather, within the high-water mark. What has gathered so far goes
    /// before them into `stage`, which must be empty, so that all of them come back in one swap; its bytes are returned
    /// as well.
    pub(crate) fn lend(&self, stage: &mut VecDeque<Message>) -> (usize, usize) {
        debug_assert!(stage.is_empty());
        let mut inner = self.inner.lock();
        inner.unpack();
        let credit = inner.credit();
        if credit == 0 {
            return (0, 0);
        }
        std::mem::swap(&mut inner.items, stage);
        inner.pushed -= stage.len() as u64;
        (credit, std::mem::take(&mut inner.bytes))
    }

    /// Queues what was staged, which there is room for, of `bytes` in all. A closed queue takes it as well: it was sent
    /// before.
    pub(crate) fn put_staged(&self, batch: &mut VecDeque<Message>, bytes: usize) -> Credit {
        let mut inner = self.inner.lock();
        inner.unpack();
        inner.bytes += bytes;
        inner.pushed += batch.len() as u64;
        if inner.items.is_empty() {
            std::mem::swap(&mut inner.items, batch);
        } else {
            inner.items.append(batch);
        }
        if inner.wake_consumer() { Credit::Over } else { Credit::For(inner.credit()) }
    }

    /// Swaps everything queued into `into`, which must be empty, and reports `read` messages of earlier
    /// takes as read. Returns whether the producer must be woken. With nothing to take, the consumer
    /// counts as asleep from now on.
    pub(crate) fn take(&self, into: &mut VecDeque<Message>, read: usize) -> bool {
        let mut inner = self.inner.lock();
        inner.unpack();
        inner.take(into, read);
        inner.wake_producer()
    }

    /// The same into a batch, in which what is packed stays packed.
    pub(crate) fn take_batch(&self, into: &mut Batch, read: usize) -> bool {
        debug_assert!(into.is_empty());
        let mut inner = self.inner.lock();
        inner.take(&mut into.messages, read);
        if let (Some(mine), Some(packed)) = (&mut inner.packed, &mut into.packed) {
            std::mem::swap(mine, packed);
            inner.unread += packed.len();
            inner.consumer_asleep &= packed.is_empty();
        }
        inner.wake_producer()
    }

    /// Conflated queues only: what has come since the consumer took its message, which this replaces.
    pub(crate) fn take_newer(&self) -> Option<Message> {
        let mut inner = self.inner.lock();
        let newer = inner.items.pop_back()?;
        inner.unread += 1;
        Some(newer)
    }

    pub(crate) fn conflates(&self) -> bool {
        self.inner.lock().conflate
    }

    /// For a consumer that was woken: lets messages gather until there are `bytes` of them. False when that
    /// many are there already or the queue is full: then they are to be taken now.
    pub(crate) fn gather(&self, bytes: usize) -> bool {
        let mut inner = self.inner.lock();
        let gather = inner.bytes < bytes && !inner.producer_blocked;
        inner.wake_at = if gather { bytes } else { NEVER };
        gather
    }

    pub(crate) fn pressure(&self, bytes: usize) -> Pressure {
        let inner = self.inner.lock();
        Pressure { now: inner.bytes >= bytes || inner.producer_blocked, pushed: inner.pushed }
    }

    /// Bytes not yet taken by the consumer, with a little for each message; 0 when there is no message.
    pub(crate) fn gathered(&self) -> usize {
        self.inner.lock().bytes
    }

    /// Reports progress in the middle of a batch; true asks the caller to wake the producer.
    pub(crate) fn report(&self, read: usize) -> bool {
        let mut inner = self.inner.lock();
        inner.unread -= read;
        inner.wake_producer()
    }

    /// Reports progress in the middle of a large batch, once it is worth waking the producer for: sets `read`
    /// to 0 if it did. True asks the caller to wake the producer.
    pub(crate) fn report_progress(&self, read: &mut usize) -> bool {
        let mut inner = self.inner.lock();
        if *read < inner.capacity.div_ceil(PROGRESS) {
            return false;
        }
        inner.unread -= std::mem::take(read);
        inner.wake_producer()
    }

    /// True when a push would be accepted. When not, the consumer will wake the producer.
    pub(crate) fn has_room(&self) -> bool {
        let mut inner = self.inner.lock();
        let room = inner.room() > 0 && !inner.closed;
        inner.producer_blocked |= !room;
        room
    }

    pub(crate) fn room(&self) -> usize {
        self.inner.lock().room()
    }

    /// Messages pushed so far.
    pub(crate) fn pushed(&self) -> u64 {
        self.inner.lock().pushed
    }

    /// Messages not yet taken by the consumer.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().len()
    }

    /// Changes the high-water mark; true asks the caller to wake the producer.
    pub(crate) fn set_capacity(&self, capacity: usize) -> bool {
        let mut inner = self.inner.lock();
        inner.capacity = capacity;
        inner.wake_producer()
    }

    /// Takes back what is queued.
    pub(crate) fn clear(&self) -> VecDeque<Message> {
        let mut inner = self.inner.lock();
        inner.bytes = 0;
        inner.unpack();
        std::mem::take(&mut inner.items)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    /// No more pushes are accepted; what is queued can still be taken.
    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: std::ops::Range<u8>) -> VecDeque<Message> {
        n.map(|i| Message::from(vec![i])).collect()
    }

    #[test]
    fn the_high_water_mark_counts_what_was_taken_but_not_read() {
        let queue = Queue::new(3, false);
        for i in 0..3u8 {
            assert!(matches!(queue.push(&mut vec![i].into()), Push::Queued { .. }));
        }
        let mut taken = VecDeque::new();
        assert!(!queue.take(&mut taken, 0), "taking makes no room");
        assert!(matches!(queue.push(&mut "x".into()), Push::Full { .. }));
        assert!(queue.report(1), "reading one makes room, and the producer was waiting");
        assert!(matches!(queue.push(&mut "x".into()), Push::Queued { wake: false }));
        assert!(matches!(queue.push(&mut "y".into()), Push::Full { .. }));
    }

    #[test]
    fn only_the_first_push_after_an_empty_take_wakes() {
        let queue = Queue::new(0, false);
        assert!(matches!(queue.push(&mut "a".into()), Push::Queued { wake: true }));
        assert!(matches!(queue.push(&mut "b".into()), Push::Queued { wake: false }));
        let mut taken = VecDeque::new();
        queue.take(&mut taken, 0);
        assert_eq!(taken.len(), 2);
        taken.clear();
        queue.take(&mut taken, 2);
        assert!(matches!(queue.push(&mut "c".into()), Push::Queued { wake: true }));
    }

    #[test]
    fn gathering_ends_with_enough_bytes_or_a_full_queue() {
        let queue = Queue::new(3, false);
        let message = || Message::from(vec![0; 100]);
        assert!(matches!(queue.push(&mut message()), Push::Queued { wake: true }));
        assert!(queue.gather(200), "not enough yet");
        assert!(matches!(queue.push(&mut message()), Push::Queued { wake: true }), "now there is");
        assert!(queue.pressure(200).now);
        assert!(!queue.gather(200));
        assert!(queue.gather(10_000));
        assert!(matches!(queue.push(&mut message()), Push::Queued { wake: false }));
        assert!(matches!(queue.push(&mut message()), Push::Full { wake: true, .. }), "full: gathering is over");
        assert!(matches!(queue.push(&mut message()), Push::Full { wake: false, .. }));
    }

    #[test]
    fn a_batch_is_cut_at_the_high_water_mark() {
        let queue = Queue::new(5, false);
        let mut batch = numbers(0..3);
        assert_eq!(queue.push_batch(&mut batch), PushBatch { wake: true, full: false });
        let mut batch = numbers(3..9);
        assert_eq!(queue.push_batch(&mut batch), PushBatch { wake: false, full: true });
        assert_eq!(batch.len(), 4);
        assert_eq!(batch.front().unwrap().first().unwrap(), &[5u8][..]);
    }

    #[test]
    fn conflation_keeps_the_last_part_of_the_last_message() {
        let queue = Queue::new(1, true);
        queue.push(&mut Message::from(["a", "b"]));
        queue.push(&mut Message::from(["c", "d"]));
        let mut taken = VecDeque::new();
        queue.take(&mut taken, 0);
        assert_eq!(taken, [Message::from("d")]);
    }

    #[test]
    fn a_closed_queue_takes_nothing_in_and_gives_out_what_it_has() {
        let queue = Queue::new(0, false);
        queue.push(&mut "a".into());
        queue.close();
        assert!(matches!(queue.push(&mut "b".into()), Push::Closed));
        let mut taken = VecDeque::new();
        queue.take(&mut taken, 0);
        assert_eq!(taken.len(), 1);
    }
}

/// Every interleaving of a producer and a consumer that follow the flags: nothing is lost, nothing is out of
/// order, and nobody sleeps for ever (loom reports a deadlock).
#[cfg(all(test, oxzmq_loom))]
mod loom_model {
    use std::collections::VecDeque;

    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    use super::*;

    /// What wakes a thread: a flag that stays set until it is seen, as an eventfd does.
    #[derive(Default)]
    struct Bell(Mutex<bool>, Condvar);

    impl Bell {
        fn ring(&self) {
            *self.0.lock().unwrap() = true;
            self.1.notify_one();
        }

        fn wait(&self) {
            let mut rung = self.0.lock().unwrap();
            while !*rung {
                rung = self.1.wait(rung).unwrap();
            }
            *rung = false;
        }
    }

    fn run(capacity: usize, messages: u8, gather: Option<usize>) {
        let queue = Arc::new(Queue::new(capacity, false));
        let (data, room) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
        let producer = {
            let (queue, data, room) = (Arc::clone(&queue), Arc::clone(&data), Arc::clone(&room));
            thread::spawn(move || {
                for i in 0..messages {
                    let mut message = Message::from(vec![i]);
                    loop {
                        match queue.push(&mut message) {
                            Push::Queued { wake } => {
                                if wake {
                                    data.ring();
                                }
                                break;
                            }
                            Push::Full { wake } => {
                                if wake {
                                    data.ring();
                                }
                                room.wait();
                            }
                            Push::Closed => panic!("nobody closes the queue"),
                        }
                    }
                }
            })
        };
        let mut batch = VecDeque::new();
        let (mut read, mut next) = (0, 0);
        while next < messages {
            if queue.take(&mut batch, std::mem::take(&mut read)) {
                room.ring();
            }
            if batch.is_empty() {
                data.wait();
                // A consumer that lets messages gather comes back for the rest when told that there is no more.
                if let Some(bytes) = gather
                    && queue.gather(bytes)
                    && next + 1 < messages
                {
                    data.wait();
                }
            }
            while let Some(message) = batch.pop_front() {
                assert_eq!(message.first().unwrap(), &[next][..]);
                next += 1;
                read += 1;
                if queue.report(std::mem::take(&mut read)) {
                    room.ring();
                }
            }
        }
        producer.join().unwrap();
    }

    #[test]
    fn loom_unbounded() {
        loom::model(|| run(0, 2, None));
    }

    #[test]
    fn loom_bounded_producer_waits_for_room() {
        loom::model(|| run(1, 2, None));
    }

    #[test]
    fn loom_gathering_is_ended_by_a_full_queue() {
        // Two messages are never enough bytes: only the full queue can wake the consumer.
        loom::model(|| run(1, 2, Some(1_000_000)));
    }
}
