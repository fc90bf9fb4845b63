//! Connections that are not there yet, get lost, and come back.

mod common;

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::*;
use oxzmq::{ErrorKind, Event, EventKind, Message, Monitor, Socket, SocketType};

/// The wait that a retry announces, in milliseconds.
fn next_wait(monitor: &Monitor) -> u64 {
    await_event(monitor, EventKind::ConnectRetried).value.into()
}

/// A PUSH that reconnects like this to a port where nobody listens.
fn hopeless(context: &TestContext, place: &Place, interval: Option<Duration>, max: Duration) -> (Socket, Monitor) {
    let push = context.socket(SocketType::Push);
    let monitor = push.monitor().unwrap();
    push.set_reconnect_interval(interval).unwrap();
    push.set_reconnect_interval_max(max).unwrap();
    push.connect(place.endpoint()).unwrap();
    (push, monitor)
}

#[test]
fn messages_sent_while_the_server_restarts_are_delivered_after() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let place = Place::new(transport);
        let push = context.connected(SocketType::Push, place.endpoint());
        let monitor = push.monitor().unwrap();
        for round in 0..3 {
            let pull = context.socket(SocketType::Pull);
            pull.bind(place.endpoint()).unwrap();
            for n in 0..3 * usize::from(round > 0) {
                assert_eq!(recv_text(&pull), [format!("{round}-{n}")]);
            }
            send(&push, "live");
            assert_eq!(recv(&pull), Message::from("live"));
            drop(pull);
            await_event(&monitor, EventKind::Disconnected);
            (0..3).for_each(|n| push.try_send(format!("{}-{n}", round + 1)).unwrap());
        }
    }
}

#[test]
fn with_immediate_a_lost_peer_takes_no_messages() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp);
    let push = context.socket(SocketType::Push);
    push.set_immediate(true).unwrap();
    push.connect(place.endpoint()).unwrap();
    assert!(push.try_send("x").is_err());
    for n in 0..3 {
        let pull = context.socket(SocketType::Pull);
        pull.bind(place.endpoint()).unwrap();
        send(&push, n.to_string());
        assert_eq!(recv_text(&pull), [n.to_string()]);
        let monitor = push.monitor().unwrap();
        drop(pull);
        await_event(&monitor, EventKind::Disconnected);
        until("the peer is gone", || push.try_send("nobody").is_err());
    }
}

#[test]
fn without_a_maximum_the_wait_has_jitter_and_does_not_grow() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp);
    let (_push, monitor) = hopeless(&context, &place, Some(ms(20)), Duration::ZERO);
    let waits: Vec<_> = (0..8).map(|_| next_wait(&monitor)).collect();
    assert!(waits.iter().all(|wait| (20..=40).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| wait != &waits[0]), "a random part in each: {waits:?}");
}

#[test]
fn with_a_maximum_the_wait_doubles_up_to_it() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp);
    let (_push, monitor) = hopeless(&context, &place, Some(ms(2)), ms(11));
    let waits: Vec<_> = (0..6).map(|_| next_wait(&monitor)).collect();
    assert_eq!(waits, [2, 4, 8, 11, 11, 11]);
}

#[test]
fn a_success_starts_the_waits_anew() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp);
    let (push, monitor) = hopeless(&context, &place, Some(ms(2)), ms(500));
    while next_wait(&monitor) < 16 {}
    let pull = context.socket(SocketType::Pull);
    pull.bind(place.endpoint()).unwrap();
    await_event(&monitor, EventKind::HandshakeSucceeded);
    drop(pull);
    assert_eq!(next_wait(&monitor), 2);
    drop(push);
}

#[test]
fn the_wait_is_kept() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp);
    let start = Instant::now();
    let (_push, monitor) = hopeless(&context, &place, Some(ms(30)), ms(30));
    (0..3).for_each(|_| assert_eq!(next_wait(&monitor), 30));
    assert!(start.elapsed() >= ms(60));
}

#[test]
fn without_reconnection_a_lost_endpoint_is_gone() {
    let context = TestContext::new();
    let (pull, endpoint) = context.bound(SocketType::Pull);
    let push = context.socket(SocketType::Push);
    push.set_reconnect_interval(None).unwrap();
    connect_and_wait(&push, &pull, &endpoint);
    drop(pull);
    until("the peer is gone", || push.stats().peers == 0);
    assert_kind(push.disconnect(&endpoint), oxzmq::ErrorKind::NotFound);
}

