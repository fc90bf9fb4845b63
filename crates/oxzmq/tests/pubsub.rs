//! Subscriptions and fan-out: PUB, SUB, XPUB, XSUB.

mod common;
mod raw;

use std::io::Write;
use std::net::{Shutdown, TcpListener};

use common::*;
use oxzmq::{ErrorKind, EventKind, Message, Socket, SocketType};
use raw::hello;

/// XPUB and SUB over inproc, where subscriptions arrive before `subscribe` returns.
fn xpub_and_sub(context: &TestContext) -> (Socket, Socket) {
    xpub_and_sub_of(context, SocketType::Sub)
}

fn xpub_and_sub_of(context: &TestContext, subscriber: SocketType) -> (Socket, Socket) {
    context.inproc_pair(SocketType::Xpub, subscriber)
}

fn notifications(xpub: &Socket) -> Vec<String> {
    drain(xpub).iter().map(|message| message[0].escape_ascii().to_string()).collect()
}

#[test]
fn a_subscription_is_a_prefix_of_the_first_frame() {
    let context = TestContext::new();
    let (publisher, subscriber) = context.inproc_pair(SocketType::Pub, SocketType::Sub);
    subscriber.subscribe("ab").unwrap();
    for topic in ["a", "ab", "abc", "b", "Ab", ""] {
        publisher.send([topic, "ab"]).unwrap();
    }
    let got: Vec<_> = drain(&subscriber).iter().map(|m| m[0].clone()).collect();
    assert_eq!(got, ["ab", "abc"]);
}

#[test]
fn the_empty_subscription_matches_everything() {
    let context = TestContext::new();
    let (publisher, subscriber) = context.inproc_pair(SocketType::Pub, SocketType::Sub);
    publisher.send("before anybody subscribed").unwrap();
    subscriber.subscribe("").unwrap();
    publisher.send("").unwrap();
    publisher.send(["x", "y"]).unwrap();
    assert_eq!(drain(&subscriber), [Message::from(""), Message::from(["x", "y"])]);
}

#[test]
fn several_matching_subscriptions_give_one_copy() {
    let context = TestContext::new();
    let (publisher, subscriber) = context.inproc_pair(SocketType::Pub, SocketType::Sub);
    ["", "a", "ab", "abc", "ab"].into_iter().for_each(|prefix| subscriber.subscribe(prefix).unwrap());
    publisher.send("abcd").unwrap();
    assert_eq!(drain(&subscriber).len(), 1);
}

#[test]
fn a_topic_subscribed_twice_needs_two_cancellations() {
    let context = TestContext::new();
    let (xpub, sub) = xpub_and_sub(&context);
    sub.subscribe("T").unwrap();
    sub.subscribe("T").unwrap();
    sub.unsubscribe("T").unwrap();
    assert_eq!(notifications(&xpub), ["\\x01T"]);
    xpub.send("T").unwrap();
    assert_eq!(recv(&sub), Message::from("T"));
    sub.unsubscribe("T").unwrap();
    assert_eq!(notifications(&xpub), ["\\x00T"]);
    xpub.send("T").unwrap();
    assert!(drain(&sub).is_empty());
}

#[test]
fn cancelling_what_was_not_subscribed_does_nothing() {
    let context = TestContext::new();
    let (xpub, sub) = xpub_and_sub(&context);
    sub.unsubscribe("T").unwrap();
    assert!(notifications(&xpub).is_empty());
}

#[test]
fn a_binary_topic_of_any_length_works() {
    let context = TestContext::new();
    let (publisher, subscriber) = context.inproc_pair(SocketType::Pub, SocketType::Sub);
    let topic: Vec<u8> = (0..300).map(|n| n as u8).collect();
    subscriber.subscribe(&topic).unwrap();
    publisher.send(topic[..299].to_vec()).unwrap();
    publisher.send(topic.clone()).unwrap();
    assert_eq!(drain(&subscriber), [Message::from(topic)]);
}

#[test]
fn xpub_reports_the_first_subscription_and_the_last_cancellation() {
    let context = TestContext::new();
    let (xpub, a) = xpub_and_sub(&context);
    let b = context.connected(SocketType::Sub, &xpub.last_endpoint());
    a.subscribe("T").unwrap();
    b.subscribe("T").unwrap();
    assert_eq!(notifications(&xpub), ["\\x01T"]);
    a.unsubscribe("T").unwrap();
    assert!(notifications(&xpub).is_empty());
    b.unsubscribe("T").unwrap();
    assert_eq!(notifications(&xpub), ["\\x00T"]);
}

