//! Who is woken when several threads and tasks wait at one socket. Each test once showed, or would show, a
//! thread that sleeps although what it waits for is there.

mod common;

use std::pin::pin;
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;

use common::*;
use oxzmq::{ErrorKind, Interest, Message, Poller, SocketType};

/// How often to try what depends on who is first.
const ROUNDS: usize = 100;

#[test]
fn two_threads_that_receive_get_one_message_each_over_inproc_while_one_leads() {
    let context = TestContext::new();
    let (pull, _endpoint) = context.bound(SocketType::Pull); // so that one thread waits on the poll set
    let push = context.socket(SocketType::Push);
    Transport::Inproc.join(&pull, &push);
    for _ in 0..ROUNDS {
        let start = Barrier::new(3);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    recv(&pull);
                });
            }
            start.wait();
            (0..50).for_each(|_| thread::yield_now());
            push.send("1").unwrap();
            push.send("2").unwrap();
        });
    }
}

#[test]
fn a_poller_is_told_of_what_a_thread_beside_it_left() {
    let context = TestContext::new();
    let (pull, _endpoint) = context.bound(SocketType::Pull);
    let push = context.socket(SocketType::Push);
    Transport::Inproc.join(&pull, &push);
    for _ in 0..ROUNDS {
        let start = Barrier::new(3);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                recv(&pull);
            });
            scope.spawn(|| {
                start.wait();
                let mut poller = Poller::new();
                poller.add(&pull, Interest::READABLE, 0);
                let deadline = soon();
                loop {
                    assert!(!poller.wait(Some(PATIENCE)).unwrap().is_empty(), "a message waits unseen");
                    match pull.try_recv() {
                        Ok(_) => break,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                    }
                    assert!(std::time::Instant::now() < deadline);
                }
            });
            start.wait();
            (0..50).for_each(|_| thread::yield_now());
            push.send("1").unwrap();
            push.send("2").unwrap();
        });
    }
}

#[test]
fn senders_to_different_full_peers_of_a_router_do_not_wait_for_each_other() {
    let context = TestContext::new();
    let router = context.socket(SocketType::Router);
    router.set_router_mandatory(true).unwrap();
    router.set_send_hwm(1).unwrap();
    let endpoint = router.bind(&Transport::Inproc.wildcard()).unwrap();
    let dealers = ["x", "y"].map(|name| {
        let dealer = context.socket(SocketType::Dealer);
        dealer.set_routing_id(name).unwrap();
        dealer.set_recv_hwm(1).unwrap();
        dealer.connect(&endpoint).unwrap();
        fill_with(&router, |_| [name, "filling"].into());
        dealer
    });
    thread::scope(|scope| {
        let (started, waiting) = mpsc::channel();
        let mut senders = ["x", "y"].map(|name| {
            let (router, started) = (&router, started.clone());
            let sender = scope.spawn(move || {
                started.send(()).unwrap();
                router.send([name, "last"]).unwrap();
            });
            waiting.recv().unwrap();
            // In this order, most likely, they fall asleep; any order is correct.
            (0..200).for_each(|_| thread::yield_now());
            Some(sender)
        });
        let [_, y] = &dealers;
        (0..2).for_each(|_| assert_eq!(recv(y), Message::from("filling")));
        assert_eq!(recv(y), Message::from("last"), "the sender to y was not woken");
        senders[1].take().unwrap().join().unwrap();
        let [x, _] = &dealers;
        (0..2).for_each(|_| drop(recv(x)));
        assert_eq!(recv(x), Message::from("last"));
    });
}

#[test]
fn a_sender_waiting_for_a_peer_that_leaves_is_told() {
    let context = TestContext::new();
    let router = context.socket(SocketType::Router);
    router.set_router_mandatory(true).unwrap();
    router.set_send_hwm(1).unwrap();
    let endpoint = router.bind(&Transport::Inproc.wildcard()).unwrap();
    let dealer = context.socket(SocketType::Dealer);
    dealer.set_routing_id("x").unwrap();
    dealer.set_recv_hwm(1).unwrap();
    dealer.connect(&endpoint).unwrap();
    fill_with(&router, |_| ["x", "filling"].into());

    let wakes = Arc::new(CountWakes::default());
    let mut future = pin!(router.send_async(["x", "last"]));
    assert!(poll_once(future.as_mut(), &wakes).is_pending());
    thread::scope(|scope| {
        let sender = scope.spawn(|| router.send_deadline(["x", "last"], soon()));
        (0..200).for_each(|_| thread::yield_now());
        drop(dealer);
        assert_kind(sender.join().unwrap(), ErrorKind::HostUnreachable);
    });
    assert_eq!(wakes.count(), 1);
    assert_kind(block_on(future), ErrorKind::HostUnreachable);
}

#[test]
fn a_task_is_woken_whoever_drives_the_connection() {
    let context = TestContext::new();
    let (pull, push) = context.pair(Transport::Tcp, SocketType::Pull, SocketType::Push);
    for n in 0..ROUNDS {
        // A thread led a moment ago, so that nobody watches the poll set for up to a tick.
        assert_kind(pull.recv_deadline(std::time::Instant::now() + ms(1)), ErrorKind::TimedOut);
        let future = pull.recv_async();
        push.send(n.to_string()).unwrap();
        assert_eq!(block_on(future).unwrap(), Message::from(n.to_string()));
    }
}

#[test]
fn a_thread_waiting_at_an_inproc_socket_leads_once_there_is_a_network() {
    let context = TestContext::new();
    for _ in 0..20 {
        let pull = context.socket(SocketType::Pull);
        pull.bind(&Transport::Inproc.wildcard()).unwrap();
        thread::scope(|scope| {
            let receiver = scope.spawn(|| recv(&pull));
            (0..50).for_each(|_| thread::yield_now());
            let endpoint = pull.bind("tcp://127.0.0.1:*").unwrap();
            let push = context.connected(SocketType::Push, &endpoint);
            push.send("x").unwrap();
            assert_eq!(receiver.join().unwrap(), Message::from("x"));
        });
    }
}

#[test]
fn every_waiting_thread_and_task_ends_with_the_context() {
    for transport in TRANSPORTS {
        let context = TestContext::new();
        let (pull, _push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        let start = Barrier::new(5);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    assert_kind(pull.recv(), ErrorKind::Terminated);
                });
            }
            scope.spawn(|| {
                start.wait();
                assert_kind(block_on(pull.recv_async()), ErrorKind::Terminated);
            });
            scope.spawn(|| {
                start.wait();
                let mut poller = Poller::new();
                poller.add(&pull, Interest::READABLE, 0);
                assert_kind(poller.wait(None), ErrorKind::Terminated);
            });
            start.wait();
            context.shutdown();
        });
    }
}