#[test]
fn without_reconnection_a_failed_first_attempt_leaves_the_endpoint() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp);
    let (push, monitor) = hopeless(&context, &place, None, Duration::ZERO);
    await_event(&monitor, EventKind::Closed);
    push.try_send("still queued").unwrap();
    push.disconnect(place.endpoint()).unwrap();
}

#[test]
fn a_peer_of_the_wrong_type_is_given_up() {
    let context = TestContext::new();
    let (_pull, endpoint) = context.bound(SocketType::Pull);
    let publisher = context.socket(SocketType::Sub);
    let monitor = publisher.monitor().unwrap();
    publisher.connect(&endpoint).unwrap();
    await_event(&monitor, EventKind::Disconnected);
    until("the peer is given up", || publisher.stats().peers == 0);
    assert!(monitor.recv_deadline(Instant::now() + A_WHILE).is_err(), "no retry");
}

#[test]
fn a_silent_server_is_left_after_the_handshake_interval_and_tried_again() {
    let context = TestContext::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let push = context.socket(SocketType::Push);
    let monitor = push.monitor().unwrap();
    push.set_handshake_interval(Some(ms(20))).unwrap();
    push.connect(&format!("tcp://{}", listener.local_addr().unwrap())).unwrap();
    for _ in 0..2 {
        let (mut server, _) = listener.accept().unwrap();
        assert_eq!(await_event(&monitor, EventKind::HandshakeFailed).value, 11); // EAGAIN
        await_event(&monitor, EventKind::Disconnected);
        await_event(&monitor, EventKind::ConnectRetried);
        let mut got = Vec::new();
        server.read_to_end(&mut got).unwrap(); // closed
        assert_eq!(got[0], 0xff);
    }
}

#[test]
fn the_network_goes_and_comes_back_many_times() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp);
    let (server, client) = (context.socket(SocketType::Rep), context.connected(SocketType::Req, place.endpoint()));
    let monitor = client.monitor().unwrap();
    for n in 0..20 {
        server.bind(place.endpoint()).unwrap();
        send(&client, n.to_string());
        assert_eq!(recv_text(&server), [n.to_string()]);
        server.send("ok").unwrap();
        recv(&client);
        server.unbind(place.endpoint()).unwrap();
        await_event(&monitor, EventKind::Disconnected);
    }
}

#[test]
fn an_endpoint_tells_its_whole_story() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp);
    let (push, monitor) = hopeless(&context, &place, Some(ms(5)), ms(5));
    await_event(&monitor, EventKind::ConnectRetried);
    let pull = context.socket(SocketType::Pull);
    pull.bind(place.endpoint()).unwrap();
    let connected: Event = await_event(&monitor, EventKind::Connected);
    assert_eq!(connected.endpoint, place.endpoint());
    await_event(&monitor, EventKind::HandshakeSucceeded);
    drop(pull);
    await_event(&monitor, EventKind::Disconnected);
    await_event(&monitor, EventKind::ConnectRetried);
    drop(push);
    await_event(&monitor, EventKind::Stopped);
}

// ---- messages that begin and end connections ---------------------------------------------------------------

#[test]
fn hello_is_the_first_message_of_each_connection() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let place = Place::new(transport);
        let dealer = context.socket(SocketType::Dealer);
        dealer.set_hello_message("hello".into()).unwrap();
        dealer.connect(place.endpoint()).unwrap();
        send(&dealer, "sent before there is anybody");
        for round in 0..2 {
            let router = context.socket(SocketType::Router);
            router.set_hello_message("welcome".into()).unwrap();
            router.bind(place.endpoint()).unwrap();
            assert_eq!(recv_text(&router)[1], "hello", "{transport:?}");
            if round == 0 {
                assert_eq!(recv_text(&router)[1], "sent before there is anybody");
            }
            assert_eq!(recv(&dealer), Message::from("welcome"));
            if transport == Transport::Inproc {
                break; // whose partners do not come back
            }
        }
    }
}

