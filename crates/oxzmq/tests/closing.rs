//! The end of sockets and contexts: linger, close, shutdown, term.

mod common;

use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use oxzmq::{Context, ErrorKind, Message, SocketType};

#[test]
fn term_waits_as_long_as_linger_says() {
    for (linger, least, most) in [(ms(0), ms(0), ms(5000)), (ms(120), ms(120), ms(5000))] {
        let context = TestContext::new();
        let place = Place::new(Transport::Tcp);
        let push = context.connected(SocketType::Push, place.endpoint());
        push.set_linger(Some(linger)).unwrap();
        push.send("undeliverable").unwrap();
        drop(push);
        let start = Instant::now();
        context.term();
        assert!(start.elapsed() >= least.saturating_sub(ms(1)) && start.elapsed() < most, "{:?}", start.elapsed());
    }
}

#[test]
fn with_endless_linger_term_waits_for_the_delivery() {
    let context = TestContext::new();
    let receiving = TestContext::new();
    let place = Place::new(Transport::Tcp);
    let push = context.connected(SocketType::Push, place.endpoint());
    push.set_linger(None).unwrap();
    push.send("at last").unwrap();
    drop(push);
    let (done, is_done) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            context.term();
            done.send(()).unwrap();
        });
        assert!(is_done.recv_timeout(A_WHILE).is_err(), "there is nobody to deliver to yet");
        let pull = receiving.socket(SocketType::Pull);
        pull.bind(place.endpoint()).unwrap();
        assert_eq!(recv(&pull), Message::from("at last"));
        is_done.recv_timeout(PATIENCE).unwrap();
    });
}

#[test]
fn dropping_the_last_context_waits_for_lingering_messages() {
    let receiving = TestContext::new();
    for transport in NETWORKS {
        let pull = receiving.socket(SocketType::Pull);
        pull.set_recv_hwm(0).unwrap();
        let endpoint = pull.bind(&transport.wildcard()).unwrap();
        {
            let context = Context::new();
            let push = context.socket(SocketType::Push).unwrap();
            push.set_send_hwm(0).unwrap();
            push.connect(&endpoint).unwrap();
            (0..3000u32).for_each(|n| push.send(n.to_string()).unwrap());
        } // the socket goes first, then the context
        for n in 0..3000u32 {
            assert_eq!(recv_text(&pull), [n.to_string()]);
        }
    }
}

#[test]
fn idle_sockets_close_at_once() {
    let context = TestContext::new();
    let (pull, push) = context.pair(Transport::Tcp, SocketType::Pull, SocketType::Push);
    pull.set_linger(None).unwrap();
    push.set_linger(None).unwrap();
    send(&push, "x");
    recv(&pull);
    drop((pull, push));
    context.term();
}

#[test]
fn a_context_without_sockets_ends_at_once() {
    let context = TestContext::new();
    context.term();
    let context = TestContext::new();
    drop(context.socket(SocketType::Push));
    context.term();
    context.term();
}

#[test]
fn pending_inproc_connects_do_not_hold_up_term() {
    let context = TestContext::new();
    let push = context.connected(SocketType::Push, "inproc://never");
    push.set_linger(None).unwrap();
    push.send("x").unwrap();
    drop(push);
    context.term();
}

#[test]
fn term_waits_until_every_socket_is_closed_and_ends_their_calls() {
    for transport in TRANSPORTS {
        let context = TestContext::new();
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        thread::scope(|scope| {
            scope.spawn(move || {
                let end = std::iter::repeat_with(|| pull.recv()).find_map(Result::err).unwrap();
                assert_eq!(end.kind(), ErrorKind::Terminated);
            });
            scope.spawn(move || {
                let end = std::iter::repeat_with(|| push.send("x")).find_map(Result::err).unwrap();
                assert_eq!(end.kind(), ErrorKind::Terminated);
            });
            context.shutdown();
        });
        context.term();
    }
}

