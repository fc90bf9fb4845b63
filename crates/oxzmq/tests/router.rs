//! ROUTER: routing ids, unroutable messages, duplicates, probes.

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;

use common::*;
use oxzmq::{ErrorKind, Message, Socket, SocketType};

fn named_dealer(context: &TestContext, name: &str, endpoint: &str) -> Socket {
    let dealer = context.socket(SocketType::Dealer);
    dealer.set_routing_id(name.to_owned()).unwrap();
    dealer.connect(endpoint).unwrap();
    dealer
}

#[test]
fn messages_carry_the_peers_own_routing_id() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let router = context.socket(SocketType::Router);
        let endpoint = router.bind(&transport.wildcard()).unwrap();
        let dealer = named_dealer(&context, "me", &endpoint);
        send(&dealer, ["a", ""]);
        assert_eq!(recv(&router), Message::from(["me", "a", ""]));
        router.send(["me", "b"]).unwrap();
        assert_eq!(recv(&dealer), Message::from("b"));
    }
}

#[test]
fn a_peer_without_routing_id_gets_five_bytes_that_start_with_zero() {
    let context = TestContext::new();
    let (router, endpoint) = context.bound(SocketType::Router);
    let [one, other] = [(), ()].map(|()| context.connected(SocketType::Dealer, &endpoint));
    send(&one, "1");
    send(&other, "2");
    let ids = [recv(&router), recv(&router)].map(|message| message[0].clone());
    assert!(ids.iter().all(|id| id.len() == 5 && id[0] == 0));
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_routing_id_may_start_with_zero_and_have_255_bytes_and_no_more() {
    let context = TestContext::new();
    let (router, endpoint) = context.bound(SocketType::Router);
    let dealer = context.socket(SocketType::Dealer);
    let id = vec![0; 255];
    assert_kind(dealer.set_routing_id(vec![0; 256]), ErrorKind::InvalidArgument);
    assert_kind(dealer.set_routing_id(""), ErrorKind::InvalidArgument);
    dealer.set_routing_id(id.clone()).unwrap();
    dealer.connect(&endpoint).unwrap();
    send(&dealer, "x");
    assert_eq!(recv(&router), Message::from([id, b"x".to_vec()]));
}

#[test]
fn unroutable_messages_are_dropped() {
    let context = TestContext::new();
    let (router, dealer) = context.inproc_pair(SocketType::Router, SocketType::Dealer);
    dealer.send("x").unwrap();
    let id = recv(&router)[0].clone();
    router.send(["nobody", "x"]).unwrap();
    router.send([id.clone()]).unwrap(); // a routing id alone addresses nothing
    router.send(Message::new()).unwrap();
    router.send([id, "known".into()]).unwrap();
    assert_eq!(recv(&dealer), Message::from("known"));
    assert_eq!(router.stats().dropped, 1);
}

#[test]
fn a_full_peers_messages_are_dropped() {
    let context = TestContext::new();
    let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
    router.set_send_hwm(2).unwrap();
    dealer.set_recv_hwm(1).unwrap();
    dealer.set_routing_id("d").unwrap();
    Transport::Inproc.join(&router, &dealer);
    (0..10).for_each(|n| router.try_send(["d", &n.to_string()]).unwrap());
    assert_eq!(drain(&dealer).len(), 3);
    assert!(router.readiness().unwrap().writable());
}

#[test]
fn mandatory_refuses_unknown_ids_and_gives_the_message_back() {
    let context = TestContext::new();
    let (router, _) = context.bound(SocketType::Router);
    router.set_router_mandatory(true).unwrap();
    let refused = router.send(["nobody", "x"]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::HostUnreachable);
    assert_eq!(refused.into_message(), Message::from(["nobody", "x"]));
    assert!(!router.readiness().unwrap().writable(), "no peer has room");
}

#[test]
fn mandatory_waits_for_a_full_peer() {
    let context = TestContext::new();
    let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
    router.set_router_mandatory(true).unwrap();
    router.set_send_hwm(1).unwrap();
    dealer.set_recv_hwm(1).unwrap();
    dealer.set_routing_id("d").unwrap();
    Transport::Inproc.join(&router, &dealer);
    assert_eq!(fill_with(&router, |n| ["d", &n.to_string()].into()), 2);
    let full = router.try_send(["d", "x"]).unwrap_err();
    assert_eq!(full.into_message(), Message::from(["d", "x"]));
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| router.send_deadline(["d", "late"], soon()));
        (0..2).for_each(|n| assert_eq!(recv_text(&dealer), [n.to_string()]));
        assert_eq!(recv(&dealer), Message::from("late"));
        sender.join().unwrap().unwrap();
    });
}

