//! The broker of the Majordomo protocol, version 0.2, towards workers (RFC 18): who is idle, who has what, who is
//! dead. It knows neither sockets nor a clock.
//!
//! ```text
//! worker to broker, after an empty frame:  MDPW02 01 SERVICE               ready
//!                                          MDPW02 03 CLIENT "" BODY...     a part of the answer
//!                                          MDPW02 04 CLIENT "" BODY...     the last part
//!                                          MDPW02 05                       sign of life
//!                                          MDPW02 06                       leaves
//! broker to worker:                        MDPW02 02 CLIENT "" BODY...     request
//!                                          MDPW02 05, MDPW02 06            as above
//! ```
//!
//! A request's body is four frames: method, target, headers as a JSON object, body. The frames of an answer are put together;
//! if that begins with `HTTP/` it is a whole response, otherwise it is the content of one.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use oxzmq::Message;
use tokio::sync::mpsc;

/// Protocol and version, in the second frame.
const MARK: &[u8] = b"MDPW02";
const READY: u8 = 1;
const REQUEST: u8 = 2;
const PARTIAL: u8 = 3;
const FINAL: u8 = 4;
const HEARTBEAT: u8 = 5;
const DISCONNECT: u8 = 6;

/// Time between two signs of life; silence of three is death.
const INTERVAL: Duration = Duration::from_millis(2500);
/// Most requests that wait for an idle worker.
const QUEUE_MAX: usize = 1024;
/// Workers tried for one request that may be repeated.
const TRIES: u32 = 3;
/// What makes a response of an answer that is none.
const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n";

/// One request.
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) frames: Vec<Bytes>,
    pub(super) client: mpsc::Sender<Bytes>,
    /// Whether another worker may be asked when one dies with it (RFC 9110, section 9.2.2).
    pub(super) repeatable: bool,
    pub(super) tries: u32,
    pub(super) began: bool,
}

struct Worker {
    /// What it works on; `Some(None)` once the client has left.
    job: Option<Option<Job>>,
    heard: Instant,
    told: Instant,
}

/// See the [module](self).
pub(super) struct Broker {
    service: String,
    workers: HashMap<Bytes, Worker>,
    /// Those without work, the one that has been idle longest first.
    idle: VecDeque<Bytes>,
    queue: VecDeque<Job>,
    outbox: VecDeque<(Bytes, Message)>,
}

impl Broker {
    pub(super) fn new(service: &str) -> Self {
        let service = service.to_owned();
        Self {
            service,
            workers: HashMap::new(),
            idle: VecDeque::new(),
            queue: VecDeque::new(),
            outbox: VecDeque::new(),
        }
    }

    /// A client wants something. Without room, or without any worker, its end is dropped.
    pub(super) fn submit(&mut self, job: Job, now: Instant) {
        if self.queue.len() < QUEUE_MAX && !self.workers.is_empty() {
            self.queue.push_back(job);
            self.dispatch(now);
        }
    }

    /// A client does not wait any more.
    pub(super) fn cancel(&mut self, id: u64) {
        self.queue.retain(|job| job.id != id);
        for worker in self.workers.values_mut() {
            if worker.job.as_ref().is_some_and(|job| job.as_ref().is_some_and(|job| job.id == id)) {
                worker.job = Some(None);
            }
        }
    }

    /// A worker's message, without its routing id.
    pub(super) fn handle(&mut self, from: &Bytes, mut message: Message, now: Instant) {
        let empty = message.pop_front().is_some_and(|frame| frame.is_empty());
        let mark = message.pop_front().is_some_and(|frame| *frame == *MARK);
        let command = message.pop_front().and_then(|frame| <[u8; 1]>::try_from(frame.as_slice()).ok());
        let (true, true, Some([command])) = (empty, mark, command) else {
            return self.lose(from, true, now);
        };
        let known = self.workers.contains_key(from);
        match command {
            READY if !known && message.pop_front().is_some_and(|service| *service == *self.service.as_bytes()) => {
                self.workers.insert(from.clone(), Worker { job: None, heard: now, told: now });
                self.idle.push_back(from.clone());
            }
            PARTIAL | FINAL if known => self.answer(from, command == FINAL, message, now),
            HEARTBEAT if known => {}
            DISCONNECT => self.lose(from, false, now),
            // READY twice, another service, or a stranger that thinks we know it.
            _ => self.lose(from, true, now),
        }
        if let Some(worker) = self.workers.get_mut(from) {
            worker.heard = now;
        }
        self.dispatch(now);
    }