#[test]
fn after_shutdown_every_call_fails_but_closing() {
    let context = TestContext::new();
    let (pull, push) = context.pair(Transport::Tcp, SocketType::Pull, SocketType::Push);
    let sub = context.socket(SocketType::Sub);
    context.shutdown();
    context.shutdown(); // again, without effect
    let endpoint = pull.last_endpoint();
    for result in [
        pull.try_recv().map(drop),
        pull.recv().map(drop),
        push.try_send("x").map_err(Into::into),
        push.bind("inproc://x").map(drop),
        push.connect("inproc://x"),
        push.disconnect(&endpoint),
        pull.unbind(&endpoint),
        push.set_linger(None),
        push.set_routing_id("x"),
        sub.subscribe("x"),
        pull.readiness().map(drop),
        pull.monitor().map(drop),
        block_on(pull.recv_async()).map(drop),
        block_on(push.send_async("x")).map_err(Into::into),
        context.context_socket(),
    ] {
        assert_kind(result, ErrorKind::Terminated);
    }
}

trait MakeSocket {
    fn context_socket(&self) -> oxzmq::Result<()>;
}

impl MakeSocket for TestContext {
    fn context_socket(&self) -> oxzmq::Result<()> {
        (**self).socket(SocketType::Pull).map(drop)
    }
}

#[test]
fn terminated_sends_give_the_message_back() {
    let context = TestContext::new();
    let push = context.socket(SocketType::Push);
    context.shutdown();
    assert_eq!(push.send("mine").unwrap_err().into_message(), Message::from("mine"));
}

#[test]
fn what_was_disconnected_lingers_too() {
    for (linger, delivered) in [(None, true), (Some(Duration::from_secs(20)), true), (Some(Duration::ZERO), false)] {
        let context = TestContext::new();
        let place = Place::new(Transport::Tcp);
        let push = context.connected(SocketType::Push, place.endpoint());
        push.set_linger(linger).unwrap();
        push.send("pending").unwrap();
        push.disconnect(place.endpoint()).unwrap();
        assert_kind(push.try_send("x"), ErrorKind::WouldBlock);
        let pull = context.socket(SocketType::Pull);
        pull.bind(place.endpoint()).unwrap();
        if delivered {
            assert_eq!(recv(&pull), Message::from("pending"));
            until("the connection has ended", || pull.stats().peers == 0);
        } else {
            assert_silent(&pull);
        }
    }
}

#[test]
fn the_limit_of_sockets_is_kept_and_closing_makes_room() {
    let context = Context::builder().max_sockets(3).build();
    let mut sockets: Vec<_> = (0..3).map(|_| context.socket(SocketType::Pull).unwrap()).collect();
    assert_kind(context.socket(SocketType::Pull), ErrorKind::TooManySockets);
    sockets.pop();
    context.socket(SocketType::Pull).unwrap();
}

#[test]
fn large_messages_are_delivered_whole_though_the_sender_closed() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        push.set_linger(None).unwrap();
        let body: Vec<u8> = (0..4 << 20).map(|n| (n / 3) as u8).collect();
        push.send(body.clone()).unwrap();
        push.send("end").unwrap();
        drop(push);
        assert!(recv(&pull) == Message::from(body));
        assert_eq!(recv(&pull), Message::from("end"));
    }
}

#[test]
fn a_reply_is_delivered_though_the_replier_closes_with_requests_unread() {
    let context = TestContext::new();
    let (rep, endpoint) = context.bound(SocketType::Rep);
    rep.set_linger(None).unwrap();
    let dealer = context.connected(SocketType::Dealer, &endpoint);
    (0..50).for_each(|n| send(&dealer, ["".to_owned(), n.to_string()]));
    recv(&rep);
    rep.send(vec![5; 4 << 20]).unwrap();
    drop(rep);
    assert_eq!(recv(&dealer)[1].len(), 4 << 20);
}

#[test]
fn the_other_end_of_inproc_keeps_what_it_was_sent() {
    let context = TestContext::new();
    let (pull, push) = context.inproc_pair(SocketType::Pull, SocketType::Push);
    (0..10).for_each(|n: u32| push.send(n.to_string()).unwrap());
    drop(push);
    assert_eq!(drain(&pull).len(), 10);
    assert_eq!(pull.stats().peers, 0);
}

