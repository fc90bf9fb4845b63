//! PAIR: one peer and no more.

mod common;

use common::*;
use oxzmq::{ErrorKind, Message, SocketType};

#[test]
fn the_second_client_is_connected_and_unheard() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (pair, first) = context.pair(transport, SocketType::Pair, SocketType::Pair);
        let second = context.socket(SocketType::Pair);
        second.set_send_hwm(5).unwrap();
        connect_and_wait(&second, &pair, &pair.last_endpoint());
        (0..3).for_each(|_| send(&second, "unheard"));
        send(&first, "heard");
        assert_eq!(recv(&pair), Message::from("heard"));
        assert_silent(&pair);
        pair.send("to the first").unwrap();
        assert_eq!(recv(&first), Message::from("to the first"));
        assert_kind(second.try_recv(), ErrorKind::WouldBlock);
    }
}

#[test]
fn when_the_first_leaves_only_a_new_connection_takes_its_place() {
    let context = TestContext::new();
    let (pair, first) = context.pair(Transport::Tcp, SocketType::Pair, SocketType::Pair);
    let second = context.socket(SocketType::Pair);
    connect_and_wait(&second, &pair, &pair.last_endpoint());
    drop(first);
    until("the first is gone", || pair.stats().peers == 1);
    send(&second, "still unheard");
    assert_kind(pair.try_send("x"), ErrorKind::WouldBlock);
    let third = context.socket(SocketType::Pair);
    connect_and_wait(&third, &pair, &pair.last_endpoint());
    send(&third, "heard");
    assert_eq!(recv(&pair), Message::from("heard"));
}

#[test]
fn over_inproc_a_second_connecter_is_never_heard() {
    let context = TestContext::new();
    let (pair, first) = context.inproc_pair(SocketType::Pair, SocketType::Pair);
    let second = context.connected(SocketType::Pair, &pair.last_endpoint());
    let _ = second.try_send("unheard");
    first.send("heard").unwrap();
    assert_eq!(drain(&pair), [Message::from("heard")]);
}

#[test]
fn a_second_connect_leads_nowhere() {
    let context = TestContext::new();
    let (a, endpoint) = context.bound(SocketType::Pair);
    let (b, other) = context.bound(SocketType::Pair);
    let pair = context.connected(SocketType::Pair, &endpoint);
    pair.connect(&other).unwrap();
    (0..4).for_each(|_| send(&pair, "x"));
    (0..4).for_each(|_| drop(recv(&a)));
    assert_silent(&b);
}

#[test]
fn without_a_peer_nothing_goes() {
    let context = TestContext::new();
    let pair = context.socket(SocketType::Pair);
    assert_kind(pair.try_send("x"), ErrorKind::WouldBlock);
    assert_kind(pair.try_recv(), ErrorKind::WouldBlock);
    let ready = pair.readiness().unwrap();
    assert_eq!((ready.readable(), ready.writable()), (false, false));
}

#[test]
fn what_the_last_peer_sent_is_read_before_what_the_next_sends() {
    let context = TestContext::new();
    let (pair, first) = context.pair(Transport::Tcp, SocketType::Pair, SocketType::Pair);
    first.set_linger(None).unwrap();
    send(&first, "1");
    drop(first);
    until("the first is gone", || pair.stats().peers == 0);
    let second = context.socket(SocketType::Pair);
    connect_and_wait(&second, &pair, &pair.last_endpoint());
    send(&second, "2");
    assert_eq!(recv(&pair), Message::from("1"));
    assert_eq!(recv(&pair), Message::from("2"));
}

#[test]
fn a_connecting_pair_keeps_its_place_while_its_connection_is_down() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp);
    let pair = context.connected(SocketType::Pair, place.endpoint());
    for n in 0..3 {
        send(&pair, n.to_string());
        let server = context.socket(SocketType::Pair);
        server.bind(place.endpoint()).unwrap();
        assert_eq!(recv_text(&server), [n.to_string()]);
        let monitor = pair.monitor().unwrap();
        drop(server);
        await_event(&monitor, oxzmq::EventKind::Disconnected);
    }
}

/// The wire knows no message without frames, and a receiver may count on the first.
#[test]
fn a_message_without_frames_arrives_as_one_empty_frame() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        for (bound, connected) in [
            (SocketType::Pair, SocketType::Pair),
            (SocketType::Pull, SocketType::Push),
            (SocketType::Dealer, SocketType::Dealer),
            (SocketType::Xpub, SocketType::Xsub),
        ] {
            let (bound, connected) = context.pair(transport, bound, connected);
            send(&connected, Message::new());
            assert_eq!(recv(&bound), Message::from(""), "{transport:?} {}", connected.socket_type());
            if connected.socket_type() != SocketType::Xsub {
                // One that is not taken comes back as it was.
                fill_with(&connected, |_| Message::from(vec![0; 10_000]));
                // The kernel may take some more meanwhile.
                let refused = std::iter::repeat_with(|| connected.try_send(Message::new())).find_map(Result::err);
                assert_eq!(refused.unwrap().into_message(), Message::new());
            }
        }
    }
}

#[test]
fn over_inproc_a_connecter_that_is_refused_is_never_taken_in() {
    let context = TestContext::new();
    let (pair, first) = context.inproc_pair(SocketType::Pair, SocketType::Pair);
    let second = context.socket(SocketType::Pair);
    second.set_send_hwm(1).unwrap();
    pair.set_recv_hwm(1).unwrap();
    second.connect(&pair.last_endpoint()).unwrap();
    while second.try_send("unheard").is_ok() {}
    drop(first);
    assert!(drain(&pair).is_empty());
    assert_kind(pair.try_send("x"), ErrorKind::WouldBlock);
    let third = context.connected(SocketType::Pair, &pair.last_endpoint());
    send(&third, "heard");
    assert_eq!(recv(&pair), Message::from("heard"));
}
