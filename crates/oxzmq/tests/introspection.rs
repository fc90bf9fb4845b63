//! Who is connected, what was dropped and why, and waiting until somebody is there.

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;

use common::*;
use oxzmq::{ErrorKind, EventKind, Mechanism, Message, PeerInfo, SocketType};

#[test]
fn peers_tell_who_they_are_and_what_they_have_exchanged() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
        dealer.set_routing_id("anna").unwrap();
        let endpoint = transport.join(&router, &dealer);
        for n in 0..3 {
            send(&dealer, [n.to_string(), "x".repeat(100)]);
        }
        assert_eq!(recv_text(&router)[0], "anna");
        until("everything has come", || router.peers()[0].queued_in == 2);

        let seen = router.peers().remove(0);
        assert_eq!((seen.routing_id.as_ref(), seen.endpoint.as_str()), (&b"anna"[..], endpoint.as_str()));
        assert!(seen.connected && seen.accepted && seen.mechanism == Mechanism::Null, "{seen:?}");
        assert_eq!((seen.messages_in, seen.messages_out, seen.queued_out, seen.dropped), (3, 0, 0, 0));
        let other = dealer.peers().remove(0);
        assert_eq!((other.endpoint.as_str(), other.accepted, other.messages_out), (endpoint.as_str(), false, 3));
        match transport {
            Transport::Inproc => assert_eq!((seen.octets_in, seen.socket_type()), (0, None)),
            _ => {
                let header = if transport == Transport::Ws { 7 } else { 2 };
                assert_eq!(seen.octets_in, 3 * (header + 1 + header + 100), "{transport:?}");
                assert_eq!(other.octets_out, seen.octets_in);
                assert_eq!(seen.socket_type(), Some(SocketType::Dealer));
                let local = if transport == Transport::Ipc { "localhost:" } else { "127.0.0.1" };
                assert!(seen.address().unwrap().starts_with(local), "{seen:?}");
            }
        }
    }
}

#[test]
fn a_peer_that_is_still_being_connected_is_there_and_says_so() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let place = Place::new(transport);
        let push = context.connected(SocketType::Push, place.endpoint());
        send(&push, "early");
        let info = push.peers().remove(0);
        assert!(!info.connected && info.queued_out == 1 && info.properties.is_none(), "{transport:?}: {info:?}");
        assert_kind(push.wait_for_peers(1, Some(ms(10))), ErrorKind::TimedOut);
    }
    let error = context.socket(SocketType::Pub).wait_for_peers(2, Some(ms(1))).unwrap_err();
    assert!(error.to_string().contains("0 of 2 peers"), "{error}");
}

#[test]
fn one_waits_for_peers_until_they_are_there() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let pull = context.socket(SocketType::Pull);
        let endpoint = pull.bind(&transport.wildcard()).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| pull.wait_for_peers(3, Some(PATIENCE)));
            let asynchronous = scope.spawn(|| block_on(pull.wait_for_peers_async(2)));
            // Somebody else may be waiting for messages at the same time, and leads.
            let receiving = scope.spawn(|| recv_text(&pull));
            let pushes: Vec<_> = (0..3).map(|_| context.connected(SocketType::Push, &endpoint)).collect();
            assert_eq!(waiting.join().unwrap().unwrap(), 3, "{transport:?}");
            assert!(asynchronous.join().unwrap().unwrap() >= 2);
            send(&pushes[0], "at last");
            assert_eq!(receiving.join().unwrap(), ["at last"]);
        });
        // Those that have gone do not count.
        until("they have gone", || pull.stats().peers == 0);
        assert_kind(pull.wait_for_peers(1, Some(ms(1))), ErrorKind::TimedOut);
    }
}

