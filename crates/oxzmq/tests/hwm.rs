//! High-water marks: how much is queued for each peer, and what happens then.

mod common;

use common::*;
use oxzmq::{ErrorKind, Message, Socket, SocketType};

/// PUSH and PULL over inproc with these marks, joined in this order.
fn inproc(context: &TestContext, send_hwm: u32, recv_hwm: u32, order: Order) -> (Socket, Socket) {
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    push.set_send_hwm(send_hwm).unwrap();
    pull.set_recv_hwm(recv_hwm).unwrap();
    Transport::Inproc.join_in(order, &pull, &push);
    (pull, push)
}

const ORDERS: [Order; 2] = [Order::BindFirst, Order::ConnectFirst];

#[test]
fn over_inproc_the_marks_of_both_ends_add_up() {
    let context = TestContext::new();
    for order in ORDERS {
        let (pull, push) = inproc(&context, 5, 3, order);
        assert_eq!(fill(&push), 8);
        assert_eq!(drain(&pull).len(), 8);
    }
}

#[test]
fn over_inproc_one_unlimited_end_makes_the_queue_unlimited() {
    let context = TestContext::new();
    for (send_hwm, recv_hwm) in [(0, 3), (5, 0), (0, 0)] {
        for order in ORDERS {
            let (pull, push) = inproc(&context, send_hwm, recv_hwm, order);
            (0..5000).for_each(|n: u32| push.try_send(n.to_string()).unwrap());
            assert_eq!(drain(&pull).len(), 5000);
        }
    }
}

#[test]
fn before_the_bind_only_the_connecters_mark_counts() {
    let context = TestContext::new();
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    push.set_send_hwm(5).unwrap();
    pull.set_recv_hwm(3).unwrap();
    let place = Place::new(Transport::Inproc);
    push.connect(place.endpoint()).unwrap();
    assert_eq!(fill(&push), 5);
    pull.bind(place.endpoint()).unwrap();
    assert_eq!(fill(&push), 3, "what was queued before counts");
}

#[test]
fn the_binders_marks_are_those_at_the_time_of_the_bind() {
    let context = TestContext::new();
    let pull = context.socket(SocketType::Pull);
    pull.set_recv_hwm(3).unwrap();
    let endpoint = pull.bind(&Transport::Inproc.wildcard()).unwrap();
    pull.set_recv_hwm(500).unwrap();
    let push = context.socket(SocketType::Push);
    push.set_send_hwm(5).unwrap();
    push.connect(&endpoint).unwrap();
    assert_eq!(fill(&push), 8);
}

#[test]
fn a_message_counts_once_however_many_parts_it_has() {
    let context = TestContext::new();
    let (pull, push) = inproc(&context, 1, 1, Order::BindFirst);
    assert_eq!(fill_with(&push, |_| (0..10).map(|n: u32| n.to_string()).collect()), 2);
    assert_eq!(recv(&pull).len(), 10);
}

#[test]
fn a_full_queue_takes_messages_again_when_half_is_read() {
    let context = TestContext::new();
    for (capacity, reads, then) in [(20, 10, 10), (2, 1, 1), (7, 4, 4), (200, 100, 100)] {
        let (pull, push) = inproc(&context, capacity - 1, 1, Order::BindFirst);
        assert_eq!(fill(&push), capacity as usize);
        for _ in 0..reads - 1 {
            recv(&pull);
        }
        recv(&pull);
        assert_eq!(fill(&push), then, "capacity {capacity}");
        // In any case it takes some when the reader has found it empty, and never more than its capacity.
        drain(&pull);
        assert_eq!(fill(&push), capacity as usize);
    }
}

#[test]
fn an_unconnected_peer_takes_as_many_messages_as_its_mark_says() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp); // where nobody listens
    for (immediate, taken) in [(false, 3), (true, 0)] {
        let push = context.socket(SocketType::Push);
        push.set_send_hwm(3).unwrap();
        push.set_immediate(immediate).unwrap();
        push.connect(place.endpoint()).unwrap();
        assert_eq!(fill_with(&push, |n| [format!("{n}"), "more".to_owned()].into()), taken);
    }
}

#[test]
fn raising_the_mark_makes_room_at_once() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp);
    let push = context.socket(SocketType::Push);
    push.set_send_hwm(3).unwrap();
    push.connect(place.endpoint()).unwrap();
    assert_eq!(fill(&push), 3);
    push.set_send_hwm(10).unwrap();
    assert_eq!(fill(&push), 7);
    push.set_send_hwm(2).unwrap();
    assert_eq!(fill(&push), 0, "lowering drops nothing and lets nothing in");
}

#[test]
fn raising_the_mark_wakes_a_sender_that_waits() {
    let context = TestContext::new();
    let place = Place::new(Transport::Tcp);
    let push = context.socket(SocketType::Push);
    push.set_send_hwm(1).unwrap();
    push.connect(place.endpoint()).unwrap();
    fill(&push);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| push.send_deadline("x", soon()));
        std::thread::yield_now();
        push.set_send_hwm(2).unwrap();
        sender.join().unwrap().unwrap();
    });
}