#[test]
fn xpub_verbose_reports_every_subscription_and_verboser_every_cancellation_too() {
    let context = TestContext::new();
    for verboser in [false, true] {
        let (xpub, a) = xpub_and_sub(&context);
        if verboser {
            xpub.set_xpub_verboser(true).unwrap();
        } else {
            xpub.set_xpub_verbose(true).unwrap();
        }
        let b = context.connected(SocketType::Sub, &xpub.last_endpoint());
        a.subscribe("T").unwrap();
        a.subscribe("T").unwrap();
        b.subscribe("T").unwrap();
        assert_eq!(notifications(&xpub), ["\\x01T"; 3]);
        b.unsubscribe("T").unwrap();
        assert_eq!(notifications(&xpub), vec!["\\x00T"; usize::from(verboser)]);
        a.unsubscribe("T").unwrap();
        a.unsubscribe("T").unwrap();
        assert_eq!(notifications(&xpub), ["\\x00T"]);
    }
}

#[test]
fn setting_verbose_ends_verboser() {
    let context = TestContext::new();
    let (xpub, a) = xpub_and_sub(&context);
    xpub.set_xpub_verboser(true).unwrap();
    xpub.set_xpub_verbose(true).unwrap();
    let b = context.connected(SocketType::Sub, &xpub.last_endpoint());
    a.subscribe("T").unwrap();
    b.subscribe("T").unwrap();
    a.unsubscribe("T").unwrap();
    assert_eq!(notifications(&xpub), ["\\x01T", "\\x01T"]);
}

#[test]
fn a_subscriber_that_leaves_is_reported_topic_by_topic_in_order() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (xpub, sub) = context.pair(transport, SocketType::Xpub, SocketType::Sub);
        let stays = context.connected(SocketType::Sub, &xpub.last_endpoint());
        stays.subscribe("b").unwrap();
        assert_eq!(recv(&xpub), Message::from("\u{1}b"));
        for topic in ["c", "a", "b"] {
            sub.subscribe(topic).unwrap();
        }
        assert_eq!(recv(&xpub), Message::from("\u{1}c"));
        assert_eq!(recv(&xpub), Message::from("\u{1}a"));
        // Over a network the third is on its way and reported by nobody: what follows it shows that it came.
        sub.subscribe("z").unwrap();
        assert_eq!(recv(&xpub), Message::from("\u{1}z"));
        drop(sub);
        for topic in ["a", "c", "z"] {
            assert_eq!(recv(&xpub), Message::from(format!("\0{topic}")), "{transport:?}");
        }
        stays.unsubscribe("b").unwrap();
        assert_eq!(recv(&xpub), Message::from("\0b"));
    }
}

#[test]
fn a_late_connection_learns_all_subscriptions_once() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (xpub, sub) = (context.socket(SocketType::Xpub), context.socket(SocketType::Sub));
        xpub.set_xpub_verbose(true).unwrap();
        ["a", "b", "a", "gone"].into_iter().for_each(|topic| sub.subscribe(topic).unwrap());
        sub.unsubscribe("gone").unwrap();
        transport.join(&xpub, &sub);
        sub.subscribe("end").unwrap();
        let got: Vec<_> = (0..3).map(|_| recv(&xpub)).collect();
        assert_eq!(got, ["\u{1}a", "\u{1}b", "\u{1}end"].map(Message::from), "{transport:?}");
    }
}

#[test]
fn subscriptions_are_told_again_after_a_reconnection() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let place = Place::new(transport);
        let sub = context.connected(SocketType::Sub, place.endpoint());
        sub.subscribe("a").unwrap();
        for _ in 0..2 {
            let xpub = context.socket(SocketType::Xpub);
            xpub.bind(place.endpoint()).unwrap();
            assert_eq!(recv(&xpub), Message::from("\u{1}a"));
            xpub.send("a1").unwrap();
            assert_eq!(recv(&sub), Message::from("a1"));
        }
        sub.subscribe("b").unwrap();
        sub.unsubscribe("a").unwrap();
        let xpub = context.socket(SocketType::Xpub);
        xpub.bind(place.endpoint()).unwrap();
        let mut told = vec![recv(&xpub)];
        // The connection to the last publisher may still have been told of the change: here only the result counts.
        while *told.last().unwrap() != Message::from("\u{1}b") {
            told.push(recv(&xpub));
        }
        xpub.send("a").unwrap();
        xpub.send("b").unwrap();
        assert_eq!(recv(&sub), Message::from("b"));
    }
}

