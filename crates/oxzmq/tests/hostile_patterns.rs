//! Broken, unlucky or malicious peers of particular patterns: subscribers, readers that do not read, peers that claim each
//! other's names. What they do to handshakes and frames is in `hostile.rs`.

mod common;
mod raw;

use std::io::{Read, Write};

use common::*;
use oxzmq::{EventKind, Message, SocketType};
use raw::*;

// ---- subscriptions and routing -----------------------------------------------------------------------------

fn publisher() -> Target {
    let target = Target::with(SocketType::Xpub, SocketType::Sub, |socket| socket.set_xpub_verboser(true).unwrap());
    target.good.subscribe("good").unwrap();
    assert_eq!(recv(&target.socket), Message::from("\u{1}good"));
    target
}

fn good_subscriber_is_served(target: &Target) {
    target.socket.send("good news").unwrap();
    assert_eq!(recv(&target.good), Message::from("good news"));
}

#[test]
fn a_topic_of_ten_megabytes_is_subscribed_and_cancelled() {
    let target = publisher();
    let mut client = target.peer("SUB");
    let topic = vec![b't'; 10 << 20];
    client.write_all(&command("SUBSCRIBE", &topic)).unwrap();
    assert_eq!(recv(&target.socket)[0].len(), topic.len() + 1);
    good_subscriber_is_served(&target);
    client.write_all(&command("CANCEL", &topic)).unwrap();
    assert_eq!(recv(&target.socket)[0].len(), topic.len() + 1);
    good_subscriber_is_served(&target);
}

#[test]
fn a_hundred_thousand_subscriptions_are_freed_with_their_peer() {
    let target = Target::with(SocketType::Pub, SocketType::Sub, |_| ());
    target.good.subscribe("good").unwrap();
    await_subscription(&target.socket, &target.good);
    let mut client = target.peer("SUB");
    let flood: Vec<u8> = (0..100_000).flat_map(|n| command("SUBSCRIBE", format!("topic-{n}").as_bytes())).collect();
    client.write_all(&flood).unwrap();
    client.write_all(&command("PING", b"\0\0")).unwrap();
    client.read_exact(&mut [0; 7]).unwrap(); // they have all been read
    good_subscriber_is_served(&target);
    drop(client);
    until("the peer is gone", || target.socket.stats().peers == 1);
    good_subscriber_is_served(&target);
}

/// What is taken as soon as it comes makes room at once, again and again: that must not cost a level of stack each time.
#[test]
fn a_flood_that_is_consumed_at_once_is_no_recursion() {
    let publisher = Target::with(SocketType::Pub, SocketType::Sub, |socket| socket.set_recv_hwm(1).unwrap());
    publisher.good.subscribe("good").unwrap();
    await_subscription(&publisher.socket, &publisher.good);
    let mut client = publisher.peer("SUB");
    client.write_all(&frame(0, b"\x01t").repeat(300_000)).unwrap();
    client.write_all(&command("PING", b"\0\0")).unwrap();
    client.read_exact(&mut [0; 7]).unwrap(); // they have all been read
    good_subscriber_is_served(&publisher);

    let subscriber = Target::with(SocketType::Sub, SocketType::Pub, |socket| {
        socket.set_recv_hwm(1).unwrap();
        socket.subscribe("wanted").unwrap();
    });
    let mut client = subscriber.peer("PUB");
    let flood = [frame(0, b"unwanted").repeat(300_000), frame(0, b"wanted")].concat();
    let writer = std::thread::spawn(move || {
        client.write_all(&flood).unwrap();
        client
    });
    assert_eq!(recv(&subscriber.socket), Message::from("wanted"));
    drop(writer.join().unwrap());
}

#[test]
fn cancelling_in_every_wrong_way_does_no_harm() {
    let target = publisher();
    let mut client = target.peer("SUB");
    let both = [
        command("CANCEL", b"never"),
        command("SUBSCRIBE", b"t"),
        command("CANCEL", b"t"),
        command("CANCEL", b"t"),
        frame(0, b"\x01t"), // the older form
        command("CANCEL", b"t"),
        frame(0, b"\0t"),
        frame(0, b""),
        frame(0, b"\x02t"),
        frame(0, b"\x01last"),
    ]
    .concat();
    client.write_all(&both).unwrap();
    while recv(&target.socket) != Message::from("\u{1}last") {}
    target.socket.send("t").unwrap();
    target.socket.send("last").unwrap();
    let mut got = [0; 6];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"\0\x04last", "t is not subscribed any more");
    good_subscriber_is_served(&target);
}

#[test]
fn data_sent_to_a_publisher_is_dropped_and_not_kept() {
    let target = Target::with(SocketType::Pub, SocketType::Sub, |_| ());
    target.good.subscribe("good").unwrap();
    await_subscription(&target.socket, &target.good);
    let mut client = target.peer("SUB");
    let before = memory("VmRSS");
    let flood = frame(0, &[b'x'; 100]).repeat(1000);
    for _ in 0..300 {
        client.write_all(&flood).unwrap();
    }
    client.write_all(&command("PING", b"\0\0")).unwrap();
    client.read_exact(&mut [0; 7]).unwrap();
    let grown = memory("VmRSS").saturating_sub(before);
    assert!(grown < 100 << 10, "{grown} kB");
    good_subscriber_is_served(&target);
}

#[test]
fn data_sent_to_push_is_dropped_and_not_kept() {
    let target = Target::with(SocketType::Push, SocketType::Pull, |_| ());
    let mut client = target.peer("PULL");
    let flood = frame(0, &[b'x'; 100]).repeat(1000);
    for _ in 0..100 {
        client.write_all(&flood).unwrap();
    }
    client.write_all(&command("PING", b"\0\0")).unwrap();
    client.read_exact(&mut [0; 7]).unwrap();
    drop(client);
    until("the peer is gone", || target.socket.stats().peers == 1);
    target.socket.send("x").unwrap();
    assert_eq!(recv(&target.good), Message::from("x"));
}

