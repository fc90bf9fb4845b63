//! Waiting for many things at once.

mod common;

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use oxzmq::{EventFd, Interest, Message, Poller, Socket, SocketType};

fn pairs(context: &TestContext, count: usize) -> Vec<(Socket, Socket)> {
    (0..count).map(|n| context.pair(TRANSPORTS[n % TRANSPORTS.len()], SocketType::Pull, SocketType::Push)).collect()
}

#[test]
fn only_what_is_ready_is_reported_with_its_key() {
    let context = TestContext::new();
    let pairs = pairs(&context, 9);
    let mut poller = Poller::new();
    pairs.iter().enumerate().for_each(|(n, (pull, _))| poller.add(pull, Interest::READABLE, 100 + n));
    assert!(poller.wait(Some(Duration::ZERO)).unwrap().is_empty());
    for n in [4, 0, 8, 3] {
        pairs[n].1.send("x").unwrap();
        let events = poller.wait(Some(PATIENCE)).unwrap();
        assert_eq!(events.len(), 1);
        assert!((events[0].key, events[0].readable, events[0].writable) == (100 + n, true, false));
        recv(&pairs[n].0);
    }
}

#[test]
fn readiness_is_reported_as_long_as_it_lasts() {
    let context = TestContext::new();
    for (pull, push) in pairs(&context, 3) {
        push.send("1").unwrap();
        push.send("2").unwrap();
        let mut poller = Poller::new();
        poller.add(&pull, Interest::READABLE, 0);
        for _ in 0..3 {
            assert_eq!(poller.wait(Some(PATIENCE)).unwrap().len(), 1);
        }
        recv(&pull);
        assert_eq!(poller.wait(Some(PATIENCE)).unwrap().len(), 1);
        recv(&pull);
        assert!(poller.wait(Some(ms(1))).unwrap().is_empty());
    }
}

#[test]
fn events_come_in_the_order_of_adding() {
    let context = TestContext::new();
    let pairs = pairs(&context, 6);
    pairs.iter().rev().for_each(|(_, push)| push.send("x").unwrap());
    pairs.iter().for_each(|(pull, _)| until("it has come", || pull.readiness().unwrap().readable()));
    let mut poller = Poller::new();
    [5, 2, 0, 4].into_iter().for_each(|n| poller.add(&pairs[n].0, Interest::READABLE, n));
    let keys: Vec<_> = poller.wait(Some(PATIENCE)).unwrap().iter().map(|event| event.key).collect();
    assert_eq!(keys, [5, 2, 0, 4]);
}

#[test]
fn a_wait_ends_after_its_timeout_and_not_before() {
    let context = TestContext::new();
    let pairs = pairs(&context, 3);
    for sockets in [0..0, 0..1, 2..3, 0..3] {
        let mut poller = Poller::new();
        pairs[sockets].iter().for_each(|(pull, _)| poller.add(pull, Interest::READABLE, 0));
        let start = Instant::now();
        assert!(poller.wait(Some(ms(25))).unwrap().is_empty());
        assert!(start.elapsed() >= ms(24));
    }
}

#[test]
fn writability_follows_the_room_in_the_queues() {
    let context = TestContext::new();
    for transport in [Transport::Inproc, Transport::Tcp] {
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        pull.set_recv_hwm(2).unwrap();
        push.set_send_hwm(2).unwrap();
        transport.join(&pull, &push);
        let body = vec![0; 1 << 20];
        let mut poller = Poller::new();
        poller.add(&push, Interest::BOTH, 0);
        until("everything is full", || {
            while push.try_send(body.clone()).is_ok() {}
            poller.wait(Some(ms(20))).unwrap().is_empty()
        });
        thread::scope(|scope| {
            let reader = scope.spawn(|| while pull.recv_deadline(Instant::now() + ms(100)).is_ok() {});
            let events = poller.wait(Some(PATIENCE)).unwrap();
            assert!(events[0].writable && !events[0].readable);
            reader.join().unwrap();
        });
    }
}