#[test]
fn a_peer_that_left_is_unreachable() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let router = context.socket(SocketType::Router);
        router.set_router_mandatory(true).unwrap();
        let endpoint = router.bind(&transport.wildcard()).unwrap();
        let dealer = named_dealer(&context, "d", &endpoint);
        send(&dealer, "x");
        recv(&router);
        drop(dealer);
        until("the peer is gone", || router.stats().peers == 0);
        assert_kind(router.try_send(["d", "y"]), ErrorKind::HostUnreachable);
    }
}

#[test]
fn the_second_peer_of_a_name_is_ignored_for_life() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let router = context.socket(SocketType::Router);
        let endpoint = router.bind(&transport.wildcard()).unwrap();
        let first = named_dealer(&context, "d", &endpoint);
        send(&first, "first");
        assert_eq!(recv(&router), Message::from(["d", "first"]));
        let second = named_dealer(&context, "d", &endpoint);
        until("both are connected", || router.stats().peers == 2);
        send(&second, "second");
        send(&first, "again");
        assert_eq!(recv(&router), Message::from(["d", "again"]));
        router.send(["d", "to the first"]).unwrap();
        assert_eq!(recv(&first), Message::from("to the first"));
        drop(first);
        until("the first is gone", || router.stats().peers == 1);
        send(&second, "still ignored");
        assert_silent(&router);
        let third = named_dealer(&context, "d", &endpoint);
        send(&third, "third");
        assert_eq!(recv(&router), Message::from(["d", "third"]));
    }
}

#[test]
fn a_name_is_that_of_the_peer_that_has_it_and_of_no_other() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let router = context.socket(SocketType::Router);
        router.set_router_mandatory(true).unwrap();
        router.set_send_hwm(1).unwrap();
        let endpoint = router.bind(&transport.wildcard()).unwrap();
        let named = |name: &'static str| {
            let dealer = context.socket(SocketType::Dealer);
            dealer.set_reconnect_interval(None).unwrap();
            dealer.set_recv_hwm(1).unwrap();
            dealer.set_routing_id(name).unwrap();
            dealer.connect(&endpoint).unwrap();
            until("it is connected", || router.peers().iter().any(|peer| peer.connected && peer.routing_id == name));
            dealer
        };
        // The one that is refused takes the place of one that has gone, and is found first.
        let (before, first) = (named("x"), named("d"));
        drop(before);
        until("one has gone", || router.peers().len() == 1);
        let second = named("d");
        until("the second is refused", || router.peers().iter().any(|peer| peer.refused));
        assert!(router.peers()[0].refused, "{transport:?}");

        until("the first is full, and what the kernel takes by and by", || {
            fill_with(&router, |_| ["d".as_bytes(), &[0; 100_000]].into());
            !comes_true(ms(20), || router.has_room_for(b"d").unwrap())
        });
        assert!(!router.has_room_for(b"d").unwrap());
        router.disconnect_peer(&b"d"[..]).unwrap();
        drain(&first);
        until("the first has gone", || {
            drain(&first);
            first.peers().is_empty()
        });
        assert_eq!(second.peers().len(), 1, "{transport:?}");
        assert_kind(router.disconnect_peer(&b"d"[..]), ErrorKind::HostUnreachable);
    }
}