    fn answer(&mut self, from: &Bytes, last: bool, mut message: Message, now: Instant) {
        let id = message.pop_front().map(|frame| String::from_utf8_lossy(&frame).parse::<u64>());
        let empty = message.pop_front().is_some_and(|frame| frame.is_empty());
        let Some(worker) = self.workers.get_mut(from) else { return };
        let (Some(job), Some(Ok(id)), true) = (&mut worker.job, id, empty) else {
            return self.lose(from, true, now);
        };
        let mut keep = !last;
        if let Some(job) = job {
            if job.id != id {
                return self.lose(from, true, now);
            }
            let mut content: Vec<u8> = Vec::new();
            message.into_iter().for_each(|frame| content.extend_from_slice(&frame));
            if !std::mem::replace(&mut job.began, true) && !content.starts_with(b"HTTP/") {
                content.splice(0..0, PLAIN.iter().copied());
            }
            // Who does not keep up is cut off; the worker's other parts go nowhere then.
            if !content.is_empty() && job.client.try_send(content.into()).is_err() && keep {
                worker.job = Some(None);
                keep = true;
            }
        }
        if !keep {
            worker.job = None;
            self.idle.push_back(from.clone());
        }
    }

    /// A worker is gone, or is told to go.
    pub(super) fn lose(&mut self, worker: &Bytes, tell: bool, now: Instant) {
        if tell {
            self.outbox.push_back((worker.clone(), begin(DISCONNECT)));
        }
        let Some(lost) = self.workers.remove(worker) else { return };
        self.idle.retain(|idle| idle != worker);
        if let Some(Some(job)) = lost.job
            && job.repeatable
            && !job.began
            && job.tries < TRIES
        {
            self.queue.push_front(job);
        }
        if self.workers.is_empty() {
            self.queue.clear();
        }
        self.dispatch(now);
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        let silent = |worker: &Worker| now.duration_since(worker.heard) >= INTERVAL * 3;
        let dead: Vec<Bytes> =
            self.workers.iter().filter(|(_, worker)| silent(worker)).map(|(identity, _)| identity.clone()).collect();
        for worker in dead {
            self.lose(&worker, true, now);
        }
        for (identity, worker) in &mut self.workers {
            if now.duration_since(worker.told) >= INTERVAL {
                worker.told = now;
                self.outbox.push_back((identity.clone(), begin(HEARTBEAT)));
            }
        }
    }

    /// The next message to send, and to whom.
    pub(super) fn poll_outbox(&mut self) -> Option<(Bytes, Message)> {
        self.outbox.pop_front()
    }

    fn dispatch(&mut self, now: Instant) {
        while !self.queue.is_empty() {
            let Some(identity) = self.idle.pop_front() else { return };
            let (Some(worker), Some(mut job)) = (self.workers.get_mut(&identity), self.queue.pop_front()) else {
                return;
            };
            let mut message = begin(REQUEST);
            message.push_back(job.id.to_string());
            message.push_back("");
            message.extend(job.frames.iter().cloned());
            job.tries += 1;
            worker.told = now;
            worker.job = Some(Some(job));
            self.outbox.push_back((identity, message));
        }
    }
}