#[test]
fn a_routing_id_claimed_again_and_again_leaves_nothing_behind() {
    for handover in [false, true] {
        let target = Target::with(SocketType::Router, SocketType::Dealer, |socket| {
            socket.set_router_handover(handover).unwrap();
        });
        let metadata = [property("Socket-Type", b"DEALER"), property("Identity", b"same")].concat();
        let clients: Vec<_> = (0..50)
            .map(|_| {
                let mut client = target.client();
                client.write_all(&hello_with(&metadata)).unwrap();
                await_event(&target.monitor, EventKind::HandshakeSucceeded);
                client
            })
            .collect();
        send(&target.good, "x");
        assert_eq!(recv(&target.socket)[1], "x");
        if handover {
            until("only the last holds the name", || target.socket.stats().peers == 2);
        } else {
            assert_eq!(target.socket.stats().peers, 51);
        }
        drop(clients);
        until("only the good peer is left", || target.socket.stats().peers == 1);
    }
}

// ---- readers that do not read --------------------------------------------------------------------------------

#[test]
fn a_subscriber_that_never_reads_loses_messages_and_nobody_else_does() {
    let target = Target::with(SocketType::Xpub, SocketType::Sub, |socket| socket.set_send_hwm(100).unwrap());
    target.good.set_recv_hwm(0).unwrap();
    target.good.subscribe("").unwrap();
    recv(&target.socket);
    let mut deaf = target.peer("SUB");
    deaf.write_all(&command("SUBSCRIBE", b"only the deaf")).unwrap();
    recv(&target.socket);
    let body = vec![7; 100_000];
    for n in 0..300u32 {
        // The good subscriber gets both; it reads as they come, so it never falls behind.
        target.socket.send([b"only the deaf and the good".to_vec(), n.to_be_bytes().to_vec(), body.clone()]).unwrap();
        assert_eq!(recv(&target.good)[1], n.to_be_bytes()[..]);
    }
    assert!(target.socket.stats().dropped > 50, "what the deaf one could not take");
}

#[test]
fn a_dealer_that_never_reads_fills_its_own_queue_only() {
    let target = Target::with(SocketType::Router, SocketType::Dealer, |socket| {
        socket.set_send_hwm(20).unwrap();
        socket.set_router_mandatory(true).unwrap();
    });
    let metadata = [property("Socket-Type", b"DEALER"), property("Identity", b"deaf")].concat();
    let mut deaf = target.client();
    deaf.write_all(&hello_with(&metadata)).unwrap();
    await_event(&target.monitor, EventKind::HandshakeSucceeded);
    let body = vec![7; 100_000];
    let mut taken = 0;
    let deadline = || std::time::Instant::now() + ms(100);
    while target.socket.send_deadline([b"deaf".to_vec(), body.clone()], deadline()).is_ok() {
        taken += 1;
        assert!(taken < 5000, "nothing holds the sender back");
    }
    for _ in 0..50 {
        send(&target.good, "hello");
        let id = recv(&target.socket)[0].clone();
        target.socket.try_send([id, "hello back".into()]).unwrap();
        assert_eq!(recv(&target.good), Message::from("hello back"));
    }
}

#[test]
fn a_pull_that_never_reads_gets_its_share_and_no_more() {
    let target = Target::with(SocketType::Push, SocketType::Pull, |socket| socket.set_send_hwm(10).unwrap());
    let _deaf = target.peer("PULL");
    let body = vec![7; 500_000];
    let (mut sent, mut received) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while target.good.recv_deadline(soon()).is_ok_and(|message| message != Message::from("end")) {
                received += 1;
            }
        });
        for _ in 0..300 {
            send(&target.socket, body.clone());
            sent += 1;
        }
        // Whoever gets it: the deaf one is full by now, so it is the good one.
        send(&target.socket, "end");
    });
    assert!(received > sent / 2, "{received} of {sent}");
}

#[test]
fn a_stream_of_oddities() {
    let context = TestContext::new();
    let (stream, endpoint) = context.bound(SocketType::Stream);
    for n in 0..20 {
        let client = raw_client(&endpoint);
        if n % 2 == 0 {
            socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }
    }
    let mut client = raw_client(&endpoint);
    client.write_all(b"a good one").unwrap();
    let id = loop {
        let message = recv(&stream);
        if !message[1].is_empty() {
            break message[0].clone();
        }
    };
    until("all others are gone", || stream.stats().peers == 1);
    assert_kind(stream.send(Message::new()), oxzmq::ErrorKind::InvalidArgument);
    stream.send([id.clone()]).unwrap(); // an id alone: nothing to send
    let many = [id.clone(), "one".into(), "too many".into()];
    assert_kind(stream.send(many), oxzmq::ErrorKind::InvalidArgument);
    stream.send([id, "one".into()]).unwrap();
    let mut got = [0; 3];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"one");
}

#[test]
fn many_connections_come_and_go() {
    let target = Target::new();
    for _ in 0..500 {
        let mut client = target.client();
        client.write_all(&hello("PUSH")).unwrap();
        client.write_all(&frame(0, b"x")).unwrap();
        assert_eq!(recv(&target.socket), Message::from("x"));
    }
    until("only the good peer is left", || target.socket.stats().peers == 1);
    target.good_peer_is_served();
    assert_eq!(target.context.socket(SocketType::Pull).stats().peers, 0);
}