#[test]
fn the_empty_name_is_nobodys() {
    let context = TestContext::new();
    let (pull, push) = context.pair(Transport::Tcp, SocketType::Pull, SocketType::Push);
    pull.wait_for_peers(1, Some(PATIENCE)).unwrap();
    assert!(pull.peers()[0].routing_id.is_empty());
    assert_kind(pull.disconnect_peer(&b""[..]), ErrorKind::HostUnreachable);
    send(&push, "still there");
    recv(&pull);
    // It has no name before it is there.
    let router = context.connected(SocketType::Router, Place::new(Transport::Tcp).endpoint());
    assert_kind(router.has_room_for(b""), ErrorKind::HostUnreachable);
    assert_kind(router.disconnect_peer(&b""[..]), ErrorKind::HostUnreachable);
}

#[test]
fn handover_gives_the_name_to_the_newcomer() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let router = context.socket(SocketType::Router);
        router.set_router_handover(true).unwrap();
        let endpoint = router.bind(&transport.wildcard()).unwrap();
        let first = named_dealer(&context, "d", &endpoint);
        first.set_reconnect_interval(None).unwrap();
        first.disconnect(&endpoint).unwrap();
        first.connect(&endpoint).unwrap();
        send(&first, "first");
        assert_eq!(recv(&router), Message::from(["d", "first"]));
        let second = named_dealer(&context, "d", &endpoint);
        send(&second, "second");
        assert_eq!(recv(&router), Message::from(["d", "second"]));
        router.send(["d", "to the second"]).unwrap();
        assert_eq!(recv(&second), Message::from("to the second"));
        until("the first is disconnected", || router.stats().peers == 1);
    }
}

#[test]
fn connect_routing_id_names_a_peer_that_can_be_sent_to_at_once() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let place = Place::new(transport);
        let (caller, called) = (context.socket(SocketType::Router), context.socket(SocketType::Router));
        caller.set_router_mandatory(true).unwrap();
        caller.set_connect_routing_id("peer1").unwrap();
        caller.connect(place.endpoint()).unwrap();
        caller.try_send(["peer1", "hello"]).unwrap();
        called.bind(place.endpoint()).unwrap();
        let message = recv(&called);
        assert_eq!((message[0].len(), &message[1]), (5, &"hello".into()));
        called.send([message[0].clone(), "answer".into()]).unwrap();
        assert_eq!(recv(&caller), Message::from(["peer1", "answer"]));
    }
}

#[test]
fn connect_routing_id_counts_for_one_connect_and_must_be_free() {
    let context = TestContext::new();
    let places = [(), (), ()].map(|()| Place::new(Transport::Tcp));
    let router = context.socket(SocketType::Router);
    router.set_router_mandatory(true).unwrap();
    router.set_connect_routing_id("a").unwrap();
    router.connect(places[0].endpoint()).unwrap();
    router.connect(places[1].endpoint()).unwrap();
    router.set_connect_routing_id("a").unwrap();
    assert_kind(router.connect(places[2].endpoint()), ErrorKind::InvalidArgument);
    assert_kind(router.disconnect(places[2].endpoint()), ErrorKind::NotFound);
    router.try_send(["a", "x"]).unwrap();
    assert_kind(context.socket(SocketType::Push).set_connect_routing_id("a"), ErrorKind::InvalidArgument);
}

#[test]
fn a_connecting_router_keeps_the_peers_id_across_reconnections() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp);
    let router = context.connected(SocketType::Router, place.endpoint());
    for name in ["first", "second"] {
        let dealer = context.socket(SocketType::Dealer);
        dealer.set_routing_id(name).unwrap();
        dealer.bind(place.endpoint()).unwrap();
        send(&dealer, "x");
        assert_eq!(recv(&router), Message::from(["first", "x"]));
    }
}

#[test]
fn probe_router_announces_a_peer() {
    let context = TestContext::new();
    for prober in [SocketType::Dealer, SocketType::Req, SocketType::Router] {
        for transport in TRANSPORTS {
            let router = context.socket(SocketType::Router);
            let endpoint = router.bind(&transport.wildcard()).unwrap();
            let peer = context.socket(prober);
            peer.set_routing_id("p").unwrap();
            peer.set_probe_router(true).unwrap();
            peer.connect(&endpoint).unwrap();
            assert_eq!(recv(&router), Message::from(["p", ""]), "{prober} over {transport:?}");
        }
    }
}