#[test]
fn a_network_reader_that_does_not_read_stops_the_sender_and_loses_nothing() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        push.set_send_hwm(10).unwrap();
        pull.set_recv_hwm(10).unwrap();
        transport.join(&pull, &push);
        // The kernel's buffers hold some, too; the rest waits here.
        let body = vec![7; 64 << 10];
        let mut sent = 0;
        while push
            .send_deadline([sent.to_string().into_bytes(), body.clone()], std::time::Instant::now() + ms(100))
            .is_ok()
        {
            sent += 1;
            assert!(sent < 5000, "nothing holds the sender back");
        }
        assert!(sent > 10, "the receiver alone holds ten");
        for n in 0..sent {
            assert_eq!(recv(&pull).to_text_lossy(), n.to_string());
        }
        assert_silent(&pull);
        send(&push, ["again"]);
        assert_eq!(recv(&pull), Message::from("again"));
    }
}

#[test]
fn a_publisher_drops_what_a_full_subscriber_cannot_take() {
    let context = TestContext::new();
    let (publisher, subscriber) = (context.socket(SocketType::Pub), context.socket(SocketType::Sub));
    publisher.set_send_hwm(10).unwrap();
    subscriber.set_recv_hwm(10).unwrap();
    subscriber.subscribe("").unwrap();
    Transport::Inproc.join(&publisher, &subscriber);
    (0..50).for_each(|n: u32| publisher.try_send(n.to_string()).unwrap());
    assert_eq!(drain(&subscriber).len(), 20, "the first twenty");
    assert_eq!(publisher.stats().dropped, 30);
    publisher.send("after").unwrap();
    assert_eq!(recv(&subscriber), Message::from("after"));
}

#[test]
fn xpub_nodrop_takes_no_message_that_a_subscriber_would_miss() {
    let context = TestContext::new();
    let (publisher, full) = (context.socket(SocketType::Xpub), context.socket(SocketType::Sub));
    publisher.set_xpub_nodrop(true).unwrap();
    publisher.set_send_hwm(2).unwrap();
    full.set_recv_hwm(2).unwrap();
    full.subscribe("").unwrap();
    let endpoint = Transport::Inproc.join(&publisher, &full);
    let roomy = context.socket(SocketType::Sub);
    roomy.subscribe("").unwrap();
    roomy.connect(&endpoint).unwrap();
    assert_eq!(fill(&publisher), 4);
    assert_eq!(drain(&roomy).len(), 4, "nobody gets what one cannot take");
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| publisher.send_deadline("late", soon()));
        (0..4).for_each(|n| assert_eq!(recv_text(&full), [n.to_string()]));
        assert_eq!(recv(&full), Message::from("late"));
        sender.join().unwrap().unwrap();
    });
    assert_eq!(recv(&roomy), Message::from("late"));
}

#[test]
fn one_full_peer_does_not_hold_up_the_others() {
    let context = TestContext::new();
    let push = context.socket(SocketType::Push);
    push.set_send_hwm(1).unwrap();
    let endpoint = push.bind(&Transport::Inproc.wildcard()).unwrap();
    let [idle, busy] = [(), ()].map(|()| {
        let pull = context.socket(SocketType::Pull);
        pull.set_recv_hwm(1).unwrap();
        pull.connect(&endpoint).unwrap();
        pull
    });
    assert_eq!(fill(&push), 4);
    drain(&busy);
    drain(&busy);
    for n in 0..10 {
        push.try_send(n.to_string()).unwrap();
        assert_eq!(recv_text(&busy), [n.to_string()]);
        assert_kind(busy.try_recv(), ErrorKind::WouldBlock);
    }
    assert_eq!(drain(&idle).len(), 2);
}

#[test]
fn what_the_kernel_has_taken_makes_room_though_more_is_to_follow() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        push.set_send_hwm(4000).unwrap();
        pull.set_recv_hwm(10).unwrap();
        transport.join(&pull, &push);
        let body = [7; 5000];
        let fill = || {
            let patient = || push.send_deadline(&body[..], std::time::Instant::now() + ms(100));
            (0..9000).take_while(|_| patient().is_ok()).count()
        };
        let full = fill();
        assert!((4000..9000).contains(&full), "{full}");
        let mut more = 0;
        for read in [1000, 2000, 3000, 4000] {
            (0..1000).for_each(|_| drop(recv(&pull)));
            more += fill();
            // Progress is told by the eighth of the mark, and the kernel reports room in larger steps, too.
            assert!(more + 500 + 700 > read, "{read} were read, and there was room for {more}");
        }
    }
}

#[test]
fn over_inproc_a_changed_mark_counts_at_once_with_the_other_ends() {
    let context = TestContext::new();
    let (pull, push) = inproc(&context, 2, 3, Order::BindFirst);
    assert_eq!(fill(&push), 5);
    pull.set_recv_hwm(10).unwrap();
    assert_eq!(fill(&push), 7, "2 and 10");
    push.set_send_hwm(4).unwrap();
    pull.set_recv_hwm(1).unwrap();
    assert_eq!(fill(&push), 0, "lowering takes nothing in and drops nothing");
    assert_eq!(drain(&pull).len(), 12);
    push.set_send_hwm(0).unwrap();
    (0..5000).for_each(|n: u32| push.try_send(n.to_string()).unwrap());
}