#[test]
fn one_waits_for_subscribers_of_a_topic() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        for socket_type in [SocketType::Pub, SocketType::Xpub] {
            let publisher = context.socket(socket_type);
            let endpoint = publisher.bind(&transport.wildcard()).unwrap();
            let subscribers: Vec<_> = (0..3).map(|_| context.connected(SocketType::Sub, &endpoint)).collect();
            assert_kind(publisher.wait_for_subscribers("weather.1", 1, Some(ms(5))), ErrorKind::TimedOut);
            let future = publisher.wait_for_subscribers_async("weather.1", 3);
            thread::scope(|scope| {
                let waiting = scope.spawn(|| publisher.wait_for_subscribers("weather.1", 3, Some(PATIENCE)));
                let asynchronous = scope.spawn(|| block_on(future));
                for (subscriber, topic) in subscribers.iter().zip(["weather.", "weather.1", ""]) {
                    subscriber.subscribe("other").unwrap();
                    subscriber.subscribe(topic).unwrap();
                }
                assert_eq!(waiting.join().unwrap().unwrap(), 3);
                assert_eq!(asynchronous.join().unwrap().unwrap(), 3);
            });
            // The promise: nobody misses what is sent now.
            send(&publisher, "weather.1 is fine");
            for subscriber in &subscribers {
                assert_eq!(recv_text(subscriber), ["weather.1 is fine"], "{transport:?}");
            }
            assert_eq!(publisher.wait_for_subscribers("otherwise", 1, None).unwrap(), 3);
            subscribers[1].unsubscribe("weather.1").unwrap();
            until("one has cancelled", || publisher.wait_for_subscribers("weather.1", 0, None).unwrap() == 2);
        }

        let (radio, dish) = (context.socket(SocketType::Radio), context.socket(SocketType::Dish));
        dish.join("news").unwrap();
        dish.connect(&radio.bind(&transport.wildcard()).unwrap()).unwrap();
        assert_eq!(radio.wait_for_subscribers("news", 1, Some(PATIENCE)).unwrap(), 1);
        assert_kind(radio.wait_for_subscribers("new", 1, Some(ms(1))), ErrorKind::TimedOut);
    }
    let push = context.socket(SocketType::Push);
    assert_kind(push.wait_for_subscribers("", 0, None), ErrorKind::NotSupported);
    assert_kind(block_on(push.wait_for_subscribers_async("", 0)), ErrorKind::NotSupported);
}

#[test]
fn the_end_of_the_socket_ends_the_wait() {
    for close in [true, false] {
        let context = TestContext::new();
        let (socket, kind) = (context.bound(SocketType::Pull).0, [ErrorKind::Terminated, ErrorKind::Closed]);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| socket.wait_for_peers(1, None))).collect();
            let task = scope.spawn(|| block_on(socket.wait_for_peers_async(1)));
            if close {
                socket.close()
            } else {
                context.shutdown()
            }
            for thread in threads {
                assert_kind(thread.join().unwrap(), kind[usize::from(close)]);
            }
            assert_kind(task.join().unwrap(), kind[usize::from(close)]);
        });
    }
}

#[test]
fn peers_that_are_not_heard_say_so_and_are_not_waited_for() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        for (socket_type, other) in [
            (SocketType::Pair, SocketType::Pair),
            (SocketType::Channel, SocketType::Channel),
            (SocketType::Router, SocketType::Dealer),
        ] {
            let socket = context.socket(socket_type);
            let endpoint = socket.bind(&transport.wildcard()).unwrap();
            let others = [(), ()].map(|()| {
                let other = context.socket(other);
                other.set_routing_id("same").unwrap();
                other.connect(&endpoint).unwrap();
                other
            });
            let connected = |peers: Vec<PeerInfo>| peers.iter().filter(|peer| peer.connected).count();
            until("both are there", || connected(socket.peers()) == 2);
            assert_eq!(socket.wait_for_peers(1, Some(PATIENCE)).unwrap(), 1, "{socket_type} over {transport:?}");
            assert_kind(socket.wait_for_peers(2, Some(ms(1))), ErrorKind::TimedOut);
            assert_eq!(block_on(socket.wait_for_peers_async(1)).unwrap(), 1);
            assert_eq!(socket.peers().iter().filter(|peer| peer.refused).count(), 1);
            assert!(others.iter().all(|other| !other.peers()[0].refused));
        }
    }
}

#[test]
fn subscribers_whose_connection_is_down_are_not_waited_for() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp);
    for socket_type in [SocketType::Pub, SocketType::Xpub, SocketType::Radio] {
        let publisher = context.connected(socket_type, place.endpoint());
        {
            let subscriber;
            if socket_type == SocketType::Radio {
                subscriber = context.socket(SocketType::Dish);
                subscriber.join("news").unwrap();
            } else {
                subscriber = context.socket(SocketType::Sub);
                subscriber.subscribe("news").unwrap();
            }
            subscriber.bind(place.endpoint()).unwrap();
            assert_eq!(publisher.wait_for_subscribers("news", 1, Some(PATIENCE)).unwrap(), 1);
        }
        until("it has gone", || !publisher.peers()[0].connected);
        assert_eq!(publisher.wait_for_subscribers("news", 0, None).unwrap(), 0, "{socket_type}");
        assert_kind(publisher.wait_for_subscribers("news", 1, Some(ms(1))), ErrorKind::TimedOut);
    }
    // Nobody has said what is not for it, because nobody is there.
    let inverted = context.socket(SocketType::Pub);
    inverted.set_invert_matching(true).unwrap();
    inverted.connect(place.endpoint()).unwrap();
    assert_kind(inverted.wait_for_subscribers("news", 1, Some(ms(1))), ErrorKind::TimedOut);
    let subscriber = context.socket(SocketType::Sub);
    subscriber.bind(place.endpoint()).unwrap();
    assert_eq!(inverted.wait_for_subscribers("news", 1, Some(PATIENCE)).unwrap(), 1);
}