#[test]
fn xsub_sends_subscriptions_and_messages_of_its_own() {
    let context = TestContext::new();
    let (xpub, xsub) = context.inproc_pair(SocketType::Xpub, SocketType::Xsub);
    xsub.send("\u{1}a").unwrap();
    xsub.send("hello").unwrap();
    xsub.send("").unwrap();
    xsub.send("\0a").unwrap();
    assert_eq!(drain(&xpub), ["\u{1}a", "hello", "", "\0a"].map(Message::from));
}

#[test]
fn xsub_forwards_each_subscription_and_the_last_cancellation() {
    let context = TestContext::new();
    let (xpub, xsub) = context.inproc_pair(SocketType::Xpub, SocketType::Xsub);
    xpub.set_xpub_verboser(true).unwrap();
    ["\u{1}a", "\u{1}a", "\0a", "\0a", "\0never"].into_iter().for_each(|message| xsub.send(message).unwrap());
    assert_eq!(notifications(&xpub), ["\\x01a", "\\x01a", "\\x00a"]);
}

#[test]
fn xsub_receives_unfiltered_and_does_not_subscribe_by_call() {
    let context = TestContext::new();
    let (xpub, xsub) = context.inproc_pair(SocketType::Xpub, SocketType::Xsub);
    assert_kind(xsub.subscribe("a"), ErrorKind::InvalidArgument);
    assert_kind(xpub.subscribe("a"), ErrorKind::InvalidArgument);
    xsub.send("\u{1}a").unwrap();
    xpub.send("a").unwrap();
    xpub.send("b").unwrap();
    assert_eq!(drain(&xsub), [Message::from("a")], "the publisher sends what was asked for");
}

#[test]
fn a_publisher_ignores_messages_of_its_subscribers() {
    let context = TestContext::new();
    let (publisher, xsub) = context.inproc_pair(SocketType::Pub, SocketType::Xsub);
    xsub.send("not a subscription").unwrap();
    xsub.send("\u{1}a").unwrap();
    publisher.send("a").unwrap();
    assert_eq!(recv(&xsub), Message::from("a"));
}

#[test]
fn the_welcome_message_comes_before_all_others_when_it_matches() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (xpub, sub) = (context.socket(SocketType::Xpub), context.socket(SocketType::Sub));
        let other = context.socket(SocketType::Sub);
        xpub.set_xpub_welcome(Some("welcome".into())).unwrap();
        sub.subscribe("").unwrap();
        other.subscribe("news").unwrap();
        let endpoint = transport.join(&xpub, &sub);
        other.connect(&endpoint).unwrap();
        assert_eq!(recv(&sub), Message::from("welcome"));
        assert_eq!(recv(&xpub).len() + recv(&xpub).len(), 2);
        xpub.send("news").unwrap();
        assert_eq!(recv(&sub), Message::from("news"));
        assert_eq!(recv(&other), Message::from("news"), "the welcome did not match");
    }
}

#[test]
fn inverted_matching_delivers_what_does_not_match() {
    let context = TestContext::new();
    let (publisher, subscriber) = (context.socket(SocketType::Pub), context.socket(SocketType::Sub));
    publisher.set_invert_matching(true).unwrap();
    subscriber.set_invert_matching(true).unwrap();
    subscriber.subscribe("a").unwrap();
    let endpoint = Transport::Inproc.join(&publisher, &subscriber);
    let all = context.socket(SocketType::Sub);
    all.set_invert_matching(true).unwrap();
    all.connect(&endpoint).unwrap();
    ["a", "ab", "b"].into_iter().for_each(|topic| publisher.send(topic).unwrap());
    assert_eq!(drain(&subscriber), [Message::from("b")]);
    assert_eq!(drain(&all).len(), 3, "without subscriptions everything");
}