#[test]
fn hello_comes_before_what_the_last_connection_could_not_take() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let place = Place::new(transport);
        let dealer = context.socket(SocketType::Dealer);
        dealer.set_hello_message("hello".into()).unwrap();
        dealer.set_send_hwm(0).unwrap();
        dealer.connect(place.endpoint()).unwrap();
        // More than the kernel takes for somebody who reads no more than the first.
        for _ in 0..1000 {
            send(&dealer, vec![0; 32 * 1024]);
        }
        for _ in 0..2 {
            let router = context.socket(SocketType::Router);
            router.set_recv_hwm(1).unwrap();
            router.bind(place.endpoint()).unwrap();
            assert_eq!(recv(&router)[1], b"hello"[..], "{transport:?}");
            assert_eq!(recv(&router)[1].len(), 32 * 1024);
        }
    }
}

#[test]
fn the_loss_of_a_connection_is_delivered_as_a_message() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
        router.set_disconnect_message("gone".into()).unwrap();
        dealer.set_routing_id("d").unwrap();
        transport.join(&router, &dealer);
        send(&dealer, "here");
        assert_eq!(recv_text(&router), ["d", "here"]);
        drop(dealer);
        assert_eq!(recv_text(&router), ["d", "gone"], "{transport:?}");
    }
    for transport in NETWORKS {
        let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
        dealer.set_hiccup_message("hiccup".into()).unwrap();
        transport.join(&router, &dealer);
        drop(router);
        assert_eq!(recv(&dealer), Message::from("hiccup"), "{transport:?}");
        assert_silent(&dealer);
    }
}

#[test]
fn what_ends_the_attempts_to_connect_can_be_chosen() {
    let context = TestContext::new();
    let stop = |refused, lost| oxzmq::ReconnectStop { refused, lost, ..Default::default() };
    let place = Place::new(Transport::Tcp);
    let push = context.socket(SocketType::Push);
    let monitor = push.monitor().unwrap();
    push.set_reconnect_stop(stop(true, false)).unwrap();
    push.connect(place.endpoint()).unwrap();
    await_event(&monitor, EventKind::Closed);
    assert_kind(monitor.recv_deadline(std::time::Instant::now() + A_WHILE), ErrorKind::TimedOut);

    // Nobody listens, and a disconnect leaves nothing that would try on for its message.
    let push = context.socket(SocketType::Push);
    push.set_linger(None).unwrap();
    push.set_reconnect_stop(oxzmq::ReconnectStop { after_disconnect: true, ..Default::default() }).unwrap();
    push.connect(place.endpoint()).unwrap();
    send(&push, "given up");
    push.disconnect(place.endpoint()).unwrap();
    until("its message is given up", || push.stats().drops.lost == 1);
    // What a connection can take still goes out.
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    push.set_linger(None).unwrap();
    push.set_reconnect_stop(oxzmq::ReconnectStop { after_disconnect: true, ..Default::default() }).unwrap();
    let endpoint = Transport::Tcp.join(&pull, &push);
    (0..100).for_each(|n: u32| send(&push, n.to_string()));
    push.disconnect(&endpoint).unwrap();
    (0..100).for_each(|n: u32| assert_eq!(recv_text(&pull), [n.to_string()]));

    // A handshake that fails.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let push = context.socket(SocketType::Push);
    let monitor = push.monitor().unwrap();
    push.set_reconnect_stop(oxzmq::ReconnectStop { handshake_failed: true, ..Default::default() }).unwrap();
    push.connect(&format!("tcp://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener.accept().unwrap());
    await_event(&monitor, EventKind::Disconnected);
    assert_kind(monitor.recv_deadline(std::time::Instant::now() + A_WHILE), ErrorKind::TimedOut);

    // A connection that worked.
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    push.set_reconnect_stop(stop(false, true)).unwrap();
    Transport::Tcp.join(&pull, &push);
    let monitor = push.monitor().unwrap();
    drop(pull);
    await_event(&monitor, EventKind::Disconnected);
    assert_kind(monitor.recv_deadline(std::time::Instant::now() + A_WHILE), ErrorKind::TimedOut);
}

#[test]
fn hello_is_for_those_types_that_have_it_on_either_side() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        for (bound, connected, greets) in [
            (SocketType::Server, SocketType::Client, true),
            (SocketType::Client, SocketType::Server, true),
            (SocketType::Peer, SocketType::Peer, true),
            (SocketType::Dealer, SocketType::Dealer, true),
            (SocketType::Push, SocketType::Pull, false),
            (SocketType::Pair, SocketType::Pair, false),
        ] {
            let (bound, connected) = (context.socket(bound), context.socket(connected));
            bound.set_hello_message("hello".into()).unwrap();
            transport.join(&bound, &connected);
            if greets {
                assert_eq!(recv(&connected), Message::from("hello"), "{transport:?} {}", bound.socket_type());
            } else {
                send(&bound, "the first");
                assert_eq!(recv(&connected), Message::from("the first"), "{transport:?} {}", bound.socket_type());
            }
        }
    }
}