#[test]
fn sockets_and_descriptors_mix() {
    let context = TestContext::new();
    for (pull, push) in pairs(&context, 3) {
        let (mut near, far) = UnixStream::pair().unwrap();
        let mut poller = Poller::new();
        poller.add(&pull, Interest::READABLE, 1);
        poller.add_fd(far.as_fd(), Interest::READABLE, 2);
        assert!(poller.wait(Some(ms(1))).unwrap().is_empty());
        let keys = |poller: &mut Poller<'_>| {
            poller.wait(Some(PATIENCE)).unwrap().iter().map(|event| event.key).collect::<Vec<_>>()
        };
        near.write_all(b"x").unwrap();
        assert_eq!(keys(&mut poller), [2]);
        push.send("x").unwrap();
        until("it has come", || pull.readiness().unwrap().readable());
        assert_eq!(keys(&mut poller), [1, 2]);
    }
}

#[test]
fn a_descriptors_hang_up_is_an_error_and_its_room_is_writability() {
    let (near, far) = UnixStream::pair().unwrap();
    let mut poller = Poller::new();
    poller.add_fd(far.as_fd(), Interest::BOTH, 0);
    let events = poller.wait(Some(PATIENCE)).unwrap();
    assert!(events[0].writable && !events[0].readable && !events[0].error);
    drop(near);
    assert!(poller.wait(Some(PATIENCE)).unwrap()[0].error);
}

#[test]
fn a_wait_is_ended_by_a_message_from_another_thread() {
    let context = TestContext::new();
    let pairs = pairs(&context, 3);
    for (n, (_, push)) in pairs.iter().cycle().take(60).enumerate() {
        thread::scope(|scope| {
            scope.spawn(|| push.send("x").unwrap());
            let mut poller = Poller::new();
            pairs.iter().enumerate().for_each(|(n, (pull, _))| poller.add(pull, Interest::READABLE, n));
            assert_eq!(poller.wait(Some(PATIENCE)).unwrap()[0].key, n % 3);
            recv(&pairs[n % 3].0);
        });
    }
}

#[test]
fn several_pollers_wait_for_the_same_sockets() {
    let context = TestContext::new();
    let pairs = pairs(&context, 3);
    for (_, push) in &pairs {
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut poller = Poller::new();
                    pairs.iter().for_each(|(pull, _)| poller.add(pull, Interest::READABLE, 0));
                    assert_eq!(poller.wait(Some(PATIENCE)).unwrap().len(), 1, "all are told");
                });
            }
            push.send("x").unwrap();
        });
        assert_eq!(pairs.iter().map(|(pull, _)| drain(pull).len()).sum::<usize>(), 1);
    }
}

#[test]
fn the_same_socket_may_be_added_twice() {
    let context = TestContext::new();
    for (pull, push) in pairs(&context, 3) {
        let mut poller = Poller::new();
        poller.add(&pull, Interest::READABLE, 1);
        poller.add(&pull, Interest::READABLE, 2);
        thread::scope(|scope| {
            scope.spawn(|| push.send("x").unwrap());
            // The message may come between the looks at the two.
            assert_ne!(poller.wait(Some(PATIENCE)).unwrap().len(), 0);
            assert_eq!(poller.wait(Some(PATIENCE)).unwrap().len(), 2);
        });
    }
}

#[test]
fn many_sockets() {
    let context = TestContext::new();
    let (push, endpoint) = context.bound(SocketType::Push);
    let pulls: Vec<_> = (0..100).map(|_| context.connected(SocketType::Pull, &endpoint)).collect();
    until("all are connected", || push.stats().peers == 100);
    let mut poller = Poller::new();
    pulls.iter().enumerate().for_each(|(n, pull)| poller.add(pull, Interest::READABLE, n));
    (0..500).for_each(|n: u32| send(&push, n.to_string()));
    let mut received = 0;
    while received < 500 {
        let events = poller.wait(Some(PATIENCE)).unwrap();
        assert!(!events.is_empty());
        for event in events {
            received += drain(&pulls[event.key]).len();
        }
    }
}