#[test]
fn messages_tell_who_sent_them() {
    let context = TestContext::new();
    let (router, endpoint) = context.bound(SocketType::Router);
    let dealer = context.socket(SocketType::Dealer);
    dealer.set_routing_id("me").unwrap();
    dealer.set_metadata("X-colour", "blue").unwrap();
    dealer.connect(&endpoint).unwrap();
    send(&dealer, "x");
    let message = recv(&router);
    let properties = message.properties().unwrap();
    let known = ["Socket-Type", "Identity", "Peer-Address", "X-colour"].map(|name| properties.get_str(name));
    assert_eq!(known, [Some("DEALER"), Some("me"), Some("127.0.0.1"), Some("blue")]);
    assert_eq!(properties.get_str("X-none"), None);
}

#[test]
fn properties_do_not_travel_on() {
    let context = TestContext::new();
    let (pull, push) = context.pair(Transport::Tcp, SocketType::Pull, SocketType::Push);
    let (last, relay) = context.inproc_pair(SocketType::Pull, SocketType::Push);
    push.send("x").unwrap();
    let message = recv(&pull);
    assert!(message.properties().is_some());
    relay.send(message).unwrap();
    assert!(recv(&last).properties().is_none());
}

#[test]
fn a_router_may_be_told_of_connections_made_and_lost() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
        router.set_router_notify_connect(true).unwrap();
        router.set_router_notify_disconnect(true).unwrap();
        dealer.set_routing_id("d").unwrap();
        transport.join(&router, &dealer);
        assert_eq!(recv_text(&router), ["d", ""], "{transport:?}");
        send(&dealer, "hello");
        assert_eq!(recv_text(&router), ["d", "hello"]);
        drop(dealer);
        assert_eq!(recv_text(&router), ["d", ""]);
        assert_silent(&router);
    }
}

#[test]
fn a_routing_id_alone_addresses_nothing_even_where_it_must_be_known() {
    let context = TestContext::new();
    let (router, dealer) = context.inproc_pair(SocketType::Router, SocketType::Dealer);
    router.set_router_mandatory(true).unwrap();
    router.try_send("nobody").unwrap();
    send(&dealer, "x");
    let id = recv(&router)[0].clone();
    router.try_send([id.clone()]).unwrap();
    router.try_send([id, "body".into()]).unwrap();
    assert_eq!(drain(&dealer), [Message::from("body")]);
}

#[test]
fn a_sender_that_waits_for_a_full_peer_goes_on_when_that_is_mandatory_no_more() {
    let context = TestContext::new();
    for transport in [Transport::Tcp, Transport::Inproc] {
        let (router, endpoint) = (context.socket(SocketType::Router), transport.wildcard());
        router.set_router_mandatory(true).unwrap();
        router.set_send_hwm(1).unwrap();
        let endpoint = router.bind(&endpoint).unwrap();
        let dealer = context.socket(SocketType::Dealer);
        dealer.set_routing_id("d").unwrap();
        dealer.set_recv_hwm(1).unwrap();
        dealer.connect(&endpoint).unwrap();
        router.wait_for_peers(1, Some(PATIENCE)).unwrap();
        // The kernel takes some, too, by and by.
        until("the peer is full", || {
            fill_with(&router, |_| ["d".as_bytes(), &[0; 100_000]].into());
            !comes_true(A_WHILE, || router.readiness().is_ok_and(|ready| ready.writable()))
        });
        let wakes = Arc::new(CountWakes::default());
        let mut task = pin!(router.send_async(["d", "from a task"]));
        assert!(poll_once(task.as_mut(), &wakes).is_pending());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| router.send(["d", "from a thread"]));
            assert!(!comes_true(A_WHILE, || waiting.is_finished()));
            router.set_router_mandatory(false).unwrap();
            waiting.join().unwrap().unwrap();
        });
        until("the task is woken", || wakes.count() > 0);
        assert!(matches!(poll_once(task.as_mut(), &wakes), Poll::Ready(Ok(()))));
        assert_eq!(router.stats().drops.full, 2, "{transport:?}");
    }
}