fn begin(command: u8) -> Message {
    let mut message = Message::from("");
    message.push_back(MARK);
    message.push_back(&[command]);
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn job(id: u64, repeatable: bool) -> (Job, mpsc::Receiver<Bytes>) {
        let (client, receiver) = mpsc::channel(4);
        (Job { id, frames: vec!["GET".into()], client, repeatable, tries: 0, began: false }, receiver)
    }

    fn say(command: u8, rest: &[&str]) -> Message {
        let mut message = begin(command);
        message.extend(rest.iter().map(|frame| (*frame).to_owned()));
        message
    }

    fn ready(broker: &mut Broker, names: &[&'static str], now: Instant) {
        for name in names {
            broker.handle(&Bytes::from_static(name.as_bytes()), say(READY, &["echo"]), now);
        }
    }

    /// Who is sent which command.
    fn sent(broker: &mut Broker) -> Vec<(String, u8)> {
        std::iter::from_fn(|| broker.poll_outbox())
            .map(|(to, message)| (String::from_utf8_lossy(&to).into_owned(), message[2][0]))
            .collect()
    }

    fn to(name: &str, command: u8) -> (String, u8) {
        (name.to_owned(), command)
    }

    #[test]
    fn requests_go_to_the_worker_idle_longest_and_wait_when_there_is_none() {
        let (mut broker, now) = (Broker::new("echo"), Instant::now());
        ready(&mut broker, &["a", "b"], now);
        let mut clients: Vec<_> = (1..=3)
            .map(|id| {
                let (job, client) = job(id, true);
                broker.submit(job, now);
                client
            })
            .collect();
        assert_eq!(sent(&mut broker), [to("a", REQUEST), to("b", REQUEST)]);
        broker.handle(&"b".into(), say(PARTIAL, &["2", "", "HTTP/1.1 200 OK\r\n"]), now);
        broker.handle(&"b".into(), say(FINAL, &["2", "", "\r\n"]), now);
        assert_eq!(sent(&mut broker), [to("b", REQUEST)]);
        assert_eq!(clients[1].try_recv().unwrap(), "HTTP/1.1 200 OK\r\n");
        assert_eq!(clients[1].try_recv().unwrap(), "\r\n");
        assert!(matches!(clients[1].try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
        broker.handle(&"a".into(), say(FINAL, &["1", "", "plain"]), now);
        assert_eq!(clients[0].try_recv().unwrap(), [PLAIN, b"plain"].concat());
    }

    #[test]
    fn a_request_whose_worker_dies_is_repeated_if_it_may_be() {
        let (mut broker, now) = (Broker::new("echo"), Instant::now());
        ready(&mut broker, &["a", "b", "c"], now);
        let ((get, _got), (post, mut posted)) = (job(1, true), job(2, false));
        broker.submit(get, now);
        broker.submit(post, now);
        sent(&mut broker);
        broker.lose(&"a".into(), false, now);
        broker.lose(&"b".into(), false, now);
        assert_eq!(sent(&mut broker), [to("c", REQUEST)]);
        assert!(posted.try_recv().is_err());
        assert!(broker.queue.is_empty());
    }

    #[test]
    fn silence_is_death_and_strangers_are_told_to_go() {
        let (mut broker, start) = (Broker::new("echo"), Instant::now());
        ready(&mut broker, &["a"], start);
        broker.tick(start + INTERVAL);
        assert_eq!(sent(&mut broker), [to("a", HEARTBEAT)]);
        broker.handle(&"a".into(), say(HEARTBEAT, &[]), start + INTERVAL * 2);
        broker.tick(start + INTERVAL * 4);
        assert_eq!(sent(&mut broker), [to("a", HEARTBEAT)]);
        broker.tick(start + INTERVAL * 5);
        assert_eq!(sent(&mut broker), [to("a", DISCONNECT)]);
        broker.handle(&"x".into(), say(HEARTBEAT, &[]), start);
        broker.handle(&"y".into(), say(READY, &["tea"]), start);
        assert_eq!(sent(&mut broker), [to("x", DISCONNECT), to("y", DISCONNECT)]);
        let (job, mut client) = job(1, true);
        broker.submit(job, start);
        assert!(client.try_recv().is_err(), "nobody is there");
    }

    proptest! {
        #[test]
        fn nothing_panics(messages in prop::collection::vec(prop::collection::vec(prop::collection::vec(0_u8..8, 0..3), 0..6), 0..12)) {
            let (mut broker, now) = (Broker::new("echo"), Instant::now());
            ready(&mut broker, &["a"], now);
            let (job, _client) = job(1, true);
            broker.submit(job, now);
            for (n, frames) in messages.into_iter().enumerate() {
                let mut message: Message = frames.into_iter().collect();
                if n % 2 == 0 {
                    message.push_front(MARK);
                    message.push_front("");
                }
                broker.handle(&"a".into(), message, now);
            }
        }
    }
}