#[test]
fn a_wait_that_is_given_up_leaves_no_waker_behind() {
    let context = TestContext::new();
    let (pull, endpoint) = context.bound(SocketType::Pull);
    let wakes = Arc::new(CountWakes::default());
    {
        let mut future = pin!(pull.wait_for_peers_async(1));
        assert!(matches!(poll_once(future.as_mut(), &wakes), Poll::Pending));
        assert_eq!(Arc::strong_count(&wakes), 2);
    }
    assert_eq!(Arc::strong_count(&wakes), 1);
    let _push = context.connected(SocketType::Push, &endpoint);
    pull.wait_for_peers(1, Some(PATIENCE)).unwrap();
    assert_eq!(wakes.count(), 0);
}

#[test]
fn a_peer_can_be_sent_away() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let router = context.socket(SocketType::Router);
        let endpoint = router.bind(&transport.wildcard()).unwrap();
        let [anna, ben] = ["anna", "ben"].map(|name| {
            let dealer = context.socket(SocketType::Dealer);
            dealer.set_routing_id(name).unwrap();
            dealer.set_reconnect_interval(None).unwrap();
            dealer.connect(&endpoint).unwrap();
            dealer
        });
        router.wait_for_peers(2, Some(PATIENCE)).unwrap();
        send(&anna, "first");
        assert_eq!(recv_text(&router), ["anna", "first"]);
        let key = router.peers().iter().find(|peer| peer.routing_id == "anna").unwrap().key;
        router.disconnect_peer(key).unwrap();
        until("she has gone", || router.peers().len() == 1 && anna.peers().is_empty());
        assert_kind(router.disconnect_peer(key), ErrorKind::HostUnreachable);
        assert_kind(router.disconnect_peer(7), ErrorKind::NotSupported);
        router.disconnect_peer(&b"ben"[..]).unwrap();
        until("he has gone", || router.peers().is_empty() && ben.peers().is_empty());
    }
    // One that this socket has connected to is not connected to again.
    let (pull, endpoint) = context.bound(SocketType::Pull);
    let push = context.connected(SocketType::Push, &endpoint);
    push.wait_for_peers(1, Some(PATIENCE)).unwrap();
    push.disconnect_peer(push.peers()[0].key).unwrap();
    until("it has gone", || push.peers().is_empty() && pull.peers().is_empty());
    assert_kind(pull.wait_for_peers(1, Some(A_WHILE)), ErrorKind::TimedOut);
}

#[test]
fn a_peer_that_is_sent_away_as_soon_as_it_is_known_is_gone_at_both_ends_with_its_endpoint() {
    let context = TestContext::new();
    for transport in NETWORKS {
        for immediate in [false, true] {
            let router = context.socket(SocketType::Router);
            let dealer = context.socket(SocketType::Dealer);
            dealer.set_immediate(immediate).unwrap();
            let endpoint = router.bind(&transport.wildcard()).unwrap();
            for _ in 0..60 {
                let monitor = dealer.monitor().unwrap();
                dealer.connect(&endpoint).unwrap();
                await_event(&monitor, EventKind::HandshakeSucceeded);
                dealer.disconnect_peer(dealer.peers()[0].key).unwrap();
                until("it has gone", || dealer.peers().is_empty());
                assert_kind(dealer.disconnect(&endpoint), ErrorKind::NotFound);
                until("the other end knows", || router.peers().is_empty());
            }
        }
    }
}