#[test]
fn mandatory_is_ready_to_send_while_any_peer_has_room() {
    let context = TestContext::new();
    let router = context.socket(SocketType::Router);
    router.set_router_mandatory(true).unwrap();
    router.set_send_hwm(1).unwrap();
    let endpoint = router.bind(&Transport::Inproc.wildcard()).unwrap();
    let dealers = ["a", "b"].map(|name| {
        let dealer = context.socket(SocketType::Dealer);
        dealer.set_recv_hwm(1).unwrap();
        dealer.set_routing_id(name).unwrap();
        dealer.connect(&endpoint).unwrap();
        dealer
    });
    for name in ["a", "b"] {
        assert!(router.readiness().unwrap().writable());
        assert!(router.has_room_for(name.as_bytes()).unwrap());
        assert_eq!(fill_with(&router, |_| [name, "x"].into()), 2);
        assert!(!router.has_room_for(name.as_bytes()).unwrap());
    }
    assert!(!router.readiness().unwrap().writable());
    drain(&dealers[1]);
    assert!(router.readiness().unwrap().writable());
    assert_kind(router.has_room_for(b"nobody"), ErrorKind::HostUnreachable);
    assert_kind(dealers[0].has_room_for(b"a"), ErrorKind::NotSupported);
}

#[test]
fn a_connecting_router_is_told_of_each_connection_and_loss() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let place = Place::new(transport);
        let router = context.socket(SocketType::Router);
        router.set_router_notify_connect(true).unwrap();
        router.set_router_notify_disconnect(true).unwrap();
        router.connect(place.endpoint()).unwrap();
        for _ in 0..2 {
            let dealer = context.socket(SocketType::Dealer);
            dealer.set_routing_id("d").unwrap();
            dealer.bind(place.endpoint()).unwrap();
            assert_eq!(recv_text(&router), ["d", ""], "made, {transport:?}");
            send(&dealer, "x");
            assert_eq!(recv_text(&router), ["d", "x"]);
            drop(dealer);
            assert_eq!(recv_text(&router), ["d", ""], "lost, {transport:?}");
        }
    }
}

#[test]
fn over_inproc_a_router_is_not_told_of_connections() {
    let context = TestContext::new();
    let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
    router.set_router_notify_connect(true).unwrap();
    router.set_router_notify_disconnect(true).unwrap();
    Transport::Inproc.join(&router, &dealer);
    drop(dealer);
    assert!(drain(&router).is_empty());
}

#[test]
fn a_probe_is_sent_once_for_each_peer_and_not_with_each_connection() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let place = Place::new(transport);
        let dealer = context.socket(SocketType::Dealer);
        dealer.set_probe_router(true).unwrap();
        dealer.connect(place.endpoint()).unwrap();
        let router = context.socket(SocketType::Router);
        router.bind(place.endpoint()).unwrap();
        assert_eq!(recv(&router)[1].len(), 0);
        let monitor = dealer.monitor().unwrap();
        drop(router);
        await_event(&monitor, oxzmq::EventKind::Disconnected);
        let router = context.socket(SocketType::Router);
        router.bind(place.endpoint()).unwrap();
        send(&dealer, "not a probe");
        assert_eq!(recv(&router)[1], b"not a probe"[..], "{transport:?}");
        send(&dealer, "nor anything behind it");
        assert_eq!(recv(&router)[1], b"nor anything behind it"[..], "{transport:?}");
    }
}

#[test]
fn over_inproc_messages_tell_nothing_of_their_sender_and_over_ipc_its_process() {
    let context = TestContext::new();
    for transport in [Transport::Ipc, Transport::Inproc] {
        let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
        dealer.set_routing_id("me").unwrap();
        dealer.set_metadata("X-colour", "blue").unwrap();
        transport.join(&router, &dealer);
        send(&dealer, ["a", "b"]);
        let message = recv(&router);
        let Some(properties) = message.properties() else {
            assert_eq!(transport, Transport::Inproc);
            continue;
        };
        let address = properties.get_str("Peer-Address").unwrap();
        let process = format!(":{}", std::process::id());
        assert!(address.starts_with("localhost:") && address.ends_with(&process), "{address}");
        let known = ["Identity", "Routing-Id", "X-colour"].map(|name| properties.get_str(name));
        assert_eq!(known, [Some("me"), Some("me"), Some("blue")]);
    }
}
