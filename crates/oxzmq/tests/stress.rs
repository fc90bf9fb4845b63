//! Hand-over under stress: threads that block, poll and spin, and tasks, on the same and on different
//! sockets, with shutdown in the middle. Every message carries its sender and number, so that the counts prove
//! that nothing was lost, delivered twice, or reordered for one receiver.
//!
//! Each test runs for a moment; `OXZMQ_STRESS_SECONDS=600 cargo test -p oxzmq --test stress -- --test-threads=16` makes
//! it longer, all of them at once.

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use oxzmq::{Context, ErrorKind, EventFd, Interest, Message, Poller, Readiness, Socket, SocketType};
use rustix::event::{PollFd, PollFlags, poll};

fn stress_time() -> Duration {
    let seconds = std::env::var("OXZMQ_STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    seconds.map_or(ms(700), Duration::from_secs)
}

/// A watchdog that allows for the time of the stress itself.
fn rounds(mut round: impl FnMut(u64)) {
    let end = Instant::now() + stress_time();
    let mut n = 0;
    while Instant::now() < end || n == 0 {
        let _watchdog = Watchdog::start();
        round(n);
        n += 1;
    }
}

/// Sometimes one small frame and sometimes two, which take different ways.
fn numbered(sender: usize, n: u32) -> Message {
    let (sender, number) = (format!("s{sender}"), n.to_string());
    if n % 5 == 4 { Message::from([sender, number]) } else { Message::from(format!("{sender} {number}")) }
}

/// How a receiver waits.
#[derive(Clone, Copy, Debug)]
enum Way {
    Block,
    Deadline,
    Spin,
    Poll,
    Future,
    /// A future that is given up and made anew again and again.
    Fickle,
    /// The descriptor for other event loops.
    Descriptor,
}

const WAYS: [Way; 7] = [Way::Block, Way::Deadline, Way::Spin, Way::Poll, Way::Future, Way::Fickle, Way::Descriptor];

/// Wait as other event loops do: the operating system tells that the descriptor is readable, and the socket then
/// whether it is what was waited for.
fn await_descriptor(socket: &Socket, ready: impl Fn(Readiness) -> bool) -> Result<(), oxzmq::Error> {
    let descriptor = EventFd::new(socket)?;
    while !ready(descriptor.events()?) {
        let mut fds = [PollFd::new(&descriptor, PollFlags::IN)];
        assert_ne!(poll(&mut fds, Some(&PATIENCE.try_into().unwrap())).unwrap(), 0, "the descriptor's news came");
    }
    Ok(())
}

/// One receive in this way; `None` when the context was shut down.
fn receive(socket: &Socket, way: Way, random: &mut Random) -> Option<Message> {
    loop {
        let result = match way {
            Way::Block => socket.recv(),
            Way::Deadline => socket.recv_deadline(Instant::now() + Duration::from_micros(random.below(300))),
            Way::Spin => socket.try_recv().inspect_err(|_| thread::yield_now()),
            Way::Poll => {
                let mut poller = Poller::new();
                poller.add(socket, Interest::READABLE, 0);
                match poller.wait(Some(PATIENCE)) {
                    Ok(_) => socket.try_recv(),
                    Err(error) => Err(error),
                }
            }
            Way::Descriptor => match await_descriptor(socket, Readiness::readable) {
                Ok(()) => socket.try_recv(),
                Err(error) => Err(error),
            },
            Way::Future => block_on(socket.recv_async()),
            Way::Fickle => {
                let wakes = Arc::new(CountWakes::default());
                let mut future = std::pin::pin!(socket.recv_async());
                match poll_once(future.as_mut(), &wakes) {
                    std::task::Poll::Ready(result) => result,
                    std::task::Poll::Pending => {
                        thread::yield_now();
                        continue;
                    }
                }
            }
        };
        match result {
            Ok(message) => return Some(message),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Terminated);
                return None;
            }
        }
    }
}

fn transmit(socket: &Socket, way: Way, message: Message, random: &mut Random) {
    let mut message = message;
    loop {
        let result = match way {
            Way::Block => socket.send(message),
            Way::Deadline => socket.send_deadline(message, Instant::now() + Duration::from_micros(random.below(300))),
            Way::Spin => socket.try_send(message),
            Way::Poll => {
                let mut poller = Poller::new();
                poller.add(socket, Interest::WRITABLE, 0);
                poller.wait(Some(PATIENCE)).unwrap();
                socket.try_send(message)
            }
            Way::Descriptor => {
                await_descriptor(socket, Readiness::writable).unwrap();
                socket.try_send(message)
            }
            Way::Future | Way::Fickle => block_on(socket.send_async(message)),
        };
        match result {
            Ok(()) => return,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error:?}");
                message = error.into_message();
                thread::yield_now();
            }
        }
    }
}