#[test]
fn a_peer_that_is_sent_away_and_lost_before_it_has_everything_is_not_connected_to_again() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let place = Place::new(transport);
        let router = context.socket(SocketType::Router);
        router.set_recv_hwm(1).unwrap();
        router.bind(place.endpoint()).unwrap();
        let dealer = context.socket(SocketType::Dealer);
        dealer.set_immediate(true).unwrap();
        dealer.set_linger(None).unwrap();
        dealer.connect(place.endpoint()).unwrap();
        dealer.wait_for_peers(1, Some(PATIENCE)).unwrap();
        fill_with(&dealer, |_| vec![0; 100_000].into());
        dealer.disconnect_peer(dealer.peers()[0].key).unwrap();
        drop(router);
        until("it has gone", || dealer.peers().is_empty());
        let router = context.socket(SocketType::Router);
        router.bind(place.endpoint()).unwrap();
        assert_kind(router.wait_for_peers(1, Some(A_WHILE)), ErrorKind::TimedOut);
        assert_kind(dealer.disconnect(place.endpoint()), ErrorKind::NotFound);
        dealer.connect(place.endpoint()).unwrap();
        assert_eq!(dealer.wait_for_peers(1, Some(PATIENCE)).unwrap(), 1, "{transport:?}");
    }
}

#[test]
fn a_peer_that_is_sent_away_as_soon_as_it_is_back_is_gone_though_messages_of_it_are_unread() {
    let context = TestContext::new();
    for transport in NETWORKS {
        for _ in 0..30 {
            let place = Place::new(transport);
            let dealer = context.connected(SocketType::Dealer, place.endpoint());
            let before = context.socket(SocketType::Dealer);
            before.bind(place.endpoint()).unwrap();
            send(&before, "unread");
            until("it has come", || is_readable(&dealer));
            let monitor = dealer.monitor().unwrap();
            drop(before);
            await_event(&monitor, EventKind::Disconnected);
            let now = context.socket(SocketType::Dealer);
            now.bind(place.endpoint()).unwrap();
            await_event(&monitor, EventKind::HandshakeSucceeded);
            dealer.disconnect_peer(dealer.peers()[0].key).unwrap();
            until("it has gone", || dealer.peers().is_empty() && now.peers().is_empty());
            assert_eq!(recv_text(&dealer), ["unread"], "{transport:?}");
        }
    }
}

#[test]
fn what_is_dropped_is_counted_by_its_reason() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
        router.set_send_hwm(2).unwrap();
        dealer.set_recv_hwm(1).unwrap();
        dealer.set_routing_id("d").unwrap();
        transport.join(&router, &dealer);
        router.wait_for_peers(1, Some(PATIENCE)).unwrap();
        send(&router, ["nobody", "x"]);
        assert_eq!(router.stats().drops.unroutable, 1, "{transport:?}");
        let large = vec![0; 64 * 1024];
        until("its queue is full", || {
            send(&router, [b"d".to_vec(), large.clone()]);
            router.stats().drops.full > 0
        });
        assert_eq!(router.peers()[0].dropped, router.stats().drops.full);
        assert_eq!(router.stats().dropped, router.stats().drops.total());

        let (rep, dealer) = context.pair(transport, SocketType::Rep, SocketType::Dealer);
        send(&dealer, "no envelope");
        send(&dealer, ["", "good"]);
        assert_eq!(recv_text(&rep), ["good"]);
        assert_eq!((rep.stats().drops.malformed, rep.stats().dropped), (1, 1));

        let (router, req) = context.pair(transport, SocketType::Router, SocketType::Req);
        req.set_req_relaxed(true).unwrap();
        req.set_req_correlate(true).unwrap();
        let answer = |body: &str| {
            let mut message = recv(&router);
            message.pop_back();
            message.push_back(body);
            send(&router, message);
        };
        send(&req, "one");
        send(&req, "two");
        answer("late");
        answer("right");
        assert_eq!(recv_text(&req), ["right"]);
        assert_eq!(req.stats().drops.stale, 1, "{transport:?}");
    }
}

#[test]
fn what_a_subscriber_did_not_ask_for_is_counted() {
    let context = TestContext::new();
    // An XPUB in manual mode, that sends more than was asked for.
    let (publisher, endpoint) = context.bound(SocketType::Xpub);
    publisher.set_xpub_manual(true).unwrap();
    let subscriber = context.connected(SocketType::Sub, &endpoint);
    subscriber.subscribe("b").unwrap();
    assert_eq!(recv(&publisher), Message::from("\u{1}b"));
    publisher.subscribe("").unwrap();
    send(&publisher, "a");
    send(&publisher, "b");
    assert_eq!(recv_text(&subscriber), ["b"]);
    assert_eq!(subscriber.stats().drops.unwanted, 1);
}