#[test]
fn req_and_rep_are_ready_in_turn() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (rep, req) = context.pair(transport, SocketType::Rep, SocketType::Req);
        let mut poller = Poller::new();
        poller.add(&req, Interest::BOTH, 0);
        poller.add(&rep, Interest::BOTH, 1);
        let next = |poller: &mut Poller<'_>| {
            let events = poller.wait(Some(PATIENCE)).unwrap();
            assert_eq!(events.len(), 1, "{events:?}");
            (events[0].key, events[0].readable, events[0].writable)
        };
        assert_eq!(next(&mut poller), (0, false, true));
        req.send("x").unwrap();
        assert_eq!(next(&mut poller), (1, true, false));
        recv(&rep);
        assert_eq!(next(&mut poller), (1, false, true));
        rep.send("y").unwrap();
        assert_eq!(next(&mut poller), (0, true, false));
        assert_eq!(recv(&req), Message::from("y"));
    }
}

/// Waits for a descriptor alone, for as long as `timeout`.
fn is_ready(fd: &EventFd, timeout: Duration) -> bool {
    let mut poller = Poller::new();
    poller.add_fd(fd.as_fd(), Interest::READABLE, 0);
    !poller.wait(Some(timeout)).unwrap().is_empty()
}

#[test]
fn what_makes_the_turn_of_req_and_rep_another_tells_those_who_wait_for_it() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (rep, endpoint) = (context.socket(SocketType::Rep), transport.wildcard());
        let endpoint = rep.bind(&endpoint).unwrap();
        let others = [context.connected(SocketType::Req, &endpoint), context.connected(SocketType::Req, &endpoint)];
        let req = &others[0];
        others.iter().for_each(|req| send(req, "question"));
        until("both have come", || rep.peers().iter().all(|peer| peer.messages_in == 1) && rep.peers().len() == 2);

        let look = |fd: &EventFd| fd.events().map(|ready| (ready.readable(), ready.writable())).unwrap();
        let (fd, asking) = (EventFd::new(&rep).unwrap(), EventFd::new(req).unwrap());
        assert_eq!(look(&fd), (true, false), "{transport:?}");
        let request = recv(&rep);
        assert!(is_ready(&fd, PATIENCE), "{transport:?}: a reply may be sent");
        assert_eq!(look(&fd), (false, true));
        send(&rep, request);
        assert!(is_ready(&fd, PATIENCE), "{transport:?}: the next request may be received");
        assert_eq!(look(&fd), (true, false));
        let request = recv(&rep);
        send(&rep, request);

        until("the reply is there", || look(&asking) == (true, false));
        recv(req);
        assert!(is_ready(&asking, PATIENCE), "{transport:?}: the next request may be sent");
        assert_eq!(look(&asking), (false, true));
        send(req, "question");
        assert!(!look(&asking).1);
        req.set_req_relaxed(true).unwrap();
        assert!(is_ready(&asking, PATIENCE), "{transport:?}: the next request need not wait for the reply");
    }
}

#[test]
fn a_poller_waits_for_rep_to_become_writable() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (rep, req) = context.pair(transport, SocketType::Rep, SocketType::Req);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let mut poller = Poller::new();
                poller.add(&rep, Interest::WRITABLE, 0);
                poller.wait(Some(PATIENCE)).unwrap().len()
            });
            // Without a request it waits; should it not have begun by now, the test shows less.
            assert!(!comes_true(A_WHILE, || waiting.is_finished()));
            send(&req, "question");
            recv(&rep);
            assert_eq!(waiting.join().unwrap(), 1, "{transport:?}");
        });
    }
}