#[test]
fn a_subscriber_filters_what_comes_all_the_same() {
    let context = TestContext::new();
    // Over inproc any socket may send to SUB; PUSH sends everything.
    let (sub, push) = context.inproc_pair(SocketType::Sub, SocketType::Push);
    sub.subscribe("a").unwrap();
    ["b", "a"].into_iter().for_each(|topic| push.send(topic).unwrap());
    assert!(sub.readiness().unwrap().readable());
    assert_eq!(recv(&sub), Message::from("a"));
    push.send("b").unwrap();
    assert!(!sub.readiness().unwrap().readable(), "only what matches counts");
}

#[test]
fn every_subscriber_gets_every_message_once() {
    let context = TestContext::new();
    let (xpub, endpoint) = context.bound(SocketType::Xpub);
    xpub.set_xpub_verbose(true).unwrap();
    xpub.set_send_hwm(0).unwrap();
    let subscribers: Vec<_> = (0..5)
        .map(|_| {
            let subscriber = context.connected(SocketType::Sub, &endpoint);
            subscriber.subscribe("").unwrap();
            recv(&xpub);
            subscriber
        })
        .collect();
    let body = vec![9; 5000];
    (0..200u32).for_each(|n| xpub.send([n.to_string().into_bytes(), body.clone()]).unwrap());
    for subscriber in &subscribers {
        for n in 0..200 {
            let message = recv(subscriber);
            assert_eq!((&message[0], message[1].len()), (&n.to_string().into(), 5000));
        }
        assert_kind(subscriber.try_recv(), ErrorKind::WouldBlock);
    }
}

#[test]
fn thousands_of_subscriptions_work() {
    let context = TestContext::new();
    let (publisher, subscriber) = context.pair(Transport::Tcp, SocketType::Xpub, SocketType::Sub);
    (0..5000).for_each(|n| subscriber.subscribe(format!("topic-{n}-")).unwrap());
    (0..5000).for_each(|_| drop(recv(&publisher)));
    for n in [0, 77, 4999] {
        publisher.send(format!("topic-{n}-x")).unwrap();
        assert_eq!(recv(&subscriber), Message::from(format!("topic-{n}-x")));
    }
}

#[test]
fn what_xsub_sends_before_there_is_a_publisher_waits_for_it() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let place = Place::new(transport);
        let xsub = context.connected(SocketType::Xsub, place.endpoint());
        send(&xsub, "hello");
        send(&xsub, "\u{1}topic");
        send(&xsub, ["two", "frames"]);
        let xpub = context.socket(SocketType::Xpub);
        xpub.bind(place.endpoint()).unwrap();
        let mut told: Vec<_> = (0..3).map(|_| recv_text(&xpub)).collect();
        // A connection begins with all subscriptions there are then.
        let topic = told.iter().position(|told| told[0] == "\u{1}topic").expect("the subscription");
        told.remove(topic);
        assert_eq!(told, [&["hello"][..], &["two", "frames"]], "{transport:?}");
    }
}

#[test]
fn what_xsub_sends_while_its_publisher_is_away_is_lost() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let place = Place::new(transport);
        let xpub = context.socket(SocketType::Xpub);
        xpub.bind(place.endpoint()).unwrap();
        let xsub = context.socket(SocketType::Xsub);
        connect_and_wait(&xsub, &xpub, place.endpoint());
        let monitor = xsub.monitor().unwrap();
        drop(xpub);
        await_event(&monitor, EventKind::ConnectRetried);
        send(&xsub, "lost");
        let xpub = context.socket(SocketType::Xpub);
        xpub.bind(place.endpoint()).unwrap();
        await_event(&monitor, EventKind::HandshakeSucceeded);
        send(&xsub, "arrives");
        assert_eq!(recv(&xpub), Message::from("arrives"), "{transport:?}");
    }
}

#[test]
fn what_an_xsub_had_queued_for_a_lost_publisher_is_not_for_the_next() {
    let context = TestContext::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let xsub = context.socket(SocketType::Xsub);
    xsub.set_send_hwm(40).unwrap();
    let monitor = xsub.monitor().unwrap();
    xsub.connect(&endpoint).unwrap();
    // A publisher that reads nothing, and leaves without a reset, so that the loss finds the queue as it is.
    let (mut publisher, _) = listener.accept().unwrap();
    publisher.write_all(&hello("XPUB")).unwrap();
    await_event(&monitor, EventKind::HandshakeSucceeded);
    let (mut written, mut in_vain) = (0, 0);
    until("the kernel takes no more, and the queue is full", || {
        send(&xsub, vec![b'x'; 30_000]);
        let before = std::mem::replace(&mut written, xsub.peers()[0].octets_out);
        in_vain = if written == before { in_vain + 1 } else { 0 };
        in_vain >= 300 && xsub.stats().drops.full > 0
    });
    publisher.shutdown(Shutdown::Write).unwrap();
    await_event(&monitor, EventKind::ConnectRetried);
    drop((publisher, listener));
    let xpub = context.socket(SocketType::Xpub);
    xpub.bind(&endpoint).unwrap();
    await_event(&monitor, EventKind::HandshakeSucceeded);
    send(&xsub, "new");
    assert_eq!(recv(&xpub).byte_len(), 3);
}