/// What arrived: for each sender, which numbers, with a check of their order at each receiver.
#[derive(Default)]
struct Ledger(Mutex<HashMap<String, Vec<u32>>>);

#[derive(Default)]
struct Page(HashMap<String, u32>);

impl Ledger {
    fn enter(&self, page: &mut Page, message: &Message) {
        let text = text(message).join(" ");
        let (sender, n) = text.split_once(' ').unwrap_or_else(|| panic!("not one of ours: {message:?}"));
        let n: u32 = n.parse().unwrap();
        if let Some(before) = page.0.insert(sender.to_owned(), n) {
            assert!(before < n, "{sender}: {n} came after {before}");
        }
        self.0.lock().unwrap().entry(sender.to_owned()).or_default().push(n);
    }

    fn check(self, senders: usize, count: u32) {
        let mut entries = self.0.into_inner().unwrap();
        for sender in 0..senders {
            let mut numbers = entries.remove(&format!("s{sender}")).unwrap_or_default();
            numbers.sort_unstable();
            let expected: Vec<u32> = (0..count).collect();
            assert!(numbers == expected, "sender {sender}: {} of {count} arrived", numbers.len());
        }
        assert!(entries.is_empty());
    }
}

/// Many senders, each with its own socket and way, to one socket that many threads read, each in its way.
fn many_to_one(transport: &[Transport], count: u32, hwm: u32) {
    rounds(|seed| {
        let context = TestContext::new();
        let pull = context.socket(SocketType::Pull);
        pull.set_recv_hwm(hwm).unwrap();
        let pushes: Vec<_> = WAYS
            .iter()
            .enumerate()
            .map(|(n, way)| {
                let push = context.socket(SocketType::Push);
                push.set_send_hwm(hwm).unwrap();
                transport[n % transport.len()].join(&pull, &push);
                (push, *way)
            })
            .collect();
        let (ledger, left) = (Ledger::default(), AtomicUsize::new(pushes.len() * count as usize));
        thread::scope(|scope| {
            for (n, (push, way)) in pushes.iter().enumerate() {
                scope.spawn(move || {
                    let mut random = Random::new(seed * 100 + n as u64);
                    (0..count).for_each(|number| transmit(push, *way, numbered(n, number), &mut random));
                });
            }
            for (n, way) in WAYS.into_iter().enumerate() {
                let (pull, ledger, left, context) = (&pull, &ledger, &left, &context);
                scope.spawn(move || {
                    let (mut page, mut random) = (Page::default(), Random::new(seed * 100 + 50 + n as u64));
                    while let Some(message) = receive(pull, way, &mut random) {
                        ledger.enter(&mut page, &message);
                        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                            context.shutdown();
                        }
                    }
                });
            }
        });
        ledger.check(pushes.len(), count);
    });
}

#[test]
fn many_ways_to_wait_at_one_tcp_socket() {
    many_to_one(&[Transport::Tcp], 300, 1000);
}

#[test]
fn many_ways_to_wait_at_one_tcp_socket_with_short_queues() {
    many_to_one(&[Transport::Tcp], 100, 3);
}

#[test]
fn many_ways_to_wait_at_one_inproc_socket() {
    many_to_one(&[Transport::Inproc], 300, 1000);
}

#[test]
fn many_ways_to_wait_at_one_inproc_socket_with_short_queues() {
    many_to_one(&[Transport::Inproc], 100, 1);
}

#[test]
fn many_ways_to_wait_at_one_socket_with_all_transports() {
    many_to_one(&TRANSPORTS, 200, 5);
}

#[test]
fn many_threads_send_through_one_socket() {
    rounds(|seed| {
        for transport in TRANSPORTS {
            let context = TestContext::new();
            let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
            push.set_send_hwm(4).unwrap();
            pull.set_recv_hwm(4).unwrap();
            transport.join(&pull, &push);
            const COUNT: u32 = 100;
            let ledger = Ledger::default();
            thread::scope(|scope| {
                for (n, way) in WAYS.into_iter().enumerate() {
                    let push = &push;
                    scope.spawn(move || {
                        let mut random = Random::new(seed * 10 + n as u64);
                        (0..COUNT).for_each(|number| transmit(push, way, numbered(n, number), &mut random));
                    });
                }
                let mut page = Page::default();
                for _ in 0..COUNT as usize * WAYS.len() {
                    ledger.enter(&mut page, &recv(&pull));
                }
            });
            ledger.check(WAYS.len(), COUNT);
        }
    });
}