#[test]
fn servers_and_peers_are_told_of_a_loss_and_clients_of_a_hiccup() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        for (bound, connected) in [(SocketType::Server, SocketType::Client), (SocketType::Peer, SocketType::Peer)] {
            let (bound, connected) = (context.socket(bound), context.socket(connected));
            bound.set_disconnect_message("gone".into()).unwrap();
            let endpoint = transport.join(&bound, &connected);
            connected.disconnect(&endpoint).unwrap();
            let message = recv(&bound);
            assert_eq!(message, Message::from("gone"), "{transport:?} {}", bound.socket_type());
            assert_ne!(message.routing_id(), 0, "it tells who");
        }
    }
    for transport in NETWORKS {
        for (bound, connected) in [(SocketType::Server, SocketType::Client), (SocketType::Peer, SocketType::Peer)] {
            let (bound, connected) = (context.socket(bound), context.socket(connected));
            connected.set_hiccup_message("hiccup".into()).unwrap();
            transport.join(&bound, &connected);
            drop(bound);
            assert_eq!(recv(&connected), Message::from("hiccup"), "{transport:?} {}", connected.socket_type());
        }
    }
}

#[test]
fn what_this_end_ends_itself_is_not_delivered_as_a_loss() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
        router.set_disconnect_message("gone".into()).unwrap();
        router.set_router_notify_disconnect(true).unwrap();
        dealer.set_hiccup_message("hiccup".into()).unwrap();
        let endpoint = transport.join(&router, &dealer);
        dealer.set_reconnect_interval(None).unwrap();
        router.unbind(&endpoint).unwrap();
        assert_silent(&router);

        let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
        dealer.set_hiccup_message("hiccup".into()).unwrap();
        let endpoint = transport.join(&router, &dealer);
        dealer.disconnect(&endpoint).unwrap();
        assert_silent(&dealer);
    }
    let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
    dealer.set_hiccup_message("hiccup".into()).unwrap();
    Transport::Inproc.join(&router, &dealer);
    drop(router);
    assert!(drain(&dealer).is_empty(), "over inproc nothing comes back, so there is no hiccup");
}

#[test]
fn an_interval_of_zero_is_none_and_a_maximum_below_the_interval_counts() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp);
    let push = context.socket(SocketType::Push);
    push.set_option(oxzmq::OptionInfo::by_name("RECONNECT_IVL").unwrap(), 0).unwrap();
    let monitor = push.monitor().unwrap();
    push.connect(place.endpoint()).unwrap();
    await_event(&monitor, EventKind::Closed);
    assert!(monitor.recv_deadline(Instant::now() + A_WHILE).is_err(), "no retry");
    let (_push, monitor) = hopeless(&context, &place, Some(ms(50)), ms(3));
    assert_eq!([(); 3].map(|()| next_wait(&monitor)), [3, 3, 3]);
}

#[test]
fn with_immediate_no_peer_is_there_before_its_connection() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let place = Place::new(transport);
        for socket_type in [SocketType::Push, SocketType::Dealer, SocketType::Req, SocketType::Pair, SocketType::Client]
        {
            let socket = context.socket(socket_type);
            socket.set_immediate(true).unwrap();
            socket.connect(place.endpoint()).unwrap();
            assert_kind(socket.try_send("x"), ErrorKind::WouldBlock);
            assert!(!socket.readiness().unwrap().writable(), "{socket_type}");
        }
    }
}
