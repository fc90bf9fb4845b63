//! Small messages of a flood on their way to a peer's [`Queue`]: kept with the peer, under the socket's lock that every send
//! holds anyway, and handed over together.
//!
//! Only while the queue gathers, and for no more messages than it has room for: a *credit*, given when the connection
//! begins to gather and taken back when anybody is to see the queue as it would be without this. While there is a
//! credit, the I/O thread looks after the connection: it hands over what the sender has left behind. So the order in
//! which a connection does things matters: the credit is given first, and only then does it look whether it is being
//! watched; and who ends the watch says so first, and only then takes the credit back.

use std::collections::VecDeque;

use oxzmq_proto::Message;

use crate::queue::{Credit, PER_MESSAGE, Queue};

#[derive(Default)]
pub(crate) struct Stage {
    messages: VecDeque<Message>,
    /// As the queue counts them.
    bytes: usize,
    /// So many more may be put here. None are here when it is 0.
    credit: usize,
}

impl Stage {
    /// The queue gathers: from now on messages may be put here.
    pub(crate) fn open(&mut self, queue: &Queue) {
        if self.messages.is_empty() {
            (self.credit, self.bytes) = queue.lend(&mut self.messages);
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.credit > 0
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a small message in, for which there has to be a credit, and leaves an empty one in its place. False for any
    /// other.
    #[inline]
    pub(crate) fn take_in(&mut self, message: &mut Message) -> bool {
        debug_assert!(self.is_open());
        let Some(len) = message.small_len() else { return false };
        self.messages.push_back(std::mem::take(message));
        self.bytes += len + PER_MESSAGE;
        self.credit -= 1;
        true
    }

    /// Hands over what is here. True when the queue's consumer is to be woken. Until it is, `stay_open` leaves a credit for
    /// what comes next.
    pub(crate) fn hand_over(&mut self, queue: &Queue, stay_open: bool) -> bool {
        self.credit = 0;
        if self.messages.is_empty() {
            return false;
        }
        match queue.put_staged(&mut self.messages, std::mem::take(&mut self.bytes)) {
            Credit::Over => true,
            Credit::For(credit) => {
                self.credit = if stay_open { credit } else { 0 };
                false
            }
        }
    }

    /// Nobody will take what is here: how many messages there were.
    pub(crate) fn clear(&mut self) -> usize {
        let count = self.messages.len();
        *self = Self::default();
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Push;

    fn flooded(capacity: usize) -> (Queue, Stage) {
        let queue = Queue::new(capacity, false);
        assert!(matches!(queue.push(&mut "first".into()), Push::Queued { wake: true }));
        assert!(queue.gather(1_000_000));
        let mut stage = Stage::default();
        stage.open(&queue);
        (queue, stage)
    }

    #[test]
    fn takes_as_many_in_as_there_is_room_for() {
        let (queue, mut stage) = flooded(4);
        for _ in 0..3 {
            assert!(stage.is_open());
            assert!(stage.take_in(&mut "x".into()));
        }
        assert!(!stage.is_open(), "four in all");
        assert!(!stage.hand_over(&queue, true), "which is not enough to be written");
        assert_eq!((queue.len(), stage.is_open()), (4, false));
        assert!(matches!(queue.push(&mut "x".into()), Push::Full { wake: true }));
    }

    #[test]
    fn hands_over_in_order_and_goes_on() {
        let (queue, mut stage) = flooded(0);
        assert!(stage.take_in(&mut "second".into()));
        assert!(!stage.hand_over(&queue, true));
        assert!(stage.take_in(&mut "third".into()));
        assert!(!stage.hand_over(&queue, false));
        assert!(!stage.is_open());
        let mut taken = VecDeque::new();
        queue.take(&mut taken, 0);
        assert_eq!(taken, ["first", "second", "third"].map(Message::from));
    }

    #[test]
    fn enough_to_be_written_wakes() {
        let (queue, mut stage) = flooded(0);
        assert!(queue.gather(60));
        assert!(stage.take_in(&mut "0123456789012345678901234567".into()));
        assert!(stage.hand_over(&queue, true));
        assert!(!stage.is_open());
    }

    #[test]
    fn nothing_is_staged_that_is_large_or_for_a_queue_that_does_not_gather() {
        let (queue, mut stage) = flooded(0);
        assert!(!stage.take_in(&mut Message::from(vec![0; 100])));
        assert!(!stage.take_in(&mut Message::from(["a", "b"])));
        assert!(!stage.hand_over(&queue, false));
        assert_eq!(queue.len(), 1, "the first is back");
        queue.take(&mut VecDeque::new(), 0);
        stage.open(&queue);
        assert!(!stage.is_open());
    }

    #[test]
    fn a_closed_queue_gives_no_credit_and_takes_what_was_staged_before() {
        let (queue, mut stage) = flooded(0);
        assert!(stage.take_in(&mut "x".into()));
        queue.close();
        stage.hand_over(&queue, true);
        assert_eq!((queue.len(), stage.is_open()), (2, false));
        stage.open(&queue);
        assert!(!stage.is_open());
    }
}

/// Every interleaving of a sender in a flood, which stages, and the I/O thread, which looks after what the sender leaves
/// behind and ends its watch at any moment: all is written in the end, in order.
#[cfg(all(test, oxzmq_loom))]
mod loom_model {
    use loom::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    use super::*;
    use crate::queue::Push;

    struct Connection {
        /// The socket's state.
        stage: Mutex<Stage>,
        queue: Queue,
        watched: AtomicBool,
        /// Watches begun and not ended, as the I/O thread would find them in its inbox.
        posted: AtomicBool,
        written: Mutex<Vec<Message>>,
    }

    const PLENTY: usize = 1_000_000;

    impl Connection {
        fn flush(&self) {
            let mut written = self.written.lock().unwrap();
            // Until nothing is found: only then does the next push wake.
            loop {
                let mut taken = VecDeque::new();
                self.queue.take(&mut taken, 0);
                if taken.is_empty() {
                    return;
                }
                written.extend(taken);
            }
        }

        /// The order of `Session::data_ready_now`.
        fn data_ready(&self) {
            if !self.queue.gather(PLENTY) {
                return self.flush();
            }
            self.stage.lock().unwrap().open(&self.queue);
            if !self.watched.swap(true, SeqCst) {
                self.posted.store(true, SeqCst);
            }
        }

        fn send(&self, mut message: Message) {
            let wake = {
                let mut stage = self.stage.lock().unwrap();
                if stage.is_open() {
                    assert!(stage.take_in(&mut message));
                    false
                } else {
                    matches!(self.queue.push(&mut message), Push::Queued { wake: true })
                }
            };
            if wake {
                self.data_ready();
            }
        }

        /// The order of the end of `Session::deferred_tick`.
        fn end_watch(&self) {
            self.watched.swap(false, SeqCst);
            self.stage.lock().unwrap().hand_over(&self.queue, false);
            self.flush();
        }
    }

    #[test]
    fn loom_what_is_staged_when_a_watch_ends_is_written() {
        loom::model(|| {
            let connection = Arc::new(Connection {
                stage: Mutex::default(),
                queue: Queue::new(0, false),
                watched: AtomicBool::new(true),
                posted: AtomicBool::new(false),
                written: Mutex::default(),
            });
            let sender = {
                let connection = Arc::clone(&connection);
                thread::spawn(move || (0..3u8).for_each(|number| connection.send(vec![number].into())))
            };
            connection.end_watch(); // the watch that there was when the flood began
            sender.join().unwrap();
            let stage_open = connection.stage.lock().unwrap().is_open();
            assert!(!stage_open || connection.posted.load(SeqCst), "a credit that nobody looks after");
            if connection.posted.load(SeqCst) {
                connection.end_watch();
            }
            let written = connection.written.lock().unwrap();
            assert_eq!(*written, [0u8, 1, 2].map(|number| Message::from(vec![number])));
        });
    }
}