#[test]
fn leading_frames_that_look_like_subscriptions_are_and_the_rest_is_a_message() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (xpub, xsub) = context.pair(transport, SocketType::Xpub, SocketType::Xsub);
        xpub.set_xpub_verboser(true).unwrap();
        for (sent, told) in [
            (&["\u{1}a", "data"][..], &[&["\u{1}a"][..], &["data"]][..]),
            (&["\u{1}a", "\u{1}b"], &[&["\u{1}a"], &["\u{1}b"]]),
            (&["x", "\u{1}b"], &[&["x", "\u{1}b"]]),
            (&["\u{1}a", "x", "\u{1}b"], &[&["\u{1}a"], &["x", "\u{1}b"]]),
            (&["\u{1}a", ""], &[&["\u{1}a"], &[""]]),
            (&["", "\u{1}b"], &[&["", "\u{1}b"]]),
        ] {
            send(&xsub, sent.iter().copied().collect::<Message>());
            for told in told {
                assert_eq!(recv_text(&xpub), *told, "{transport:?} {sent:?}");
            }
        }
        assert_silent(&xpub);
    }
}

#[test]
fn subscriptions_in_one_message_of_very_many_frames_are_taken_in_linear_time() {
    let context = TestContext::new();
    let (xpub, xsub) = xpub_and_sub_of(&context, SocketType::Xsub);
    xsub.send((0..300_000).map(|n| format!("\u{1}{}", n % 10)).collect::<Message>()).unwrap();
    assert_eq!(notifications(&xpub).len(), 10);
}

#[test]
fn an_xpub_that_does_not_read_keeps_a_bounded_number_of_its_peers_messages() {
    let context = TestContext::new();
    let (xpub, xsub) = (context.socket(SocketType::Xpub), context.socket(SocketType::Xsub));
    xpub.set_recv_hwm(10).unwrap();
    xsub.set_send_hwm(10).unwrap();
    Transport::Inproc.join(&xpub, &xsub);
    xsub.send("\u{1}a").unwrap();
    (0..1000).for_each(|n| xsub.send(format!("{n}")).unwrap());
    xpub.send("a").unwrap();
    assert_eq!(recv(&xsub), Message::from("a"), "the subscription came before and holds");
    let got = drain(&xpub);
    let most = 1 + 10 + 20; // the subscription, ten taken, and a queue of both ends' marks
    assert!((20..=most).contains(&got.len()), "{}", got.len());
    assert_eq!((&got[0], &got[20]), (&Message::from("\u{1}a"), &Message::from("19")), "in order");
    xsub.send("room again").unwrap();
    assert_eq!(recv(&xpub), Message::from("room again"));
    (0..1000).for_each(|n| xsub.send(format!("{n}")).unwrap());
    drop(xsub);
    let got = drain(&xpub);
    assert!((20..=most).contains(&got.len()), "{}: what it had sent before it left", got.len());
    assert_eq!(got.last(), Some(&Message::from("\0a")), "and that it left");
}

#[test]
fn what_a_poll_has_found_is_filtered_by_the_subscriptions_of_the_receive() {
    let context = TestContext::new();
    let (publisher, subscriber) = context.inproc_pair(SocketType::Pub, SocketType::Sub);
    subscriber.subscribe("a").unwrap();
    subscriber.subscribe("b").unwrap();
    publisher.send("a").unwrap();
    publisher.send("b").unwrap();
    assert!(is_readable(&subscriber));
    subscriber.unsubscribe("a").unwrap();
    assert_eq!(drain(&subscriber), [Message::from("b")]);
}