#[test]
fn one_socket_sends_and_receives_in_different_threads() {
    rounds(|seed| {
        for transport in TRANSPORTS {
            let context = TestContext::new();
            let (one, other) = (context.socket(SocketType::Dealer), context.socket(SocketType::Dealer));
            for socket in [&one, &other] {
                socket.set_send_hwm(8).unwrap();
                socket.set_recv_hwm(8).unwrap();
            }
            transport.join(&one, &other);
            const COUNT: u32 = 300;
            thread::scope(|scope| {
                for (n, socket) in [&one, &other].into_iter().enumerate() {
                    for direction in 0..2 {
                        let way = WAYS[(seed as usize + n + 3 * direction) % WAYS.len()];
                        let mut random = Random::new(seed * 10 + (2 * n + direction) as u64);
                        scope.spawn(move || {
                            for number in 0..COUNT {
                                if direction == 0 {
                                    transmit(socket, way, numbered(n, number), &mut random);
                                } else {
                                    assert_eq!(receive(socket, way, &mut random), Some(numbered(1 - n, number)));
                                }
                            }
                        });
                    }
                }
            });
        }
    });
}

#[test]
fn ping_pong_between_all_ways_of_waiting() {
    rounds(|seed| {
        for transport in TRANSPORTS {
            let context = TestContext::new();
            let (one, other) = context.pair(transport, SocketType::Pair, SocketType::Pair);
            let pick = |n: u64| WAYS[(seed * 7 + n) as usize % WAYS.len()];
            thread::scope(|scope| {
                for (n, socket) in [&one, &other].into_iter().enumerate() {
                    scope.spawn(move || {
                        let mut random = Random::new(seed + n as u64);
                        for turn in 0..200u64 {
                            // Each turn another way, so that every hand-over between two ways happens.
                            if turn % 2 == n as u64 {
                                let message = numbered(n, turn as u32);
                                transmit(socket, pick(turn + random.below(6)), message, &mut random);
                            } else {
                                let way = pick(turn + random.below(6));
                                assert_eq!(receive(socket, way, &mut random), Some(numbered(1 - n, turn as u32)));
                            }
                        }
                    });
                }
            });
        }
    });
}

#[test]
fn one_poller_serves_many_sockets_while_others_read_them_too() {
    rounds(|seed| {
        let context = TestContext::new();
        let pairs: Vec<_> = (0..6)
            .map(|n| context.pair(TRANSPORTS[n % TRANSPORTS.len()], SocketType::Pull, SocketType::Push))
            .collect();
        const COUNT: u32 = 200;
        let (ledger, left) = (Ledger::default(), AtomicUsize::new(pairs.len() * COUNT as usize));
        let done = AtomicBool::new(false);
        let took = |page: &mut Page, message: &Message| {
            ledger.enter(page, message);
            if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                done.store(true, Ordering::SeqCst);
                context.shutdown();
            }
        };
        thread::scope(|scope| {
            for (n, (_, push)) in pairs.iter().enumerate() {
                scope.spawn(move || {
                    let mut random = Random::new(seed + n as u64);
                    (0..COUNT).for_each(|number| transmit(push, WAYS[n], numbered(n, number), &mut random));
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut page = Page::default();
                    let mut poller = Poller::new();
                    pairs.iter().enumerate().for_each(|(n, (pull, _))| poller.add(pull, Interest::READABLE, n));
                    while let Ok(events) = poller.wait(Some(PATIENCE)) {
                        assert!(!events.is_empty() || done.load(Ordering::SeqCst), "a message waits unseen");
                        for event in events {
                            if let Ok(message) = pairs[event.key].0.try_recv() {
                                took(&mut page, &message);
                            }
                        }
                    }
                    assert!(done.load(Ordering::SeqCst));
                });
            }
            for (pull, _) in pairs.iter().take(3) {
                scope.spawn(|| {
                    let mut page = Page::default();
                    while let Ok(message) = pull.recv() {
                        took(&mut page, &message);
                    }
                });
            }
        });
        ledger.check(pairs.len(), COUNT);
    });
}

#[test]
fn requests_of_many_clients_through_one_replier_shared_by_threads() {
    rounds(|_| {
        let context = TestContext::new();
        let (router, endpoint) = context.bound(SocketType::Router);
        let inproc = router.bind(&Transport::Inproc.wildcard()).unwrap();
        let clients = 6;
        let left = AtomicUsize::new(clients);
        thread::scope(|scope| {
            for n in 0..clients {
                let (context, endpoint, left) = (&context, if n % 2 == 0 { &endpoint } else { &inproc }, &left);
                scope.spawn(move || {
                    let req = context.connected(SocketType::Req, endpoint);
                    for number in 0..60 {
                        send(&req, numbered(n, number));
                        assert_eq!(recv(&req), numbered(n, number));
                    }
                    if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                        context.shutdown();
                    }
                });
            }
            for way in [Way::Block, Way::Poll, Way::Future] {
                let router = &router;
                scope.spawn(move || {
                    let mut random = Random::new(1);
                    while let Some(request) = receive(router, way, &mut random) {
                        let _ = router.send(request); // fails once it is over
                    }
                });
            }
        });
    });
}