#[test]
fn what_is_said_to_those_that_do_not_receive_is_counted() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (publisher, xsub) = context.pair(transport, SocketType::Pub, SocketType::Xsub);
        (0..10).for_each(|n| send(&xsub, format!("no subscription {n}")));
        send(&xsub, "\u{1}a");
        until("all are counted", || publisher.stats().drops.unwanted == 10);
        publisher.wait_for_subscribers("a", 1, Some(PATIENCE)).unwrap();
        assert_eq!(publisher.stats().dropped, 10, "{transport:?}");
    }
    // Over inproc nobody asks what type the other end has.
    for (one_way, talker) in [(SocketType::Push, SocketType::Dealer), (SocketType::Radio, SocketType::Dealer)] {
        let (one_way, talker) = context.inproc_pair(one_way, talker);
        send(&talker, "psst");
        assert_eq!(one_way.stats().drops.unwanted, 1);
    }
}

#[test]
fn what_a_disconnect_leaves_unread_is_counted() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (push, pull) = context.pair(transport, SocketType::Push, SocketType::Pull);
        (0..10).for_each(|n| send(&push, n.to_string()));
        until("all have come", || pull.queue_depths() == [(0, 10)]);
        assert_eq!(recv(&pull), Message::from("0"));
        pull.disconnect(&push.last_endpoint()).unwrap();
        until("the other end knows", || push.stats().peers == 0);
        assert_eq!(pull.stats().drops.unwanted, 9, "{transport:?}");
        assert_eq!(push.stats().dropped, 0, "{transport:?}: they had arrived");
    }
}

#[test]
fn what_an_unbound_name_was_sent_is_counted_when_its_endpoint_is_disconnected() {
    let context = TestContext::new();
    for socket_type in [SocketType::Push, SocketType::Xsub] {
        let sender = context.connected(socket_type, "inproc://nowhere");
        (0..5).for_each(|n| send(&sender, n.to_string()));
        if socket_type == SocketType::Xsub {
            send(&sender, "\u{1}a subscription, which does not count");
        }
        sender.disconnect("inproc://nowhere").unwrap();
        assert_eq!(sender.stats().drops.lost, 5, "{socket_type}");
    }
}

#[test]
fn what_a_socket_leaves_unread_over_inproc_is_counted_by_its_sender() {
    let context = TestContext::new();
    for (bound, connected) in [(SocketType::Push, SocketType::Pull), (SocketType::Pull, SocketType::Push)] {
        let pair = context.inproc_pair(bound, connected);
        let (push, pull) = if bound == SocketType::Push { pair } else { (pair.1, pair.0) };
        (0..6).for_each(|n| send(&push, n.to_string()));
        assert_eq!(recv(&pull), Message::from("0"));
        drop(pull);
        assert_eq!((push.stats().drops.lost, push.stats().dropped), (5, 5), "{bound} bound");
    }
}

#[test]
fn the_messages_of_peers_that_are_not_heard_are_counted() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let heard = |socket_type, connected, named: bool| {
            let (bound, first) = (context.socket(socket_type), context.socket(connected));
            let second = context.socket(connected);
            if named {
                [&first, &second].iter().for_each(|socket| socket.set_routing_id("name").unwrap());
            }
            let endpoint = transport.join(&bound, &first);
            second.connect(&endpoint).unwrap();
            (0..3).for_each(|n| send(&second, n.to_string()));
            until("all have come", || bound.queue_depths().contains(&(0, 3)));
            drop(second);
            until("it has gone", || bound.stats().peers == 1);
            assert_eq!(
                (bound.stats().drops.unwanted, bound.stats().dropped),
                (3, 3),
                "{socket_type} over {transport:?}"
            );
        };
        heard(SocketType::Pair, SocketType::Pair, false);
        heard(SocketType::Channel, SocketType::Channel, false);
        heard(SocketType::Router, SocketType::Dealer, true);
    }
}

#[test]
fn a_thread_that_waits_for_peers_serves_the_others_messages() {
    // One thread waits for a peer that never comes, and leads; messages reach the others all the same.
    let context = TestContext::new();
    let (rep, endpoint) = context.bound(SocketType::Rep);
    let req = context.connected(SocketType::Req, &endpoint);
    rep.wait_for_peers(1, Some(PATIENCE)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| rep.wait_for_peers(2, None));
        scope.spawn(|| req.wait_for_peers(2, None));
        scope.spawn(|| {
            for _ in 0..1000 {
                let request = recv(&rep);
                send(&rep, request);
            }
        });
        for n in 0..1000 {
            send(&req, n.to_string());
            assert_eq!(recv_text(&req), [n.to_string()]);
        }
        rep.close();
        req.close();
    });
}