#[test]
fn subscriptions_mean_nothing_to_a_socket_that_is_no_publisher() {
    let context = TestContext::new();
    for order in [Order::BindFirst, Order::ConnectFirst] {
        let (pull, sub) = (context.socket(SocketType::Pull), context.socket(SocketType::Sub));
        sub.subscribe("before").unwrap();
        Transport::Inproc.join_in(order, &pull, &sub);
        sub.subscribe("after").unwrap();
        assert!(drain(&pull).is_empty());
    }
}

#[test]
fn in_manual_mode_the_application_says_what_peers_get() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (xpub, sub) = context.pair(transport, SocketType::Xpub, SocketType::Sub);
        xpub.set_xpub_manual(true).unwrap();
        xpub.subscribe("nobody's").unwrap();
        sub.subscribe("a").unwrap();
        assert_eq!(recv(&xpub), Message::from("\u{1}a"));
        assert_eq!(xpub.topics_count().unwrap(), 0, "asked for is not subscribed");
        xpub.subscribe("ab").unwrap();
        xpub.subscribe("b").unwrap();
        assert_eq!((xpub.topics_count().unwrap(), sub.topics_count().unwrap()), (2, 1));
        ["a", "b", "ab"].into_iter().for_each(|message| send(&xpub, message));
        assert_eq!(recv(&sub), Message::from("ab"), "{transport:?}: the subscriber filters, too");
        sub.subscribe("b").unwrap();
        sub.subscribe("b").unwrap();
        assert_eq!((recv(&xpub), recv(&xpub)), (Message::from("\u{1}b"), Message::from("\u{1}b")), "every time");
        xpub.unsubscribe("ab").unwrap();
        ["ab", "b"].into_iter().for_each(|message| send(&xpub, message));
        assert_eq!(recv(&sub), Message::from("b"));
        drop(sub);
        // What it had asked for itself.
        assert_eq!((recv(&xpub), recv(&xpub)), (Message::from("\0a"), Message::from("\0b")));
        assert_eq!(xpub.topics_count().unwrap(), 0);
        xpub.subscribe("of one that has left").unwrap();
        assert_eq!(xpub.topics_count().unwrap(), 0);
    }
}

#[test]
fn in_manual_mode_nobody_gets_what_a_peer_that_left_had_asked_for() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (xpub, sub) = (context.socket(SocketType::Xpub), context.socket(SocketType::Sub));
        xpub.set_xpub_manual(true).unwrap();
        let endpoint = xpub.bind(&transport.wildcard()).unwrap();
        sub.subscribe("a").unwrap();
        sub.connect(&endpoint).unwrap();
        until("it has come", || is_readable(&xpub));
        drop(sub);
        until("it has gone", || xpub.peers().is_empty());
        for notice in ["\u{1}a", "\0a"] {
            assert_eq!(recv_text(&xpub), [notice], "{transport:?}");
            xpub.subscribe("a").unwrap();
            assert_eq!(xpub.topics_count().unwrap(), 0);
        }
    }
}

#[test]
fn a_last_value_goes_to_the_newcomer_only() {
    let context = TestContext::new();
    let (xpub, first) = xpub_and_sub(&context);
    xpub.set_xpub_manual_last_value(true).unwrap();
    let second = context.connected(SocketType::Sub, &xpub.last_endpoint());
    for sub in [&first, &second] {
        sub.subscribe("a").unwrap();
        assert_eq!(recv(&xpub), Message::from("\u{1}a"));
        xpub.subscribe("a").unwrap();
        xpub.send("a, last").unwrap();
        assert_eq!(drain(sub), [Message::from("a, last")]);
    }
    assert!(drain(&first).is_empty());
    xpub.send("a, next").unwrap();
    assert_eq!((drain(&first).len(), drain(&second).len()), (1, 1));
}

#[test]
fn an_xsub_may_tell_of_every_cancellation() {
    let context = TestContext::new();
    let (xpub, xsub) = xpub_and_sub_of(&context, SocketType::Xsub);
    xpub.set_xpub_verboser(true).unwrap();
    xsub.set_xsub_verbose_unsubscribe(true).unwrap();
    ["\u{1}a", "\u{1}a", "\0a", "\0a"].into_iter().for_each(|message| xsub.send(message).unwrap());
    assert_eq!(notifications(&xpub), ["\\x01a", "\\x01a", "\\x00a", "\\x00a"]);
}