#[test]
fn requests_of_many_threads_and_tasks_through_one_dealer() {
    rounds(|seed| {
        let context = TestContext::new();
        let transport = TRANSPORTS[seed as usize % TRANSPORTS.len()];
        let (router, dealer) = context.pair(transport, SocketType::Router, SocketType::Dealer);
        let left = AtomicUsize::new(8);
        thread::scope(|scope| {
            for n in 0..8 {
                let (context, dealer, left) = (&context, &dealer, &left);
                scope.spawn(move || {
                    for number in 0..50 {
                        let question = numbered(n, number);
                        let reply = if n % 2 == 0 {
                            dealer.request(question.clone(), Some(PATIENCE))
                        } else {
                            block_on(dealer.request_async(question.clone()))
                        };
                        assert_eq!(reply.unwrap(), question);
                    }
                    if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                        context.shutdown();
                    }
                });
            }
            let mut random = Random::new(seed);
            while let Some(request) = receive(&router, Way::Block, &mut random) {
                // A small message, which is staged, goes before each reply.
                let _ = router.send([request[0].clone(), "stray".into()]);
                let _ = router.send(request); // fails once it is over
                let _ = router.readiness();
            }
        });
    });
}

#[test]
fn shutdown_in_the_middle_ends_everybody() {
    rounds(|seed| {
        let context = TestContext::new();
        let pull = context.socket(SocketType::Pull);
        let pushes: Vec<_> = (0..3)
            .map(|n| {
                let push = context.socket(SocketType::Push);
                push.set_send_hwm(2).unwrap();
                TRANSPORTS[n].join(&pull, &push);
                push
            })
            .collect();
        thread::scope(|scope| {
            for push in &pushes {
                for _ in 0..2 {
                    scope.spawn(move || while push.send("x").is_ok() {});
                }
            }
            for (n, way) in WAYS.into_iter().enumerate() {
                let pull = &pull;
                scope.spawn(move || {
                    let mut random = Random::new(seed + n as u64);
                    while receive(pull, way, &mut random).is_some() {}
                });
            }
            (0..seed % 50).for_each(|_| thread::yield_now());
            context.shutdown();
        });
        drop((pull, pushes));
        context.term();
    });
}

#[test]
fn sockets_that_come_and_go_lose_nothing_that_lingers() {
    rounds(|_| {
        let context = TestContext::new();
        let (pull, endpoint) = context.bound(SocketType::Pull);
        let senders = 4;
        thread::scope(|scope| {
            for n in 0..senders {
                let (context, endpoint) = (&context, &endpoint);
                scope.spawn(move || {
                    for number in 0..40u32 {
                        let push = context.connected(SocketType::Push, endpoint);
                        push.set_linger(None).unwrap();
                        send(&push, numbered(n, number));
                    }
                });
            }
            let ledger = Ledger::default();
            for _ in 0..senders * 40 {
                ledger.enter(&mut Page::default(), &recv(&pull)); // each has its own connection: no order
            }
            ledger.check(senders, 40);
        });
    });
}

#[test]
fn connections_that_come_and_go_while_messages_flow() {
    rounds(|_| {
        let context = TestContext::new();
        let (publisher, endpoint) = context.bound(SocketType::Pub);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    publisher.send("news").unwrap();
                }
            });
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..20 {
                            let subscriber = context.connected(SocketType::Sub, &endpoint);
                            subscriber.subscribe("").unwrap();
                            (0..3).for_each(|_| assert_eq!(recv(&subscriber), Message::from("news")));
                        }
                    })
                })
                .collect();
            readers.into_iter().for_each(|reader| reader.join().unwrap());
            over.store(true, Ordering::SeqCst);
        });
        until("the publisher has no peers left", || publisher.stats().peers == 0);
    });
}

#[test]
fn a_flood_that_stops_leaves_nothing_behind() {
    rounds(|_| {
        let context = TestContext::new();
        let (pull, push) = context.pair(Transport::Tcp, SocketType::Pull, SocketType::Push);
        for burst in 1..60u32 {
            // No wait and no further call on `push`: whatever gathers must leave by itself.
            (0..burst).for_each(|n| push.send(numbered(0, n)).unwrap());
            (0..burst).for_each(|n| assert_eq!(recv(&pull), numbered(0, n)));
        }
    });
}

#[test]
fn contexts_that_come_and_go() {
    rounds(|_| {
        for _ in 0..10 {
            let context = Context::new();
            let pull = context.socket(SocketType::Pull).unwrap();
            let push = context.socket(SocketType::Push).unwrap();
            push.connect(&pull.bind("tcp://127.0.0.1:*").unwrap()).unwrap();
            push.send("last words").unwrap();
            drop(push);
            assert_eq!(recv(&pull), Message::from("last words"));
            drop(pull);
            context.term();
        }
    });
}