/// Writing to a peer that has gone fails; what it had sent must not go with it.
#[test]
fn a_failed_write_costs_nothing_that_was_received() {
    const MESSAGES: u32 = 200;
    let context = TestContext::new();
    let stays = context.socket(SocketType::Dealer);
    stays.set_recv_hwm(5).unwrap();
    stays.set_send_hwm(5).unwrap();
    let endpoint = stays.bind("tcp://127.0.0.1:*").unwrap();
    let leaving = Context::new();
    let leaves = leaving.socket(SocketType::Dealer).unwrap();
    leaves.connect(&endpoint).unwrap();
    for number in 0..MESSAGES {
        leaves.send(number.to_string()).unwrap();
    }
    let first = stays.recv_deadline(Instant::now() + ms(5000)).unwrap();
    assert_eq!(first.to_text_lossy(), "0");
    drop(leaves);
    drop(leaving); // waits until all is with the kernel
    // Once writing has failed, nothing is taken from the queue any more.
    while stays.send_deadline("anybody there?", Instant::now() + ms(50)).is_ok() {}
    for number in 1..MESSAGES {
        let message = stays.recv_deadline(Instant::now() + ms(5000)).unwrap();
        assert_eq!(message.to_text_lossy(), number.to_string());
    }
}

// ---- what is told of the end ---------------------------------------------------------------------------------

#[test]
fn closing_tells_what_was_not_delivered() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let place = Place::new(transport);
        let push = context.connected(SocketType::Push, place.endpoint());
        for n in 0..5 {
            send(&push, n.to_string());
        }
        let unsent = push.close_within(Some(ms(5)));
        assert_eq!(unsent.len(), 1, "{transport:?}");
        assert_eq!((unsent[0].endpoint.as_str(), unsent[0].messages), (place.endpoint(), 5));
        assert!(push.close_within(None).is_empty(), "it has been told");

        // Somebody who reads nothing, and whose name is known.
        let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
        dealer.set_routing_id("idle").unwrap();
        dealer.set_recv_hwm(1).unwrap();
        let endpoint = transport.join(&router, &dealer);
        router.set_send_hwm(0).unwrap();
        router.wait_for_peers(1, Some(PATIENCE)).unwrap();
        for _ in 0..200 {
            send(&router, [b"idle".to_vec(), vec![0; 100_000]]);
        }
        let unsent = router.close_within(Some(ms(5)));
        assert_eq!((unsent[0].endpoint.as_str(), unsent[0].routing_id.as_ref()), (endpoint.as_str(), &b"idle"[..]));
        // What went into the connection is there to be read, and the rest is accounted for; the two being written
        // may count as both.
        let mut received: u64 = 0;
        while dealer.recv_deadline(Instant::now() + A_WHILE).is_ok() {
            received += 1;
        }
        assert!((200..=201).contains(&(unsent[0].messages + received)), "{unsent:?} and {received}");
    }
}

#[test]
fn closing_waits_for_what_is_delivered_and_tells_nothing() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        thread::scope(|scope| {
            let reading = scope.spawn(|| (0..2000).map(|_| recv(&pull).byte_len()).sum::<usize>());
            for _ in 0..2000 {
                send(&push, vec![0; 10_000]);
            }
            assert_eq!(push.close_within(None), [], "{transport:?}");
            assert_eq!(reading.join().unwrap(), 20_000_000);
        });
        assert!(context.socket(SocketType::Rep).close_within(None).is_empty());
    }
}

#[test]
fn what_a_lost_connection_takes_with_it_is_counted() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (push, pull) = (context.socket(SocketType::Push), context.socket(SocketType::Pull));
        pull.set_recv_hwm(1).unwrap();
        transport.join(&push, &pull);
        let filled = fill_with(&push, |_| vec![0; 100_000].into());
        drop(pull);
        until("its peer has gone", || push.stats().peers == 0);
        let lost = push.stats().drops.lost;
        assert!(lost > 0 && lost <= filled as u64, "{transport:?}: {lost} of {filled}");
    }
}