#[test]
fn subscriptions_behind_data_count_unless_only_the_first_frame_decides() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        for (only_first, sent, subscribed) in [
            (false, &["x", "\u{1}b"][..], true),
            (true, &["x", "\u{1}b"], false),
            (false, &["\u{1}a", "x", "\u{1}b"], true),
            (true, &["\u{1}a", "x", "\u{1}b"], true),
        ] {
            let (xpub, xsub) = context.pair(transport, SocketType::Xpub, SocketType::Xsub);
            for socket in [&xpub, &xsub] {
                socket.set_only_first_subscribe(only_first).unwrap();
            }
            send(&xsub, sent.iter().copied().collect::<Message>());
            let mut told = recv_text(&xpub);
            if sent.len() == 3 {
                assert_eq!(told, ["\u{1}a"]);
                told = recv_text(&xpub);
            }
            assert_eq!(told, ["x", "\u{1}b"], "the message stays whole");
            if only_first && subscribed {
                assert_eq!(recv_text(&xpub), ["\u{1}b"], "told by itself to those who do not look for it there");
            }
            assert_eq!(xsub.topics_count().unwrap(), usize::from(subscribed) + usize::from(sent.len() == 3));
            send(&xpub, "b");
            send(&xsub, "\u{1}end");
            assert_eq!(recv(&xpub), Message::from("\u{1}end"));
            send(&xpub, "end");
            let expected = if subscribed { "b" } else { "end" };
            assert_eq!(recv(&xsub), Message::from(expected), "{transport:?} {sent:?} {only_first}");
        }
    }
}

#[test]
fn a_cancellation_behind_data_takes_one_of_several_subscriptions_back() {
    let context = TestContext::new();
    let (xpub, xsub) = xpub_and_sub_of(&context, SocketType::Xsub);
    ["\u{1}a", "\u{1}a"].into_iter().for_each(|message| send(&xsub, message));
    send(&xsub, ["x", "\0a"]);
    send(&xpub, "a");
    assert_eq!(recv(&xsub), Message::from("a"), "one is left");
    send(&xsub, ["x", "\0a"]);
    send(&xpub, "a");
    assert!(drain(&xsub).is_empty());
    assert_eq!((xpub.topics_count().unwrap(), xsub.topics_count().unwrap()), (0, 0));
}

#[test]
fn one_message_after_a_report_is_for_the_newcomer_alone_and_no_further_one() {
    let context = TestContext::new();
    let (xpub, sub) = xpub_and_sub(&context);
    xpub.set_xpub_manual_last_value(true).unwrap();
    sub.subscribe("a").unwrap();
    recv(&xpub);
    send(&xpub, "a, before anybody was subscribed");
    xpub.subscribe("a").unwrap();
    let other = context.connected(SocketType::Sub, &xpub.last_endpoint());
    other.subscribe("a").unwrap();
    recv(&xpub);
    xpub.subscribe("a").unwrap();
    send(&xpub, "b, which is nobody's");
    send(&xpub, "a");
    assert_eq!((drain(&sub).len(), drain(&other).len()), (1, 1));
    // Without the mode nothing is held back.
    other.unsubscribe("a").unwrap();
    recv(&xpub);
    xpub.set_xpub_manual_last_value(false).unwrap();
    send(&xpub, "a");
    assert_eq!(drain(&sub).len(), 1);
    assert_kind(xpub.subscribe("c"), ErrorKind::InvalidArgument);
}

#[test]
fn a_message_that_nobody_is_subscribed_to_is_that_one_message_after_a_report() {
    let context = TestContext::new();
    let (xpub, sub) = xpub_and_sub(&context);
    xpub.set_xpub_manual_last_value(true).unwrap();
    sub.subscribe("a").unwrap();
    recv(&xpub);
    send(&xpub, "a, and nobody is subscribed");
    // Without the mode subscriptions are made by themselves, and no report is received of this one.
    xpub.set_xpub_manual_last_value(false).unwrap();
    let other = context.connected(SocketType::Sub, &xpub.last_endpoint());
    other.subscribe("a").unwrap();
    xpub.set_xpub_manual_last_value(true).unwrap();
    send(&xpub, "a, for all");
    assert_eq!(drain(&other).len(), 1);
}