#[test]
fn a_message_that_is_being_written_when_its_connection_is_lost_is_counted() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (push, pull) = (context.socket(SocketType::Push), context.socket(SocketType::Pull));
        pull.set_recv_hwm(1).unwrap();
        transport.join(&push, &pull);
        // With more than it may keep it stops to read; and the message is more than the kernel takes.
        (0..2).for_each(|_| send(&push, "small"));
        until("both are written", || push.peers()[0].queued_out == 0);
        until("they have come", || is_readable(&pull));
        send(&push, vec![0; 64 << 20]);
        until("it is being written", || push.peers()[0].octets_out > 1 << 16);
        assert_eq!(push.queue_depths(), [(0, 0)]);
        drop(pull);
        until("its peer has gone", || push.stats().peers == 0);
        assert_eq!(push.stats().drops.lost, 1, "{transport:?}");
    }
    // A peer that takes no more without closing: here nothing is written that could fail.
    let (stream, endpoint) = context.bound(SocketType::Stream);
    let client = raw_client(&endpoint);
    let id = recv(&stream)[0].clone();
    send(&stream, [id, vec![0; 64 << 20].into()]);
    until("it is being written", || stream.peers()[0].octets_out > 0);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    until("its connection is lost", || stream.stats().peers == 0);
    assert_eq!(stream.stats().drops.lost, 1);
}

#[test]
fn the_end_of_a_context_tells_what_it_waits_for() {
    let context = TestContext::new();
    assert!(Context::new().term_within(Duration::ZERO).is_ok());
    let place = Place::new(Transport::Tcp);
    let push = context.connected(SocketType::Push, place.endpoint());
    push.set_linger(None).unwrap();
    send(&push, "kept");
    let pull = context.socket(SocketType::Pull);
    let error = context.term_within(ms(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let told = error.to_string();
    assert!(told.contains("PULL") && told.contains(&format!("PUSH ({})", place.endpoint())), "{told}");
    drop((push, pull));
    let told = context.term_within(ms(5)).unwrap_err().to_string();
    assert!(told.ends_with(&format!("; messages queued for: {}", place.endpoint())), "{told}");

    let other = Context::new();
    let pull = other.socket(SocketType::Pull).unwrap();
    pull.bind(place.endpoint()).unwrap();
    assert_eq!(recv_text(&pull), ["kept"]);
    context.term_within(PATIENCE).unwrap();
}

/// Whichever comes first: either the call fails, or it succeeds and closing ends what it made. Nothing is left.
#[test]
fn binding_while_another_thread_closes_leaves_nothing() {
    let _watchdog = Watchdog::start();
    for transport in TRANSPORTS {
        for n in 0..300 {
            let context = TestContext::new();
            let place = Place::new(transport);
            let socket = context.socket(SocketType::Pull);
            let barrier = Barrier::new(2);
            thread::scope(|scope| {
                let binder = scope.spawn(|| {
                    barrier.wait();
                    socket.bind(place.endpoint())
                });
                barrier.wait();
                (0..n * 7 % 300).for_each(|_| std::hint::spin_loop());
                socket.close();
                if let Err(error) = binder.join().unwrap() {
                    assert_eq!(error.kind(), ErrorKind::Closed);
                }
            });
            let next = context.socket(SocketType::Pull);
            next.bind(place.endpoint()).expect("the address is free");
        }
    }
}

#[test]
fn threads_together_get_no_more_sockets_than_the_limit() {
    let _watchdog = Watchdog::start();
    for _ in 0..50 {
        let context = Context::builder().max_sockets(5).build();
        let barrier = Barrier::new(4);
        let sockets: Vec<_> = thread::scope(|scope| {
            let threads = [(); 4].map(|()| {
                scope.spawn(|| {
                    barrier.wait();
                    [(); 3].map(|()| context.socket(SocketType::Pull))
                })
            });
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).filter_map(Result::ok).collect()
        });
        assert_eq!(sockets.len(), 5);
    }
}