#[test]
fn a_peer_that_vanishes_is_reported_as_verbosely_as_the_mode_says() {
    let context = TestContext::new();
    for (verbose, verboser, told_while_another_has_it) in [(false, false, 0), (true, false, 0), (false, true, 1)] {
        let (xpub, a) = xpub_and_sub(&context);
        xpub.set_xpub_verbose(verbose).unwrap();
        if verboser {
            xpub.set_xpub_verboser(true).unwrap();
        }
        let b = context.connected(SocketType::Sub, &xpub.last_endpoint());
        a.subscribe("T").unwrap();
        b.subscribe("T").unwrap();
        drain(&xpub);
        drop(a);
        assert_eq!(notifications(&xpub), vec!["\\x00T"; told_while_another_has_it]);
        drop(b);
        assert_eq!(notifications(&xpub), ["\\x00T"]);
    }
}

#[test]
fn a_peer_holds_one_subscription_however_often_it_asks() {
    let context = TestContext::new();
    let (xpub, xsub) = xpub_and_sub_of(&context, SocketType::Xsub);
    xsub.set_xsub_verbose_unsubscribe(true).unwrap();
    ["\u{1}T", "\u{1}T", "\0T"].into_iter().for_each(|message| send(&xsub, message));
    assert_eq!(notifications(&xpub), ["\\x01T", "\\x00T"], "the first cancellation ends it");
    send(&xsub, "\0never");
    assert_eq!(notifications(&xpub), ["\\x00never"], "one of what was not subscribed is told of, too");
}

#[test]
fn notifications_tell_who_asked_and_of_a_peer_that_left_nobody() {
    let context = TestContext::new();
    let (xpub, sub) = context.pair(Transport::Tcp, SocketType::Xpub, SocketType::Sub);
    sub.subscribe("a").unwrap();
    let asked = recv(&xpub);
    assert_eq!(asked.properties().unwrap().get_str("Peer-Address"), Some("127.0.0.1"));
    drop(sub);
    let left = recv(&xpub);
    assert_eq!(left, Message::from("\0a"));
    assert!(left.properties().is_none());
}

#[test]
fn the_welcome_message_comes_with_each_connection_until_it_is_taken_back() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let xpub = context.socket(SocketType::Xpub);
        xpub.set_xpub_welcome(Some("welcome".into())).unwrap();
        let endpoint = xpub.bind(&transport.wildcard()).unwrap();
        let sub = context.socket(SocketType::Sub);
        sub.subscribe("").unwrap();
        for _ in 0..2 {
            sub.connect(&endpoint).unwrap();
            assert_eq!(recv(&sub), Message::from("welcome"), "{transport:?}");
            sub.disconnect(&endpoint).unwrap();
        }
        let welcome = oxzmq::OptionInfo::by_name("XPUB_WELCOME_MSG").unwrap();
        xpub.set_option(welcome, "").unwrap();
        until("the last one has left", || xpub.stats().peers == 0);
        drain(&xpub);
        sub.connect(&endpoint).unwrap();
        recv(&xpub);
        send(&xpub, "the first");
        assert_eq!(recv(&sub), Message::from("the first"));
    }
}

#[test]
fn topics_are_counted_once_each_however_they_nest() {
    let context = TestContext::new();
    let (xpub, sub) = xpub_and_sub(&context);
    let other = context.connected(SocketType::Sub, &xpub.last_endpoint());
    ["a", "ab", "abc", "ab"].into_iter().for_each(|topic| sub.subscribe(topic).unwrap());
    other.subscribe("a").unwrap();
    assert_eq!((xpub.topics_count().unwrap(), sub.topics_count().unwrap()), (3, 3));
    assert_kind(context.socket(SocketType::Pull).topics_count(), ErrorKind::InvalidArgument);
}

#[test]
fn a_plain_publisher_takes_the_options_of_xpub() {
    let context = TestContext::new();
    let (publisher, sub) = (context.socket(SocketType::Pub), context.socket(SocketType::Sub));
    publisher.set_xpub_welcome(Some("welcome".into())).unwrap();
    publisher.set_xpub_nodrop(true).unwrap();
    publisher.set_xpub_verbose(true).unwrap();
    publisher.set_xpub_verboser(true).unwrap();
    publisher.set_send_hwm(1).unwrap();
    sub.set_recv_hwm(1).unwrap();
    sub.subscribe("").unwrap();
    Transport::Inproc.join(&publisher, &sub);
    assert_eq!(recv(&sub), Message::from("welcome"));
    assert_eq!(fill(&publisher), 2);
    assert_kind(publisher.try_recv(), ErrorKind::NotSupported);
    publisher.set_xpub_manual(true).unwrap();
    publisher.subscribe("a").unwrap();
}
